"""Files on their way in: each in a folder of its own beside those that are kept, until it was read."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from semsearch.server.tasks import is_alive

INCOMING = ".incoming-"  # before what names the process


def new_incoming(folder: Path) -> Path:
    """A new folder for a file that comes into `folder`; to be removed when the file is kept or refused."""
    incoming = folder / f"{INCOMING}{os.getpid()}-{secrets.token_hex(8)}"
    incoming.mkdir(0o700, parents=True)
    return incoming


def sweep_incoming(files: Path) -> None:
    """Remove what servers left that are no more, of all collections whose files are kept in `files`."""
    for incoming in files.glob(f"*/{INCOMING}*"):
        if not incoming.is_symlink() and not is_alive(incoming.name.removeprefix(INCOMING)):
            shutil.rmtree(incoming, ignore_errors=True)
