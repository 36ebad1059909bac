"""Texts and vectors out of what stands around an index of FAISS's: a docstore of LangChain's, or lines in its order."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semsearch.errors import DataError, UsageError
from semsearch.ingest.objects import ObjectReader
from semsearch.ingest.pickles import read_pickle
from semsearch.ingest.stores.chroma_lancedb import Taken, chosen_of, taken_document
from semsearch.ingest.stores.flat_index import read_flat_index
from semsearch.types import Document

INDEX_SUFFIXES = (".faiss", ".index")
LINES_SUFFIXES = (".jsonl", ".txt")


def is_faiss(path: Path) -> bool:
    """Whether it is an index of FAISS's, or a folder with one."""
    return (path.suffix in INDEX_SUFFIXES and path.is_file()) or any(_indexes(path))


def _indexes(path: Path) -> Iterator[Path]:
    return (file for file in sorted(path.iterdir()) if file.suffix in INDEX_SUFFIXES) if path.is_dir() else iter(())


def read_faiss(path: Path, name: str | None = None) -> Taken:
    """The vectors of an index, and the texts in `NAME.pkl` (of LangChain), `NAME.jsonl` or `NAME.txt` beside it.

    Raises:
        UsageError: No texts stand beside it.
        DataError: There are not as many as vectors, or they can't be read.
    """
    file = path
    if path.is_dir():
        files = {found.stem: found for found in _indexes(path)}
        file = files[chosen_of(sorted(files), name, path)]
    vectors, ids = read_flat_index(file)
    if (docstore := file.with_suffix(".pkl")).is_file():
        documents = _of_langchain(docstore, len(vectors))
    else:
        lines = next((beside for ending in LINES_SUFFIXES if (beside := file.with_suffix(ending)).is_file()), None)
        if lines is None:
            raise UsageError(
                f"{file} has vectors, and no texts: they stand beside it as {file.stem}.jsonl (a record a line) or "
                f"{file.stem}.txt (a text a line), in the order of the vectors; or as LangChain's {file.stem}.pkl."
            )
        documents = _of_lines(lines, None if ids is None else ids.tolist())
    if len(documents) != len(vectors):
        raise DataError(f"{file} has {len(vectors):,} vectors, and {len(documents):,} texts stand beside it.")
    if not documents:
        raise DataError(f"{path} holds no records.")
    return documents, vectors


def _of_langchain(path: Path, count: int) -> list[Document]:
    """The documents of a docstore in the order of the index."""
    match read_pickle(path):
        case [{"_dict": dict() as known}, dict() as order] if set(order) == set(range(count)):
            documents = []
            for place in range(count):
                match known.get(order[place]):
                    case {"page_content": text, "metadata": dict() as metadata}:
                        documents.append(taken_document(str(order[place]), text, metadata, path))
                    case _:
                        raise DataError(f"{path} has no document of the id {order[place]!r:.60}.")
            return documents
    raise DataError(f"{path} is no docstore of LangChain's for an index of {count:,} vectors.")


def _of_lines(path: Path, ids: list[int] | None) -> list[Document]:
    reader, documents = ObjectReader(), []
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read as text in UTF-8.") from error
    for number, line in enumerate(lines, start=1):
        own = str(number - 1 if ids is None else ids[min(number, len(ids)) - 1]) if ids or ids is None else ""
        if path.suffix == ".txt":
            documents.append(taken_document(own, line, {}, path))
            continue
        try:
            record: Any = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number:,}: it is no JSON.") from error
        if isinstance(record, dict):
            record = record if "id" in record or "_id" in record else {"id": own, **record}
        documents.append(reader.document(record))
    return documents
