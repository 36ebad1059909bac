"""The folder that a model goes to, and the one in it that a run lies in until then: whole, alone, and gone on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from semsearch.errors import CollectionLocked, UsageError
from semsearch.file_locks import try_lock
from semsearch.training.written import written

RUN_FOLDER = "training"  # the folder of a run, within the one that its model goes to
PUBLISHING = "publishing"  # a file in it: the model is on its way out
DONE_FOLDER = "training.done"  # what a run's folder is called while it is deleted …
LAST = "done"  # … and the file in it that goes last: what somebody else calls so is not deleted
RUN_IDENTITY = "identity.json"  # a file in it: what the run is of


def folder_with_room(out: Path) -> Path:
    """The folder, if a model can go there.

    Raises:
        UsageError: It is no folder, or holds something that is no part of a run that ends there.
    """
    finish_deleting(out)
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UsageError(f"{out} is no folder: give another one.")
    run = out / RUN_FOLDER
    if out.is_dir() and not (run / PUBLISHING).is_file() and any(path != run for path in out.iterdir()):
        raise UsageError(f"{out} is there already and not empty: give another folder.")
    return out


def delete_run(work: Path) -> None:
    """Delete the folder of a run that is done; who is killed before has the run whole, and who is after the model."""
    (work / LAST).touch()
    _delete(work.rename(work.with_name(DONE_FOLDER)))


def _delete(gone: Path) -> None:
    for path in gone.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LAST:
            path.unlink()
    shutil.rmtree(gone)


def finish_deleting(out: Path) -> None:
    """Delete what is left of a run whose model is in its place.

    Raises:
        UsageError: There was something: the run is done.
    """
    gone = out / DONE_FOLDER
    if gone.is_dir() and not gone.is_symlink() and ((gone / LAST).is_file() or not any(gone.iterdir())):
        _delete(gone)
        raise UsageError(f"the model is in {out} already, and what was left of its run is gone now: nothing is to do.")


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile.

    Raises:
        CollectionLocked: Somebody does.
    """
    file: IO[bytes]
    with (work / "lock").open("ab") as file:
        if not try_lock(file):
            raise CollectionLocked(f"another process trains in {work.parent}: wait for it, or give another folder.")
        yield


def same_run(work: Path, identity: Mapping[str, Any]) -> None:
    """Note what a run is of, so that no other goes on with it.

    Raises:
        UsageError: The folder holds a run of something else.
    """
    file, wanted = work / RUN_IDENTITY, json.loads(json.dumps(identity))
    if not file.is_file():
        with written(file) as part:
            part.write_text(json.dumps(wanted), "utf-8")
        return
    begun = json.loads(file.read_text("utf-8"))
    if begun != wanted:
        raise begun_otherwise(work, begun, wanted)


def begun_otherwise(work: Path, begun: Mapping[str, Any], wanted: Mapping[str, Any]) -> UsageError:
    """That a folder holds a run of something else, and in what it differs."""
    differs = sorted(key for key in {*begun, *wanted} if begun.get(key) != wanted.get(key))
    return UsageError(
        f"{work} holds a run that was begun otherwise ({', '.join(differs)}): give the same options to go on with it, "
        "or another folder."
    )


def put_out(model: Path, out: Path, work: Path, texts: Mapping[str, str]) -> None:
    """Copy a model to where it goes, and take away the folder of its run; who is killed meanwhile does it once more.

    Args:
        model: The folder that it lies in, within `work`.
        out: Where it goes.
        work: Of the run.
        texts: Files to lay beside it.
    """
    (work / PUBLISHING).touch()
    for path in sorted(model.iterdir()):
        with written(out / path.name) as part:
            if path.is_dir():
                shutil.copytree(path, part)
            else:
                shutil.copy(path, part)
    for name, text in texts.items():
        with written(out / name) as part:
            part.write_text(text, "utf-8")
    delete_run(work)
