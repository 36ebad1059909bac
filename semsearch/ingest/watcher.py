"""What changes on the disk, as far as it concerns the sources of collections, gathered until it is quiet again."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from semsearch.errors import MissingDependency

TOLD = 250  # milliseconds after which the library says that nothing happened
LOOKED = 1.0  # seconds after which it looks whether a source came back, which nobody tells
STARTED = 10.0  # seconds that looking may take to begin
MOST_GATHERED = 10  # times the quiet that is waited for: changes that go on are told after so long


@dataclass(frozen=True, slots=True)
class WatchedSource:
    """A source of a collection, as what happens on the disk is held against it."""

    collection: str
    path: Path
    is_folder: bool
    beside: Path | None = None  # the file of its vectors

    @classmethod
    def of(cls, collection: str, spec: Mapping[str, Any]) -> WatchedSource:
        """The source that a collection remembers."""
        path, beside = Path(spec["path"]), spec.get("vectors")
        return cls(collection, path, path.is_dir(), Path(beside) if beside and beside != spec["path"] else None)

    def concerns(self, changed: Path) -> bool:
        """Whether a change there may be one of the source; what is hidden never is."""
        if changed in (self.path, self.beside):
            return True
        if not self.is_folder or not changed.is_relative_to(self.path):
            return False
        return not any(part.startswith(".") for part in changed.relative_to(self.path).parts)

    @property
    def places(self) -> list[tuple[Path, bool]]:
        """The folders to look at, and whether with all in them: a file may be put in the place of another."""
        files = [] if self.is_folder else [(self.path.parent, False)]
        return [(self.path, True)] * self.is_folder + files + ([(self.beside.parent, False)] if self.beside else [])


class Watcher:
    """Tells which collections' sources changed; made, it looks already, so that nothing is missed meanwhile."""

    def __init__(self, sources: Iterable[WatchedSource], quiet: float, home: Path | None = None) -> None:
        """Changes within `home`, where collections themselves are written, concern nobody.

        Raises:
            MissingDependency: The library that watches is not installed; has the line to type.
        """
        try:
            from watchfiles import watch
        except ImportError as error:
            raise MissingDependency(
                "watching files takes watchfiles, which is not installed: pip install 'semsearch[watch]'"
            ) from error
        self._watch: Callable[..., Any] = watch
        self._sources = list(sources)
        self._quiet = quiet
        self._home = home
        self._changes: queue.Queue[set[str] | OSError] = queue.Queue()
        self._end = threading.Event()
        self._threads: list[threading.Thread] = []
        places = {place for source in self._sources for place in source.places}
        lacking = [source.path for source in self._sources if not source.path.exists()]
        self._identities = {path: _identity(path) for path in [*(folder for folder, _ in places), *lacking]}
        looking = []
        for recursive in (True, False):
            folders = sorted(str(folder) for folder, all_in_it in places if all_in_it is recursive and folder.is_dir())
            if folders:
                looking.append(threading.Event())
                thread = threading.Thread(target=self._look, args=(folders, recursive, looking[-1]), daemon=True)
                self._threads.append(thread)
                thread.start()
        for begun in looking:
            begun.wait(STARTED)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def is_stale(self) -> bool:
        """Whether a source or folder is there that was not, or is another one now: of it nothing would be told."""
        return any(_identity(path) not in (None, known) for path, known in self._identities.items())

    def changed(self, seconds: float) -> set[str]:
        """The names of collections whose sources changed; empty if nothing happens for so many seconds, or `is_stale`.

        Raises:
            OSError: The system watches no more files, say.
        """
        end, found = time.monotonic() + seconds, None
        while found is None:
            try:
                found = self._changes.get(timeout=max(0.0, min(LOOKED, end - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= end or self.is_stale:
                    return set()
        with suppress(queue.Empty):
            while not isinstance(found, OSError):
                more = self._changes.get_nowait()
                found = more if isinstance(more, OSError) else found | more
        if isinstance(found, OSError):
            raise found
        return found

    def _look(self, folders: list[str], recursive: bool, begun: threading.Event) -> None:
        """What a thread does: tell of changes until the end."""
        pause = int(1000 * self._quiet)
        try:
            for changes in self._watch(
                *folders,
                watch_filter=None,
                debounce=MOST_GATHERED * pause,
                step=pause,
                stop_event=self._end,
                recursive=recursive,
                rust_timeout=TOLD,
                yield_on_timeout=True,
                raise_interrupt=False,
                ignore_permission_denied=True,
            ):
                begun.set()
                names = self._concerned(Path(path) for _, path in changes)
                if names:
                    self._changes.put(names)
        except (OSError, RuntimeError) as error:  # the library's own are RuntimeErrors
            self._changes.put(error if isinstance(error, OSError) else OSError(str(error)))
        finally:
            begun.set()

    def _concerned(self, paths: Iterable[Path]) -> set[str]:
        names: set[str] = set()
        for path in paths:
            place = Path(os.path.normpath(path))
            if self._home is None or not place.is_relative_to(self._home):
                names.update(source.collection for source in self._sources if source.concerns(place))
        return names


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file or folder it is, whatever it is called; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
