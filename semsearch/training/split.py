"""Questions to learn from, to choose by and to measure on, so that what is measured was not learnt by heart.

A question, one in nearly the same words, and what answers it stay on one side. Where so many questions share answers
that they hang together, answers that a held-out question has are taken away from those that are learnt from instead:
they are withheld, and nobody learns that they are no answers either.

Where somebody holds out questions that share answers with the others, as public test sets do, the dev questions are
drawn in the same way: what is chosen by must be asked as what is measured on. Where there are few dev questions and
training is quick, all are chosen by, each by a model that learnt from others (`parted`, cross-fitting).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semsearch.applications.wording import LEAST_JACCARD, folded, jaccard, shingles
from semsearch.errors import DataError
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.training_questions import TrainingQuestions

TEST, DEV = 0.25, 0.15  # shares of the questions
LEAST_QUESTIONS = 40  # for any figure to be worth telling
MOST_IN_COMPONENT = 0.1  # of the questions that hang together by their answers and are held on one side
MOST_HELD = 0.5  # of all judgements that may be of answers to held-out questions …
LEAST_HELD = 16  # … beyond so many of them
CROSSED_BELOW = 100  # dev questions: with fewer, all are chosen by, where that is asked for
PARTS = 4  # of the questions that are chosen by in turn
SWAMPING = 0.5  # of the questions: a document that answers so many answers none


@dataclass(frozen=True)
class Split:
    """Three sets of questions that have nothing in common, but for dev and train where these are `crossed`."""

    train: TrainingQuestions
    dev: TrainingQuestions
    test: TrainingQuestions
    said: Sequence[str]  # what was taken away, and why
    crossed: bool = False  # dev is all that is learnt from: `parted` tells who chooses by what
    shared: bool = False  # the test questions share answers with the others


class _Sets:
    """Which of `n` things belong together (union-find)."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def of(self, one: int) -> int:
        while self._above[one] != one:
            self._above[one] = one = self._above[self._above[one]]
        return one

    def join(self, one: int, other: int) -> None:
        self._above[self.of(one)] = self.of(other)


def split(
    questions: TrainingQuestions,
    corpus: TrainingCorpus,
    seed: int,
    test: TrainingQuestions | None = None,
    *,
    withhold: bool = False,
    crossing: bool = False,
) -> Split:
    """Three sets of the questions.

    Args:
        questions: All there are.
        corpus: Of their answers.
        seed: Chooses.
        test: Questions that somebody holds out; then none of the others is measured on, and answers that they share
            with these are told and stay.
        withhold: Answers that questions share with that `test` are withheld instead.
        crossing: Choose by all questions in turn where there are few.

    Raises:
        DataError: There are too few questions for it, or they tell nothing; says how many would do.
    """
    kept, said = without_leaks(questions, corpus)
    ids = list(kept.texts)
    if len(ids) < LEAST_QUESTIONS:
        raise DataError(
            f"{len(ids)} questions with an answer are too few to train, to choose and to measure on: at least "
            f"{LEAST_QUESTIONS} are needed, and some hundred for a gain of a few hundredths to be told from chance."
            + "".join(f" ({one})" for one in said)
        )
    shared = 0 if test is None or withhold else apart(kept, [test], corpus)[1]
    groups = _groups(kept, corpus, ids, by_answers=not shared)
    sides = _sides(kept, corpus, ids, groups, seed, measured=test is None, most=1.0 if shared else MOST_HELD)
    measured = kept.only(set(sides["test"])) if test is None else test
    if test is not None:
        copies = alike([*test.texts.values()], [kept.texts[one] for one in ids])
        leaking = {ids[other] for _, other in copies}
        if leaking:
            said.append(f"{len(leaking):,} questions are nearly those of the test set, and are left out.")
        for side in ("dev", "train"):
            sides[side] = [one for one in sides[side] if one not in leaking]
    own = [measured] if test is None or withhold else []
    crossed = crossing and len(sides["dev"]) < CROSSED_BELOW
    if crossed:
        train, taken = apart(kept.only({*sides["dev"], *sides["train"]}), own, corpus)
        dev, more = train, 0
    else:
        dev, taken = apart(kept.only(set(sides["dev"])), own, corpus)
        train, more = apart(kept.only(set(sides["train"])), [*own, *([] if shared else [dev])], corpus)
    if taken + more:
        said.append(f"{taken + more:,} judgements are of answers to held-out questions, and are not learnt from.")
    if shared:
        said.append(
            f"{shared:,} judgements are of documents that answer test questions too: the test set was given, and its "
            "questions differ, but it tells less of documents that nobody has asked for. The dev questions are drawn "
            "in the same way."
        )
    for name, found in (("learn from", train), ("choose by", dev), ("measure on", measured)):
        if not found.texts:
            raise DataError(
                f"no questions are left to {name}, since all share their answers with others: judge questions that "
                "other documents answer."
            )
    return Split(train, dev, measured, said, crossed, bool(shared))


def _sides(
    questions: TrainingQuestions,
    corpus: TrainingCorpus,
    ids: Sequence[str],
    groups: Sequence[Sequence[int]],
    seed: int,
    *,
    measured: bool,
    most: float,
) -> dict[str, list[str]]:
    """The questions of each set: drawn by groups, and no more held out than leaves enough to learn from.

    What answers a held-out question is lost for learning, so where each question has many answers fewer are held out.
    """
    counts = Counter(
        corpus.same[corpus.place[document]] for question in ids for document in questions.answers(question)
    )
    most *= sum(counts.values())
    wanted = {"test": TEST * len(ids) if measured else 0.0, "dev": DEV * len(ids)}
    sides: dict[str, list[str]] = {"test": [], "dev": [], "train": []}
    taken: set[int] = set()
    mass = 0
    for place in np.random.default_rng(seed).permutation(len(groups)).tolist():
        own = [ids[member] for member in groups[place]]
        shares = {side: len(sides[side]) / count for side, count in wanted.items() if count}
        side = min(shares, key=lambda one: shares[one])
        answers = {corpus.same[corpus.place[document]] for question in own for document in questions.answers(question)}
        more = sum(counts[one] for one in answers - taken)
        held = len(sides["test"]) + len(sides["dev"])
        if shares[side] >= 1 or (held >= LEAST_HELD and mass + more > most):
            side = "train"
        else:
            taken, mass = taken | answers, mass + more
        sides[side] += own
    return sides


def without_leaks(questions: TrainingQuestions, corpus: TrainingCorpus) -> tuple[TrainingQuestions, list[str]]:
    """The questions that tell something, and what was wrong with the others.

    Raises:
        DataError: Most of them tell nothing.
    """
    count = len(questions.texts)
    answering = Counter(document for one in questions.texts for document in questions.answers(one))
    document, most = answering.most_common(1)[0] if answering else ("", 0)
    if count >= LEAST_QUESTIONS and most > SWAMPING * count:
        raise DataError(
            f"document {document!r:.80} answers {most:,} of the {count:,} questions: such labels are one-sided, and "
            "whoever learnt them would find it for everything."
        )
    copies = {one for one in questions.texts if _is_copy(one, questions, corpus)}
    if 2 * len(copies) > count:
        raise DataError(
            f"{len(copies):,} of the {count:,} questions are their answers, word for word: nothing is learnt from them."
        )
    said = [f"{len(copies):,} questions are their answers, word for word, and are left out."] if copies else []
    return questions.only(set(questions.texts) - copies), said


def _is_copy(question: str, questions: TrainingQuestions, corpus: TrainingCorpus) -> bool:
    asked = folded("", questions.texts[question])
    own = shingles(asked)
    for document in questions.answers(question):
        for text in corpus.wordings[corpus.place[document]]:
            if text == asked or (len(text) < 2 * len(asked) and jaccard(own, shingles(text)) >= LEAST_JACCARD):
                return True
    return False


def _groups(
    questions: TrainingQuestions, corpus: TrainingCorpus, ids: Sequence[str], *, by_answers: bool
) -> list[list[int]]:
    """Questions that stay together: nearly the same, and those that share an answer unless that joins too many."""
    texts = [questions.texts[one] for one in ids]
    near = alike(texts, texts)

    def joined(by_answers: bool) -> list[list[int]]:
        sets = _Sets(len(ids))
        for one, other in near:
            sets.join(one, other)
        if by_answers:
            first: dict[str, int] = {}
            for number, question in enumerate(ids):
                asked = [folded("", texts[number])]
                answered = [corpus.wordings[corpus.place[one]][1] for one in questions.answers(question)]
                for text in [*asked, *answered]:
                    sets.join(number, first.setdefault(text, number))
        found: dict[int, list[int]] = defaultdict(list)
        for number in range(len(ids)):
            found[sets.of(number)].append(number)
        return list(found.values())

    together = joined(by_answers)
    if not by_answers or max(map(len, together)) <= max(2, MOST_IN_COMPONENT * len(ids)):
        return together
    return joined(False)


def parted(parts: Split, corpus: TrainingCorpus, seed: int) -> list[tuple[TrainingQuestions, TrainingQuestions]]:
    """What is learnt from and chosen by, for each part of the dev questions of a crossed split."""
    ids = list(parts.train.texts)
    groups = _groups(parts.train, corpus, ids, by_answers=not parts.shared)
    order = np.random.default_rng([seed, PARTS]).permutation(len(groups)).tolist()
    made = []
    for part in range(PARTS):
        held = {ids[member] for place in order[part::PARTS] for member in groups[place]}
        dev = parts.dev.only(held & set(parts.dev.texts))
        train = parts.train.only(set(ids) - held)
        if dev.texts:
            made.append((train if parts.shared else apart(train, [dev], corpus)[0], dev))
    return [(train, dev) for train, dev in made if train.texts]


def apart(
    questions: TrainingQuestions, others: Sequence[TrainingQuestions], corpus: TrainingCorpus
) -> tuple[TrainingQuestions, int]:
    """The questions without what answers those of other sets, which is withheld, and how many judgements that took."""
    there = {
        corpus.same[corpus.place[document]]
        for other in others
        for one in other.texts
        for document in other.answers(one)
    }
    taken = 0
    left: dict[str, dict[str, int]] = {}
    for question, found in questions.grades.items():
        own = {one: grade for one, grade in found.items() if grade <= 0 or corpus.same[corpus.place[one]] not in there}
        taken += len(found) - len(own)
        if any(grade > 0 for grade in own.values()):
            left[question] = own
    kept = questions.only(set(left))
    kept.grades = left
    for question, own in left.items():
        if gone := set(questions.grades[question]) - set(own):
            kept.withheld[question] = kept.withheld.get(question, set()) | gone
    return kept, taken


def alike(texts: Sequence[str], others: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of texts in nearly the same words; of one list with itself each pair once.

    Two sets that share so much share one of their rarest members (prefix filtering; Chaudhuri et al., 2006).
    """
    sets = [shingles(folded("", text)) for text in texts]
    others_sets = sets if others is texts else [shingles(folded("", text)) for text in others]
    counts = Counter(one for own in others_sets for one in own)

    def rarest(own: frozenset[str]) -> list[str]:
        order = sorted(own, key=lambda one: (counts[one], one))
        return order[: int((1 - LEAST_JACCARD) * len(own)) + 1]

    holders: dict[str, list[int]] = defaultdict(list)
    for number, own in enumerate(others_sets):
        for one in rarest(own):
            holders[one].append(number)
    found: set[tuple[int, int]] = set()
    for number, own in enumerate(sets):
        for other in {other for one in rarest(own) for other in holders.get(one, ())}:
            wanted = other > number if others is texts else True
            if wanted and (number, other) not in found and jaccard(own, others_sets[other]) >= LEAST_JACCARD:
                found.add((number, other))
    return sorted(found)
