"""What is learnt from in one pass: questions with a passage that answers each, and passages that only look so.

They come from exact search over the passages with the vectors of the moment. What may answer as well is left out:
documents that are judged (those withheld as well, since they answer held-out questions), those that say the same,
passages that lie next to the answer, and whatever scores nearly as high as the answer does ("TopK-PercPos"; Moreira et
al., 2024, "NV-Retriever"), or, where there is a cross-encoder, is scored so by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from semsearch.search.truth import Truth
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.teachers import Teacher
from semsearch.training.training_questions import TrainingQuestions
from semsearch.types import Metric, Vectors

MARGIN = 0.95  # of the answer's score: what scores higher may answer as well
NEARLY_EQUAL = 0.95  # the cosine with the answer from which a passage says the same
MINED_DEPTH = 100  # passages that are looked at for each question
PAIRS_OF_QUESTION = 4  # answers of a question that are learnt in one pass


@dataclass(frozen=True)
class Example:
    """A question, a passage that answers it, and others that don't, by number."""

    question: int
    answer: int
    negatives: tuple[int, ...]
    weight: float = 1.0
    taught: tuple[float, ...] = ()  # a teacher's scores of the answer and the negatives


@dataclass(frozen=True)
class Miner:
    """Makes the examples of a pass.

    Attributes:
        questions: To learn from.
        order: Their ids; an example tells their places.
        corpus: Of passages.
        metric: How vectors are compared.
        negatives: Of each example.
        teacher: Filters the negatives, and its scores are kept with the examples, where there is one.
    """

    questions: TrainingQuestions
    order: Sequence[str]
    corpus: TrainingCorpus
    metric: Metric
    negatives: int
    teacher: Teacher | None = None

    def judged(self, number: int) -> set[int]:
        """What is no negative of a question, by `TrainingCorpus.same`: its answers, learnt from or withheld."""
        question = self.order[number]
        found = [*self.questions.answers(question), *self.questions.withheld.get(question, ())]
        return {int(self.corpus.same[self.corpus.place[one]]) for one in found}

    def examples(self, queries: Vectors, passages: Vectors, rng: np.random.Generator) -> list[Example]:
        """Examples by the vectors of the questions (q, d) and of all passages (p, d)."""
        keys = np.arange(len(passages), dtype=np.int64)
        depth = min(MINED_DEPTH, len(passages)) if self.negatives else 0
        found = Truth(keys, passages, self.metric).neighbors(queries, depth) if depth else None
        made: list[Example] = []
        for number, question in enumerate(self.order):
            grades = self.questions.grades[question]
            answers = [document for document, grade in grades.items() if grade > 0]
            chances = np.array([float(grades[one]) for one in answers])
            count = min(PAIRS_OF_QUESTION, len(answers))
            drawn = rng.choice(len(answers), count, replace=False, p=chances / chances.sum())
            near = found.keys[number] if found is not None else np.empty(0, np.int64)
            scores = found.scores[number] if found is not None else np.empty(0, np.float32)
            for place in sorted(drawn.tolist()):
                weight = self.questions.weights.get((question, answers[place]), 1.0)
                made.append(self._example(number, answers[place], weight, queries[number], passages, near, scores))
        return [self._filtered(one) for one in made] if self.teacher is not None else made

    def _example(
        self,
        number: int,
        document: str,
        weight: float,
        query: Vectors,
        passages: Vectors,
        near: np.ndarray,
        scores: np.ndarray,
    ) -> Example:
        corpus, grades = self.corpus, self.questions.grades[self.order[number]]
        own = corpus.passages(corpus.place[document])
        answer = own[int(np.argmax(passages[own.start : own.stop] @ query))]
        reached = float(passages[answer] @ query)
        judged = self.judged(number)
        refused = [one for one, grade in grades.items() if grade <= 0]
        chosen = [self._best(one, query, passages) for one in refused[: self.negatives // 2]]
        # Twice as many where some are filtered later.
        wanted = self.negatives * (2 if self.teacher is not None else 1)
        for key, score in zip(near.tolist(), scores.tolist(), strict=True):
            if len(chosen) >= wanted:
                break
            if key < 0 or key in chosen or corpus.same[corpus.owners[key]] in judged:
                continue
            if score > MARGIN * reached or float(passages[key] @ passages[answer]) >= NEARLY_EQUAL * float(
                passages[answer] @ passages[answer]
            ):
                continue
            chosen.append(key)
        answer = corpus.lent.get((self.order[number], document), answer)
        return Example(number, answer, tuple(chosen), weight)

    def _best(self, document: str, query: Vectors, passages: Vectors) -> int:
        own = self.corpus.passages(self.corpus.place[document])
        return own[int(np.argmax(passages[own.start : own.stop] @ query))]

    def _filtered(self, example: Example) -> Example:
        assert self.teacher is not None
        texts = [self.corpus.read[key] for key in (example.answer, *example.negatives)]
        scores = self.teacher.scores(self.questions.texts[self.order[example.question]], texts)
        shares = self.teacher.shares(scores)
        kept = [place for place in range(1, len(texts)) if shares[place] <= MARGIN * shares[0]][: self.negatives]
        negatives = tuple(example.negatives[place - 1] for place in kept)
        taught = tuple(scores[[0, *kept]].tolist())
        return Example(example.question, example.answer, negatives, example.weight, taught)


def batches(
    examples: Sequence[Example], owners: Sequence[int], size: int, rng: np.random.Generator
) -> list[list[Example]]:
    """Examples in random order, `size` together, in none a question or a document that answers twice.

    Args:
        examples: All of a pass.
        owners: Of each passage, what says the same as it (`TrainingCorpus.same` of its document).
        size: Examples of a batch; the last may have fewer, and one of a single example is left out.
        rng: Draws the order.
    """
    waiting = [examples[place] for place in rng.permutation(len(examples)).tolist()]
    made: list[list[Example]] = []
    while waiting:
        batch: list[Example] = []
        taken: set[tuple[str, int]] = set()
        later: list[Example] = []
        for place, one in enumerate(waiting):
            if len(batch) == size:
                later += waiting[place:]
                break
            own = {("question", one.question), ("document", int(owners[one.answer]))}
            if own & taken:
                later.append(one)
            else:
                batch.append(one)
                taken |= own
        made.append(batch)
        waiting = later
    return [batch for batch in made if len(batch) > 1]
