"""What the command line still takes from the engine behind a collection; each is a method that the collection lacks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.ingest.estimate import Estimate
    from semsearch.types import Document, Keys, Vectors


def arrays(collection: Collection) -> tuple[Keys, Vectors]:
    """The keys `(n,)` and vectors `(n, dim)` of its passages."""
    with collection.engine.view() as view:
        keys, vectors = view.arrays()
        return keys, vectors


def estimate(collection: Collection, documents: Iterator[Document]) -> Estimate:
    """What it would cost to take `documents` in."""
    from semsearch.ingest.estimate import estimate as estimated

    settings = collection.settings
    return estimated(
        documents,
        collection.encoder,
        passages=bool(settings["passages"]),
        engine=collection.engine,
        index=settings["index"]["backend"],
        options=settings["index"]["options"],
    )
