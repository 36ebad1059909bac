"""Vectors made elsewhere: read from files without running anything in them, and held against the model they are from.

`.npy` and `.npz` are read without pickled objects; sentence-transformers' examples keep theirs in pickles
(`semsearch.ingest.pickles`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from semsearch.arguments import named_kind
from semsearch.arrays import INFLATED, MOST_INFLATED, NUMBERS, read_archive, read_array
from semsearch.engine import Engine
from semsearch.errors import SCARCE, DataError, DimensionMismatch, MissingDependency, ModelMismatch
from semsearch.ingest.pickles import read_pickle
from semsearch.ingest.source import ReadReport, Source
from semsearch.records import Record
from semsearch.types import Document, Encoder, Metric
from semsearch.vectors import stored_form

TEXTS_CHECKED = 100  # texts that are encoded again
ALIKE = 0.999  # the cosine that the same model gives the same text, whatever the machine and the batch
VECTORS_AT_ONCE = 1024  # of a Parquet file
VECTOR_NAMES = ("vectors", "embeddings", "corpus_embeddings", "arr_0")
TEXT_NAMES = ("texts", "sentences", "text", "documents", "corpus_sentences")
ID_NAMES = ("ids", "id", "_id")


def read_vectors(path: Path, column: str | None = None) -> NDArray[Any]:
    """The vectors `(n, dim)` in an .npy or .npz file, or in a column of a Parquet file.

    Raises:
        DataError: There are none, or they can't be read without running code.
    """
    if path.suffix == ".parquet":
        return _parquet_column(path, column or "vector")
    if path.suffix == ".npz":
        return np.asarray(_named(read_archive(path), VECTOR_NAMES, path))
    return read_array(path)


def read_together(path: Path) -> tuple[list[Document], NDArray[Any]]:
    """Documents and their vectors `(n, dim)` from one file: an .npz, or a pickle of sentence-transformers' examples."""
    content = read_archive(path) if path.suffix == ".npz" else read_pickle(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a mapping with texts and vectors, but holds {named_kind(type(content))}.")
    named, given = (
        _named(content, TEXT_NAMES, path),
        next((content[name] for name in ID_NAMES if name in content), None),
    )
    try:
        vectors = np.asarray(_named(content, VECTOR_NAMES, path))
        texts = [str(text) for text in named]
        ids = [str(number) for number in (range(len(texts)) if given is None else given)]
    except (
        ValueError,
        TypeError,
        MemoryError,
    ) as error:  # lists of different lengths, or none
        raise DataError(f"{path} holds no lists of texts, ids and vectors of one length: {error}.") from error
    if vectors.dtype.kind not in NUMBERS or not vectors.ndim:
        raise DataError(f"{path} holds vectors of {vectors.dtype!s:.40}, and not of numbers.")
    if not len(ids) == len(texts) == len(vectors):
        raise DimensionMismatch(f"{path} holds {len(texts):,} texts, {len(ids):,} ids and {len(vectors):,} vectors.")
    if not ids:
        raise DataError(f"{path} holds no texts.")
    if twice := next((identity for identity, count in Counter(ids).items() if count > 1), None):
        raise DataError(f"{path} has the id {twice!r:.80} twice; ids must be unique.")
    return [Document(identity, text) for identity, text in zip(ids, texts, strict=True)], vectors


@dataclass(slots=True)
class Precomputed:
    """The documents of a source with vectors `(len(documents), dim)` that were made elsewhere, in the same order."""

    documents: Sequence[Document]
    vectors: NDArray[Any]
    source: str  # where the documents are from
    file: str  # that the vectors are from
    check: bool = True  # hold them against the collection's model
    _places: dict[str, int] = field(default_factory=dict)  # of an id that comes twice, the last
    _fitted: bool = False

    @classmethod
    def read(cls, documents: Sequence[Document], source: Source, report: ReadReport, *, check: bool) -> Self:
        """The vectors that belong to all documents of `source`.

        Raises:
            DataError: Records and vectors can't be matched.
        """
        if report.skipped:
            raise DataError(f"{source.path} holds records that can't be read: its vectors can't be matched.")
        if report.same:
            raise DataError(
                f"{report.same:,} records without an id are the same as one before, so that vectors and records "
                "can't be matched: give each record an id."
            )
        vectors = read_vectors(Path(source.vectors), source.column or None)
        if vectors.ndim != 2 or len(vectors) != len(documents):
            raise DimensionMismatch(
                f"{len(documents):,} documents need as many vectors, of shape (n, dim); {source.vectors} has "
                f"{vectors.shape}."
            )
        places = {document.id: place for place, document in enumerate(documents)}
        return cls(documents, vectors, source.path, source.vectors, check, places)

    def fit(self, engine: Engine) -> None:
        """Bring the vectors into the form in which the collection stores them."""
        if not self._fitted:
            with engine.view() as view:
                dim = view.dim
            self.vectors = stored_form(self.vectors, dim, Metric(engine.settings["metric"]), self.file)
            self._fitted = True

    def record(self, document: Document) -> Record:
        """The document of an id as it is stored: its vector is part of the content."""
        place = self._places[document.id]
        return Record.of(self.documents[place], self.vectors[place], checked=True)

    def hold_against(self, ids: Sequence[str], encoder: Callable[[], Encoder]) -> None:
        """Encode some of these documents again; `encoder` loads the model.

        Raises:
            ModelMismatch: The vectors are not this model's.
        """
        if not ids:
            return
        places = [self._places[identity] for identity in ids]
        try:
            check_precomputed([self.documents[place] for place in places], self.vectors[places], encoder())
        except ModelMismatch as error:
            error.add_note(f"Nothing was taken from {self.source}.")
            raise


def check_precomputed(documents: Sequence[Document], vectors: NDArray[Any], encoder: Encoder) -> float:
    """Encode up to 100 of the texts again and compare; the smallest cosine.

    With the title in front of the text, and without it: either way may be how they were made.

    Raises:
        ModelMismatch: They are not this model's vectors of these texts.
    """
    chosen = sorted(random.Random(0).sample(range(len(documents)), min(TEXTS_CHECKED, len(documents))))
    mine = [documents[place] for place in chosen]
    theirs = stored_form(vectors[chosen], None, Metric.COSINE)
    titled = [f"{document.title} {document.text}" if document.title else document.text for document in mine]
    worst, place = -1.0, 0
    for texts in ([document.text for document in mine], titled):
        cosines = _cosines(encoder.encode_documents(texts), theirs)
        if cosines.min() > worst:
            worst, place = float(cosines.min()), int(cosines.argmin())
    if not worst >= ALIKE:
        raise ModelMismatch(
            f"the vectors are not this model's: encoded again, document {mine[place].id!r} comes to a cosine of "
            f"{worst:.4f} with the vector it was given, where {ALIKE} is the least. Name the model that made them with "
            "--encoder, or use --encoder none to search by vectors alone; --unchecked takes them as they are."
        )
    return worst


def _cosines(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    products = np.einsum("nd,nd->n", one, other, dtype=np.float64)
    lengths = np.linalg.norm(one, axis=1).astype(np.float64) * np.linalg.norm(other, axis=1)
    found: NDArray[np.float64] = products / np.maximum(lengths, 1e-30)
    return found


def _named(content: dict[str, Any], names: Sequence[str], path: Path) -> Any:
    for name in names:
        if name in content:
            return content[name]
    raise DataError(f"{path} holds none of {', '.join(names)}; it holds {', '.join(map(str, content)) or 'nothing'}.")


def _parquet_column(path: Path, column: str) -> NDArray[Any]:
    try:
        import pyarrow
        from pyarrow import compute, parquet
    except ImportError as error:
        raise MissingDependency("Parquet needs pyarrow: pip install 'semsearch[documents]'.") from error
    most = max(MOST_INFLATED, path.stat().st_size * INFLATED)
    pieces: list[NDArray[Any]] = []
    length, count, read = -1, 0, 0
    try:
        with parquet.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise KeyError(f"it has {', '.join(map(repr, file.schema_arrow.names[:40])) or 'none'}")
            if _said(file, column) > most:
                raise DataError(_inflated(path, column, most))
            for batch in file.iter_batches(
                VECTORS_AT_ONCE, columns=[column]
            ):  # a value may be stored once for all rows
                lists = batch.column(0)
                lengths = compute.list_value_length(lists).fill_null(-1).to_numpy(zero_copy_only=False)
                read += 4 * int(np.maximum(lengths, 0).sum())
                if read > most:
                    raise DataError(_inflated(path, column, most))
                length = int(lengths[0]) if length < 0 and len(lengths) else length
                if length <= 0 or (lengths != length).any():
                    raise DimensionMismatch(
                        f"{path}: the lists in the column '{column}' are of different lengths, or missing."
                    )
                values = lists.flatten().to_numpy(zero_copy_only=False)
                pieces.append(values if values.dtype == np.float64 else np.asarray(values, dtype=np.float32))
                count += len(lengths)
    except DimensionMismatch:
        raise
    except (pyarrow.ArrowException, OSError, KeyError, AttributeError, ValueError, TypeError) as error:
        if isinstance(error, OSError) and error.errno in SCARCE:  # nothing is wrong with it
            raise
        raise DataError(f"{path} has no column '{column}' of vectors: {str(error)[:200]}.") from error
    if not count:
        raise DimensionMismatch(f"{path}: the lists in the column '{column}' are of different lengths, or missing.")
    return np.concatenate(pieces).reshape(count, length)


def _said(file: Any, column: str) -> int:
    """Bytes that the numbers of a column come to, as the file says itself."""
    chunks = [
        group.column(place)
        for group in map(file.metadata.row_group, range(file.num_row_groups))
        for place in range(group.num_columns)
    ]
    return sum(4 * chunk.num_values for chunk in chunks if chunk.path_in_schema.partition(".")[0] == column)


def _inflated(path: Path, column: str, most: int) -> str:
    return (
        f"{path}: the column '{column}' would be more than {most:,} bytes of numbers, far more than vectors in a file "
        "of this size come to."
    )
