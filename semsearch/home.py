"""Where collections live: a folder on this machine, or whatever a URL names, and what they may be called."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from semsearch import plugins, trusted
from semsearch.arguments import check_path
from semsearch.engine import JOINED, Engine
from semsearch.errors import CollectionNotFound, Untrusted, UsageError
from semsearch.names import check_name, normal
from semsearch.plain_files import NotPlain, is_folder

MEMORY = ":memory:"
SOCKET = "unix:"  # of a server on this machine, by the path of its socket
PROJECT = ".semsearch"  # a home that is found where it lies
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://")  # two letters at least: C:\ is a path


class Home(ABC):
    """A place that holds collections; `Home.of` finds the right kind by the scheme of its URL.

    Built-in and third-party kinds are found by the entry point group `semsearch.engines`, whose names are schemes and
    whose values are classes like this, made from the URL.
    """

    location: str  # for people: a folder, or a URL without its password
    lasting = True  # its collections are there when the process has ended
    folder: Path | None = None  # on this machine, where a person's history and settings may lie beside the collections

    @staticmethod
    def of(place: str | os.PathLike[str] | Home | None = None) -> Home:
        """The home that `place` names.

        Args:
            place: A folder, a URL (of a server: `http://localhost:7700`, `unix:PATH`), or `:memory:`; by default the
                environment's `SEMSEARCH_HOME`, where that is not empty, else the nearest `.semsearch` in this folder or
                above, else the user's data folder. It need not exist yet.

        Raises:
            UsageError: There is no engine for that kind of URL; says which there are. Or `place` is empty.
            Untrusted: The nearest `.semsearch` was made elsewhere; has the line to type.
        """
        if isinstance(place, Home):
            return place
        said = None if place is None else check_path(place, "home")
        text = said or os.environ.get("SEMSEARCH_HOME") or os.fspath(_default_folder())
        made: Home = plugins.engine_home(_kind(text))(text)
        return made

    def __contains__(self, name: object) -> bool:
        """Whether there is a collection of that name."""
        return isinstance(name, str) and normal(name) in self.names()

    def __iter__(self) -> Iterator[str]:
        """The names of the collections."""
        return iter(self.names())

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The collections that there are, sorted."""

    @abstractmethod
    def create(self, name: str, settings: Mapping[str, Any], dim: int | None, *, device: str | None = None) -> Engine:
        """A new, empty collection; a crash on the way leaves none or a whole one.

        Args:
            name: What it is to be called; see `semsearch.names`. An engine that can't carry it maps it there.
            settings: What is fixed at creation.
            dim: Components of a vector; None where the first vectors tell.
            device: As in `open`.

        Raises:
            CollectionExists: There is one of that name.
        """

    @abstractmethod
    def open(self, name: str, *, device: str | None = None) -> Engine:
        """The collection of that name.

        Args:
            name: Its name.
            device: Where searches compute, for an engine that computes on this machine.

        Raises:
            CollectionNotFound: There is none; see `missing`.
        """

    @abstractmethod
    def drop(self, name: str) -> None:
        """Delete a collection with all its documents; at once gone under its name."""

    def drop_unused(self, engine: Engine) -> bool:
        """Drop one that was just made for nothing, unless somebody else began to fill it; whether it is gone."""
        with engine.hold():  # nobody may commit between the look and the end
            unused = not engine.counts()[0] and not engine.settings.get(JOINED)
            if unused:
                self.drop(engine.name)
        return unused

    def require(self, name: str) -> None:
        """Raise `missing` unless there is a collection of that name, `UsageError` if there can be none."""
        if check_name(name) not in self:
            raise self.missing(name)

    def missing(self, name: str) -> CollectionNotFound:
        """The error that lists what there is and says where was looked."""
        known = self.names()
        there = f"There {'is' if len(known) == 1 else 'are'}: {', '.join(known)}." if known else "There are none yet."
        return CollectionNotFound(
            f"no collection '{name}' in {self.location}. {there} Make one with 'semsearch index PATH', or look in "
            "another home."
        )


def _kind(text: str) -> str:
    """The scheme by which the engine of a home is found."""
    if text == MEMORY:
        return "memory"
    if text.startswith(SOCKET):
        return "unix"
    scheme = _SCHEME.match(text)
    return scheme[1] if scheme else "file"


def user_folder() -> Path:
    """The person's own folder for data on this machine."""
    import platformdirs

    return Path(platformdirs.user_data_dir("semsearch", appauthor=False))


def default_folder() -> Path | None:
    """The folder of `Home.of()`, found without importing an engine where it is a path; None where there is none."""
    text = os.fspath(os.environ.get("SEMSEARCH_HOME") or _default_folder())
    if _kind(text) != "file" or _SCHEME.match(text):
        return Home.of().folder
    return Path(text).expanduser().absolute()


def _default_folder() -> Path:
    found = nearest_home()
    if found is None:
        return user_folder()
    try:
        is_folder(found)
    except NotPlain:
        raise Untrusted(
            f"{found} is a link, and whoever made it says where it leads: name another home, the folder that you mean, "
            "or set SEMSEARCH_HOME."
        ) from None
    if not trusted.trusts_home(found) and not _empty_and_own(found):
        raise Untrusted(
            f"{found} was not made by you here, as far as semsearch knows: it may have come with a clone or an "
            f"archive. If you know whose it is, type: {trusted.line(found)}\nOr name another home, or set "
            "SEMSEARCH_HOME."
        )
    return found


def nearest_home() -> Path | None:
    """The `.semsearch` in this folder or above."""
    here = current_folder()
    return next((folder / PROJECT for folder in (here, *here.parents) if (folder / PROJECT).is_dir()), None)


def _empty_and_own(folder: Path) -> bool:
    """Whether somebody made the folder for collections to come, who is the person."""
    own = not hasattr(os, "geteuid") or folder.stat().st_uid == os.geteuid()
    return own and not any(folder.iterdir())


def current_folder() -> Path:
    """The folder that the person is in."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the folder you are in is gone: change into another one.") from None
