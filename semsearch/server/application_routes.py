"""What is done with a collection besides asking, over HTTP: pairs, duplicates, clusters, topics, a map, labels, bitext.

Each is a task, whose result says how many there are; the rows themselves, or a page, are at `/v1/tasks/{task}/result`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields
from typing import Any, Literal

from pydantic import Field

from semsearch.applications.cluster_labels import check_field
from semsearch.applications.clusters import Grouping
from semsearch.applications.duplicates import Alike
from semsearch.applications.pairs import Wanted
from semsearch.applications.topics import TopicsWanted
from semsearch.collection import Collection
from semsearch.errors import UsageError
from semsearch.ingest import MAX_VANISHED
from semsearch.names import check_name
from semsearch.server.failures import Refusal
from semsearch.server.operations import Call, HTTPAnswer, JSONShape, Table
from semsearch.server.queued_model import check_encodes
from semsearch.server.task_results import ResultFiles
from semsearch.server.task_routes import TaskAnswer, accepted

routes = Table("applications")

TellPairs = Callable[..., None]
ClusterMethod = Literal["communities", "kmeans", "agglomerative", "hdbscan"]


class PairsAsked(JSONShape):
    """Which pairs; see `Collection.pairs`."""

    between: str | None = Field(None, description="Another collection: pairs of one document of each.")
    min_score: float | None = None
    min_percentile: float | None = Field(None, ge=0, le=1, description="The share of random pairs that score less.")
    k: int | None = Field(None, ge=1, le=10_000, description="Only where one is among the k nearest of the other.")
    limit: int | None = Field(1_000, ge=1, description="How many at most; null for all.")


class DuplicatesAsked(JSONShape):
    """What counts as a duplicate; see `Collection.duplicates`."""

    against: str | None = Field(None, description="Another collection, whose documents stay.")
    min_score: float | None = Field(0.95, description="By meaning; null: only the text and the wording count.")
    wording: bool = Field(True, description="Whether nearly the same words count.")
    keep: str = Field("first", description="first, longest, newest, or a field of metadata: the larger value stays.")
    borderline: int = Field(0, ge=0, le=1_000, description="Pairs around min_score to name, to choose it by.")
    remove: bool = Field(False, description="Take them out.")
    most: float = Field(MAX_VANISHED, ge=0, le=1, description="The share of all documents that may be taken out.")


class ClustersAsked(JSONShape):
    """How documents are put together; see `Collection.clusters`."""

    method: ClusterMethod = "communities"
    count: int | None = Field(None, ge=1, description="Clusters of kmeans.")
    min_score: float | None = None
    min_size: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    label_as: str | None = Field(None, description="A field to write the number of its cluster into.")
    assign: bool = Field(False, description="Only give documents without a label in label_as that of their cluster.")


class TopicsAsked(JSONShape):
    """How topics are made; see `Collection.topics`."""

    method: ClusterMethod | None = None
    count: int | None = Field(None, ge=1, description="Topics of kmeans.")
    min_score: float | None = None
    min_size: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
    over: str | None = Field(None, description="A field with dates, to count by year, month or day.")
    label_as: str | None = Field(None, description="A field to write the name of its topic into.")


class MapAsked(JSONShape):
    """How a map is drawn; see `Collection.map`."""

    by: str | None = Field(None, description="A field that colours the points, instead of the topics.")
    method: ClusterMethod | None = None
    count: int | None = Field(None, ge=1, description="Topics of kmeans.")
    min_score: float | None = None
    min_size: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)


class ClassifyAsked(JSONShape):
    """Texts to label by the documents that are like them; see `Collection.classify`."""

    texts: list[str] = Field(min_length=1)
    field: str = Field(description="Of metadata, with the labels of the documents.")
    min_confidence: float = Field(0.0, ge=0, le=1, description="Below it the label is null: don't know.")


class BitextAsked(JSONShape):
    """Sentences that translate each other, a document each."""

    between: str = Field(description="The other collection, of the same multilingual model.")
    k: int = Field(4, ge=1, le=1_000, description="Neighbours of a margin.")
    min_margin: float = Field(1.0, description="Of a pair.")


def _begin(
    call: Call[Any],
    kind: str,
    work: Callable[[list[Collection], TellPairs, ResultFiles], Any],
    *others: str | None,
) -> HTTPAnswer:
    """Begin a task with a collection and perhaps others, all of which the key must be for."""
    names = [check_name(name) for name in others if name is not None]
    if forbidden := [name for name in names if not call.grant.covers(name)]:
        raise Refusal(403, "not_allowed", f"the key is not for the collection '{forbidden[0]:.100}'.")
    for name in (call.collection, *names):
        call.service.home.require(check_name(name))

    def leased(progress: TellPairs, kept: ResultFiles) -> Any:
        def tell(done: float, total: float) -> None:
            progress(compared=int(done), of=int(total))

        with ExitStack() as stack:
            opened = [stack.enter_context(call.service.collections.lease(name)) for name in (call.collection, *names)]
            progress()
            return work(opened, tell, kept)

    return accepted(call, call.service.tasks.begin_finding(kind, call.collection, leased, others=names))


def _device(call: Call[Any]) -> str:
    return call.service.options.compute.on_one_device.device or "auto"


@routes.add(
    "POST",
    "/v1/collections/{collection}/pairs",
    "Find the documents that say the same",
    role="write",
    pool="write",
    body=PairsAsked,
    answer=TaskAnswer,
    status=202,
    example={"min_percentile": 0.9999},
)
def find_pairs(call: Call[PairsAsked]) -> HTTPAnswer:
    """Each compared with each, exactly, the most alike first; a row is a pair."""
    asked = call.body
    Wanted(asked.min_score, asked.min_percentile, asked.k, asked.limit)  # what makes no sense is refused at once

    def work(opened: list[Collection], progress: TellPairs, kept: ResultFiles) -> Any:
        between = opened[1] if len(opened) > 1 else None
        found = opened[0].pairs(
            between,
            min_score=asked.min_score,
            min_percentile=asked.min_percentile,
            k=asked.k,
            limit=asked.limit,
            device=_device(call),
            progress=progress,
        )
        with found:
            rows = (
                {
                    "score": round(pair.score, 6),
                    "first": pair.first.id,
                    "second": pair.second.id,
                    "first_text": pair.first.text,
                    "second_text": pair.second.text,
                }
                for pair in found
            )
            return {"pairs": kept.rows(rows), "notes": list(found.notes)}

    return _begin(call, "pairs", work, asked.between)


@routes.add(
    "POST",
    "/v1/collections/{collection}/duplicates",
    "Find documents that say what another one says",
    role="write",
    pool="write",
    body=DuplicatesAsked,
    answer=TaskAnswer,
    status=202,
    example={"min_score": 0.95},
)
def find_duplicates(call: Call[DuplicatesAsked]) -> HTTPAnswer:
    """By text, by wording, by meaning; a row is a document that can go, with the one that stays, and why."""
    asked = call.body
    Alike(asked.min_score, asked.wording, asked.keep, asked.borderline)

    def work(opened: list[Collection], progress: TellPairs, kept: ResultFiles) -> Any:
        found = opened[0].duplicates(
            opened[1] if len(opened) > 1 else None,
            min_score=asked.min_score,
            wording=asked.wording,
            keep=asked.keep,
            borderline=asked.borderline,
            device=_device(call),
            progress=progress,
        )
        kept.rows({**one._asdict(), "score": round(one.score, 6)} for one in found)
        told: dict[str, Any] = {
            "documents": found.documents,
            "duplicates": len(found),
            **{reason: sum(one.reason == reason for one in found) for reason in ("text", "wording", "meaning")},
            "borderline": [{"score": score, "first": one, "second": two} for one, two, score in found.borderline],
            "notes": list(found.notes),
        }
        if asked.remove and found:
            if len(found) > asked.most * found.documents:
                raise UsageError(
                    f"that would take out {len(found):,} of {found.documents:,} documents, more than 'most' allows "
                    f"({asked.most:.0%}): nothing was taken out."
                )
            told["removed"] = opened[0].remove_duplicates(found, maintain=False)
            call.service.maintain(call.collection)
        return told

    return _begin(call, "duplicates", work, asked.against)


@routes.add(
    "POST",
    "/v1/collections/{collection}/clusters",
    "Put documents that are about the same together",
    role="write",
    pool="write",
    body=ClustersAsked,
    answer=TaskAnswer,
    status=202,
    example={"method": "kmeans", "count": 20, "label_as": "topic"},
)
def find_clusters(call: Call[ClustersAsked]) -> HTTPAnswer:
    """A row is a document with its cluster; as `json` a cluster is an object with its members."""
    asked = call.body
    if asked.assign and asked.label_as is None:
        raise Refusal(400, "invalid_request", "say with 'label_as' which field has the labels.", "label_as")
    if asked.label_as is not None:
        check_field(asked.label_as)
    if asked.assign and (ignored := asked.model_fields_set & {field.name for field in fields(Grouping)}):
        named = ", ".join(f"'{name}'" for name in sorted(ignored))
        raise Refusal(
            400, "invalid_request", f"'assign' goes by the clusters that there are: leave out {named}.", min(ignored)
        )
    if not asked.assign:
        Grouping(asked.method, asked.count, asked.min_score, asked.min_size, asked.seed)

    def work(opened: list[Collection], progress: TellPairs, kept: ResultFiles) -> Any:
        if asked.assign:
            given = opened[0].assign_clusters(str(asked.label_as), device=_device(call))
            kept.rows({"id": identity, "label": label} for identity, label in given.items())
            return {"labelled": len(given)}
        found = opened[0].clusters(
            asked.method,
            count=asked.count,
            min_score=asked.min_score,
            min_size=asked.min_size,
            seed=asked.seed,
            label_as=asked.label_as,
            device=_device(call),
            progress=progress,
        )
        kept.rows(found.documents())
        kept.json(found.told())
        alone = int((found.labels < 0).sum())
        told: dict[str, Any] = {"clusters": len(found), "documents": len(found.labels), "in_none": alone}
        return told | ({} if found.min_score is None else {"min_score": found.min_score})

    return _begin(call, "clusters", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/topics",
    "Say what a collection is about",
    role="write",
    pool="write",
    body=TopicsAsked,
    answer=TaskAnswer,
    status=202,
    example={"count": 20},
)
def find_topics(call: Call[TopicsAsked]) -> HTTPAnswer:
    """A row is a document with its topic; as `json` a topic is an object with its words; as `html` it is a page."""
    asked = call.body
    TopicsWanted(asked.method, asked.count, asked.min_score, asked.min_size, asked.seed, asked.over).grouping(1)
    if asked.label_as is not None:
        check_field(asked.label_as)

    def work(opened: list[Collection], progress: TellPairs, kept: ResultFiles) -> Any:
        from semsearch.applications.topics_page import topics_page

        found = opened[0].topics(
            asked.method,
            count=asked.count,
            min_score=asked.min_score,
            min_size=asked.min_size,
            seed=asked.seed,
            over=asked.over,
            label_as=asked.label_as,
            device=_device(call),
            progress=progress,
        )
        kept.rows(found.documents())
        kept.json(found.told())
        kept.whole("html", topics_page(found, opened[0].name, asked.over).encode("utf-8", "replace"))
        alone = int((found.clusters.labels < 0).sum())
        facts = {"topics": len(found), "documents": len(found.clusters.labels), "in_none": alone}
        return facts | {"undated": found.undated, "notes": list(found.notes)}

    return _begin(call, "topics", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/map",
    "Draw a map of a collection",
    role="write",
    pool="write",
    body=MapAsked,
    answer=TaskAnswer,
    status=202,
    example={"by": "year"},
)
def draw_map(call: Call[MapAsked]) -> HTTPAnswer:
    """A row is a document with its place, from 0 to 1, and its topic; as `html` it is a page that needs no network."""
    asked = call.body
    TopicsWanted(asked.method, asked.count, asked.min_score, asked.min_size, asked.seed).grouping(1)

    def work(opened: list[Collection], progress: TellPairs, kept: ResultFiles) -> Any:
        found = opened[0].map(
            asked.by,
            method=asked.method,
            count=asked.count,
            min_score=asked.min_score,
            min_size=asked.min_size,
            seed=asked.seed,
            device=_device(call),
            progress=progress,
        )
        names = found.topics.names
        kept.rows(
            {
                "id": one,
                "x": x,
                "y": y,
                "topic": topic if topic >= 0 else None,
                "name": names[topic] if topic >= 0 else None,
            }
            for one, (x, y), topic in zip(found.ids, found.places.tolist(), found.topic_of.tolist(), strict=True)
        )
        kept.whole("html", found.page().encode("utf-8", "replace"))
        return {"documents": len(found), "topics": len(found.topics), "notes": list(found.notes)}

    return _begin(call, "map", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/classify",
    "Label texts by the documents that are like them",
    role="write",
    pool="write",
    body=ClassifyAsked,
    answer=TaskAnswer,
    status=202,
    example={"texts": ["my card does not work"], "field": "team", "min_confidence": 0.7},
)
def classify_texts(call: Call[ClassifyAsked]) -> HTTPAnswer:
    """A row for each text, in their order: its label, the confidence, the nearest document."""
    asked = call.body

    def work(opened: list[Collection], progress: TellPairs, kept: ResultFiles) -> Any:
        check_encodes(opened[0])
        found = opened[0].classify(asked.texts, asked.field, min_confidence=asked.min_confidence, device=_device(call))
        labelled = found.labelled or ()
        kept.rows(
            {
                "label": one.label,
                "confidence": one.confidence,
                "best": one.best,
                "nearest": labelled[one.nearest],
                "score": one.score,
            }
            for one in found
        )
        unknown = sum(one.label is None for one in found)
        return {"texts": len(found), "unknown": unknown, "notes": list(found.notes)}

    return _begin(call, "classify", work)


@routes.add(
    "POST",
    "/v1/collections/{collection}/bitext",
    "Find the sentences that translate each other",
    role="write",
    pool="write",
    body=BitextAsked,
    answer=TaskAnswer,
    status=202,
    example={"between": "sentences-de"},
)
def find_bitext(call: Call[BitextAsked]) -> HTTPAnswer:
    """One to one, the surest first, by the margin of their cosine over that of their neighbours; a row is a pair."""
    asked = call.body

    def work(opened: list[Collection], progress: TellPairs, kept: ResultFiles) -> Any:
        from semsearch.applications.bitext import bitext
        from semsearch.applications.document_vectors import document_vectors
        from semsearch.applications.pairs import check_comparable

        check_comparable(opened[0].engine, opened[1].engine)
        sides = []
        for collection in opened:
            with collection.engine.view() as view:
                sides.append(document_vectors(view))
        (ids, vectors), (other_ids, other_vectors) = sides
        found = bitext(vectors, other_vectors, k=asked.k, min_margin=asked.min_margin, progress=progress)

        def rows() -> Iterator[dict[str, Any]]:
            for one, other, margin in zip(
                found.first.tolist(), found.second.tolist(), found.margins.tolist(), strict=True
            ):
                (first,), (second,) = opened[0].get([ids[one]]), opened[1].get([other_ids[other]])
                if first is not None and second is not None:  # neither was taken out meanwhile
                    texts = {"first_text": first.text, "second_text": second.text}
                    yield {"margin": round(margin, 6), "first": first.id, "second": second.id, **texts}

        return {"pairs": kept.rows(rows())}

    return _begin(call, "bitext", work, asked.between)
