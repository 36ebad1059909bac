"""Texts and vectors out of the folders that Qdrant's client and txtai write: SQLite databases, which are only read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from semsearch.errors import DataError, UsageError
from semsearch.ingest.pickles import read_pickled
from semsearch.ingest.stores.chroma_lancedb import IDS, TEXTS, Taken, chosen_of, taken_document
from semsearch.ingest.stores.flat_index import read_flat_index
from semsearch.types import Document


def is_qdrant(path: Path) -> bool:
    """Whether a folder is one of Qdrant's client."""
    return (path / "meta.json").is_file() and (path / "collection").is_dir()


def is_txtai(path: Path) -> bool:
    """Whether a folder is one of txtai's."""
    return (path / "embeddings").is_file() and ((path / "config.json").is_file() or (path / "config").is_file())


def read_qdrant(path: Path, name: str | None = None) -> Taken:
    """The points of a collection and their vectors; of the pickles that they lie in only data is read.

    Raises:
        DataError: A point lacks its text or its vector, or has several vectors.
    """
    names = sorted(folder.name for folder in (path / "collection").iterdir() if folder.is_dir())
    file = path / "collection" / chosen_of(names, name, path) / "storage.sqlite"
    documents: list[Document] = []
    vectors: list[Any] = []
    with _opened(file) as database:
        for _, point in database.execute("SELECT id, point FROM points ORDER BY rowid"):
            found = read_pickled(point, f"a point in {file}") if isinstance(point, bytes) else None
            if not isinstance(found, dict) or "id" not in found:
                raise DataError(f"{file} holds what is no point.")
            identity, payload = str(found["id"]), dict(found.get("payload") or {})
            vectors.append(_only_vector(found.get("vector"), identity, path))
            text = next((column for column in TEXTS if isinstance(payload.get(column), str)), None)
            if text is None:
                listed = ", ".join(map(str, payload)) or "none"
                raise DataError(
                    f"{path}: the point {identity!r} has no text ({' or '.join(TEXTS)}); its fields: {listed}."
                )
            documents.append(taken_document(identity, payload.pop(text), payload, path))
    if not documents:
        raise DataError(f"{path} holds no records.")
    return documents, _matrix(vectors, path)


def _only_vector(given: Any, identity: str, path: Path) -> Any:
    if isinstance(given, Mapping):
        dense = {name: one for name, one in given.items() if isinstance(one, list | np.ndarray)}
        if len(dense) != 1:
            listed = ", ".join(map(str, given)) or "none"
            raise DataError(f"{path}: the point {identity!r} has not one vector, but: {listed}.")
        (given,) = dense.values()
    return given


def _matrix(vectors: Sequence[Any], path: Path) -> Any:
    try:
        found = np.asarray(vectors, dtype=np.float64)
    except (ValueError, TypeError):
        found = np.empty(0, dtype=np.float32)
    if found.ndim != 2:
        raise DataError(f"{path}: the vectors have not all the same number of components.")
    return found


def read_txtai(path: Path, name: str | None = None) -> Taken:
    """The texts of an index with content and their vectors.

    Raises:
        UsageError: It was made without content, so that there are no texts, or with another index than a flat one.
        DataError: It is damaged.
    """
    if name is not None:
        raise UsageError(f"a folder of txtai's holds one index: leave out '{name}'.")
    settings = path / "config.json"
    try:
        backend = json.loads(settings.read_text("utf-8")).get("backend", "faiss") if settings.is_file() else "faiss"
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{settings} can't be read.") from error
    if backend != "faiss":
        raise UsageError(f"{path} keeps its vectors in the index '{backend}'; FAISS's flat one is read.")
    if not (path / "documents").is_file():
        raise UsageError(f"{path} was made without its texts (txtai's content=True): there is nothing to be found.")
    vectors, ids = read_flat_index(path / "embeddings")
    rows = {int(identity): row for row, identity in enumerate(range(len(vectors)) if ids is None else ids.tolist())}
    documents: list[Document] = []
    chosen: list[int] = []
    with _opened(path / "documents") as database:
        fields = dict(database.execute("SELECT id, data FROM documents"))
        for number, identity, text, tags in database.execute(
            "SELECT indexid, id, text, tags FROM sections ORDER BY indexid"
        ):
            if number not in rows:
                raise DataError(f"{path}: the text of {identity!r} has no vector.")
            metadata = {key: one for key, one in _json(fields.get(identity)).items() if key not in ("text", *IDS)}
            documents.append(
                taken_document(str(identity), text, {**metadata, **({"tags": tags} if tags else {})}, path)
            )
            chosen.append(rows[number])
    if not documents:
        raise DataError(f"{path} holds no records.")
    return documents, vectors[chosen]


def _json(text: Any) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str | bytes) else {}
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A database that is only read, and runs nothing that is written in it."""
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA trusted_schema = OFF")
            database.execute("PRAGMA query_only = ON")
            yield database
    except sqlite3.Error as error:
        raise DataError(f"{file} can't be read as what it seems to be: {error}.") from error
