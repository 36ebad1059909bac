"""Where the questions of a training come from, as a person names it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from semsearch.errors import UsageError
from semsearch.evaluation.judgements import qrels_file
from semsearch.training.clicks import read_clicks
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.training_questions import TrainingQuestions, read_pairs, read_questions


@dataclass(frozen=True)
class TrainingSources:
    """Where questions come from.

    Attributes:
        queries: A file or BEIR folder of questions.
        qrels: Their judgements.
        pairs: A file of pairs of a question and a document's text.
        clicks: A log of clicks.
        by_itself: Take questions out of the documents as well.
        test: Judgements (of questions among `queries`) to measure on; None holds a quarter of the questions out.
        withhold: What answers these test questions is not learnt from, whatever else it answers.
    """

    queries: Path | None = None
    qrels: Path | None = None
    pairs: Path | None = None
    clicks: Path | None = None
    by_itself: bool = False
    test: Path | None = None
    withhold: bool = False

    def __post_init__(self) -> None:
        folder = self.queries is not None and self.queries.is_dir()
        if (self.queries is None) != (self.qrels is None) and not folder:
            raise UsageError("judgements need both: --queries FILE and --qrels FILE (or a BEIR folder as --queries).")
        if self.test is not None and self.queries is None:
            raise UsageError("--test judges questions that --queries holds: give both.")
        if not (self.queries or self.pairs or self.clicks or self.by_itself):
            raise UsageError(
                "there is nothing to learn from: give --queries with --qrels, --pairs, --clicks, or --self for "
                "questions out of the documents."
            )

    @property
    def told(self) -> str:
        """In words."""
        kinds = {"judgements": self.queries, "pairs": self.pairs, "clicks": self.clicks}
        return " and ".join([*(kind for kind, given in kinds.items() if given), *(["the documents"] * self.by_itself)])


def read_sources(
    sources: TrainingSources, corpus: TrainingCorpus
) -> tuple[TrainingQuestions, list[TrainingQuestions], TrainingQuestions | None]:
    """The questions that are measured on, others to learn from, and those that the person holds out.

    Raises:
        UsageError: Only the documents themselves are named.
        DataError: A file can't be read, or knows nothing of the collection.
    """
    found: list[TrainingQuestions] = []
    if sources.queries is not None:
        found.append(read_questions(sources.queries, sources.qrels or sources.queries, corpus))
    if sources.pairs is not None:
        found.append(read_pairs(sources.pairs, corpus))
    if sources.clicks is not None:
        found.append(read_clicks(sources.clicks, corpus))
    if not found:
        raise UsageError("questions that people asked are needed: --queries with --qrels, --pairs or --clicks.")
    test: TrainingQuestions | None = None
    if sources.test is not None:
        assert sources.queries is not None
        file = qrels_file(sources.test, "test") if sources.test.is_dir() else sources.test
        read = read_questions(sources.queries, file, corpus)
        test = TrainingQuestions(
            {f"test: {one}": text for one, text in read.texts.items()},
            {f"test: {one}": own for one, own in read.grades.items()},
        )
    return found[0], found[1:], test
