"""What a collection is about: its documents in topics, each named by its words, with passages that stand for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.all_pairs import PairProgress
from semsearch.applications.clusters import Clusters, Grouping, clustered
from semsearch.applications.document_vectors import document_vectors
from semsearch.applications.periods import Periods
from semsearch.applications.topic_words import CANDIDATES, WORDS_OF_TOPIC, TopicTerms, TopicWord, written
from semsearch.engine import Engine, EngineView
from semsearch.errors import UsageError
from semsearch.search.fields import composed, listed_fields
from semsearch.search.languages import languages_of
from semsearch.search.mmr import marginal_relevance
from semsearch.tabular import Tabular
from semsearch.types import Metric, Vectors
from semsearch.vectors import score_each

MOST_TOPICS = 100  # where nobody says how many
NAMED_BY = 3  # words in a topic's name
READ_FOR_FORMS = 200  # documents of a topic in which its words are looked up as they are written
CONSIDERED = 50  # members among which those that stand for a topic are chosen
STANDING = 3  # passages for each topic
PASSAGE_CHARACTERS = 300  # of one that is kept
WITHOUT_WORDS = "no words"


class Standing(NamedTuple):
    """A document that stands for its topic, with the passage that scores best with the topic's centre."""

    id: str
    title: str
    passage: str


@dataclass(frozen=True)
class Topic:
    """Documents that are about the same.

    Attributes:
        name: Its first words; no two topics have the same.
        words: What tells it from the others, the best first.
        size: Documents.
        standing: Those that stand for it, best first, near-duplicates behind others.
        over_time: How many in each period, where dates were asked for.
    """

    name: str
    words: tuple[TopicWord, ...]
    size: int
    standing: tuple[Standing, ...]
    over_time: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Topics(Sequence[Topic], Tabular):
    """The topics of a collection, the largest first; as a frame a row for each document.

    Attributes:
        found: The topics.
        clusters: Which document is in which, by the number of the topic; see `Clusters`.
        periods: What `Topic.over_time` counts in: years ("2024"), months or days.
        undated: Documents in a topic without a date, where dates were asked for.
        notes: What a person should know about how they came about.
    """

    found: tuple[Topic, ...]
    clusters: Clusters
    periods: tuple[str, ...] = ()
    undated: int = 0
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Topics."""
        return len(self.found)

    def __getitem__(self, number: Any) -> Any:
        """The topic of a number."""
        return self.found[number]

    @property
    def names(self) -> list[str]:
        """Of the topics, in their order."""
        return [topic.name for topic in self.found]

    def told(self) -> list[dict[str, Any]]:
        """What there is to say of each, as JSON values."""
        return [self._told(number, topic) for number, topic in enumerate(self.found)]

    def _columns(self) -> dict[str, Any]:
        whole = list(self.documents())
        return {name: [facts[name] for facts in whole] for name in ("id", "topic", "name", "score")}

    def _told(self, number: int, topic: Topic) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "topic": number,
            "name": topic.name,
            "size": topic.size,
            "words": [{"word": word.text, "weight": round(word.weight, 6)} for word in topic.words],
            "representatives": [one._asdict() for one in topic.standing],
        }
        if self.periods:
            facts["over_time"] = dict(zip(self.periods, topic.over_time, strict=True))
        return facts

    def documents(self) -> Iterator[dict[str, Any]]:
        """Each document with its topic, as JSON values; null for none."""
        names = self.names
        for facts in self.clusters.documents():
            topic = facts.pop("cluster")
            name = None if topic is None else names[topic]
            yield {"id": facts["id"], "topic": topic, "name": name, "score": facts["score"]}


@dataclass(frozen=True, slots=True)
class TopicsWanted:
    """How to find topics: as in `Grouping`, but that without a method it is k-means with a usual count.

    `over` is a field of metadata with dates, by which documents are counted.
    """

    method: str | None = None
    count: int | None = None
    min_score: float | None = None
    min_size: int | None = None
    seed: int = 0
    over: str | None = None

    def grouping(self, documents: int) -> Grouping:
        """Of so many documents.

        Raises:
            UsageError: What is asked for makes no sense.
        """
        method, count = "kmeans" if self.method is None else self.method, self.count
        if self.method is None and count is None:
            count = max(1, min(MOST_TOPICS, isqrt(documents // 2)))  # as many as a topic has documents, halved
        return Grouping(method, count, self.min_score, self.min_size, self.seed)


def document_topics(
    engine: Engine, wanted: TopicsWanted, device: str = "auto", progress: PairProgress | None = None
) -> Topics:
    """See `Collection.topics`."""
    wanted.grouping(1)  # what makes no sense is said before anything is read
    with engine.view() as view:
        ids, vectors = document_vectors(view)
        found = clustered(vectors, comparing(view), wanted.grouping(len(ids)), device, progress)
        return described_topics(view, vectors, replace(found, ids=ids), wanted.over)


def described_topics(view: EngineView, vectors: Vectors, found: Clusters, over: str | None) -> Topics:
    """Clusters with their words, passages and times; `over` is a field of metadata with dates."""
    languages = languages_of(view.settings)
    terms = TopicTerms(len(found), languages)
    periods = None if over is None else Periods(composed(over), len(found))
    topic_of = dict(zip(found.ids, found.labels.tolist(), strict=True))
    for document in view.documents():
        topic = topic_of.get(document.id)
        if topic is not None:
            terms.add(topic, f"{document.title}\n{document.text}")
            if periods is not None and topic >= 0:
                periods.add(topic, document.metadata)
    if periods is not None and not periods.dated and len(found):
        raise UsageError(f"no document in a topic has a date or a year in '{over}': {_fields(view, str(over))}")
    best = terms.best(CANDIDATES * WORDS_OF_TOPIC)
    topics: list[Topic] = []
    taken: set[str] = set()
    counted = () if periods is None else periods.counts()
    for number, size in enumerate(found.sizes.tolist()):
        members = found.members(number)
        read = view.get([found.ids[row] for row in members[:READ_FOR_FORMS].tolist()])
        texts = [f"{document.title}\n{document.text}" for document in read.values()]
        words = tuple(written(best[number], texts, languages))
        name = ", ".join(word.text for word in words[:NAMED_BY]) or WITHOUT_WORDS
        for more in range(NAMED_BY + 1, len(words) + 1):
            if name in taken:
                name = ", ".join(word.text for word in words[:more])
        if name in taken:
            name = f"{name} ({number})"
        taken.add(name)
        times = tuple(counted[number]) if counted else ()
        topics.append(Topic(name, words, size, _standing(view, vectors, found, number, members), times))
    notes = []
    if terms.forgotten:
        notes.append(f"words that few documents have were forgotten: counts may be {terms.forgotten:,} too low.")
    return Topics(
        tuple(topics),
        found,
        () if periods is None else tuple(periods.names),
        0 if periods is None else periods.undated,
        tuple(notes),
    )


def _standing(
    view: EngineView, vectors: Vectors, found: Clusters, number: int, members: NDArray[np.int64]
) -> tuple[Standing, ...]:
    """The members that score best with the centre, thinned out."""
    near = members[:CONSIDERED]
    gains = found.scores[near].astype(np.float64)
    chosen = near[marginal_relevance(gains, np.asarray(vectors[near]), STANDING, 0.5)].tolist()
    made = []
    for row in chosen:
        one = found.ids[row]
        keys = np.asarray(view.keys_of([one]).get(one, ()), dtype=np.int64)
        if not len(keys):
            continue
        own = view.vectors(keys)
        centre = np.zeros(len(keys), dtype=np.int64)
        scores = score_each(found.centres[number : number + 1], centre, own, np.arange(len(keys)), comparing(view))
        passage = view.passages_of(keys[[int(np.argmax(scores))]])[0]
        if passage is not None:
            made.append(Standing(one, passage.title, passage.text[:PASSAGE_CHARACTERS]))
    return tuple(made)


def _fields(view: EngineView, name: str) -> str:
    return listed_fields(name, view.fields().names())


def comparing(view: EngineView) -> Metric:
    """How documents are clustered: by their directions, unless distances are compared."""
    return Metric.L2 if Metric(view.settings["metric"]) == Metric.L2 else Metric.COSINE
