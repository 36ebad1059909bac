"""Where collections live and what they may be called."""

from __future__ import annotations

import os
from pathlib import Path

from semsearch.errors import CollectionExists, CollectionNotFound, UsageError
from semsearch.names import check_name, is_name, normal

MOST = 0.2  # of the documents may go at once without a question: more looks like a mistake


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


def collection_names(home: Path) -> list[str]:
    """The collections in `home`, sorted."""
    return sorted(_folders(home))


def find_collection(name: str, home: Path) -> Path:
    """The folder of collection `name`, or an error that lists what there is and where was looked."""
    name = check_name(name)
    folders = _folders(home)
    if name in folders:
        return folders[name]
    folder = home / name
    if (folder / "collection.sqlite").exists() and name in _entries(home):
        return folder
    known = sorted(folders)
    there = f"There {'is' if len(known) == 1 else 'are'}: {', '.join(known)}." if known else "There are none yet."
    raise CollectionNotFound(
        f"no collection '{name}' in {home}. {there} Make one with 'semsearch index PATH', or look elsewhere "
        "with --home."
    )


def new_folder(name: str, home: Path) -> Path:
    """Where collection `name` will lie, or `CollectionExists` if something is there.

    On file systems that don't tell capitals apart, two names that differ only by them are one folder.
    """
    name = check_name(name)
    entries = _entries(home)
    there = entries.get(name)
    if there is None and (home / name).exists():
        there = next((entry for known, entry in entries.items() if known.casefold() == name.casefold()), home / name)
        raise CollectionExists(
            f"'{name}' and '{normal(there.name)}' are one folder on the file system of {home}, which does not tell "
            "capitals from small letters: choose a name that differs by more."
        )
    if there is not None:
        raise CollectionExists(
            f"a collection '{name}' is there already, in {home}: open it, choose another name, or take it away with "
            f"'semsearch drop {name}'."
        )
    return home / name


def _entries(home: Path) -> dict[str, Path]:
    """What lies in `home`, by name in normal form: file systems give names back composed or decomposed."""
    return {normal(path.name): path for path in home.iterdir()} if home.is_dir() else {}


def _folders(home: Path) -> dict[str, Path]:
    """The folders of collections, by name."""
    return {name: path for name, path in _entries(home).items() if is_name(name) and (path / "marker").exists()}
