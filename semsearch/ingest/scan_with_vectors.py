"""Reading a source together with vectors that were made elsewhere: row i is the vector of record i.

Rows are counted over the whole source, so all of it is read again as soon as one of its files or the vectors are not
as they were, and one record that can't be read spoils the count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError, DimensionMismatch, ModelMismatch
from semsearch.ingest.pipeline import Changes, Progress, add_given, stored_form
from semsearch.ingest.precomputed import check_given, read_vectors
from semsearch.ingest.scan import WHOLE, Preview, Reading
from semsearch.ingest.source import ReadReport, Source
from semsearch.local.store import document_rows as rows
from semsearch.local.store.document_rows import Record
from semsearch.local.store.origins import File
from semsearch.local.store.store import Store
from semsearch.types import Document, Encoder, Metric


class GivenReading(Reading):
    """As a `Reading`; `all` and `vectors` `(len(all), dim)` are there once it has begun."""

    def __init__(
        self, source: Source, report: ReadReport, known: Mapping[str, File] | None = None, *, unchecked: bool = False
    ) -> None:
        """`unchecked`: take vectors that the collection's model does not give the texts."""
        super().__init__(source, report, known)
        self.unchecked = unchecked
        self.all: list[Document] = []
        self.vectors: NDArray[Any] = np.empty((0, 0))
        self._places: dict[str, int] = {}
        if self.unread != self._there.keys() or self.known.keys() - self._there.keys() - {WHOLE}:
            self.unread = set()

    def begin(self) -> None:
        """Read all documents and vectors.

        Raises:
            DataError: Records and vectors can't be matched.
        """
        super().begin()
        if self.empty:
            return
        self.all = list(self.documents)
        self.documents = iter(self.all)
        if self.report.skipped:
            raise DataError(f"{self.source.path} holds records that can't be read: its vectors can't be matched.")
        if self.report.same:
            raise DataError(
                f"{self.report.same:,} records without an id are the same as one before, so that vectors and records "
                "can't be matched: give each record an id."
            )
        self.vectors = read_vectors(Path(self.source.vectors), self.source.column or None)
        if self.vectors.ndim != 2 or len(self.vectors) != len(self.all):
            raise DimensionMismatch(
                f"{len(self.all):,} documents need as many vectors, of shape (n, dim); {self.source.vectors} has "
                f"{self.vectors.shape}."
            )

    def into(
        self, store: Store, encoder: Callable[[], Encoder], progress: Callable[[Progress], None] | None = None
    ) -> Changes:
        """Store what is new or changed; the model is asked for where there is one to hold new vectors against."""
        seen = self.preview(store)
        if store.settings["encoder"] is not None and not self.unchecked:
            self._check([self._places[identity] for identity in [*seen.added, *seen.changed]], encoder)
        changes = add_given(store, self.all, self.vectors, self.report.bad, self._origin(store))
        if progress is not None:
            progress(Progress(len(self.all), changes.passages, changes.unchanged))
        return changes

    def preview(self, store: Store) -> Preview:
        """What `into` would do; nothing is encoded or written."""
        if self.all:
            with store.read() as view:
                dim = view.snapshot.dim
            self.vectors = stored_form(self.vectors, dim, Metric(store.settings["metric"]), self.source.vectors)
            self._places = {document.id: place for place, document in enumerate(self.all)}  # of an id, the last
        return super().preview(store)

    def _check(self, places: list[int], encoder: Callable[[], Encoder]) -> None:
        if not places:
            return
        try:
            check_given([self.all[place] for place in places], self.vectors[places], encoder())
        except ModelMismatch as error:
            error.add_note(f"Nothing was taken from {self.source.path}.")
            raise

    def _record(self, document: Document) -> Record:
        place = self._places[document.id]
        return rows.record(self.all[place], self.vectors[place], checked=True)
