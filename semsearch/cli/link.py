"""Places of hits as they are printed: `file:line`, and on terminals that can, a link to the file (OSC 8)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from urllib.parse import quote

from semsearch.controls import one_line
from semsearch.places import Place

LINKLESS = ("", "dumb", "linux")  # terminals that would print the sequence, or do nothing with it


def links() -> bool:
    """Whether results are read on a terminal that makes links of OSC 8; `FORCE_HYPERLINK=0` says that none does."""
    if os.environ.get("FORCE_HYPERLINK") == "0" or not sys.stdout.isatty():
        return False
    return os.environ.get("TERM", "") not in LINKLESS or os.name == "nt"


def url(path: str) -> str:
    """A file's; with the machine's name, since the terminal may be another one's."""
    import socket

    parts = quote(Path(path).as_posix().encode("utf-8", "surrogateescape"))
    return f"file://{quote(socket.gethostname())}{parts if parts.startswith('/') else f'/{parts}'}"


def short(path: str) -> str:
    """A path as a person here would type it: from this folder, where it lies in it."""
    try:
        here = os.path.join(Path.cwd(), "")  # noqa: PTH118  (with the separator behind)
    except OSError:  # this folder is gone
        return path
    return path.removeprefix(here) or path


def named(place: Place | None) -> str:
    """A place for programs, in one line: the whole path and the line; empty where there is none."""
    return "" if place is None else one_line(str(place))


def linked(text: str, path: str) -> str:
    """`text`, which drives no terminal, as a link to a file."""
    return f"\x1b]8;;{url(path)}\x1b\\{text}\x1b]8;;\x1b\\"
