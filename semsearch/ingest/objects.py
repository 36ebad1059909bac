"""What Python programs put in: documents, mappings, texts and data frames, each made into documents.

Neither pandas nor polars is needed, nor loaded: a frame is what has its members.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np

from semsearch.arguments import as_id, check_list, kind_of
from semsearch.arrow_input import ROWS_AT_ONCE, is_dataset, load_pyarrow
from semsearch.errors import DataError, UsageError
from semsearch.reading.documents import ID_FIELDS, TEXT_FIELD, TITLE_FIELD
from semsearch.types import Document


class ObjectReader:
    """Makes documents, one after the other; a mapping or row has the field names of a file's records.

    `text`, `title` and `id` name the fields that hold them; by default they are `text`, `title` (where there is one)
    and `_id` or `id` (where there is one). What is left is metadata. Without an id it is a hash of title and text. What
    is missing of a record (NaN, NaT, pandas' NA) is null, as it is in a frame, of which records may have been made; a
    NaN deeper within, or in a `Document`, is an error of its own.
    """

    def __init__(self, text: str | None = None, title: str | None = None, id: str | None = None) -> None:  # noqa: A002
        for name, value in (("text", text), ("title", title), ("id", id)):
            if value is not None and not isinstance(value, str):
                raise UsageError(f"{name} is the name of a field, and {value!r:.60} is none.")
        self._text = text
        self._title = title
        self._id = id
        self._count = 0
        self._title_is_there = title is None

    def document(self, given: object) -> Document:
        """The document of the next thing that was given.

        Raises:
            UsageError: It is of a kind that no documents are made of.
            DataError: It lacks what a document needs; says which one it is.
        """
        self._count += 1
        if isinstance(given, Document):
            return given
        if isinstance(given, str):
            return Document(_digest("", given), str(given))
        if isinstance(given, Mapping):
            record = {name: None if _is_missing(value) else value for name, value in given.items()}
            return self._of_record(record, f"record {self._count:,}")
        raise UsageError(
            f"add takes a list of semsearch.Document, of mappings or of texts, not {kind_of(given)}: write "
            "Document(id, text, title=…, metadata={…})."
        )

    def tried(self, given: object) -> Document | DataError:
        """As `document`, or what is wrong with it."""
        try:
            return self.document(given)
        except DataError as error:
            return error

    def _of_record(self, record: Mapping[str, Any], where: str) -> Document:
        text = _field(record, self._text or TEXT_FIELD, where, "text", named=self._text is not None)
        if not self._title_is_there:  # later records may lack it; a name that the first one lacks is a slip
            _field(record, self._title or TITLE_FIELD, where, "title", named=True)
            self._title_is_there = True
        title = record.get(self._title or TITLE_FIELD)
        title = "" if title is None else title
        id_field = self._id or next((name for name in ID_FIELDS if name in record), None)
        for what, value in (("text", text), ("title", title)):
            if not isinstance(value, str):
                raise DataError(f"{where}: the {what} must be text, but is {kind_of(value)}.")
        identity = _digest(title, text)
        if id_field is not None:
            identity = _identity(_field(record, id_field, where, "id", named=True), where)
        used = {self._text or TEXT_FIELD, self._title or TITLE_FIELD, id_field}
        metadata = {name: value for name, value in record.items() if name not in used}
        if isinstance(inner := metadata.get("metadata"), Mapping):  # as a document has it; what stands outside wins
            del metadata["metadata"]
            metadata = {**inner, **metadata}
        return Document(identity, text, title, metadata)


def _is_missing(value: object) -> bool:
    """Whether a value says that there is none."""
    if value is None or type(value) is str:
        return value is None
    if isinstance(value, float | np.floating | date):
        return bool(value != value)
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return type(value).__name__ == "NAType"  # pandas', which may not be installed, and is equal to nothing


def _field(record: Mapping[str, Any], name: str, where: str, what: str, *, named: bool) -> Any:
    if name not in record:
        listed = ", ".join(repr(key)[:40] for key in list(record)[:40]) or "none"
        hint = "" if named else f" Say which one holds the {what}: add(…, {what}='…')."
        raise DataError(f"{where}: there is no field '{name}'; there are: {listed}.{hint}")
    return record[name]


def _identity(value: object, where: str) -> str:
    try:
        return as_id(value)
    except UsageError:
        raise DataError(f"{where}: the id must be text or a whole number, but is {kind_of(value)}.") from None


def _digest(title: str, text: str) -> str:
    content = title.encode("utf-8", "surrogatepass") + b"\0" + text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=10).hexdigest()


def each(given: object, what: str) -> Iterator[object]:
    """The things in a list or whatever can be gone through, the rows of a frame as mappings.

    Raises:
        UsageError: It can't be gone through; `what` begins the sentence.
    """
    frame: Any = given
    if hasattr(frame, "collect") and hasattr(frame, "collect_schema"):  # polars, lazy
        frame = frame.collect()
    if hasattr(frame, "iter_rows") and hasattr(frame, "columns"):  # polars
        return iter(frame.iter_rows(named=True))
    if hasattr(frame, "itertuples") and hasattr(frame, "iloc"):
        return _pandas_rows(frame)
    if is_dataset(frame):
        return (row for table in frame.with_format("arrow").iter(ROWS_AT_ONCE) for row in table.to_pylist())
    if hasattr(frame, "to_batches") and hasattr(frame, "column_names"):  # pyarrow
        return (row for batch in frame.to_batches(max_chunksize=ROWS_AT_ONCE) for row in batch.to_pylist())
    if hasattr(frame, "__arrow_c_stream__") and not hasattr(frame, "shape"):  # anything else that gives records
        return _streamed_rows(frame)
    check_list(given, what)
    return iter(frame)


def _streamed_rows(frame: Any) -> Iterator[object]:
    """The rows of an Arrow stream, which is read a batch at a time."""
    pa = load_pyarrow()
    try:
        batches = pa.RecordBatchReader.from_stream(frame)
    except pa.ArrowException as error:
        raise UsageError(f"the Arrow stream holds no records: {error}.") from error
    for batch in batches:
        for start in range(0, len(batch), ROWS_AT_ONCE):
            yield from batch.slice(start, ROWS_AT_ONCE).to_pylist()


def _pandas_rows(frame: Any) -> Iterator[object]:
    """The rows of a pandas frame: an index that has a name is a column, and what is missing is None."""
    if any(name is not None and name not in frame.columns for name in frame.index.names):
        frame = frame.reset_index(level=[n for n in frame.index.names if n is not None and n not in frame.columns])
    names = list(frame.columns)
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"the frame has several columns {twice[0]!r:.60}: rename them.")
    return _pandas_chunks(frame, names)


def _pandas_chunks(frame: Any, names: list[Any]) -> Iterator[object]:
    for start in range(0, len(frame), ROWS_AT_ONCE):
        chunk = frame.iloc[start : start + ROWS_AT_ONCE]
        there = chunk.notna().to_numpy()
        columns = [chunk.iloc[:, place].tolist() for place in range(len(names))]
        for row in range(len(chunk)):
            yield {
                name: column[row] if there[row, place] else None
                for place, (name, column) in enumerate(zip(names, columns, strict=True))
            }


def documents(given: Iterable[object], reader: ObjectReader, what: str) -> Iterator[Document]:
    """The documents of all that is given, where the first that can't be used is an error."""
    return map(reader.document, each(given, what))
