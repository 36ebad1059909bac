"""An index on disk: an immutable folder of the backend's files and a manifest that says what they are.

It gets its name only when it is whole: built under a temporary one, read back and asked, fsynced, hashed, renamed.
When it is opened every digest is checked before the library sees a byte, because no library finds a flipped bit and
some end the process. What was not built here is looked through by its backend, too: who writes files on purpose writes
their digests. Anything wrong is `IndexDamaged`; the collection then answers exactly and builds anew.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from semsearch.errors import SCARCE, IndexDamaged, IndexForeign, StorageError
from semsearch.local.index.equals import EQUALS_FILE, Equals
from semsearch.local.index.tags import TAG_PREFIX, built_here, write_tag
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.platform import fsync_folder, fsync_path, make_folder, rename, storage_error
from semsearch.plain_files import entries, is_file, is_folder, is_plain_name, open_plain, read_plain
from semsearch.types import Keys, Metric, Vectors
from semsearch.vector_index import Library, VectorIndex

GENERATION_MANIFEST = "manifest.json"
GENERATION_FORMAT = 1
LOAD_PROBES = 16  # stored vectors that a reloaded index is asked for


@dataclass(frozen=True)
class Manifest:
    """What an index generation is: enough to refuse it for any other collection, model or state."""

    backend: str
    versions: Mapping[str, str]  # of the libraries that wrote the files
    options: Mapping[str, Any]
    metric: str
    dim: int
    count: int
    highest_key: int  # -1 when empty
    collection: str  # uuid
    model: str  # the encoder's fingerprint
    files: Mapping[str, str]  # name → sha256
    format: int = GENERATION_FORMAT
    sizes: Mapping[str, int] = field(default_factory=dict)  # of the files, in bytes; older versions wrote none


class Opened(NamedTuple):
    """An index as it was read back; with `equals` it is of distinct vectors."""

    vector_index: VectorIndex
    manifest: Manifest
    equals: Equals | None


def write_generation(
    folder: Path,
    index: VectorIndex,
    keys: Keys,
    vectors: Vectors,
    metric: Metric,
    params: Any,
    equals: Equals | None = None,
    /,
    *,
    backend: str,
    collection: str,
    model: str,
) -> Manifest:
    """Save `index`, built from `keys` and `vectors`, as the new folder `folder`; durable when this returns.

    With `equals`, `keys` and `vectors` are the distinct ones.
    """

    def save(temporary: Path) -> None:
        index.save(temporary)
        if equals is not None:
            equals.save(temporary)
        _ask_reloaded(temporary, index, keys, vectors, metric, params)

    manifest = Manifest(
        backend=backend,
        versions={**versions(), **index.library.versions},
        options=asdict(params),
        metric=metric.value,
        dim=vectors.shape[1],
        count=len(keys),
        highest_key=int(keys.max()) if len(keys) else -1,
        collection=collection,
        model=model,
        files={},
    )
    return write_files(folder, manifest, save)


def write_files(folder: Path, manifest: Manifest, save: Callable[[Path], None]) -> Manifest:
    """Make the new folder `folder` of the files that `save(place)` writes and a manifest that lists them; durable."""
    temporary = folder.with_name(folder.name + ".tmp")
    try:
        entries(folder.parent)  # no link leads the files elsewhere
        if is_folder(temporary):  # of a process that died
            shutil.rmtree(temporary)
        make_folder(temporary)
        failpoint("save index")
        save(temporary)
        files, sizes = {}, {}
        for path in sorted(temporary.iterdir()):
            fsync_path(path)
            files[path.name] = _digest(path)
            sizes[path.name] = path.stat().st_size
        manifest = replace(manifest, files=files, sizes=sizes)
        failpoint("write manifest")
        path = temporary / GENERATION_MANIFEST
        path.write_text(json.dumps(asdict(manifest), indent=1, sort_keys=True), encoding="utf-8")
        fsync_path(path)
        tag = write_tag(temporary, published_digest(temporary))
        if tag is not None:
            fsync_path(tag)
        fsync_folder(temporary)
        rename(temporary, folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise storage_error(error, "writing the index", folder) from error
    except StorageError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return manifest


def open_generation(
    folder: Path,
    kind: type[VectorIndex],
    keys: Keys,
    vectors: Vectors,
    metric: Metric,
    *,
    backend: str,
    collection: str,
    model: str,
) -> Opened:
    """The index in `folder`, verified against what the collection expects of it; `keys` and `vectors` are all rows."""
    manifest, equals = read_manifest(folder), None
    try:
        if EQUALS_FILE in manifest.files:
            equals = Equals.load(folder, keys)
            keys, vectors = keys[equals.rows], equals.distinct(vectors)
    except MemoryError as error:
        raise storage_error(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "loading", folder) from error
    except OSError as error:
        refuse_if_scarce(error, folder)
        raise IndexDamaged(f"the index {folder} can't be loaded ({error}): build it anew.") from error
    expected = {
        "backend": backend,
        "metric": metric.value,
        "dim": vectors.shape[1],
        "count": len(keys),
        "highest_key": int(keys.max()) if len(keys) else -1,
        "collection": collection,
        "model": model,
    }
    for name, value in expected.items():
        found = getattr(manifest, name)
        if found != value:
            raise IndexDamaged(
                f"the index {folder} is not this collection's: its {name} is {found!r}, expected was {value!r}. "
                "Search is exact until 'semsearch reindex' has built a new one."
            )
    verify_files(folder, manifest)
    ours = built_here(folder, published_digest(folder))
    verify = getattr(kind, "verify", None)  # of a `Verifiable`
    if not ours and verify is None:
        raise IndexForeign(
            f"the index {folder} was built elsewhere, and '{backend}' can't tell whether its files are safe to read. "
            "Search is exact until 'semsearch reindex' has built one here."
        )
    try:
        params = kind.Params(**manifest.options)
        if not ours and verify is not None:
            verify(folder, keys, vectors, metric, params)
        index = kind.load(folder, keys, vectors, metric, params)
    except MemoryError as error:
        raise storage_error(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "loading", folder) from error
    except (RuntimeError, OSError, ValueError, TypeError) as error:  # whole, but of a version this library can't read
        refuse_if_scarce(error, folder)
        raise IndexDamaged(
            f"the index {folder} can't be loaded ({error}); it was written by {dict(manifest.versions)}. "
            "Search is exact until 'semsearch reindex' has built a new one."
        ) from error
    if len(index) != len(keys):
        raise IndexDamaged(f"the index {folder} holds {len(index)} vectors instead of {len(keys)}: build it anew.")
    return Opened(index, manifest, equals)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the generation in `folder`."""
    path = folder / GENERATION_MANIFEST
    try:
        is_folder(folder)
        manifest = Manifest(**json.loads(read_plain(path)))
        for name in manifest.files:
            if not is_plain_name(name):
                raise ValueError(f"{name!r} is no name of a file in it")
    except (OSError, ValueError, TypeError, AttributeError) as error:
        refuse_if_scarce(error, folder)
        raise IndexDamaged(f"the index {folder} has no readable manifest ({error}): build it anew.") from error
    if manifest.format != GENERATION_FORMAT:
        raise IndexDamaged(f"the index {folder} has format {manifest.format}, this version reads {GENERATION_FORMAT}.")
    return manifest


def published_digest(folder: Path) -> str:
    """The sha256 of the manifest in `folder`: what SQLite keeps of a published index; "" if it can't be read."""
    try:
        is_folder(folder)
        return _digest(folder / GENERATION_MANIFEST)
    except OSError as error:
        refuse_if_scarce(error, folder)
        return ""


def look_at_files(folder: Path, manifest: Manifest) -> None:
    """Raise `IndexDamaged` if it is seen without reading a file that one is missing or has another size."""
    for name in manifest.files:
        path = folder / name
        try:
            is_file(path)
            size = path.stat().st_size
        except OSError as error:
            refuse_if_scarce(error, path)
            raise IndexDamaged(f"the index file {path} can't be read ({error.strerror}): build it anew.") from error
        if size != manifest.sizes.get(name, size):
            raise IndexDamaged(
                f"the index file {path} has {size:,} bytes instead of {manifest.sizes[name]:,}: build it anew."
            )


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Raise `IndexDamaged` unless every file is there, every byte of it is as written, and no other file is there."""
    try:
        there = {path.name for path in entries(folder) if not path.name.startswith(TAG_PREFIX)}
    except OSError as error:
        refuse_if_scarce(error, folder)
        raise IndexDamaged(f"the index {folder} can't be read: {error}") from error
    # its library opens files by their names, whatever the manifest lists
    if unknown := there - {GENERATION_MANIFEST, *manifest.files}:
        raise IndexDamaged(f"the index {folder} has files that nobody wrote down ({', '.join(sorted(unknown))}).")
    for name, digest in manifest.files.items():
        path = folder / name
        try:
            found = _digest(path)
        except OSError as error:
            refuse_if_scarce(error, path)
            raise IndexDamaged(f"the index file {path} can't be read ({error.strerror}): build it anew.") from error
        if found != digest:
            raise IndexDamaged(f"the index file {path} was changed after it was written (its sha256 differs).")


def refuse_if_scarce(error: Exception, path: Path) -> None:
    """Raise `StorageError` where it is not the index that is at fault: it is whole, and may be read later."""
    if isinstance(error, OSError) and error.errno in SCARCE:
        raise storage_error(error, "reading", path) from error


def _ask_reloaded(folder: Path, index: VectorIndex, keys: Keys, vectors: Vectors, metric: Metric, params: Any) -> None:
    """What is on disk must count and answer as what is in memory: libraries hide failed writes."""
    failpoint("reload index")
    reloaded = type(index).load(folder, keys, vectors, metric, params)
    if len(reloaded) != len(index):
        raise StorageError(f"{folder} holds {len(reloaded)} of {len(index)} vectors when read back: is the disk full?")
    if len(keys):
        probes = np.array(vectors[np.linspace(0, len(keys) - 1, LOAD_PROBES).astype(np.int64)])
        before, after = index.search(probes, 10), reloaded.search(probes, 10)
        if not np.array_equal(before.keys, after.keys):
            raise StorageError(f"{folder} answers differently when read back: it was not written faithfully.")


def _digest(path: Path) -> str:
    with open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Of semsearch, and of SQLite, which splits words."""
    return {"sqlite": sqlite3.sqlite_version, **Library("semsearch").versions}
