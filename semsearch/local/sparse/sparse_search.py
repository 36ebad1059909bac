"""Passages by their sparse vectors, exactly: as many as asked for, by dot products with the stored vectors.

An immutable index on disk covers the first rows; the vectors of later ones are read when they are first searched. Its
bytes propose every row that could be among the best, since what they are off by is bounded; each of these is then
scored by its stored vector, whose checksum is looked at. Without an index all vectors are read, once a process.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import SPARSE
from semsearch.errors import IndexDamaged, StorageError
from semsearch.local.index.generation import published_digest, read_manifest, refuse_if_scarce, verify_files
from semsearch.local.sparse.impacts import Impacts
from semsearch.local.store import sparse_rows
from semsearch.local.store.settings import SPARSE_INDEX, SPARSE_WRITES
from semsearch.local.store.snapshot import Snapshot
from semsearch.local.store.store import Store, View
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Keys, Scores

log = logging.getLogger("semsearch")

RESCORED = 1_024  # proposals that are scored at a time, the best first


@dataclass(frozen=True, slots=True)
class PublishedSparse:
    """The index that a collection's settings name."""

    number: int
    generation: int  # of the vectors of the same rows
    rows: int  # it covers the first so many of them
    digest: str  # of its manifest

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"{SPARSE}-{self.number}"

    @classmethod
    def of(cls, snapshot: Snapshot) -> PublishedSparse | None:
        """That of a snapshot; None where there is none, or one of rows that were compacted away."""
        said = snapshot.settings.get(SPARSE_INDEX)
        if said is None or SPARSE not in snapshot.settings:
            return None
        found = cls(**said)
        return found if found.generation == snapshot.generation and found.rows <= len(snapshot) else None


class SparseSearch:
    """Searches one collection by sparse vectors. Threads may share it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._index: tuple[PublishedSparse, Impacts | None] | None = None  # None: it is damaged
        self._tail: tuple[tuple[int, ...], Impacts] | None = None
        self._damaged: frozenset[int] = frozenset()

    def search(
        self, view: View, query: SparseVectors, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[Keys, Scores]:
        """The `k` best live passages for one query, best first, of equals the older; all scores are above 0.

        Args:
            view: The commit to search.
            query: One vector.
            k: Passages to give; fewer come where fewer have a component of the query's.
            allowed: `(n,)` which rows of the snapshot may be found; all by default.
        """
        snapshot = view.snapshot
        components, weights = query.row(0)
        if not len(components) or k < 1 or not len(snapshot):
            return _NO_PASSAGES
        about = np.zeros(len(snapshot), dtype=np.float32)
        below = above = 0.0
        for first, part in self._parts(view):
            part.add(about[first : first + len(part)], components, weights)
            errors = part.error(components, weights)
            below, above = max(below, errors[0]), max(above, errors[1])
        mask = snapshot.live if snapshot.removed else None
        if allowed is not None:
            mask = allowed if mask is None else mask & allowed
        if self._damaged:
            sound = ~np.isin(snapshot.keys, list(self._damaged))
            mask = sound if mask is None else mask & sound
        if mask is not None:
            about[~mask] = 0
        return self._scored(view, query, about, (below, above), k)

    def _scored(
        self, view: View, query: SparseVectors, about: Scores, errors: tuple[float, float], k: int
    ) -> tuple[Keys, Scores]:
        """The best by their stored vectors; `about` is at most so far below and above a row's true score."""
        keys, (below, above) = view.snapshot.keys, errors
        least = _greatest(about, k) - above - below  # of who is below it, k have more
        rows = np.flatnonzero((about != 0) & (about >= least))
        found = [keys[:0]]
        scores = [np.empty(0, dtype=np.float32)]
        order = rows[np.argsort(-about[rows], kind="stable")]
        for start in range(0, len(order), RESCORED):
            some = order[start : start + RESCORED]
            own, vectors = self.vectors(view, keys[some])
            found.append(own)
            scores.append(query.dot(vectors)[0])
            known = np.concatenate(scores)
            if len(known) >= k and start + RESCORED < len(order):
                reached = np.partition(known, len(known) - k)[len(known) - k]
                if about[order[start + RESCORED]] + below < reached:
                    break  # none that is left can reach it
        every, known = np.concatenate(found), np.concatenate(scores)
        positive = known > 0
        every, known = every[positive], known[positive]
        best = np.lexsort((every, -known))[:k]
        return every[best], known[best]

    def vectors(self, view: View, keys: Keys) -> tuple[Keys, SparseVectors]:
        """Those of `keys` that have a sound vector, with it; damage is told once, and left out from then on."""
        dim = int(view.snapshot.settings[SPARSE]["dim"])
        own, vectors, damaged = sparse_rows.read(view.connection, keys.tolist(), dim)
        self._note(damaged)
        return own, vectors

    def state(self, snapshot: Snapshot) -> str:
        """For people: "none", "on disk", "ready", or that it is damaged."""
        published = PublishedSparse.of(snapshot)
        if published is None:
            return "none"
        known = self._index
        if known is None or known[0] != published:
            return "on disk"
        return "ready" if known[1] is not None else "damaged: all vectors are read until a writer builds it anew"

    def sound(self, published: PublishedSparse) -> bool:
        """Whether the published index is what was published; read once a process."""
        return self._opened(published) is not None

    def covered(self, snapshot: Snapshot) -> int:
        """The rows that an index covers."""
        published = PublishedSparse.of(snapshot)
        return 0 if published is None else published.rows

    def _parts(self, view: View) -> list[tuple[int, Impacts]]:
        snapshot = view.snapshot
        published, parts = PublishedSparse.of(snapshot), []
        first = 0
        if published is not None and (there := self._opened(published)) is not None:
            first, parts = published.rows, [(0, there)]
        if first < len(snapshot):
            parts.append((first, self._read(view, first)))
        return parts

    def _read(self, view: View, first: int) -> Impacts:
        """The vectors of the rows from `first` on; read anew when any was written."""
        snapshot = view.snapshot
        place = (snapshot.generation, first, len(snapshot), int(snapshot.settings.get(SPARSE_WRITES, 0)))
        known = self._tail
        if known is None or known[0] != place:
            known = self._tail = (place, self.gathered(view, first)[1])
        return known[1]

    def gathered(self, view: View, first: int) -> tuple[Keys, Impacts]:
        """The keys from row `first` on that have a sound vector, and an index of those rows, numbered from 0."""
        snapshot = view.snapshot
        dim = int(snapshot.settings[SPARSE]["dim"])
        parts: list[SparseVectors] = []
        rows: list[NDArray[np.int64]] = []
        for keys, vectors, damaged in sparse_rows.stream(view.connection, int(snapshot.keys[first]), dim):
            self._note(damaged)
            own = np.minimum(snapshot.rows_of(keys), len(snapshot) - 1)
            here = np.flatnonzero(snapshot.keys[own] == keys)
            parts.append(vectors if len(here) == len(keys) else vectors[here])
            rows.append((own[here] - first).astype(np.int64))
        whole = SparseVectors.joined(parts, dim)
        places = np.concatenate([np.empty(0, np.int64), *rows])
        return snapshot.keys[first + places], Impacts.made(places, whole, len(snapshot) - first)

    def _opened(self, published: PublishedSparse) -> Impacts | None:
        known = self._index
        if known is None or known[0] != published:
            try:
                known = (published, opened(self._store, published))
            except (StorageError, MemoryError) as error:  # it is whole: next time there may be memory and files for it
                log.warning("%s All sparse vectors are read meanwhile.", error)
                return None
            except IndexDamaged as error:
                with self._store.read() as view:
                    if PublishedSparse.of(view.snapshot) != published:  # replaced meanwhile, and its files are gone
                        return None
                log.warning("%s", error)
                known = (published, None)
            self._index = known
        return known[1]

    def _note(self, damaged: Keys) -> None:
        new = frozenset(damaged.tolist()) - self._damaged
        if new:
            self._damaged |= new
            name = self._store.name
            log.warning(
                "%d stored sparse vectors in collection '%s' are damaged and were left out; 'semsearch repair %s' "
                "encodes them again from the stored text.",
                len(new),
                name,
                name,
            )


def opened(store: Store, published: PublishedSparse) -> Impacts:
    """The published index, verified; `IndexDamaged` if it is not what was published."""
    folder: Path = store.folder / "indexes" / published.folder
    advice = (
        "All sparse vectors are read, slower, until the next writer has built it anew, or 'semsearch repair "
        f"{store.name}'."
    )
    if published_digest(folder) != published.digest:
        raise IndexDamaged(f"the index of sparse vectors {folder} is not the one that was published. {advice}")
    try:
        verify_files(folder, read_manifest(folder))
        impacts = Impacts.load(folder)
        store.check_location()  # its files were found by their paths
    except (IndexDamaged, OSError, ValueError, TypeError) as error:
        refuse_if_scarce(error, folder)
        raise IndexDamaged(f"the index of sparse vectors is damaged ({error}). {advice}") from error
    dim = int(store.settings[SPARSE]["dim"])
    if len(impacts) != published.rows or len(impacts.scales) != dim:
        raise IndexDamaged(
            f"the index of sparse vectors {folder} covers {len(impacts)} rows of {len(impacts.scales)} components, not "
            f"{published.rows} of {dim}. {advice}"
        )
    return impacts


def _greatest(scores: Scores, k: int) -> float:
    """The k-th greatest score, or less."""
    sampled = scores[::16]  # its k-th greatest is no greater than that of all, and cheaper to find
    enough = np.partition(sampled, len(sampled) - k)[len(sampled) - k] if len(sampled) > k else -np.inf
    some = scores[scores >= enough] if enough > 0 else scores[scores != 0]
    if len(some) < k:
        return -np.inf
    return float(np.partition(some, len(some) - k)[len(some) - k])


_NO_PASSAGES: tuple[Keys, Scores] = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))
