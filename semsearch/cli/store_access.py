"""What the command line still takes from a collection's store; each is a method that the collection lacks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.ingest.estimate import Estimate
    from semsearch.local.store.snapshot import Snapshot
    from semsearch.types import Document


def splits(collection: Collection) -> bool:
    """Whether it splits documents that are longer than the model reads."""
    return bool(collection.store.settings["passages"])


@contextmanager
def locked(collection: Collection) -> Iterator[None]:
    """Nobody else writes meanwhile."""
    with collection.store.write():
        yield


def snapshot(collection: Collection) -> Snapshot:
    """Its present state."""
    with collection.store.read() as view:
        return view.snapshot


def export(collection: Collection, folder: Path, *, parquet: bool) -> int:
    """Write its passages and vectors as files; how many."""
    from semsearch.exchange.export import export as write

    return write(collection.store, folder, parquet=parquet)


def estimate(collection: Collection, documents: Iterator[Document]) -> Estimate:
    """What it would cost to take `documents` in."""
    from semsearch.ingest.estimate import estimate as estimated

    store = collection.store
    backend = store.settings["index"]["backend"]
    return estimated(documents, collection.encoder, passages=splits(collection), store=store, index=backend)
