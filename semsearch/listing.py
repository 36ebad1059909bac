"""The files of a folder: which belong to a corpus, and how they were when they were looked at.

Hidden files and folders (a dot in front) are no part of a corpus, nor is what a `.gitignore` in the folder or below
leaves out. Links to folders are not followed, so no loop can catch the walk; links to files are.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from semsearch.errors import UsageError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec


class Listed(NamedTuple):
    """A regular file of the folder."""

    name: str  # its path from the folder, with '/' on every system
    path: str
    size: int  # bytes
    mtime: int  # nanoseconds


@dataclass(frozen=True)
class Listing:
    """What a folder holds, as of one walk."""

    root: Path
    files: Sequence[Listed]  # sorted by name
    others: Sequence[str]  # names of what can't be read: links to folders, broken links, pipes, files of other kinds
    unreadable: Sequence[tuple[str, str]]  # folders that could not be listed, as 'name/', and why

    def ending(self, suffixes: tuple[str, ...]) -> Listing:
        """The files with these suffixes, a `.gz` behind them or not; the rest is counted among the others."""
        mine = [file for file in self.files if file.name.lower().removesuffix(".gz").endswith(suffixes)]
        chosen = {file.name for file in mine}
        rest = [file.name for file in self.files if file.name not in chosen]
        return replace(self, files=mine, others=sorted([*self.others, *rest]))


def walk(root: Path, include: Sequence[str] = (), exclude: Sequence[str] = (), ignore: bool = True) -> Listing:
    """List a folder.

    Args:
        root: The folder.
        include: Patterns as in `.gitignore`; with any, a file must match one of them.
        exclude: Patterns of files and folders to leave out.
        ignore: Honour `.gitignore` files.

    Raises:
        UsageError: A pattern that is none.
    """
    wanted = _patterns(include) if include else None
    unwanted = [("", _patterns(exclude))] if exclude else []
    files: list[Listed] = []
    others: list[str] = []
    unreadable: list[tuple[str, str]] = []
    pending: list[tuple[str, list[tuple[str, GitIgnoreSpec]]]] = [("", [])]
    while pending:
        prefix, inherited = pending.pop()
        try:
            with os.scandir(root / prefix if prefix else root) as found:
                inside = [entry for entry in found if entry.name[0] != "." or entry.name == ".gitignore"]
        except OSError as error:
            unreadable.append((prefix, error.strerror or str(error)))
            continue
        rules = inherited
        for entry in inside:
            if entry.name == ".gitignore" and ignore and (lines := _lines(entry.path)):
                rules = [(prefix, _patterns(lines, entry.path)), *inherited]  # the deepest has the last word
        for entry in inside:
            name = prefix + entry.name
            if entry.name == ".gitignore":
                continue
            if entry.is_dir():
                if not (_matches(unwanted, name + "/") or _matches(rules, name + "/")):
                    if entry.is_symlink():
                        others.append(name)
                    else:
                        pending.append((name + "/", rules))
            elif not (_matches(unwanted, name) or _matches(rules, name)) and (
                wanted is None or wanted.match_file(name)
            ):
                listed = _listed(entry, name)
                if listed is None:
                    others.append(name)
                else:
                    files.append(listed)
    return Listing(root, sorted(files), sorted(others), sorted(unreadable))


def _listed(entry: os.DirEntry[str], name: str) -> Listed | None:
    try:
        status = entry.stat()
    except OSError:  # a broken link, a file that went
        return None
    return Listed(name, entry.path, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _matches(rules: Sequence[tuple[str, GitIgnoreSpec]], name: str) -> bool:
    """Whether the nearest rule that speaks of `name` leaves it out."""
    for prefix, spec in rules:
        said = spec.check_file(name.removeprefix(prefix)).include
        if said is not None:
            return said
    return False


def _patterns(lines: Sequence[str], where: str | None = None) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        if where is not None:  # git passes over patterns that are none
            return GitIgnoreSpec.from_lines(list(_sound(lines)))
        raise UsageError(f"a pattern of --include or --exclude can't be read: {error}.") from error


def _sound(lines: Sequence[str]) -> Iterator[str]:
    from pathspec import GitIgnoreSpec

    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            continue
        yield line


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
