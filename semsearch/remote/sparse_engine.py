"""A collection of a server that keeps sparse vectors beside dense ones: they are made, kept and searched there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from semsearch import engine_wire as ew
from semsearch.engine import Candidates, Settings
from semsearch.errors import DimensionMismatch
from semsearch.remote.engine import RemoteEngine
from semsearch.remote.looked_after import LookedAfterEngine
from semsearch.remote.remote_view import RemoteView, Restriction
from semsearch.remote.served_encoder import ServedSparseEncoder
from semsearch.sparse_vectors import SparseEncoder, SparseVectors
from semsearch.types import Keys


class SparseRemoteView(RemoteView):
    """See `semsearch.engine.SparseView`."""

    def __init__(self, engine: RemoteEngine, state: Mapping[str, Any]) -> None:
        super().__init__(engine, state)
        self.lacking_sparse = int(state["lacking_sparse"])

    def sparse(self, query: SparseVectors, k: int, *, allowed: Restriction | None, grouped: bool) -> Candidates:
        """See `SparseView.sparse`."""
        said = {} if allowed is None else allowed.said()
        return ew.read_candidates(self._engine.ask("sparse", query=ew.sparse_json(query), k=k, grouped=grouped, **said))

    def sparse_vectors(self, keys: Keys) -> SparseVectors:
        """See `SparseView.sparse_vectors`."""
        found = ew.read_sparse(self._engine.ask("sparse_vectors", keys=ew.pack(keys)))
        if len(found) != len(keys):
            raise DimensionMismatch(f"the server gave {len(found)} sparse vectors of {len(keys)} passages.")
        return found

    def without_sparse(self, after: int, most: int) -> Keys:
        """See `SparseView.without_sparse`."""
        return ew.unpack_keys(self._engine.ask("without_sparse", after=after, most=most))


class SparseRemoteEngine(RemoteEngine):
    """See `semsearch.engine.SparseStore` and `EncodesSparse`."""

    capabilities = replace(RemoteEngine.capabilities, sparse=True)

    @contextmanager
    def view(self) -> Iterator[RemoteView]:
        """See `Engine.view`."""
        yield SparseRemoteView(self, self.ask("state"))

    def begin_sparse(self, described: Settings) -> None:
        """See `SparseStore.begin_sparse`; the model is one that the server was started with."""
        self.write("begin_sparse", described=dict(described))

    def put_sparse(self, keys: Keys, vectors: SparseVectors, model: str) -> int:
        """See `SparseStore.put_sparse`."""
        keys = np.asarray(keys, dtype=np.int64)
        return int(self.write("put_sparse", keys=ew.pack(keys), vectors=ew.sparse_json(vectors), model=model))

    def end_sparse(self) -> None:
        """See `SparseStore.end_sparse`."""
        self.write("end_sparse")

    def sparse_encoder(self) -> SparseEncoder:
        """See `EncodesSparse.sparse_encoder`."""
        return ServedSparseEncoder(self.ask("sparse_model"), self.ask)

    def fill_sparse(self, progress: Callable[[int], None] | None = None) -> int:
        """See `EncodesSparse.fill_sparse`; texts and vectors stay at the server."""
        return int(self.work("fill_sparse", {}, progress))


class SparseLookedAfterEngine(SparseRemoteEngine, LookedAfterEngine):
    """One that is looked after from here, too."""
