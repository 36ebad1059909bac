"""Passages by their words: BM25 over exactly the passages of one snapshot.

An immutable generation of postings on disk covers the first rows; later ones are split when they are first searched.
Statistics are those of the live passages at that commit, so a score does not depend on how far the generation reaches.
Without a generation, or when it is damaged, SQLite's full text answers: slower, and by passages alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select

from semsearch.errors import IndexDamaged, StorageError
from semsearch.local.index.generation import published_digest, read_manifest, refuse_if_scarce, verify_files
from semsearch.local.lexical.bm25 import BM25
from semsearch.local.lexical.phrases import holding, rows_holding
from semsearch.local.lexical.postings import Postings
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.local.store.registry import Registered
from semsearch.local.store.schema import fulltext
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store, View
from semsearch.search.analysis import analysed, asked
from semsearch.search.languages import Languages
from semsearch.search.query_syntax import Query
from semsearch.search.term_weights import TITLE, weighed
from semsearch.types import Keys, Scores

log = logging.getLogger("semsearch")

Way = tuple[str, ...]
POSTINGS, FULLTEXT = ("lexical",), ("fulltext",)  # what scored: BM25 over postings, or SQLite's own full text

PLACED_PASSAGES = 4_096  # passages whose rows are looked up together
PARTED, PARTS = 4, 4_096  # times as many parts as answers, and at least so many, whose best tell a least score
SPLIT_ROWS = 20_000  # rows behind the generation that a search splits itself; with more, SQLite answers


class Lexical:
    """Searches one collection by words. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._generation: tuple[Registered, Postings | None] | None = None  # None: it is damaged
        self._tail: tuple[tuple[Languages, int, int, int], Postings] | None = None
        self._state: tuple[int, BM25] | None = None

    def search(
        self, view: View, query: Query, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Keys, Scores, Way]:
        """The `k` best live passages that share a word with `query`, best first, of equals the older.

        Args:
            view: The commit to search.
            query: What was asked for, taken apart.
            k: Passages to give; fewer come where fewer share a word.
            allowed: `(n,)` which rows of the snapshot may be found; all by default.

        Returns:
            Keys `(m,)` and scores `(m,)`, all above 0, with m at most `k`; and which of the two engines scored them.
        """
        words = Counter(asked(query.text, view.snapshot.languages))
        mask = self.allowed(view, query)
        if allowed is not None:
            mask = allowed if mask is None else mask & allowed
        if not words or k < 1 or not len(view.snapshot):
            return _NOTHING
        state = self._prepared(view)
        if state is None:
            return *_by_sqlite(view, query, k, mask), FULLTEXT
        scores = state.scores(weighed(words, view.snapshot.languages))
        for phrase in query.phrases:
            if len(rows := rows_holding(view, phrase, exactly=True)):
                scores[rows] += state.once(rows)  # a phrase weighs as a word does that so many passages hold once
        if mask is not None:
            scores[~mask] = 0
        return *_best(view.snapshot.keys, scores, k), POSTINGS

    def allowed(self, view: View, query: Query) -> NDArray[np.bool_] | None:
        """The rows `(n,)` that hold every phrase that must be there, of documents that hold nothing excluded.

        None where the query is nothing but words: all may be found.
        """
        if query.plain:
            return None
        snapshot = view.snapshot
        mask = np.ones(len(snapshot), dtype=np.bool_)
        for phrase in query.required:
            if analysed(phrase):  # else it is nothing but punctuation
                found = np.zeros(len(snapshot), dtype=np.bool_)
                found[rows_holding(view, phrase, exactly=True)] = True
                mask &= found
        for phrase in query.excluded:
            if analysed(phrase):
                mask &= ~np.isin(snapshot.docs, snapshot.docs[rows_holding(view, phrase, exactly=False)])
        return mask

    def sound(self, registered: Registered) -> bool:
        """Whether the published generation is what was published; read once a process."""
        return self._opened(registered) is not None

    def state(self, snapshot: Snapshot) -> str:
        """For people: "none", "on disk", "ready", or that it is damaged."""
        if snapshot.lexical is None:
            return "none"
        known = self._generation
        if known is None or known[0] != snapshot.lexical:
            return "on disk"
        return "ready" if known[1] is not None else "damaged: SQLite's full text answers until a writer builds it anew"

    def _prepared(self, view: View) -> BM25 | None:
        """The postings of all rows with their statistics; None where there are too many that no generation covers."""
        snapshot = view.snapshot
        if self._state is not None and self._state[0] == snapshot.version:
            return self._state[1]
        first, parts = 0, []
        if snapshot.lexical is not None and (there := self._opened(snapshot.lexical)) is not None:
            first, parts = snapshot.lexical.rows, [(0, there)]
        if len(snapshot) - first > SPLIT_ROWS:
            return None
        if first < len(snapshot):
            parts.append((first, self._split(view, first)))
        state = BM25.of(snapshot, parts)
        self._state = (snapshot.version, state)
        return state

    def _opened(self, registered: Registered) -> Postings | None:
        known = self._generation
        if known is None or known[0] != registered:
            try:
                known = (registered, opened(self._store, registered))
            except (StorageError, MemoryError) as error:  # it is whole: next time there may be memory and files for it
                log.warning("%s Words are found without their index meanwhile.", error)
                return None
            except IndexDamaged as error:
                if not _is_current(self._store, registered):  # replaced meanwhile, and its files are gone
                    return None
                log.warning("%s", error)
                known = (registered, None)
            self._generation = known
        return known[1]

    def _split(self, view: View, first: int) -> Postings:
        """The postings of the rows from `first` on, those that are known already not split again."""
        snapshot = view.snapshot
        known, place = self._tail, (snapshot.languages, snapshot.generation, first, len(snapshot))
        if known is not None and known[0] == place:
            return known[1]
        if known is not None and known[0][:-1] == place[:-1] and known[0][-1] < len(snapshot):
            done = known[0][-1]
            newer = postings_of(view, done)
            made = Postings.merged([(0, known[1]), (done - first, newer)], len(snapshot) - first)
        else:
            made = postings_of(view, first)
        self._tail = (place, made)
        return made


@decoding()
def postings_of(view: View, first: int) -> Postings:
    """The postings of the passages in the rows of a snapshot from `first` on, numbered from 0."""
    snapshot = view.snapshot
    passages = driver(view.connection).execute(
        "SELECT key, title, text FROM passage_texts WHERE key >= ? ORDER BY key",
        (int(snapshot.keys[first]) if first < len(snapshot) else 1 << 62,),
    )
    return Postings.made(_in_rows(passages, snapshot, first), len(snapshot) - first, snapshot.languages)


def _in_rows(passages: Iterable[Sequence[Any]], snapshot: Snapshot, first: int) -> Iterator[tuple[int, str, str]]:
    """Key, title and text of passages, the key as its row, counted from `first`; those without a row are left out."""
    pending = iter(passages)
    while some := list(islice(pending, PLACED_PASSAGES)):
        found, titles, texts = zip(*some, strict=True)
        keys = np.asarray(found, dtype=np.int64)
        rows = snapshot.rows_of(keys)
        known = snapshot.keys.take(rows, mode="clip") == keys
        yield from compress(zip((rows - first).tolist(), titles, texts, strict=True), known.tolist())


def opened(store: Store, registered: Registered) -> Postings:
    """The published generation, verified; `IndexDamaged` if it is not what was published."""
    folder: Path = store.folder / "indexes" / registered.folder
    advice = (
        f"Words are looked up in SQLite's full text, slower, until the next writer has built it anew, or "
        f"'semsearch repair {store.name}'."
    )
    if published_digest(folder) != registered.digest:
        raise IndexDamaged(f"the index of words {folder} is not the one that was published. {advice}")
    try:
        verify_files(folder, read_manifest(folder))
        postings = Postings.load(folder)
        store.check_location()  # its files were found by their paths
    except (IndexDamaged, OSError, ValueError, TypeError) as error:
        refuse_if_scarce(error, folder)
        raise IndexDamaged(f"the index of words is damaged ({error}). {advice}") from error
    if len(postings) != registered.rows:
        raise IndexDamaged(f"the index of words {folder} covers {len(postings)}, not {registered.rows} rows. {advice}")
    return postings


def _is_current(store: Store, registered: Registered) -> bool:
    with store.read() as view:
        return view.snapshot.lexical == registered


def _best(keys: Keys, scores: Scores, k: int) -> tuple[Keys, Scores]:
    """The `k` best of the rows with a score above 0, of equals the first."""
    least, rows_each = 0.0, len(scores) // max(PARTED * k, PARTS)
    if rows_each > 1:  # the k-th best of the best of each part is no better than that of all, and cheaper to find
        parts = len(scores) // rows_each
        best = scores[: rows_each * parts].reshape(rows_each, parts).max(axis=0)
        least = float(np.partition(best, len(best) - k)[len(best) - k])
    rows = np.flatnonzero(scores >= least if least > 0 else scores > 0)
    # above 0 the bits of floats are in their order: integers are sorted sooner than places by what lies there
    order = (~scores[rows].view(np.uint32)).astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64)
    if len(order) > k:
        order = np.partition(order, k - 1)[:k]
    order.sort()
    rows = (order & np.uint64(0xFFFFFFFF)).astype(np.intp)
    return keys[rows], scores[rows]


def _by_sqlite(view: View, query: Query, k: int, mask: NDArray[np.bool_] | None) -> tuple[Keys, Scores]:
    """As `Lexical.search`, by the bm25 of SQLite's full text."""
    languages = view.snapshot.languages
    words = set(asked(query.text, languages))
    phrases = [terms for phrase in query.phrases if (terms := analysed(phrase, languages))]
    rank = func.bm25(fulltext.c.fulltext, TITLE, 1).label("rank")
    matching = select(fulltext.c.rowid, rank).where(holding([*words, *phrases]))
    if mask is None:
        matching = matching.order_by(rank).limit(k)
    with decoding():
        found = view.connection.execute(matching).all()
    scores = np.zeros(len(view.snapshot), dtype=np.float32)
    keys = np.asarray([key for key, _ in found], dtype=np.int64)
    known = np.isin(keys, view.snapshot.keys)
    scores[view.snapshot.rows_of(keys[known])] = -np.asarray([score for _, score in found])[known]
    if mask is not None:
        scores[~mask] = 0
    return _best(view.snapshot.keys, scores, k)


_NOTHING: tuple[Keys, Scores, Way] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32), POSTINGS)
