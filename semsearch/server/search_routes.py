"""Searching over HTTP: by text or vector, one collection or several, the like of documents, counts by field."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import Field

from semsearch import wire
from semsearch.collection import Collection
from semsearch.federation import Federation
from semsearch.ingest.pictures import sent_image
from semsearch.places import Provenance
from semsearch.search.languages import Languages, languages_of
from semsearch.search.locator import Locator
from semsearch.search.matches import QueryWords
from semsearch.search.request import OPTIONS
from semsearch.server.failures import Refusal
from semsearch.server.json_bytes import json_bytes
from semsearch.server.operations import Call, FilterSaid, HTTPAnswer, JSONShape, Table
from semsearch.server.queued_model import check_encodes
from semsearch.types import Hit, Hits

routes = Table("search")

MOST_COLLECTIONS = 64  # collections

SearchedTogether = tuple[list[Hits], dict[str, float], tuple[Languages, ...]]


def check_names(call: Call[Any], names: Sequence[str]) -> None:
    """Refuse collections that can't be asked together, or that the key is not for."""
    if forbidden := [name for name in names if not call.grant.covers(name)]:
        raise Refusal(403, "not_allowed", f"the key is not for the collection '{forbidden[0]:.100}'.", "collections")
    if not names or len(set(names)) < len(names) or len(names) > MOST_COLLECTIONS:
        raise Refusal(
            400, "invalid_parameter", f"name from 1 to {MOST_COLLECTIONS} collections, each once.", "collections"
        )


class HowToSearch(JSONShape):
    """How to search; see `Collection.search`."""

    k: int = Field(10, ge=1, description="Documents to give.")
    where: FilterSaid | None = Field(None, description="A metadata filter, as text or as a mapping.")
    mode: Literal["dense", "lexical", "sparse", "hybrid"] = Field(
        "dense", description="By meaning, by words, by a sparse model, or by all that there are."
    )
    exact: bool = Field(False, description="Do without the index.")
    group_by: Literal["document"] | None = Field("document", description="null: passages.")
    dense_weight: float | None = Field(None, ge=0, le=1, description="The share of meaning in 'hybrid'.")
    rerank: bool | str | None = Field(None, description="One of the server's rerankers; true for the first.")
    rerank_weight: float | None = Field(None, ge=0, le=1, description="The share of the reranker in the order.")
    candidates: int = Field(100, ge=1, le=10_000, description="How many are reranked, or thinned out.")
    mmr_lambda: float | None = Field(None, ge=0, le=1, description="Of maximal marginal relevance.")
    context: int = Field(0, ge=0, le=100, description="Passages before and after each.")
    explain: bool = Field(False, description="Say how each was found and what carried it.")
    min_score: float | None = None
    min_percentile: float | None = Field(None, ge=0, le=1)
    min_probability: float | None = Field(None, ge=0, le=1)

    def options(self, call: Call[Any]) -> dict[str, Any]:
        """The keyword arguments of `Collection.search`.

        Raises:
            Refusal: More than this server does, or a model that it has not.
        """
        most = call.service.options.max_k
        if self.k > most:
            raise Refusal(400, "invalid_parameter", f"k must be at most {most:,}, not {self.k:,}.", "k")
        name = call.service.reranker_name(self.rerank)
        chosen = {option: getattr(self, option) for option in OPTIONS if option in self.model_fields_set}
        return chosen | ({} if self.rerank is None else {"rerank": name})


class SearchAsked(HowToSearch):
    """One question, or several, as texts or vectors; a picture, alone or with a text."""

    query: str | None = None
    image: str | None = Field(
        None, description="The Base64 of a picture's file (JPEG, PNG, WebP, GIF, TIFF), to find the like of."
    )
    queries: list[str] | None = Field(None, description="Several, answered together.")
    vector: list[float] | None = Field(None, description="Instead of encoding the query's text.")
    vectors: list[list[float]] | None = None
    matches: bool = Field(False, description="Say where hits have the words of the query.")


class SearchSeveralAsked(SearchAsked):
    """A search of several collections."""

    collections: list[str] | None = Field(None, description="By name; all of them without.")


class Similar(HowToSearch):
    """Documents to find the like of."""

    ids: list[str] = Field(default_factory=list)
    unlike: list[str] = Field(default_factory=list, description="Documents to keep away from.")
    queries: list[str] = Field(default_factory=list, description="Texts that count as examples, too.")
    against: list[str] = Field(default_factory=list, description="Texts that count as counterexamples.")


class Counted(JSONShape):
    """What to count."""

    where: FilterSaid | None = None


class CountAnswer(JSONShape):
    """How many documents a filter allows."""

    schema_: int = Field(alias="schema")
    documents: int


class FoundHit(JSONShape, extra="allow"):
    """A hit; `start` and `end` are the passage's place in its document, in characters."""

    id: str
    rank: int
    score: float | None
    scores: dict[str, float | None]
    title: str
    text: str
    start: int
    end: int
    metadata: dict[str, Any]


class SearchAnswer(JSONShape):
    """What was found for one question."""

    schema_: int = Field(alias="schema")
    query: str | None
    hits: list[FoundHit]
    notes: list[str]
    timings_ms: dict[str, float]


class SearchAnswers(JSONShape):
    """What was found for each of several."""

    schema_: int = Field(alias="schema")
    answers: list[SearchAnswer]


@routes.add(
    "POST",
    "/v1/collections/{collection}/search",
    "SearchAsked a collection",
    body=SearchAsked,
    answer=SearchAnswer | SearchAnswers,
    example={"query": "when does water turn into steam?", "k": 3},
)
async def search(call: Call[SearchAsked]) -> Any:
    """One `query` (or `vector`) gives an answer; `queries` (or `vectors`) give `answers`, one each."""
    return await _searched(call, [call.collection])


@routes.add(
    "POST",
    "/v1/search",
    "SearchAsked several collections",
    body=SearchSeveralAsked,
    answer=SearchAnswer | SearchAnswers,
    example={"query": "a journey into space", "collections": ["films", "papers"]},
)
async def search_several(call: Call[SearchSeveralAsked]) -> Any:
    """Their answers in one order: scores are made comparable; each hit says its `collection`."""
    asked = call.body.collections
    names, notes = (asked, ()) if asked is not None else await call.service.run("read", partial(_all, call))
    check_names(call, names)
    if (call.body.vector is not None or call.body.vectors is not None) and len(names) > 1:
        raise Refusal(400, "invalid_request", "several collections are asked by text: vectors differ among models.")
    return await _searched(call, names, federated=True, notes=notes)


def _all(call: Call[Any]) -> tuple[list[str], tuple[str, ...]]:
    """The collections that are asked where none is named, and what is said of those that can't be."""
    service = call.service
    names, errors = service.collections.that_open([name for name in service.home.names() if call.grant.covers(name)])
    if not names and errors:
        raise next(iter(errors.values()))
    if not names:
        raise Refusal(404, "collection_not_found", "there is no collection to ask.", "collections")
    return names, tuple(f"{name} is left out: {service.refusal(error).message}" for name, error in errors.items())


async def _searched(
    call: Call[Any], names: Sequence[str], *, federated: bool = False, notes: tuple[str, ...] = ()
) -> Any:
    body: SearchAsked = call.body
    options = body.options(call)
    several = body.queries is not None or body.vectors is not None
    if several and (body.query is not None or body.vector is not None):
        raise Refusal(
            400, "invalid_request", "give either 'query' and 'vector', or 'queries' and 'vectors'.", "queries"
        )
    if body.image is not None:
        if several or body.vector is not None:
            raise Refusal(400, "invalid_request", "a picture goes with one 'query' or none, and no vector.", "image")
        found = await call.service.run("read", lambda: _noted(_ask_by_image(call, names, options, federated), notes))
        told = partial(_told, call, None if body.query is None else [body.query], found, several=False)
        return HTTPAnswer(await call.service.run("read", told))
    texts = body.queries if several else None if body.query is None else [body.query]
    vectors = body.vectors if several else None if body.vector is None else [body.vector]
    if texts is None and vectors is None:
        raise Refusal(400, "invalid_request", "give the text of a query, its vector, or a picture.", "query")
    if len(texts or vectors or ()) > call.service.options.max_queries:
        most = call.service.options.max_queries
        raise Refusal(400, "invalid_parameter", f"at most {most:,} queries are answered at once.", "queries")

    def ask(texts: Sequence[str] | None, vectors: Sequence[Sequence[float]] | None) -> SearchedTogether:
        return _noted(_ask(call, names, body.k, options, federated, texts, vectors), notes)

    if several or vectors is not None or texts is None or body.explain or body.rerank or not texts[0].strip():
        found = await call.service.run("read", lambda: ask(texts, vectors))
        return HTTPAnswer(await call.service.run("read", partial(_told, call, texts, found, several=several)))
    key = (tuple(names), federated, body.k, json.dumps(options, sort_keys=True), body.matches, call.grant, notes)

    async def together(queries: Sequence[str]) -> list[bytes]:
        return await call.service.run("read", lambda: _each(call, queries, ask(queries, None)))

    return await call.service.searches.found(key, texts[0], together)


def _noted(found: SearchedTogether, notes: tuple[str, ...]) -> SearchedTogether:
    """The answers, which say what was left out of all."""
    for hits in found[0]:
        hits.notes += notes
    return found


def _ask(
    call: Call[Any],
    names: Sequence[str],
    k: int,
    options: dict[str, Any],
    federated: bool,
    texts: Sequence[str] | None,
    vectors: Sequence[Sequence[float]] | None,
) -> SearchedTogether:
    """The hits of each query, and the milliseconds of all."""

    def one(collection: Collection, timings: dict[str, float]) -> list[Hits]:
        if vectors is None and options.get("mode") not in ("lexical", "sparse"):
            check_encodes(collection)
        return collection.search_many(texts, k, vectors=vectors, timings=timings, **options)

    def together(federation: Federation, timings: dict[str, float]) -> list[Hits]:
        return federation.search_many(list(texts or ()), k, timings=timings, **options)

    return _of_leased(call, names, texts, one, together, federated=federated)


def _ask_by_image(call: Call[Any], names: Sequence[str], options: dict[str, Any], federated: bool) -> SearchedTogether:
    """The hits of a picture, alone or with a text."""
    body: SearchAsked = call.body
    try:
        content = base64.b64decode(body.image or "", validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, "invalid_parameter", "'image' must be the Base64 of a picture's file.", "image") from None
    pixels = sent_image(content)

    def one(collection: Collection, timings: dict[str, float]) -> list[Hits]:
        check_encodes(collection)
        return [collection.search(body.query, body.k, image=pixels, timings=timings, **options)]

    def together(federation: Federation, timings: dict[str, float]) -> list[Hits]:
        return [federation.search(body.query, body.k, image=pixels, timings=timings, **options)]

    texts = None if body.query is None else [body.query]
    return _of_leased(call, names, texts, one, together, federated=federated)


def _of_leased(
    call: Call[Any],
    names: Sequence[str],
    texts: Sequence[str] | None,
    one: Callable[[Collection, dict[str, float]], list[Hits]],
    together: Callable[[Federation, dict[str, float]], list[Hits]],
    *,
    federated: bool,
) -> SearchedTogether:
    """What a collection or several give, and where their hits stand, looked up while the collections are leased."""

    def work(opened: Sequence[Collection]) -> SearchedTogether:
        timings: dict[str, float] = {}
        if federated and len(opened) > 1:
            found = together(Federation(opened), timings)
            for hits in found:
                for hit in hits:
                    _ = hit.place
        else:
            found = one(opened[0], timings)
            _locate(opened[0], found, texts)
            if federated:
                for hits in found:
                    for hit in hits:
                        hit.collection = opened[0].name
        call.service.instruments.searched(len(found), timings)
        return found, timings, tuple(languages_of(one.settings) for one in opened)

    return call.service.collections.use(names, work)


def _locate(collection: Collection, found: Sequence[Hits], texts: Sequence[str] | None) -> None:
    """Look up where the hits of all answers stand at once, while the collection is leased."""
    ids = list(dict.fromkeys(hit.id for hits in found for hit in hits))
    if not ids:
        return
    known = collection.engine.origins.of(ids) if collection.engine.origins.sources() else {}
    languages = languages_of(collection.settings)
    for place, hits in enumerate(found):
        text = "" if texts is None else texts[place]
        locate: Any = Locator(lambda _: known, ids, text, languages) if known else _nowhere
        for hit in hits:
            hit.locate = locate


def _nowhere(hit: Hit) -> Provenance | None:
    return None


def _each(call: Call[Any], texts: Sequence[str], found: SearchedTogether) -> list[bytes]:
    """The JSON of each answer."""
    answers, timings, languages = found
    return [
        json_bytes(_answer(call, text, hits, timings, languages)) for text, hits in zip(texts, answers, strict=True)
    ]


def _told(call: Call[Any], texts: Sequence[str] | None, found: SearchedTogether, *, several: bool) -> bytes:
    answers, timings, languages = found
    named: Sequence[str | None] = texts if texts is not None else [None] * len(answers)
    told = [_answer(call, text, hits, timings, languages) for text, hits in zip(named, answers, strict=True)]
    return json_bytes(wire.message(answers=told) if several else told[0])


def _answer(
    call: Call[Any], text: str | None, hits: Hits, timings: dict[str, float], languages: Sequence[Languages]
) -> dict[str, Any]:
    words = QueryWords(text, *languages) if text is not None and getattr(call.body, "matches", False) else None
    answer = wire.answer(text or "", hits, timings, words)
    if text is None:
        answer["query"] = None
    for hit in answer["hits"]:
        if "place" in hit:
            hit["place"]["path"] = call.service.shown_path(hit["place"]["path"], call.grant)
        if why := hit.get("explanation", {}).get("why"):
            hit["explanation"]["why"] = call.service.sentence(why)
    return answer


@routes.add(
    "POST",
    "/v1/collections/{collection}/similar",
    "Find the like of documents",
    body=Similar,
    answer=SearchAnswer,
    example={"ids": ["bread"], "k": 3},
)
def similar(call: Call[Similar]) -> bytes:
    """The documents most like some, and unlike others; the given ones are left out."""
    body, options = call.body, call.body.options(call)
    for name in ("ids", "unlike", "queries", "against"):
        if len(getattr(body, name)) > call.service.options.max_queries:
            raise Refusal(400, "invalid_parameter", f"there are too many '{name}'.", name)

    def work(opened: Sequence[Collection]) -> Hits:
        (collection,) = opened
        if body.queries or body.against:
            check_encodes(collection)
        found = collection.similar(
            body.ids, body.k, unlike=body.unlike, queries=body.queries, against=body.against, **options
        )
        _locate(collection, [found], None)
        return found

    found = call.service.collections.use([call.collection], work)
    return _told(call, None, ([found], {}, ()), several=False)


@routes.add(
    "POST",
    "/v1/collections/{collection}/count",
    "Count documents",
    body=Counted,
    answer=CountAnswer,
    example={"where": "year >= 1990"},
)
def count_documents(call: Call[Counted]) -> dict[str, Any]:
    """All of them, or those that a filter allows."""
    return call.service.collections.use(
        [call.collection], lambda opened: wire.message(documents=opened[0].count(call.body.where))
    )
