"""From query vectors to hits: neighbours of one consistent state, verified, joined with their documents."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError
from semsearch.local.garbage import uncollected
from semsearch.local.lexical.searcher import Lexical
from semsearch.local.planner import LoadedIndex, Planner
from semsearch.local.store import document_rows as documents
from semsearch.local.store.filters import allowed_documents
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store, View
from semsearch.search.fusion import DEPTH
from semsearch.search.query_syntax import parse
from semsearch.search.ranking import Asked, Ranking, fused
from semsearch.search.request import Request
from semsearch.types import Document, Hit, Keys, Metric, Neighbors, Vectors

log = logging.getLogger("semsearch")

_NO_KEYS: Keys = np.empty(0, dtype=np.int64)

KEPT_FILTERS = 16
MANY = 1000  # hits, from which collecting garbage while they are made costs as much as making them
NAMED = 3  # damaged documents in one warning


class Answerer:
    """Answers queries over one collection; remembers filters of the newest commit, and rows found to be damaged."""

    def __init__(self, store: Store, metric: Metric, device: str | None = None) -> None:
        self._name = store.name
        self._metric = metric
        self._lexical = Lexical(store)
        self._planner = Planner(metric, device)
        self._damaged: frozenset[int] = frozenset()
        self._filters: dict[tuple[int, str], NDArray[np.bool_]] = {}
        self._several: tuple[int, bool] | None = None

    def answer(self, view: View, asked: Asked, request: Request, *, warm: LoadedIndex | None = None) -> list[list[Hit]]:
        """The hits of each query, at most `request.depth`: the best passage of the best documents, or passages."""
        while True:
            allowed = self._allowed(view, request.where)
            try:
                with np.errstate(invalid="ignore", over="ignore"):  # damaged rows may hold anything
                    rankings = self._rankings(view, asked, request, allowed, warm)
            except DataError:  # what is no number can't even be compared
                if not self._find_all_damage(view.snapshot):
                    raise
                continue
            with uncollected() if sum(len(ranking.keys) for ranking in rankings) > MANY else nullcontext():
                answers = self._verified(view, rankings)
            if answers is not None:
                return answers

    def _verified(self, view: View, rankings: Sequence[Ranking]) -> list[list[Hit]] | None:
        """The hits of each ranking, if all that they stand on is what was stored; else what is not is noted."""
        snapshot = view.snapshot
        rows = snapshot.rows_of(np.concatenate([_NO_KEYS, *(ranking.keys for ranking in rankings)]))
        found = np.unique(rows)
        docs = np.unique(snapshot.docs[found])
        stored, torn = documents.read(view.connection, docs.tolist())
        sound = snapshot.sound(found)
        if not sound.all() or len(stored) < len(docs):
            self._damaged |= self._damage(found, sound, snapshot, stored, torn)
            return None
        passages = zip(
            map(stored.__getitem__, snapshot.docs[rows].tolist()),
            snapshot.starts[rows].tolist(),
            snapshot.ends[rows].tolist(),
            strict=True,
        )
        return [ranking.hits(passages) for ranking in rankings]

    def _rankings(
        self, view: View, asked: Asked, request: Request, allowed: NDArray[np.bool_] | None, warm: LoadedIndex | None
    ) -> list[Ranking]:
        """One list of passages for each query, in the mode that was asked for."""
        grouped, depth = request.group_by == "document", request.depth
        if request.mode == "dense":
            return self._by_meaning(view.snapshot, asked.vectors, depth, allowed, warm, grouped)
        if request.mode == "lexical":
            return [self._by_words(view, text, depth, allowed, grouped) for text in asked.texts]
        return [
            self._by_both(view, text, vector, request, allowed, warm)
            for text, vector in zip(asked.texts, asked.vectors, strict=True)
        ]

    def _by_both(
        self,
        view: View,
        text: str,
        vector: Vectors,
        request: Request,
        allowed: NDArray[np.bool_] | None,
        warm: LoadedIndex | None,
    ) -> Ranking:
        """One query by meaning and by words; what its phrases and exclusions forbid, neither finds."""
        grouped, depth = request.group_by == "document", max(request.depth, DEPTH)
        own = self._lexical.allowed(view, parse(text))
        if own is not None:
            allowed = own if allowed is None else own & allowed
        (dense,) = self._by_meaning(view.snapshot, vector[None], depth, allowed, warm, grouped)
        lexical = self._by_words(view, text, depth, allowed, grouped)
        return fused(dense, lexical, vector, view.snapshot, self._metric, request.depth, grouped, depth)

    def _by_meaning(
        self,
        snapshot: Snapshot,
        queries: Vectors,
        k: int,
        allowed: NDArray[np.bool_] | None,
        warm: LoadedIndex | None,
        grouped: bool,
    ) -> list[Ranking]:
        """The best `k` passages of each query, or the best passage of each of the best `k` documents."""
        grouped = grouped and self._several_passages(snapshot)
        wanted = 3 * k if grouped else k
        while True:
            found = self._planner.search(snapshot, queries, wanted, allowed=allowed, warm=warm)
            best = _best_of_documents(found.neighbors, snapshot, k) if grouped else found.neighbors
            if not grouped or found.neighbors.keys.shape[1] < wanted or (best.keys[:, -1] >= 0).all():
                ways = _ways(found.how, 0 if warm is None else warm.rows, snapshot)
                return [Ranking("dense", keys, scores, ways) for keys, scores in best]
            wanted *= 4

    def _by_words(self, view: View, text: str, k: int, allowed: NDArray[np.bool_] | None, grouped: bool) -> Ranking:
        """As `_by_meaning`, for one query by its words."""
        grouped = grouped and self._several_passages(view.snapshot)
        wanted = 3 * k if grouped else k
        while True:
            keys, scores = self._lexical.search(view, text, wanted, allowed)
            if grouped:
                best = _best_of_documents(Neighbors(keys[None], scores[None]), view.snapshot, k)
                complete = len(keys) < wanted or (best.keys[0, -1:] >= 0).all()
                if not complete:
                    wanted *= 4
                    continue
                ((keys, scores),) = best
            return Ranking("lexical", keys, scores, lambda keys: repeat(("lexical",)))

    def _several_passages(self, snapshot: Snapshot) -> bool:
        """Whether documents have more than one passage: those of one lie side by side."""
        if self._several is None or self._several[0] != snapshot.version:
            self._several = (snapshot.version, bool((snapshot.docs[1:] == snapshot.docs[:-1]).any()))
        return self._several[1]

    def _allowed(self, view: View, where: Mapping[str, Any] | None) -> NDArray[np.bool_] | None:
        """The rows that may be found: those of allowed documents, less those known to be damaged."""
        allowed = None if where is None else self._filtered(view, where)
        if self._damaged:
            sound = ~np.isin(view.snapshot.keys, list(self._damaged))
            allowed = sound if allowed is None else allowed & sound
        return allowed

    def _filtered(self, view: View, where: Mapping[str, Any]) -> NDArray[np.bool_]:
        """The rows `(n,)` whose documents `where` allows, remembered for the commit."""
        version = view.snapshot.version
        key = (version, json.dumps(where, sort_keys=True, default=repr))
        found = self._filters.get(key)
        if found is None:
            allowed = allowed_documents(view.connection, where)
            docs = view.snapshot.docs
            known = (docs >= 0) & (docs < len(allowed))
            found = allowed[np.where(known, docs, 0)] & known
            current = {known: mask for known, mask in self._filters.items() if known[0] == version}
            self._filters = dict(list(current.items())[-KEPT_FILTERS + 1 :]) | {key: found}
        return found

    def _find_all_damage(self, snapshot: Snapshot) -> bool:
        """Leave out all rows that are not what was committed; False if that is known of all of them."""
        live = np.flatnonzero(snapshot.live)
        damaged = frozenset(snapshot.keys[live[~snapshot.sound(live)]].tolist()) - self._damaged
        self._damaged |= damaged
        if damaged:
            log.warning(
                "%d stored vectors in collection '%s' are damaged and were left out; 'semsearch check %s --deep' names "
                "a document, 'semsearch repair %s' encodes them again from the stored text.",
                len(damaged),
                self._name,
                self._name,
                self._name,
            )
        return len(damaged) > 0

    def _damage(
        self,
        found: NDArray[np.intp],
        sound: NDArray[np.bool_],
        snapshot: Snapshot,
        stored: Mapping[int, Document],
        torn: Mapping[int, str],
    ) -> frozenset[int]:
        """Keys of found rows that are not what was committed, or whose document is not: left out from now on."""
        docs = snapshot.docs[found]
        whole, changed = np.isin(docs, list(stored)), np.isin(docs, list(torn))
        ids = dict(torn) | {doc: document.id for doc, document in stored.items()}
        for rows, sentence in (
            (~sound, "the stored vector of %s %s damaged and left out; 'semsearch repair' encodes it again"),
            (
                sound & changed,
                "%s %s damaged in the database and left out; 'semsearch check --deep' tells what mends it",
            ),
            (sound & ~whole & ~changed, "the document of %s %s lost, its vector left out; 'semsearch repair' mends it"),
        ):
            self._warn(sentence, snapshot.keys[found[rows]].tolist(), docs[rows].tolist(), ids)
        return frozenset(snapshot.keys[found[~(sound & whole)]].tolist())

    def _warn(self, sentence: str, keys: list[int], docs: list[int], ids: Mapping[int, str]) -> None:
        """Say once what is wrong with some passages, naming the documents of the first few."""
        if keys:
            first = zip(keys[:NAMED], docs, strict=False)
            named = ", ".join(f"document {ids[doc]!r}" if doc in ids else f"key {key}" for key, doc in first)
            more = f" and {len(keys) - NAMED} more" if len(keys) > NAMED else ""
            verb = "is" if len(keys) == 1 else "are"
            log.warning(f"collection '%s': {sentence}.", self._name, named + more, verb)


def _ways(how: str, covered: int, snapshot: Snapshot) -> Callable[[Sequence[int]], Iterable[tuple[str, ...]]]:
    """How the rows of keys were found, of `covered` rows that the index covers."""
    if how != "index":
        return lambda keys: repeat(("exact",))
    if covered >= len(snapshot):
        return lambda keys: repeat(("index",))
    newer = int(snapshot.keys[covered])
    return lambda keys: (("fresh",) if key >= newer else ("index",) for key in keys)


def _best_of_documents(neighbors: Neighbors, snapshot: Snapshot, k: int) -> Neighbors:
    """The first passage of each document, for the first `k` documents of each query."""
    k = min(k, neighbors.keys.shape[1])
    best = Neighbors(
        np.full((len(neighbors), k), -1, dtype=np.int64), np.full((len(neighbors), k), -np.inf, dtype=np.float32)
    )
    for query, (keys, scores) in enumerate(neighbors):
        _, first = np.unique(snapshot.docs[snapshot.rows_of(keys)], return_index=True)
        first = np.sort(first)[:k]
        best.keys[query, : len(first)] = keys[first]
        best.scores[query, : len(first)] = scores[first]
    return best
