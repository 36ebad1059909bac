"""A search from question to answers: encode, find, rerank, thin out, weigh, explain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from semsearch.chunking import compose, splitter_for
from semsearch.errors import UsageError
from semsearch.local.index.loader import Warming
from semsearch.local.retriever import Answerer
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store, View
from semsearch.search.calibration import Calibration
from semsearch.search.mmr import marginal_relevance, on_scale
from semsearch.search.ranking import Asked
from semsearch.search.request import Request
from semsearch.types import Encoder, Hit, Metric, Reranker, Span

if TYPE_CHECKING:
    from semsearch.search.explanation import Explainer

Timings = MutableMapping[str, float]  # milliseconds by stage


class Searching:
    """Answers the searches of one collection with one model."""

    def __init__(
        self,
        store: Store,
        metric: Metric,
        warming: Warming,
        encoder: Callable[[], Encoder],
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        """`encoder` opens the model; a lexical search does without. Rerankers run on `device`, in `dtype`."""
        self._metric = metric
        self._encoder = encoder
        self._device = device
        self._dtype = dtype
        self._warming = warming
        self._answerer = Answerer(store, metric)
        self._rerankers: dict[str, Reranker] = {}
        self._explainer: tuple[Encoder, Explainer] | None = None
        self._calibration: tuple[int, Calibration | None] | None = None

    def answer(self, view: View, asked: Asked, request: Request, timings: Timings | None = None) -> list[list[Hit]]:
        """The hits of each query."""
        started = time.perf_counter()
        snapshot = view.snapshot
        approximate = request.mode != "lexical" and not request.exact
        warm = self._warming.warm(snapshot, len(asked.vectors)) if approximate else None
        answers = self._answerer.answer(view, asked, request, warm=warm)
        found = time.perf_counter()
        if request.reranks:
            reranker = self._reranker(request.rerank)
            for query, hits in zip(asked.texts, answers, strict=True):
                _rerank(reranker, query, hits)
        reranked = time.perf_counter()
        if request.mmr_lambda is not None:
            answers = [_thin_out(hits, snapshot, self._metric, request.k, request.mmr_lambda) for hits in answers]
        answers = [hits[: request.k] for hits in answers]
        self._weigh(answers, snapshot)
        if request.minima:
            answers = [_good_enough(hits, request.minima) for hits in answers]
        if request.context:
            _surround(snapshot, answers, request.context)
        if request.explain:
            explainer = self._explainer_of(snapshot)
            for query, hits in zip(asked.texts, answers, strict=True):
                for hit in hits:
                    hit.explanation = explainer.explain(query, hit)
        if timings is not None:
            timings["search"] = 1000 * (found - started)
            if request.reranks:
                timings["rerank"] = 1000 * (reranked - found)
        return answers

    def _weigh(self, answers: Sequence[Sequence[Hit]], snapshot: Snapshot) -> None:
        """Give hits their percentile, and their probability, once the collection is calibrated."""
        calibration = self._calibrated(snapshot)
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

    def _calibrated(self, snapshot: Snapshot) -> Calibration | None:
        known = self._calibration
        if known is None or known[0] != snapshot.version:
            known = self._calibration = (snapshot.version, Calibration.of(snapshot.settings))
        return known[1]

    def _reranker(self, wanted: bool | str | Reranker | None) -> Reranker:
        from semsearch.reranker.load import DEFAULT_RERANKER, load_reranker

        if wanted is True:
            wanted = DEFAULT_RERANKER
        if not isinstance(wanted, str):
            if not isinstance(wanted, Reranker):
                raise UsageError(
                    f"rerank takes a model's name or an object with 'score(query, texts)', not {wanted!r}."
                )
            return wanted
        if wanted not in self._rerankers:
            opened = load_reranker(wanted, device=self._device, dtype=self._dtype)
            self._rerankers = {wanted: opened}  # one at a time: they are large
        return self._rerankers[wanted]

    def _explainer_of(self, snapshot: Snapshot) -> Explainer:
        from semsearch.search.explanation import Explainer

        encoder = self._encoder()
        if self._explainer is None or self._explainer[0] is not encoder:
            splitting = splitter_for(encoder, bool(snapshot.settings["passages"]))
            self._explainer = (encoder, Explainer(encoder, splitting))
        return self._explainer[1]


def _rerank(reranker: Reranker, query: str, hits: list[Hit]) -> None:
    """Put hits in the order of a cross-encoder, which reads title and passage."""
    if not hits:
        return
    texts = [compose(hit.document.title, hit.text) for hit in hits]
    scores = np.asarray(reranker.score(query, texts), dtype=np.float64)
    if scores.shape != (len(hits),) or np.isnan(scores).any():
        raise UsageError(f"the reranker gave {scores.shape} scores, NaN among them perhaps, for {len(hits)} texts.")
    for hit, score in zip(hits, scores.tolist(), strict=True):
        before = next(stage for stage in ("fused", "lexical", "dense") if stage in hit.scores)
        hit.ranks = {**hit.ranks, before: hit.rank}
        hit.scores, hit.score = {**hit.scores, "rerank": score}, score
    hits.sort(key=lambda hit: -hit.score)  # stable: of equals, the one that was ahead
    _number(hits)


def _thin_out(hits: Sequence[Hit], snapshot: Snapshot, metric: Metric, k: int, mmr_lambda: float) -> list[Hit]:
    """The `k` hits of greatest marginal relevance; scores that are no cosines are spread over the cosines' range."""
    if not hits:
        return []
    keys = np.asarray([hit.key for hit in hits], dtype=np.int64)
    scores = np.asarray([hit.score for hit in hits], dtype=np.float32)
    cosines = [hit.scores["dense"] for hit in hits if "dense" in hit.scores] if metric is Metric.COSINE else []
    gains = on_scale(scores, min(cosines, default=0.0), max(cosines, default=1.0))
    chosen = marginal_relevance(gains, snapshot.vectors[snapshot.rows_of(keys)], k, mmr_lambda)
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


def _surround(snapshot: Snapshot, answers: Sequence[Sequence[Hit]], count: int) -> None:
    """Note the span from `count` passages before to `count` after each hit, within its document."""
    for hits in answers:
        for hit in hits:
            (row,) = snapshot.rows_of(np.asarray([hit.key]))
            near = np.arange(max(row - count, 0), min(row + count + 1, len(snapshot)))
            near = near[(snapshot.docs[near] == snapshot.docs[row]) & snapshot.live[near] & snapshot.sound(near)]
            hit.context = Span(int(snapshot.starts[near[0]]), int(snapshot.ends[near[-1]]))
