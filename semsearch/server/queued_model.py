"""The models of a server: questions of all requests are encoded together."""

from __future__ import annotations

from collections.abc import Sequence

from semsearch.bound_encoder import BoundEncoder
from semsearch.collection import Collection
from semsearch.engine import Engine
from semsearch.errors import ModelMismatch
from semsearch.hardware import Compute
from semsearch.server.batching import Queues
from semsearch.types import Encoder, Vectors
from semsearch.vectors import stored_form


class QueuedModel(BoundEncoder):
    """The model of a collection, which encodes the questions of all requests together."""

    def __init__(self, engine: Engine, compute: Compute, queues: Queues, encoder: Encoder | None = None) -> None:
        super().__init__(engine, encoder, compute)
        self._queues = queues

    def queries(self, texts: Sequence[str]) -> Vectors:
        """See `BoundEncoder.queries`."""
        encoder = self.get()
        vectors = self._queues.of(encoder, "query").vectors(texts)
        return stored_form(vectors, encoder.dim, encoder.metric, "the encoder's vectors")


def check_encodes(collection: Collection) -> None:
    """Refuse what needs the model of a collection that was made with a program's own object."""
    described = collection.settings["encoder"]
    if described is not None and described.get("name") is None:
        raise ModelMismatch(
            f"collection '{collection.name}' was made with an encoder of a program's own, which the server has not: "
            "give vectors with it."
        )
