"""Collections as adaptors hold them: opened by name, or made where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from semsearch.collection import Collection
from semsearch.encoder import DEFAULT_MODEL
from semsearch.errors import CollectionClosed, CollectionExists, UsageError
from semsearch.home import Home
from semsearch.opening import HomeLike, create
from semsearch.opening import open as open_collection
from semsearch.types import Encoder, Metric

GIVEN_VECTORS = "given"  # as an encoder: none, vectors come with the documents


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """Which collection, and how it is made where it is not there.

    `encoder` is a model's name, an object, `GIVEN_VECTORS`, or None for the collection's own: of a new one the default
    model.
    """

    name: str
    home: HomeLike = None
    encoder: str | Encoder | None = None
    dim: int | None = None
    metric: Metric | str | None = None

    def opened(self) -> Collection:
        """The collection.

        Raises:
            UsageError: It is there and has another metric or another number of components.
            ModelMismatch: It was made with another model.
        """
        place = Home.of(self.home)
        given = self.encoder == GIVEN_VECTORS
        if self.name not in place:
            wanted = None if given else self.encoder or DEFAULT_MODEL
            try:
                return create(self.name, home=place, encoder=wanted, dim=self.dim, metric=self.metric)
            except CollectionExists:
                pass  # another process made it meanwhile
        opened = open_collection(self.name, home=place, encoder=None if given else self.encoder)
        try:
            self._check(opened, given)
        except UsageError:
            opened.close()
            raise
        return opened

    def _check(self, opened: Collection, given: bool) -> None:
        if self.metric is not None and opened.metric != self.metric:
            raise UsageError(
                f"collection '{self.name}' compares vectors by {opened.metric}, not by {self.metric}: open it without "
                "a metric, or make another."
            )
        if given and opened.settings["encoder"] is not None:
            raise UsageError(
                f"collection '{self.name}' has a model, which gives its vectors: open it without saying that they are "
                "given."
            )
        if self.dim is not None:
            with opened.engine.view() as view:
                dim = view.dim
            if dim and dim != self.dim:
                raise UsageError(f"the vectors of collection '{self.name}' have {dim} components, not {self.dim}.")


def closed_store(name: str) -> CollectionClosed:
    """That a store was closed, as its collection says it."""
    return CollectionClosed(f"the store of collection '{name}' was closed: make another one.")


def has_encoder(collection: Collection) -> bool:
    """Whether a model gives its vectors, so that it can be asked in words by meaning."""
    return collection.settings["encoder"] is not None


def place_of(home: HomeLike) -> Any:
    """A home as a framework writes it down: text, or None for the default one."""
    return home.location if isinstance(home, Home) else None if home is None else str(home)
