"""A collection as files that anything can read: the vectors, and the passage of each."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from semsearch.engine import Engine, EngineView
from semsearch.errors import MissingDependency, StorageError, UsageError
from semsearch.parquet_metadata import MARK, PLACE_COLUMN, MetadataColumns, packer
from semsearch.types import Passage, Vectors


def export(engine: Engine, folder: Path, *, parquet: bool = False) -> int:
    """Write all passages and their vectors, as of one commit, into a new folder, or one file; how many.

    `vectors.npy` is `(passages, dim)`, row i that of line i of `passages.jsonl`; with `parquet` both are columns of
    `passages.parquet`, and the metadata a struct with a child for each field (see `semsearch.parquet_metadata`).
    `collection.json` tells the model. What is called `….parquet` is that file itself, and its schema tells the model
    (under `semsearch.collection`). It appears when it is whole.

    Raises:
        UsageError: It is there already.
        CollectionDamaged: A stored vector or document is not what was stored.
        StorageError: The folder can't be written.
    """
    if folder.exists():
        raise UsageError(f"{folder} is there already: choose a place where nothing is.")
    building = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        alone = folder.suffix.lower() == ".parquet"
        folder.parent.mkdir(parents=True, exist_ok=True) if alone else building.mkdir(parents=True)
        with engine.view() as view:
            count = view.passages
            facts = {key: view.settings[key] for key in ("encoder", "metric", "splitting")}
            facts |= {"name": engine.name, "passages": count, "dim": view.dim}
            if alone:
                _write_parquet(view, building, facts)
            else:
                told = json.dumps(facts, indent=2, ensure_ascii=False)
                (building / "collection.json").write_text(f"{told}\n", "utf-8")
                if parquet:
                    _write_parquet(view, building / "passages.parquet", facts)
                else:
                    _write_lines(view, building, count)
        os.replace(building, folder)  # noqa: PTH105  (a folder, which Path.rename would do as well: at once)
    except BaseException as error:
        with suppress(OSError):
            building.unlink() if building.is_file() else shutil.rmtree(building, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, MissingDependency):
            raise StorageError(f"{folder} can't be written: {error.strerror or error}.") from error
        raise
    return count


def _batches(view: EngineView) -> Iterator[tuple[list[dict[str, Any]], Vectors]]:
    """Passages as records with their vectors; of a document with several, ids are numbered."""
    number, last = 0, ""
    waiting: tuple[list[Passage], Vectors] | None = None
    for batch in chain(view.stored(), [None]):
        if waiting is not None:
            passages, vectors = waiting
            following = [passage.id for passage in passages[1:]] + [batch[0][0].id if batch is not None else ""]
            records = []
            for passage, after in zip(passages, following, strict=True):
                number = number + 1 if passage.id == last else 1
                several = number > 1 or after == passage.id
                last = passage.id
                records.append(
                    {
                        "id": f"{passage.id}#{number}" if several else passage.id,
                        "document": passage.id,
                        "title": passage.title,
                        "text": passage.text,
                        "start": passage.start,
                        "end": passage.end,
                        "metadata": passage.metadata,
                    }
                )
            yield records, vectors
        waiting = batch


def _write_lines(view: EngineView, folder: Path, count: int) -> None:
    shape = (count, view.dim)
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


def _write_parquet(view: EngineView, path: Path, facts: Mapping[str, Any]) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependency("Parquet needs pyarrow: pip install 'semsearch[documents]'.") from error
    types = {"id": pyarrow.string(), "document": pyarrow.string(), "title": pyarrow.string(), "text": pyarrow.string()}
    types |= {"start": pyarrow.int64(), "end": pyarrow.int64()}
    columns = [
        pyarrow.field(name, kind, metadata={MARK: PLACE_COLUMN} if name in ("document", "start", "end") else None)
        for name, kind in types.items()
    ]
    fields = MetadataColumns()
    for document in view.documents():
        fields.add(document.metadata)
    metadata = fields.column()
    pack = packer(metadata) if metadata is not None else None
    vector = pyarrow.field("vector", pyarrow.list_(pyarrow.float32(), view.dim))
    told = {"semsearch.collection": json.dumps(facts, ensure_ascii=False)}
    schema = pyarrow.schema([*columns, *([] if metadata is None else [metadata]), vector], metadata=told)
    with parquet.ParquetWriter(path, schema) as writer:
        for records, vectors in _batches(view):
            table = {name: [record[name] for record in records] for name in types}
            if pack is not None:
                table["metadata"] = [pack(record["metadata"]) for record in records]
            flat = pyarrow.array(vectors.reshape(-1))
            table["vector"] = pyarrow.FixedSizeListArray.from_arrays(flat, view.dim)
            writer.write_table(pyarrow.table(table, schema=schema))
