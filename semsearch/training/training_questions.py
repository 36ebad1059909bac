"""Questions with what answers them, from files: judgements as BEIR and TREC have them, and pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from semsearch.applications.wording import folded
from semsearch.errors import DataError
from semsearch.evaluation.judged_pairs import PairFile
from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries
from semsearch.training.corpus import TrainingCorpus

Graded = dict[str, dict[str, int]]  # question → document → grade; above 0 it answers


@dataclass
class TrainingQuestions:
    """What is learnt from: questions by id, the grades of documents, and how much a pair of them counts."""

    texts: dict[str, str]
    grades: Graded
    weights: dict[tuple[str, str], float] = field(default_factory=dict)  # of (question, document); 1 where it is not
    said: list[str] = field(default_factory=list)  # what was left out, and why
    withheld: dict[str, set[str]] = field(default_factory=dict)  # answers that are not learnt, nor learnt to be none

    def answers(self, question: str) -> list[str]:
        """The documents that answer a question."""
        return [document for document, grade in self.grades.get(question, {}).items() if grade > 0]

    def joined(self, other: TrainingQuestions, prefix: str) -> TrainingQuestions:
        """Both; the ids of the other get a prefix, so that no two questions have the same."""
        texts = {**self.texts, **{prefix + one: text for one, text in other.texts.items()}}
        grades = {**self.grades, **{prefix + one: dict(found) for one, found in other.grades.items()}}
        weights = {**self.weights, **{(prefix + one, doc): weight for (one, doc), weight in other.weights.items()}}
        withheld = {**self.withheld, **{prefix + one: own for one, own in other.withheld.items()}}
        return TrainingQuestions(texts, grades, weights, [*self.said, *other.said], withheld)

    def only(self, chosen: Mapping[str, object] | set[str] | list[str]) -> TrainingQuestions:
        """Some of them."""
        kept = [question for question in self.texts if question in chosen]
        return TrainingQuestions(
            {one: self.texts[one] for one in kept},
            {one: dict(self.grades[one]) for one in kept},
            {pair: weight for pair, weight in self.weights.items() if pair[0] in chosen},
            list(self.said),
            {one: own for one, own in self.withheld.items() if one in chosen},
        )


def read_questions(queries: Path, qrels: Path, corpus: TrainingCorpus) -> TrainingQuestions:
    """Questions and their judgements.

    Args:
        queries: As `semsearch.evaluation.judgements.read_queries` reads them.
        qrels: A file of judgements, or a BEIR folder, whose `train` is read.
        corpus: Whose documents are judged; others are left out and counted.

    Raises:
        DataError: No judged question has both a text and an answer in the corpus; says what is missing.
    """
    texts = read_queries(queries)
    judged = read_qrels(qrels_file(qrels, "train") if qrels.is_dir() else qrels)
    known = {question: found for question, found in judged.items() if question in texts}
    if not known:
        raise DataError(
            f"none of the {len(judged):,} questions judged in {qrels} is among the {len(texts):,} of {queries}: their "
            "ids must be the same."
        )
    grades: Graded = {}
    strange = 0
    for question, found in known.items():
        own = {document: grade for document, grade in found.items() if document in corpus.place}
        strange += len(found) - len(own)
        if any(grade > 0 for grade in own.values()):
            grades[question] = own
    if not grades:
        raise DataError(
            f"no question of {qrels} has a relevant document in the collection ({strange:,} of the judged documents "
            "are not in it): the ids of documents must be those of the collection."
        )
    said = []
    if missing := len(judged) - len(known):
        said.append(f"{missing:,} judged questions have no text in {queries.name} and are left out.")
    if strange:
        said.append(f"{strange:,} judgements are of documents that the collection does not have, and are left out.")
    if without := len(known) - len(grades):
        said.append(f"{without:,} questions have no relevant document in the collection and are left out.")
    return TrainingQuestions({question: texts[question] for question in grades}, grades, {}, said)


def read_pairs(path: Path, corpus: TrainingCorpus) -> TrainingQuestions:
    """Pairs of a question and a text that answers it, which must be a document's text or its title.

    A third column, where there is one, says 0 for a text that doesn't answer.

    Raises:
        DataError: No pair's second text is in the collection.
    """
    try:
        firsts, seconds, golds = PairFile().read(path)
    except DataError as error:
        if "there is no column" not in str(error):
            raise
        firsts, seconds, golds = PairFile().read(path, judged=False)
    by_text: dict[str, list[str]] = {}
    for document in corpus.documents:
        for text in {folded("", document.text), folded("", document.title), folded(document.title, document.text)}:
            if text:
                by_text.setdefault(text, []).append(document.id)
    numbers: dict[str, str] = {}
    texts: dict[str, str] = {}
    grades: Graded = {}
    strange = 0
    for place, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        documents = by_text.get(folded("", second), [])
        if not documents:
            strange += 1
            continue
        question = numbers.setdefault(folded("", first), f"pair-{len(numbers)}")
        texts.setdefault(question, first)
        own = grades.setdefault(question, {})
        for found_id in documents:
            own[found_id] = max(own.get(found_id, 0), int(not golds or golds[place] > 0))
    found = {question: own for question, own in grades.items() if any(own.values())}
    if not found:
        raise DataError(
            f"no pair of {path} has a second text that is a document of the collection and answers the first "
            f"({strange:,} of {len(firsts):,} are not in it)."
        )
    said = [f"{strange:,} of {len(firsts):,} pairs have a second text that is no document's."] if strange else []
    return TrainingQuestions({question: texts[question] for question in found}, found, {}, said)
