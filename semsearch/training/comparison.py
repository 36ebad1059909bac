"""Before and after, on questions that nothing was learnt from or chosen by: whether a model may take another's place.

Better is what is better beyond chance (paired randomisation test, by Holm's correction over the ways of searching,
p < 0.05) in one way of searching and not worse beyond chance in any. All else is not better.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from semsearch.collection import Collection
from semsearch.encoder.checkpoint import Role
from semsearch.encoder.text_encoder import Stream, TextEncoder
from semsearch.evaluation.metrics import Scored, answers, asked, chance, interval, scored
from semsearch.opening import create
from semsearch.training.training_questions import TrainingQuestions
from semsearch.types import Document, Reranker, Vectors

if TYPE_CHECKING:
    from semsearch.search.request import SearchKeywords

ModelRuns = dict[str, dict[str, dict[str, float]]]  # way of searching → question → document → score

WORSE = 0.05  # the probability of chance below which a difference is none
DECIDING = "nDCG@10"
TOLD_MEASURES = (DECIDING, "R@100")
TIMED_DOCUMENTS, TIMED_QUESTIONS = 128, 4  # by which it is told how long all take
POWER = 2.8  # standard errors of the smallest difference that is found four times in five at p < 0.05


@dataclass(frozen=True)
class Difference:
    """One way of searching, before and after."""

    mode: str
    questions: int
    before: Scored
    after: Scored

    def figures(self, measure: str = DECIDING) -> tuple[float, float, float]:
        """The mean before, after, and how likely chance makes such a difference."""
        old, new = self.before.values[measure], self.after.values[measure]
        return float(old.mean()), float(new.mean()), chance(new, old)

    @property
    def interval(self) -> tuple[float, float]:
        """Between which two figures the mean change lies (95 %)."""
        return interval(self.after.values[DECIDING] - self.before.values[DECIDING])

    @property
    def change(self) -> float:
        """Of the mean."""
        return float((self.after.values[DECIDING] - self.before.values[DECIDING]).mean())

    @property
    def smallest(self) -> float:
        """The smallest change of the mean that so many questions would show."""
        spread = self.after.values[DECIDING] - self.before.values[DECIDING]
        return POWER * float(spread.std(ddof=1)) / self.questions**0.5 if self.questions > 1 else 1.0


@dataclass(frozen=True)
class ModelComparison:
    """All ways of searching."""

    differences: Sequence[Difference]

    @property
    def worse(self) -> list[str]:
        """The ways that lost beyond chance."""
        return [one.mode for one in self.differences if one.change < 0 and one.figures()[2] < WORSE]

    @property
    def gained(self) -> list[str]:
        """The ways that gained beyond chance, by Holm's correction: the others together had as many chances."""
        found = []
        ordered = sorted(self.differences, key=lambda one: one.figures()[2])
        for place, one in enumerate(ordered):
            if one.figures()[2] >= WORSE / (len(ordered) - place):
                break
            if one.change > 0:
                found.append(one.mode)
        return found

    @property
    def better(self) -> bool:
        """Whether the model may take the other's place."""
        return bool(self.gained) and not self.worse

    @property
    def verdict(self) -> str:
        """In a sentence."""
        if self.better:
            return f"better on the test questions ({', '.join(self.gained)}), worse in no way of searching"
        if self.worse:
            return f"worse on the test questions ({', '.join(self.worse)})"
        most = max(one.smallest for one in self.differences)
        count = self.differences[0].questions
        return (
            f"not better beyond chance on the {count:,} test questions, which show a change of {most:.3f} or more four "
            "times in five"
        )

    def table(self) -> list[tuple[str, ...]]:
        """Rows of mode, measure, before, after, change, its interval, and the probability of chance."""
        rows: list[tuple[str, ...]] = []
        for one in self.differences:
            for measure in TOLD_MEASURES:
                old, new, p = one.figures(measure)
                low, high = interval(one.after.values[measure] - one.before.values[measure])
                rows.append(
                    (
                        one.mode,
                        measure,
                        f"{old:.4f}",
                        f"{new:.4f}",
                        f"{new - old:+.4f}",
                        f"{low:+.4f} to {high:+.4f}",
                        f"{p:.4f}",
                    )
                )
        return rows


TABLE_HEAD = ("search", "measure", "before", "after", "change", "95 % interval", "p")


class RememberedStream:
    """A stream that has encoded some texts before."""

    def __init__(self, stream: Stream, texts: Sequence[str], vectors: Vectors) -> None:
        self._stream = stream
        self._place = {text: place for place, text in enumerate(texts)}
        self._vectors = vectors

    @property
    def truncated(self) -> int:
        """Texts that were longer than the window."""
        return self._stream.truncated

    def encode(self, texts: Iterable[str], prompt: str = "") -> Vectors:
        """Vectors `(n, dim)`, those that are known without the model."""
        listed = list(texts)
        missing = [text for text in dict.fromkeys(listed) if text not in self._place]
        made = dict(zip(missing, self._stream.encode(missing, prompt), strict=True)) if missing else {}
        rows = [made[text] if text in made else self._vectors[self._place[text]] for text in listed]
        return np.stack(rows) if rows else np.empty((0, self._vectors.shape[1]), np.float32)


def remembering(encoder: TextEncoder, texts: Sequence[str], vectors: Vectors) -> TextEncoder:
    """The encoder, with the vectors of documents that are known."""
    streams: dict[Role, Stream] = {
        "document": RememberedStream(encoder.stream("document"), texts, vectors),
        "query": encoder.stream("query"),
    }
    return encoder.over(streams)


def ways(rerank: str | Reranker | None) -> dict[str, SearchKeywords]:
    """The ways that are measured."""
    found: dict[str, SearchKeywords] = {
        "dense": {"mode": "dense", "exact": True},
        "hybrid": {"mode": "hybrid", "exact": True},
    }
    if rerank is not None:
        found["hybrid+rerank"] = {"mode": "hybrid", "exact": True, "rerank": rerank, "candidates": 50}
    return found


def runs_with(
    encoder: TextEncoder,
    documents: Sequence[Document],
    collection: Collection,
    questions: TrainingQuestions,
    rerank: str | Reranker | None,
) -> ModelRuns:
    """What a collection of these documents answers with an encoder, otherwise made as `collection`."""
    with _made_as(collection, encoder) as made:
        made.add(documents)
        return {mode: answers(made, questions.texts, how) for mode, how in ways(rerank).items()}


def seconds_of_runs(
    encoder: TextEncoder,
    documents: Sequence[Document],
    collection: Collection,
    questions: TrainingQuestions,
    rerank: str | Reranker | None,
) -> float:
    """How long `runs_with` takes, measured on some of the documents and questions."""
    some = documents[:: max(1, len(documents) // TIMED_DOCUMENTS)][:TIMED_DOCUMENTS]
    asked_some = questions.only(set(list(questions.texts)[:TIMED_QUESTIONS]))
    with _made_as(collection, encoder) as made:
        start = time.perf_counter()
        made.add(some)
        added = time.perf_counter()
        for how in ways(rerank).values():
            answers(made, asked_some.texts, how)
        answered = time.perf_counter()
    of_documents, of_questions = len(documents) / len(some), len(questions.texts) / len(asked_some.texts)
    return (added - start) * of_documents + (answered - added) * of_questions


@contextmanager
def _made_as(collection: Collection, encoder: TextEncoder) -> Iterator[Collection]:
    """An empty collection, like another but for its encoder."""
    languages = collection.languages
    with (
        tempfile.TemporaryDirectory(prefix="semsearch-") as home,
        create(
            "compared",
            encoder=encoder,
            home=Path(home),
            passages=bool(collection.settings["passages"]),
            language=list(languages) if languages else None,
            index="exact",
        ) as made,
    ):
        yield made


def compared(before: ModelRuns, after: ModelRuns, questions: TrainingQuestions) -> ModelComparison:
    """The runs of two models over the same questions."""
    qrels = {one: questions.grades[one] for one in questions.texts}
    count = len(asked(qrels))
    return ModelComparison(
        [Difference(mode, count, scored(before[mode], qrels), scored(after[mode], qrels)) for mode in before]
    )
