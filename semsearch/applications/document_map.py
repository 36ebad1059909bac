"""A picture of a collection: each document a point, what is alike side by side, topics by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.all_pairs import PairProgress
from semsearch.applications.clusters import clustered
from semsearch.applications.document_vectors import document_vectors
from semsearch.applications.planar_layout import FEW_ROWS, PRINCIPAL, Layout, laid_out
from semsearch.applications.topics import Topics, TopicsWanted, comparing, described_topics
from semsearch.controls import one_line
from semsearch.engine import Engine, EngineView
from semsearch.errors import UsageError
from semsearch.search.fields import composed, fields_of, in_text, listed_fields
from semsearch.tabular import Tabular

MOST_POINTS = 300_000  # of a picture; of more documents a sample is drawn
TEXT_CHARACTERS = 160  # of a document's title or text,
ALL_CHARACTERS = 24_000_000  # and of all of them
VALUE_CHARACTERS = 80  # of one, in the legend
MOST_VALUES = 30  # colours of a field's values; rarer ones are one
COLOUR_STEPS = 8  # colours of numbers
OTHERS = "other"


@dataclass(frozen=True, eq=False)
class DocumentMap(Tabular):
    """Documents as points; as a frame a row for each.

    Attributes:
        name: The collection's.
        ids: Of the documents.
        texts: Of each its title, or how its text begins.
        places: `(n, 2)` float32, from 0 to 1.
        topics: The topics, whose names stand at `anchors` `(topics, 2)`.
        topic_of: `(n,)` the topic of each document; -1 for none.
        field: Whose values colour the points; None: the topics do.
        colours: What the colours mean: names of topics or values of the field.
        colour_of: `(n,)` the colour of each; -1 for none.
        ordered: The colours are steps of a number.
        notes: What a person should know about how it came about.
    """

    name: str
    ids: Sequence[str]
    texts: Sequence[str]
    places: NDArray[np.float32]
    topics: Topics
    anchors: NDArray[np.float32]
    topic_of: NDArray[np.int64]
    field: str | None
    colours: Sequence[str]
    colour_of: NDArray[np.int64]
    ordered: bool
    notes: Sequence[str]

    def __len__(self) -> int:
        """Points."""
        return len(self.ids)

    def _columns(self) -> dict[str, Any]:
        names = self.topics.names
        topics = [names[topic] if topic >= 0 else None for topic in self.topic_of.tolist()]
        return {"id": self.ids, "text": self.texts, "x": self.places[:, 0], "y": self.places[:, 1], "topic": topics}

    def page(self) -> str:
        """It as a page in HTML: one file, which needs no network."""
        from semsearch.applications.map_page import map_page

        return map_page(self)

    def picture(self) -> bytes:
        """It as a PNG.

        Raises:
            MissingDependency: matplotlib is not installed.
        """
        from semsearch.applications.map_picture import map_picture

        return map_picture(self)


def document_map(
    engine: Engine,
    wanted: TopicsWanted,
    by: str | None = None,
    device: str = "auto",
    progress: PairProgress | None = None,
) -> DocumentMap:
    """See `Collection.map`."""
    wanted.grouping(1)
    with engine.view() as view:
        ids, vectors = document_vectors(view)
        if by is not None and composed(by) not in view.fields().names():
            raise UsageError(f"no document of '{engine.name}' has a field '{by}': {_listed(view, by)}")
        found = clustered(vectors, comparing(view), wanted.grouping(len(ids)), device, progress)
        topics = described_topics(view, vectors, replace(found, ids=ids), wanted.over)
        lying = laid_out(vectors, wanted.seed)
        rows = np.arange(len(ids))
        if len(ids) > MOST_POINTS:
            rows = np.sort(np.random.default_rng(wanted.seed).choice(len(ids), MOST_POINTS, replace=False))
        kept = [ids[row] for row in rows.tolist()]
        texts, values = _read(view, kept, by)
    topic_of = found.labels[rows]
    colours, colour_of, ordered = (topics.names, topic_of, False) if by is None else coloured(values)
    return DocumentMap(
        engine.name,
        kept,
        texts,
        lying.places[rows],
        topics,
        anchors_of(lying.places, found.labels, len(topics)),
        topic_of,
        None if by is None else one_line(by),
        colours,
        colour_of,
        ordered,
        [*topics.notes, *_notes(lying, len(ids), len(kept))],
    )


def _notes(lying: Layout, documents: int, kept: int) -> list[str]:
    notes = []
    if lying.method == PRINCIPAL:
        few = (
            "as documents are few"
            if documents < FEW_ROWS
            else "as openTSNE is not installed: pip install 'semsearch[map]'"
        )
        notes.append(f"the places are those of the first two principal components, {few}.")
    elif lying.landmarks < documents:
        notes.append(
            f"{lying.landmarks:,} documents were laid out by t-SNE, the others lie among those nearest to them."
        )
    if kept < documents:
        notes.append(f"a sample of {kept:,} of {documents:,} documents is shown.")
    return notes


def _listed(view: EngineView, name: str) -> str:
    return listed_fields(name, view.fields().names())


def _read(view: EngineView, ids: Sequence[str], by: str | None) -> tuple[list[str], list[Any]]:
    """Of each document how it begins, and its first value in a field; None for none."""
    row_of = {one: row for row, one in enumerate(ids)}
    most = max(8, min(TEXT_CHARACTERS, ALL_CHARACTERS // max(len(ids), 1)))
    texts, values = [""] * len(ids), [None] * len(ids)
    field = None if by is None else composed(by)
    for document in view.documents():
        row = row_of.get(document.id)
        if row is None:
            continue
        texts[row] = one_line((document.title or document.text)[: 4 * most])[:most]
        if field is not None:
            values[row] = next((v for n, _, k, v in fields_of(document.metadata) if n == field and k in _VALUED), None)
    return texts, values


_VALUED = ("text", "number", "bool")


def coloured(values: Sequence[Any]) -> tuple[list[str], NDArray[np.int64], bool]:
    """Names of colours, the colour of each value, and whether they are steps: of numbers, where these are many."""
    known = [value for value in values if value is not None]
    numbers = [value for value in known if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(known) and len(set(numbers)) > COLOUR_STEPS:
        return _steps(values)
    counts: dict[str, int] = {}
    names = [None if value is None else in_text(value) for value in values]
    for name in names:
        if name is not None:
            counts[name] = counts.get(name, 0) + 1
    order = sorted(counts, key=lambda name: (-counts[name], name))
    shown = order if len(order) <= MOST_VALUES else order[: MOST_VALUES - 1]
    number = {name: at for at, name in enumerate(shown)}
    colour_of = np.array([-1 if name is None else number.get(name, len(shown)) for name in names], dtype=np.int64)
    shown = [one_line(name)[:VALUE_CHARACTERS] for name in shown]
    return [*shown, *([OTHERS] if len(order) > len(number) else [])], colour_of, False


def _steps(values: Sequence[Any]) -> tuple[list[str], NDArray[np.int64], bool]:
    """Numbers in steps that hold about as many each."""
    there = np.array([value is not None for value in values])
    numbers = np.array([float(value) for value in values if value is not None])
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, COLOUR_STEPS + 1)[1:-1], method="lower"))
    step = np.searchsorted(edges, numbers, side="left")
    colour_of = np.full(len(values), -1, dtype=np.int64)
    used, dense = np.unique(step, return_inverse=True)
    colour_of[there] = dense
    names = [f"{numbers[step == one].min():g} to {numbers[step == one].max():g}" for one in used.tolist()]
    return names, colour_of, True


def anchors_of(places: NDArray[np.float32], labels: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """Of each topic the place of the member that is nearest to the middle of its members: `(count, 2)`."""
    anchors = np.zeros((count, 2), dtype=np.float32)
    order = np.argsort(labels, kind="stable")
    begins = np.searchsorted(labels[order], np.arange(count + 1))
    for topic in range(count):
        own = places[order[begins[topic] : begins[topic + 1]]]
        far = ((own - np.median(own, axis=0)) ** 2).sum(axis=1)
        anchors[topic] = own[int(far.argmin())]
    return anchors
