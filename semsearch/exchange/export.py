"""A collection as files that anything can read: the vectors, and the passage of each."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from semsearch.errors import CollectionDamaged, MissingDependency, StorageError, UsageError
from semsearch.local.store import document_rows as rows
from semsearch.local.store.store import Store, View
from semsearch.parquet_metadata import MARK, PLACE, Fields, packer
from semsearch.types import Vectors

PASSAGES_AT_ONCE = 4096  # passages written at a time


def export(store: Store, folder: Path, *, parquet: bool = False) -> int:
    """Write all passages and their vectors, as of one commit, into a new folder; how many.

    `vectors.npy` is `(passages, dim)`, row i that of line i of `passages.jsonl`; with `parquet` both are columns of
    `passages.parquet`, and the metadata a struct with a child for each field (see `semsearch.parquet_metadata`).
    `collection.json` tells the model. The folder appears when it is whole.

    Raises:
        UsageError: The folder is there already.
        CollectionDamaged: A stored vector or document is not what was stored.
        StorageError: The folder can't be written.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already: choose a folder that is not.")
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        building.mkdir(parents=True)
        with store.read() as view:
            count = int(np.count_nonzero(view.snapshot.live))
            facts = {key: view.snapshot.settings[key] for key in ("encoder", "metric", "splitting")}
            facts |= {"name": store.name, "passages": count, "dim": view.snapshot.dim}
            (building / "collection.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", "utf-8")
            if parquet:
                _write_parquet(view, building / "passages.parquet")
            else:
                _write_lines(view, building, count)
        os.replace(building, folder)  # noqa: PTH105  (a folder, which Path.rename would do as well: at once)
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, MissingDependency):
            raise StorageError(f"{folder} can't be written: {error.strerror or error}.") from error
        raise
    return count


def _batches(view: View) -> Iterator[tuple[list[dict[str, Any]], Vectors]]:
    """Passages as records with their vectors, in the order of their rows."""
    snapshot = view.snapshot
    live = np.flatnonzero(snapshot.live)
    counted = view.connection.exec_driver_sql("SELECT doc FROM passages GROUP BY doc HAVING count(*) > 1")
    many = set(counted.scalars())
    seen: dict[int, int] = {}
    for first in range(0, len(live), PASSAGES_AT_ONCE):
        places = live[first : first + PASSAGES_AT_ONCE]
        vectors = np.ascontiguousarray(snapshot.vectors[places])
        wrong = np.flatnonzero(~snapshot.sound(places))
        documents, _ = rows.read(view.connection, np.unique(snapshot.docs[places]).tolist())
        records = []
        for _, doc, start, end in snapshot.places(places).tolist():
            document = documents.get(doc)
            if document is None:
                raise CollectionDamaged("a stored document is damaged: see 'semsearch check --deep'.")
            number = seen[doc] = seen.get(doc, 0) + 1
            records.append(
                {
                    "id": f"{document.id}#{number}" if doc in many else document.id,
                    "document": document.id,
                    "title": document.title,
                    "text": document.text[start:end],
                    "start": start,
                    "end": end,
                    "metadata": document.metadata,
                }
            )
        if len(wrong):
            raise CollectionDamaged(
                f"the stored vector of {records[int(wrong[0])]['id']!r} is damaged: 'semsearch repair' encodes it anew."
            )
        yield records, vectors


def _write_lines(view: View, folder: Path, count: int) -> None:
    shape = (count, view.snapshot.dim)
    array = (
        np.lib.format.open_memmap(folder / "vectors.npy", mode="w+", dtype=np.float32, shape=shape) if count else None
    )
    done = 0
    with (folder / "passages.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for records, vectors in _batches(view):
            assert array is not None
            array[done : done + len(vectors)] = vectors
            done += len(vectors)
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if array is None:
        np.save(folder / "vectors.npy", np.empty(shape, dtype=np.float32))
    else:
        array.flush()


def _write_parquet(view: View, path: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("Parquet needs pyarrow: pip install 'semsearch[documents]'.") from error
    types = {"id": pyarrow.string(), "document": pyarrow.string(), "title": pyarrow.string(), "text": pyarrow.string()}
    types |= {"start": pyarrow.int64(), "end": pyarrow.int64()}
    columns = [
        pyarrow.field(name, kind, metadata={MARK: PLACE} if name in ("document", "start", "end") else None)
        for name, kind in types.items()
    ]
    fields = Fields()
    for document in rows.everything(view.connection):
        fields.add(document.metadata)
    metadata = fields.column()
    pack = packer(metadata) if metadata is not None else None
    vector = pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), view.snapshot.dim))
    schema = pyarrow.schema([*columns, *([] if metadata is None else [metadata]), vector])
    with parquet.ParquetWriter(path, schema) as writer:
        for records, vectors in _batches(view):
            table = {name: [record[name] for record in records] for name in types}
            if pack is not None:
                table["metadata"] = [pack(record["metadata"]) for record in records]
            flat = pyarrow.array(vectors.reshape(-1))
            table["vector"] = pyarrow.FixedSizeListArray.from_arrays(flat, view.snapshot.dim)
            writer.write_table(pyarrow.table(table, schema=schema))
