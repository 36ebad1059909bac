"""Where collections live and what they may be called."""

from __future__ import annotations

import os
import re
from pathlib import Path

from semsearch.errors import CollectionNotFound, UsageError

MOST = 0.2  # of the documents may go at once without a question: more looks like a mistake
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def find_home(home: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the collections.

    `home` if given, else the environment's `SEMSEARCH_HOME`, else the nearest `.semsearch` in this folder or above,
    else the user's data folder. It need not exist yet.
    """
    chosen = home or os.environ.get("SEMSEARCH_HOME")
    if chosen:
        return Path(chosen).expanduser().absolute()
    here = current_folder()
    for folder in (here, *here.parents):
        if (folder / ".semsearch").is_dir():
            return folder / ".semsearch"
    import platformdirs

    return Path(platformdirs.user_data_dir("semsearch", appauthor=False))


def current_folder() -> Path:
    """The folder that the person is in."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the folder you are in is gone: change into another one.") from None


def check_name(name: str) -> str:
    """`name` if it can name a collection: letters, digits, `.`, `_`, `-`, at most 100, not starting with `.` or `-`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' can't name a collection: use letters, digits, '.', '_' and '-' (at most 100, starting with a "
            "letter, a digit or '_'). Choose one with --name."
        )
    return name


def collection_names(home: Path) -> list[str]:
    """The collections in `home`, sorted."""
    if not home.is_dir():
        return []
    return sorted(path.name for path in home.iterdir() if _NAME.fullmatch(path.name) and (path / "marker").exists())


def find_collection(name: str, home: Path) -> Path:
    """The folder of collection `name`, or an error that lists what there is and where was looked."""
    folder = home / check_name(name)
    if (folder / "marker").exists() or (folder / "collection.sqlite").exists():
        return folder
    known = collection_names(home)
    there = f"There {'is' if len(known) == 1 else 'are'}: {', '.join(known)}." if known else "There are none yet."
    raise CollectionNotFound(
        f"no collection '{name}' in {home}. {there} Make one with 'semsearch index PATH', or look elsewhere "
        "with --home."
    )
