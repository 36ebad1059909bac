"""A search from question to answers: encode, gather candidates, score, fuse, rerank, thin out, weigh, explain.

Candidates are gathered, scored and joined with their passages inside one view of the engine. What comes after works on
hits alone, when the view is closed: a reranker or a model may take its time there, and may fail in its own way.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from semsearch import dates, models
from semsearch.bound_encoder import NO_VECTORS, BoundEncoder, EncodedQueries
from semsearch.bound_sparse import BoundSparseEncoder
from semsearch.chunking import compose, splitter_for
from semsearch.engine import (
    COPIED_FROM,
    SPARSE,
    Candidates,
    Engine,
    EngineView,
    Prompt,
    Settings,
    SparseView,
    StateMoved,
)
from semsearch.errors import DimensionMismatch, UsageError
from semsearch.search.blending import blend, own_weight
from semsearch.search.calibration import Calibration
from semsearch.search.fusion import FUSION_DEPTH, LEXICAL_DEPTH
from semsearch.search.garbage import uncollected
from semsearch.search.languages import Languages, languages_of
from semsearch.search.locator import Locator
from semsearch.search.mmr import marginal_relevance, on_scale
from semsearch.search.query_syntax import Query
from semsearch.search.ranking import Ranking, TwoLists, fused, scored
from semsearch.search.request import ParsedQueries, Request
from semsearch.search.sparse_ranking import Proposed, floor_of, fused_with_sparse
from semsearch.search.where import Filter
from semsearch.search.where_mapping import Where
from semsearch.search.where_mapping import parse as parse_filter
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Encoder, Explanation, Hit, Hits, Keys, Metric, Passage, Reranker, Vectors, Windowed
from semsearch.vectors import stored_form

if TYPE_CHECKING:
    from semsearch.search.explanation import Explainer

SparseProducts = list[tuple[int, float]]  # components, and what each adds to a score, the most first
Timings = MutableMapping[str, float]  # milliseconds by stage

KEPT_FILTERS = 16
_SAID = json.JSONEncoder(sort_keys=True)  # made once: each search asks
UNHEARD = (
    "the reranker did no better than its first stage on held-out questions, so it counts nothing and the order is the "
    "first stage's: leave it out, or weigh it (rerank_weight)."
)
HALF_COPIED = (
    "this is a copy that was begun and is not done: documents are missing until 'semsearch copy' is run again."
)
UNCOLLECTED_HITS = 1000  # hits, from which collecting garbage while they are made costs as much as making them


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What one view gave: the hits of each query, and what the later stages need of the engine."""

    answers: list[list[Hit]]
    notes: list[tuple[str, ...]]  # for each query
    vectors: Mapping[int, Vectors]  # by key, where hits are to be thinned out
    settings: Settings
    version: object
    terms: Mapping[tuple[int, int], SparseProducts]  # by query and key, where hits are explained


class SparseQueries(NamedTuple):
    """The sparse vectors of questions; None where they are not asked for."""

    described: Any  # the setting that tells the model which made them; None: the collection has no such model
    vectors: SparseVectors | None
    asked: bool = True  # whether that model matters

    def fits(self, settings: Settings) -> bool:
        """Whether the collection still has that model."""
        return not self.asked or settings.get(SPARSE) == self.described

    def each(self) -> list[SparseVectors]:
        """One vector for each question."""
        return [] if self.vectors is None else [self.vectors[[place]] for place in range(len(self.vectors))]


def _products(
    query: tuple[NDArray[np.int32], NDArray[np.float32]], row: tuple[NDArray[np.int32], NDArray[np.float32]]
) -> SparseProducts:
    """What each component that both have adds to their product, the most first."""
    both, of_query, of_row = np.intersect1d(query[0], row[0], assume_unique=True, return_indices=True)
    products = query[1][of_query].astype(np.float64) * row[1][of_row]
    order = np.lexsort((both, -products))
    return list(zip(both[order].tolist(), products[order].tolist(), strict=True))


def _lacking(view: SparseView) -> tuple[str, ...]:
    """What to say where passages wait for their sparse vectors."""
    count = view.lacking_sparse
    if not count:
        return ()
    return (f"{count:,} passages have no sparse vector yet and are not found by it: the next write encodes them.",)


class Searcher:
    """Answers the searches of one collection. Threads may share it."""

    def __init__(self, engine: Engine, model: BoundEncoder) -> None:
        self._engine = engine
        self._prompt = engine if isinstance(engine, Prompt) else None
        self._model = model
        self.sparse_model = BoundSparseEncoder(engine, model.compute)
        self._rerankers: dict[str, Reranker] = {}
        self._filters: dict[tuple[object, str], Filter] = {}
        self._explainer: tuple[Encoder, Explainer] | None = None
        self._calibration: tuple[object, Calibration | None] | None = None
        self._seen: Settings | None = None  # the settings of the last view of an engine far away

    def search(
        self,
        queries: Iterable[str] | None,
        vectors: Any,
        request: Request,
        timings: Timings | None = None,
        shared: EncodedQueries | None = None,
    ) -> list[Hits]:
        """The hits of each query.

        Args:
            queries: Their texts; None where vectors are all there is.
            vectors: `(q, dim)`, instead of encoding the texts; None otherwise.
            request: How to search.
            timings: Gets the milliseconds of each stage.
            shared: What was encoded for other collections.
        """
        texts = request.check_queries(queries, given=vectors is not None)
        vectors = list(vectors) if isinstance(vectors, Iterator) else vectors  # which would serve only once
        with ExitStack() as stack:
            return self._answered(ParsedQueries.of(texts, request.mode), vectors, request, timings, shared, stack)

    def _answered(
        self,
        questions: ParsedQueries,
        vectors: Any,
        request: Request,
        timings: Timings | None,
        shared: EncodedQueries | None,
        stack: ExitStack,
    ) -> list[Hits]:
        """The hits; `stack` gets what has to end with them."""
        encodes = vectors is None and request.mode not in ("lexical", "sparse")
        while True:
            described, started = self._model.described, time.perf_counter()
            encoded, read = NO_VECTORS, questions.read
            sparse = self._sparse(read, request)
            if encodes:
                encoded = self._model.queries(read) if shared is None else shared.of(self._model, read)
            if timings is not None:
                timings["encode"] = 1000 * (time.perf_counter() - started)
            with suppress(StateMoved), self._view() as view:
                settings = view.settings
                if self._prompt is not None:  # which saves a round trip
                    self._seen = settings
                if settings["encoder"] == described and sparse.fits(settings):
                    if vectors is not None and request.mode not in ("lexical", "sparse"):
                        encoded = _fitting_vectors(view, vectors, questions.texts, Metric(settings["metric"]))
                    began = time.perf_counter()
                    found = self._gather(view, questions, encoded, request, sparse, stack)
                    if timings is not None:
                        timings["search"] = 1000 * (time.perf_counter() - began)
                    break
                if settings["encoder"] != described:  # encoded anew with another model meanwhile
                    self._model.renew(settings)
        return self._finish(found, questions, request, timings, encoded=encodes)

    def _view(self) -> AbstractContextManager[EngineView]:
        return self._engine.view() if self._prompt is None else self._prompt.prompt_view()

    # Inside a view of the engine

    def _gather(
        self,
        view: EngineView,
        questions: ParsedQueries,
        vectors: Vectors,
        request: Request,
        sparse: SparseQueries,
        stack: ExitStack,
    ) -> Retrieved:
        """The hits of each query, at most `request.depth`: the best passage of the best documents, or passages."""
        while True:
            rankings = self._rankings(view, questions, vectors, request, sparse)
            keys = np.concatenate([NO_KEYS, *(ranking.candidates.keys for ranking in rankings)])
            if len(keys) > UNCOLLECTED_HITS and not request.reranks:
                stack.enter_context(uncollected())
            passages = view.passages_of(keys)
            if None not in passages:
                rest = iter(cast("list[Passage]", passages))
                answers = [ranking.hits(rest) for ranking in rankings]
                break
            # what was not as it was stored is no candidate any more: ask again
        if request.context:
            spans = iter(view.context_of(keys, request.context))
            for hits in answers:
                for hit in hits:
                    hit.context = next(spans)
        terms: dict[tuple[int, int], SparseProducts] = {}
        if request.explain and sparse.vectors is not None:
            assert isinstance(view, SparseView), "the engine says so"
            for place, (query, ranking) in enumerate(zip(sparse.each(), rankings, strict=True)):
                stored = view.sparse_vectors(ranking.candidates.keys)
                for key, row in zip(ranking.candidates.keys.tolist(), stored.rows(), strict=True):
                    terms[place, key] = _products(query.row(0), row)
        near = {}
        if request.mmr_lambda is not None:
            near = dict(zip(keys.tolist(), view.vectors(keys), strict=True))
        unfinished = (HALF_COPIED,) if view.settings.get(COPIED_FROM) else ()
        notes = [(*unfinished, *ranking.notes) for ranking in rankings]
        return Retrieved(answers, notes, near, view.settings, view.version, terms)

    def _sparse(self, read: Sequence[str], request: Request) -> SparseQueries:
        """The sparse vectors of questions, where they are asked for or the collection has a model for them."""
        if request.mode == "dense" or request.mode == "lexical" or not read:
            return SparseQueries(None, None, asked=False)
        if request.mode == "hybrid" and not self._engine.capabilities.sparse:
            return SparseQueries(None, None, asked=False)
        if request.mode == "hybrid":
            seen = self._seen  # old settings, which are held against the view's
            settings = self._engine.settings if seen is None or seen.get(SPARSE) is not None else seen
            if settings.get(SPARSE) is None:
                return SparseQueries(None, None)
        else:
            settings = self._engine.settings
        self._check_sparse()
        return SparseQueries(settings.get(SPARSE), self.sparse_model.queries(settings, read))

    def _check_sparse(self) -> None:
        if not self._engine.capabilities.sparse:
            raise UsageError(
                f"collection '{self._engine.name}' lies in the engine '{self._engine.capabilities.engine}', which "
                "keeps no sparse vectors: choose another mode."
            )

    def _rankings(
        self, view: EngineView, questions: ParsedQueries, vectors: Vectors, request: Request, sparse: SparseQueries
    ) -> list[Ranking]:
        """One list of passages for each query, in the mode that was asked for."""
        grouped, depth = request.group_by == "document", request.depth
        metric = Metric(view.settings["metric"])
        where = None if request.where is None else self._filter(view, request.where)
        if request.mode == "dense":
            found = self._dense(view, vectors, depth, view.allowed(where), request, metric)
            return [Ranking("dense", candidates) for candidates in found]
        if request.mode == "sparse":
            assert isinstance(view, SparseView), "the engine says so"
            allowed, notes = view.allowed(where), _lacking(view)
            return [
                Ranking("sparse", view.sparse(query, depth, allowed=allowed, grouped=grouped), notes=notes)
                for query in sparse.each()
            ]
        queries = [query for query in questions.parsed if query is not None]
        if request.mode == "lexical":
            allowed = view.allowed(where)

            def by_words(query: Query) -> Ranking:
                return Ranking("lexical", view.lexical(query, depth, allowed=allowed, grouped=grouped))

            return [_loosened_if_empty(query, by_words, filtered=where is not None) for query in queries]
        return self._hybrid(view, queries, vectors, request, where, metric, sparse.each())

    def _filter(self, view: EngineView, where: Where) -> Filter:
        """What `where` says, remembered for this state of the collection: checking it asks for the types of fields."""
        try:
            said = where if isinstance(where, str) else _SAID.encode(where)
            if "last" in said.lower():  # 'last 30 days' is another time each second
                said += f" {int(dates.now().timestamp())}"
            key = (view.version, said)
        except (TypeError, ValueError, RecursionError):  # the parser tells what is wrong
            return parse_filter(where, view.fields())
        known = self._filters.get(key)
        if known is None:
            known = parse_filter(where, view.fields())
            self._filters = dict(list(self._filters.items())[1 - KEPT_FILTERS :]) | {key: known}
        return known

    def _hybrid(
        self,
        view: EngineView,
        queries: Sequence[Query],
        vectors: Vectors,
        request: Request,
        where: Filter | None,
        metric: Metric,
        sparse: Sequence[SparseVectors],
    ) -> list[Ranking]:
        """Each query by meaning, by words and by a sparse model; what it rules out, none of them finds."""
        grouped, depth = request.group_by == "document", max(request.depth, FUSION_DEPTH)
        allowed = view.allowed(where)
        plain = [place for place, query in enumerate(queries) if query.plain]
        dense: dict[int, Candidates] = {}
        if plain:
            found = self._dense(view, vectors[plain], depth, allowed, request, metric)
            dense = dict(zip(plain, found, strict=True))

        def lexical(query: Query, own: Any) -> tuple[Candidates, float]:
            asked = max(depth, LEXICAL_DEPTH)
            found = view.lexical(query, asked, allowed=own, grouped=grouped)
            return found, floor_of(found, asked)

        def by_both(place: int, query: Query) -> Ranking:
            own, near = allowed, dense.get(place)
            if near is None:
                own = view.allowed(where, query)
                (near,) = self._dense(view, vectors[place : place + 1], depth, own, request, metric)
            words, floor = lexical(query, own)
            if sparse:
                assert isinstance(view, SparseView), "the engine says so"
                terms = view.sparse(sparse[place], depth, allowed=own, grouped=grouped)
                lists = Proposed(words, floor), Proposed(terms, floor_of(terms, depth))
                both = vectors[place], sparse[place]
                ranking = fused_with_sparse(near, *lists, *both, view, metric, request, depth)
                return replace(ranking, notes=_lacking(view))
            two = TwoLists(near, words, floor, depth, grouped=grouped)
            return fused([two], vectors[place : place + 1], view, metric, request, depth)[0]

        together: dict[int, Ranking] = {}
        if plain and not sparse:
            lists = (TwoLists(dense[at], *lexical(queries[at], allowed), depth, grouped=grouped) for at in plain)
            together = dict(zip(plain, fused(lists, vectors[plain], view, metric, request, depth), strict=True))
        return [
            together[place]
            if place in together
            else _loosened_if_empty(query, partial(by_both, place), filtered=where is not None)
            for place, query in enumerate(queries)
        ]

    def _dense(
        self, view: EngineView, vectors: Vectors, depth: int, allowed: Any, request: Request, metric: Metric
    ) -> list[Candidates]:
        """The nearest passages of each query, under their true scores."""
        grouped = request.group_by == "document"
        found = view.dense(vectors, depth, allowed=allowed, exact=request.exact, grouped=grouped)
        if self._engine.capabilities.scored:
            return found
        return [scored(view, one, query, metric) for one, query in zip(found, vectors, strict=True)]

    # On hits alone

    def _finish(
        self,
        found: Retrieved,
        questions: ParsedQueries,
        request: Request,
        timings: Timings | None,
        *,
        encoded: bool,
    ) -> list[Hits]:
        """What is said of hits beside their order; whether the texts were `encoded`."""
        answers, started = found.answers, time.perf_counter()
        texts, asked = questions.texts or (), questions.read
        unheard: tuple[str, ...] = ()
        if request.reranks:
            unheard = self._rerank(asked, answers, request)
            if timings is not None:
                timings["rerank"] = 1000 * (time.perf_counter() - started)
        if request.mmr_lambda is not None:
            metric = Metric(found.settings["metric"])
            answers = [_thin_out(hits, found.vectors, metric, request.k, request.mmr_lambda) for hits in answers]
        answers = [hits[: request.k] for hits in answers]
        self._weigh(answers, found)
        if minima := request.minima:
            answers = [_good_enough(hits, minima) for hits in answers]
        if request.explain:
            self._explain(asked, answers, found, request)
        self._locatable(answers, texts, languages_of(found.settings))
        notes = found.notes
        if texts:
            of_model = [tuple(self._unread(text)) for text in asked] if encoded else [()] * len(texts)
            notes = [
                (*request.unheeded(text, parsed), *cut, *own)
                for text, parsed, cut, own in zip(texts, questions.parsed, of_model, notes, strict=True)
            ]
        if minima and (lacking := self._unmeasured(request, found)):
            notes = [(*own, *lacking) for own in notes]
        return list(map(Hits, answers, [(*own, *unheard) for own in notes]))

    def _explain(
        self, asked: Sequence[str], answers: Sequence[Sequence[Hit]], found: Retrieved, request: Request
    ) -> None:
        from semsearch.search.explanation import paired, way

        explainer = None if request.mode == "sparse" else self._explainer_of(found.settings)
        reranker = self._reranker(request.rerank) if request.reranks else None
        word = self.sparse_model.get(found.settings).word if found.terms else None
        for place, (query, hits) in enumerate(zip(asked, answers, strict=True)):
            for hit in hits:
                if explainer is None:
                    hit.explanation = Explanation(way(hit), why="its score is a sum over the words of a sparse model.")
                else:
                    hit.explanation = explainer.explain(query, hit)
                if reranker is not None and (pairs := paired(reranker, query, hit)) is not None:
                    hit.explanation = replace(hit.explanation, pairs=pairs)
                if word is not None and (products := found.terms.get((place, hit.key))) is not None:
                    terms = [(word(component), product) for component, product in products]
                    hit.explanation = replace(hit.explanation, terms=terms)

    def _rerank(self, asked: Sequence[str], answers: Sequence[list[Hit]], request: Request) -> tuple[str, ...]:
        """Put the hits of each query in their new order; what there is to say of it."""
        reranker, weight = self._reranker(request.rerank), request.rerank_weight
        counts = own_weight(reranker) if weight is None else float(weight)
        for query, hits in zip(asked, answers, strict=True):
            _rerank(reranker, query, hits, counts)
        return (UNHEARD,) if counts == 0 and weight is None else ()

    def _locatable(self, answers: Sequence[Sequence[Hit]], texts: Sequence[str], languages: Languages = ()) -> None:
        for hits, text in zip(answers, texts or repeat(""), strict=False):
            locator = Locator(self._engine.origins.of, [hit.passage.id for hit in hits], text, languages)
            for hit in hits:
                hit.locate = locator

    def _unread(self, text: str) -> Iterator[str]:
        """What to say of a query that the model read only in part."""
        encoder = self._model.get()
        window = getattr(encoder, "query_window", getattr(encoder, "window", None))
        # a token has a letter at least, and a look at a protocol costs most
        if window is not None and len(text) > window and isinstance(encoder, Windowed):
            count = len(encoder.tokenizer.encode(text, add_special_tokens=False).ids)
            if count > window:
                yield (
                    f"the query has {count:,} tokens, of which the model reads the first {window:,}: ask more briefly, "
                    "or in several queries."
                )

    def _unmeasured(self, request: Request, found: Retrieved) -> tuple[str, ...]:
        """What to say where a minimum was asked for of what hits don't have."""
        calibration = self._calibrated(found)
        if calibration is None and (request.min_percentile is not None or request.min_probability is not None):
            return (
                "no hit has a percentile or a probability: the collection is not calibrated (semsearch calibrate).",
            )
        if request.min_probability is not None and calibration is not None and calibration.slope is None:
            return (
                "no hit has a probability: the collection was calibrated without judgements (semsearch calibrate NAME "
                "FOLDER takes them).",
            )
        return ()

    def _calibrated(self, found: Retrieved) -> Calibration | None:
        known = self._calibration
        if known is None or known[0] != found.version:
            known = self._calibration = (found.version, Calibration.of(found.settings))
        return known[1]

    def _weigh(self, answers: Sequence[Sequence[Hit]], found: Retrieved) -> None:
        """Give hits their percentile, and their probability, once the collection is calibrated."""
        calibration = self._calibrated(found)
        if calibration is None:
            return
        hits = [hit for one in answers for hit in one if "dense" in hit.scores]
        if not hits:
            return
        scores = [hit.scores["dense"] for hit in hits]
        for hit, percentile in zip(hits, calibration.percentile(scores).tolist(), strict=True):
            hit.percentile = percentile
        probabilities = calibration.probability(scores)
        if probabilities is not None:
            for hit, probability in zip(hits, probabilities.tolist(), strict=True):
                hit.probability = probability

    def _reranker(self, wanted: bool | str | Reranker | None) -> Reranker:
        from semsearch.reranker.load import DEFAULT_RERANKER

        if wanted is True:
            wanted = DEFAULT_RERANKER
        if not isinstance(wanted, str):
            if not isinstance(wanted, Reranker):
                raise UsageError(
                    f"rerank takes a model's name or an object with 'score(query, texts)', not {wanted!r}."
                )
            return wanted
        if wanted not in self._rerankers:
            opened = models.reranker(wanted, replace(self._model.compute, batch_tokens=None))
            self._rerankers = {wanted: opened}  # one at a time: they are large
        return self._rerankers[wanted]

    def _explainer_of(self, settings: Settings) -> Explainer:
        from semsearch.search.explanation import Explainer

        encoder = self._model.get()
        if self._explainer is None or self._explainer[0] is not encoder:
            splitting = splitter_for(encoder, bool(settings["passages"]))
            self._explainer = (encoder, Explainer(encoder, splitting))
        return self._explainer[1]


def _loosened_if_empty(query: Query, ask: Callable[[Query], Ranking], *, filtered: bool) -> Ranking:
    """What `ask` finds for a query; where nothing holds its phrases, and it does not insist, without requiring them."""
    ranking = ask(query)
    lost = query.loosened is not query and not len(ranking.candidates.keys)
    if lost:
        ranking = ask(query.loosened)
    if query.plain:
        return ranking
    told = query.ruled_out(found=len(ranking.candidates.keys) > 0, lost=lost, filtered=filtered)
    return replace(ranking, notes=(*told, *ranking.notes))


def _fitting_vectors(view: EngineView, vectors: Any, texts: Sequence[str] | None, metric: Metric) -> Vectors:
    try:
        return _checked_vectors(view, vectors, texts, metric)
    except DimensionMismatch:
        view.present(NO_KEYS)  # which a prompt view of an older state refuses
        raise


def _checked_vectors(view: EngineView, vectors: Any, texts: Sequence[str] | None, metric: Metric) -> Vectors:
    """The vectors that came with a search, as they are compared."""
    encoded = stored_form(vectors, view.dim, metric, "the query's vector")
    if texts is not None and len(texts) != len(encoded):
        raise UsageError(f"there are {len(texts)} queries, but {len(encoded)} vectors for them.")
    return encoded


@contextmanager
def _named(what: str, whose: object) -> Iterator[None]:
    """What a user's own object raises stays as it is, with its name beside it."""
    try:
        yield
    except Exception as error:
        error.add_note(f"It was raised by the {what} {type(whose).__name__}.")
        raise


def _rerank(reranker: Reranker, query: str, hits: list[Hit], weight: float) -> None:
    """Put hits in the order of a cross-encoder, which reads title and passage, and of their first stage, by weight."""
    if not hits:
        return
    texts = [compose(hit.title, hit.text) for hit in hits]
    with _named("reranker", reranker):
        scores = np.asarray(reranker.score(query, texts), dtype=np.float64)
    if scores.shape != (len(hits),) or np.isnan(scores).any():
        what = "NaN among the scores" if scores.shape == (len(hits),) else f"scores of the shape {scores.shape}"
        raise UsageError(f"the reranker {type(reranker).__name__} gave {what} for {len(hits)} texts.")
    if weight < 1 and not np.isfinite(scores).all():
        raise UsageError(
            f"the reranker {type(reranker).__name__} gave infinite scores, which can't be weighed against the first "
            "stage's: rerank_weight 1 takes its order alone."
        )
    blended = blend(scores, np.array([hit.score for hit in hits], dtype=np.float64), weight)
    for hit, score, order in zip(hits, scores.tolist(), blended.tolist(), strict=True):
        before = next(stage for stage in ("fused", "lexical", "sparse", "dense") if stage in hit.scores)
        hit.ranks = {**hit.ranks, before: hit.rank}
        hit.scores, hit.score, hit.rerank_weight = {**hit.scores, "rerank": score}, order, weight
    hits.sort(key=lambda hit: -hit.score)  # stable: of equals, the one that was ahead
    _number(hits)


def _thin_out(
    hits: Sequence[Hit], vectors: Mapping[int, Vectors], metric: Metric, k: int, mmr_lambda: float
) -> list[Hit]:
    """The `k` hits of greatest marginal relevance; scores that are no cosines are spread over the cosines' range."""
    if not hits:
        return []
    scores = np.asarray([hit.score for hit in hits], dtype=np.float32)
    cosines = [hit.scores["dense"] for hit in hits if "dense" in hit.scores] if metric == Metric.COSINE else []
    gains = on_scale(scores, min(cosines, default=0.0), max(cosines, default=1.0))
    chosen = marginal_relevance(gains, np.stack([vectors[hit.key] for hit in hits]), k, mmr_lambda)
    return _number([hits[place] for place in chosen.tolist()])


def _good_enough(hits: list[Hit], minima: Mapping[str, float]) -> list[Hit]:
    """Without what misses a minimum; of what can't be told, a minimum is missed."""
    for name, least in minima.items():
        hits = [hit for hit in hits if (value := getattr(hit, name)) is not None and value >= least]
    return _number(hits)


def _number(hits: list[Hit]) -> list[Hit]:
    for rank, hit in enumerate(hits, start=1):
        hit.rank = rank
    return hits


NO_KEYS: Keys = np.empty(0, dtype=np.int64)
