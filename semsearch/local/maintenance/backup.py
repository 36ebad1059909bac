"""One file that holds a collection as it stood at one commit, made while a writer runs, and the way back.

A tar archive, so that any tool can look into it: a manifest with the digests of the rest, the database and the vectors.
Indexes are left out; they are made anew.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from semsearch.errors import DataError, UsageError
from semsearch.local.maintenance.reencoding import forget
from semsearch.local.store import platform, registry
from semsearch.local.store.database import Database
from semsearch.local.store.failpoints import failpoint
from semsearch.local.store.store import DATABASE, MARKER, Store
from semsearch.local.store.vector_file import vector_path
from semsearch.plain_files import is_file, open_plain

BACKUP_MANIFEST = "semsearch-backup.json"
BACKUP_FORMAT = 1
COPIED_BYTES = 1 << 20
VECTOR_FILE = re.compile(r"vectors-[0-9]{1,18}\.f32")


def backup(store: Store, file: Path) -> int:
    """Write the collection, as of one commit, to `file`; its size in bytes. Writers and readers go on meanwhile."""
    if not file.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {file.absolute().parent} to write the backup into.")
    copy = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.sqlite")
    partial = copy.with_suffix(".partial")
    try:
        with _copied(store, copy) as (vectors, generation, size):
            names = {DATABASE: copy.stat().st_size, vector_path(Path(), generation).name: size, MARKER: 0}
            marker = str(store.settings["uuid"]).encode()
            names[MARKER] = len(marker)
            with open_plain(partial, "xb") as raw, open_plain(copy) as database:
                parts: list[tuple[str, IO[bytes]]] = list(
                    zip(names, (database, vectors, io.BytesIO(marker)), strict=True)
                )
                digests = {name: _digest(part, names[name]) for name, part in parts}
                manifest = {"format": BACKUP_FORMAT, "name": store.name, "files": digests}
                with tarfile.open(fileobj=raw, mode="w") as archive:
                    _put(archive, BACKUP_MANIFEST, io.BytesIO(json.dumps(manifest).encode()), len(json.dumps(manifest)))
                    for name, part in parts:
                        part.seek(0)
                        _put(archive, name, part, names[name])
                raw.flush()
                platform.fsync_file(raw)
        failpoint("rename backup")
        os.replace(partial, file)  # noqa: PTH105  (Path.replace is the same call)
        platform.fsync_folder(file.absolute().parent)
        return file.stat().st_size
    except OSError as error:
        raise platform.storage_error(error, "writing", file) from error
    finally:
        platform.remove(copy)
        platform.remove(partial)


@contextmanager
def _copied(store: Store, copy: Path) -> Iterator[tuple[IO[bytes], int, int]]:
    """The database copied to `copy`, and the vector file of that very commit with its committed size."""
    while True:
        with store.read() as view:
            generation = view.snapshot.generation
            path = vector_path(store.folder, generation)
            held = open_plain(path) if is_file(path) else io.BytesIO()  # held open, it outlives a compaction
            store.check_location()
        with held:
            with store.database.plain() as connection:
                connection.exec_driver_sql("VACUUM INTO ?", (str(copy),))
            database = Database(copy)
            with database.write() as connection:
                registry.retire_all(connection)
                forget(connection)  # the vectors of a change of model that is under way are not in the backup
                copied, rows, dim = connection.exec_driver_sql("SELECT generation, rows, dim FROM state").one()
            with database.plain() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = DELETE")  # one file, no log beside it
            database.close()
            if copied == generation:
                yield held, generation, rows * (dim or 0) * 4
                return
        platform.remove(copy)


def restore(file: Path, new_folder: Callable[[str], Path], name: str | None = None) -> Path:
    """Make a collection from a backup; its folder. Every digest is checked before the collection gets its name.

    Args:
        file: What `backup` wrote.
        new_folder: Tells where a collection of a name will lie; raises `CollectionExists`.
        name: Another name than the one it had.

    Raises:
        DataError: The file is no backup, or was damaged or cut short.
        CollectionExists: There is a collection of that name.
    """
    if file.exists() and not file.is_file():  # a pipe would have us wait for ever
        raise DataError(f"{file} is no file, and so no semsearch backup.")
    try:
        archive = tarfile.open(file, mode="r:")  # noqa: SIM115  (closed by the with below)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {file}.") from error
    except (tarfile.TarError, OSError) as error:
        raise DataError(f"{file} is no semsearch backup ({error}).") from error
    with archive:
        manifest = _manifest(archive, file)
        if unknown := set(archive.getnames()) - {BACKUP_MANIFEST, *manifest["files"]}:
            raise DataError(
                f"{file} holds {min(unknown)!r:.80}, which its manifest does not list: take another backup."
            )
        folder = new_folder(name or manifest["name"])
        building = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}"
        try:
            platform.make_folder(building)
            for part, digest in manifest["files"].items():
                _extract(archive, file, part, digest, building)
            platform.fsync_folder(building)
            platform.rename(building, folder)
        except OSError as error:
            platform.remove(building)
            raise platform.storage_error(error, "restoring to", folder) from error
        except BaseException:
            platform.remove(building)
            raise
    return folder


def _manifest(archive: tarfile.TarFile, file: Path) -> dict[str, Any]:
    try:
        member = archive.extractfile(BACKUP_MANIFEST)
        assert member is not None
        manifest = json.loads(member.read(1 << 20))
        if manifest["format"] != BACKUP_FORMAT:
            raise DataError(f"{file} has the backup format {manifest['format']}; this semsearch reads {BACKUP_FORMAT}.")
        for part in manifest["files"]:
            if part not in (DATABASE, MARKER) and not VECTOR_FILE.fullmatch(part):
                raise ValueError(part)
        return dict(manifest)
    except DataError:
        raise
    except (KeyError, ValueError, TypeError, AssertionError, AttributeError, tarfile.TarError, OSError) as error:
        raise DataError(f"{file} is no semsearch backup: its manifest is missing or unreadable.") from error


def _extract(archive: tarfile.TarFile, file: Path, part: str, digest: str, folder: Path) -> None:
    try:
        member = archive.extractfile(part)
        assert member is not None
        if not archive.getmember(part).isreg() or archive.getmember(part).issparse():  # a hole costs it nothing
            raise DataError(f"{part} in {file} is no plain file: semsearch did not write it.")
    except (KeyError, AssertionError, tarfile.TarError) as error:
        raise DataError(f"{file} was cut short: {part} is not in it.") from error
    found = hashlib.sha256()
    with open_plain(folder / part, "xb") as target:
        try:
            while piece := member.read(COPIED_BYTES):
                found.update(piece)
                target.write(piece)
        except tarfile.TarError as error:
            raise DataError(f"{file} was cut short in {part}.") from error
        target.flush()
        platform.fsync_file(target)
    if found.hexdigest() != digest:
        raise DataError(f"{part} in {file} was changed after it was written (its sha256 differs); take another backup.")


def _put(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    failpoint("write backup")
    archive.addfile(info, content)


def _digest(content: IO[bytes], size: int) -> str:
    digest, left = hashlib.sha256(), size
    while left and (piece := content.read(min(COPIED_BYTES, left))):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()
