"""Texts and vectors out of Chroma's and LanceDB's stores, read through their own packages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError, MissingDependency, UsageError
from semsearch.types import Document
from semsearch.validation import is_empty

RECORDS_AT_ONCE = 2000  # records asked for at a time
TEXTS = ("text", "document", "content", "page_content", "chunk")
IDS = ("id", "_id", "doc_id", "key")
VECTORS = ("vector", "embedding", "embeddings")

Taken = tuple[list[Document], NDArray[Any]]


def is_chroma(path: Path) -> bool:
    """Whether a folder is a store of Chroma's."""
    return (path / "chroma.sqlite3").is_file()


def is_lance(path: Path) -> bool:
    """Whether a folder is a store of LanceDB's, or one of its tables."""
    return path.is_dir() and (path.suffix == ".lance" or any(path.glob("*.lance")))


def read_chroma(path: Path, name: str | None = None) -> Taken:
    """The documents of a collection and their vectors `(n, dim)`.

    Raises:
        MissingDependency: The package that reads it is not installed.
        DataError: A record lacks its text.
    """
    try:
        import chromadb
        from chromadb.config import Settings
    except ImportError as error:
        raise MissingDependency("Chroma's stores are read by its package: pip install chromadb.") from error
    try:
        client = chromadb.PersistentClient(str(path), settings=Settings(anonymized_telemetry=False))
    except ValueError:  # this process has it open already, and Chroma has one client for a store
        client = chromadb.PersistentClient(str(path))
    names = [found if isinstance(found, str) else found.name for found in client.list_collections()]
    collection = client.get_collection(chosen_of(names, name, path), embedding_function=None)
    documents: list[Document] = []
    parts: list[NDArray[Any]] = []
    while True:
        found = collection.get(
            include=["documents", "metadatas", "embeddings"], limit=RECORDS_AT_ONCE, offset=len(documents)
        )  # fmt: skip
        ids = found["ids"]
        if not ids:
            break
        texts = found["documents"] or [None] * len(ids)
        for identity, text, metadata in zip(ids, texts, found["metadatas"] or [None] * len(ids), strict=True):
            documents.append(taken_document(identity, text, dict(metadata or {}), path))
        parts.append(np.asarray(found["embeddings"], dtype=np.float32))
    return documents, _together(parts, path)


def read_lance(path: Path, name: str | None = None) -> Taken:
    """The documents of a table and their vectors `(n, dim)`; as `read_chroma`."""
    try:
        import lancedb
    except ImportError as error:
        raise MissingDependency("LanceDB's stores are read by its package: pip install lancedb.") from error
    if path.suffix == ".lance":
        path, name = path.parent, path.stem
    names = sorted(table.stem for table in path.glob("*.lance"))
    table = lancedb.connect(str(path)).open_table(chosen_of(names, name, path)).to_arrow()
    text, vector = _column(table.column_names, TEXTS, path), _column(table.column_names, VECTORS, path)
    key = next((column for column in IDS if column in table.column_names), None)
    rest = [column for column in table.column_names if column not in (text, vector, key)]
    documents = [
        taken_document(str(number if key is None else row[key]), row[text], {c: row[c] for c in rest}, path)
        for number, row in enumerate(table.drop_columns([vector]).to_pylist())
    ]
    column = table.column(vector).combine_chunks()
    return documents, np.asarray(column.flatten()).reshape(len(documents), -1)


def taken_document(identity: str, text: Any, metadata: dict[str, Any], path: Path) -> Document:
    """A record as a document, or the error that it has no text."""
    if not isinstance(text, str) or is_empty(text):
        raise DataError(f"{path}: the record {identity!r} has no text.")
    return Document(identity, text, metadata=metadata)


def chosen_of(names: Sequence[str], name: str | None, path: Path) -> str:
    """The collection or table that is meant, of those that there are."""
    if name in names:
        return str(name)
    listed = ", ".join(sorted(names)) or "none"
    if name is None and len(names) == 1:
        return names[0]
    raise UsageError(
        f"{path} holds {listed}: say which with --inside." if name is None else f"{path} has no '{name}': {listed}."
    )


def _column(names: Sequence[str], wanted: Sequence[str], path: Path) -> str:
    for name in wanted:
        if name in names:
            return name
    raise DataError(f"{path} has no column {' or '.join(wanted)}; it has {', '.join(names)}.")


def _together(parts: Sequence[NDArray[Any]], path: Path) -> NDArray[Any]:
    if not parts:
        raise DataError(f"{path} holds no records.")
    return np.concatenate(parts)
