"""The files of a folder: which belong to a corpus, and how they were when they were looked at.

Hidden files and folders (a dot in front) are no part of a corpus, nor is what git would ignore: by a `.gitignore` in
the folder, below it, or above it up to the top of its work tree, or by the repository's `info/exclude`. Only where
git would ignore the folder itself was it asked for in spite of that, and what is above it says nothing. Links to
folders are not followed, so no loop can catch the walk. Links to files are, where these lie in the folder too: what
lies elsewhere was not given, and a folder from a stranger may hold a link to anything. It is read if that is asked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from semsearch.errors import UsageError
from semsearch.names import is_utf8
from semsearch.plain_files import read_plain

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

_OF_GIT = {".git", ".gitignore"}
MAX_PATTERNS = 1 << 20  # bytes of a file of patterns


class Rule(NamedTuple):
    """What one file of patterns says of the names below its folder."""

    prefix: str  # the folder's own name, up to and with the last '/'
    spec: GitIgnoreSpec


class FileEntry(NamedTuple):
    """A regular file of the folder."""

    name: str  # its path from the folder, with '/' on every system
    path: str
    size: int  # bytes
    mtime: int  # nanoseconds


@dataclass(frozen=True)
class FolderListing:
    """What a folder holds, as of one walk."""

    root: Path
    files: Sequence[FileEntry]  # sorted by name
    others: Sequence[str]  # what can't be read: links to folders, broken links, pipes, names that are not UTF-8, …
    unreadable: Sequence[tuple[str, str]]  # folders that could not be listed, as 'name/', and why
    outside: Sequence[str] = ()  # links to files that lie elsewhere, which are not followed

    def ending(self, suffixes: tuple[str, ...]) -> FolderListing:
        """The files with these suffixes, a `.gz` behind them or not; the rest is counted among the others."""

        def mine(name: str) -> bool:
            return name.lower().removesuffix(".gz").endswith(suffixes)

        rest = [file.name for file in self.files if not mine(file.name)]
        return replace(
            self,
            files=[file for file in self.files if mine(file.name)],
            others=sorted([*self.others, *rest]),
            outside=[name for name in self.outside if mine(name)],
        )


def walk(
    root: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    ignore: bool = True,
    follow_links: bool = False,
) -> FolderListing:
    """List a folder.

    Args:
        root: The folder.
        include: Patterns as in `.gitignore`; with any, a file must match one of them.
        exclude: Patterns of files and folders to leave out.
        ignore: Leave out what git would ignore.
        follow_links: Take in files that lie elsewhere, and links in the folder lead to.

    Raises:
        UsageError: A pattern that is none.
    """
    wanted = _patterns(include) if include else None
    unwanted = [Rule("", _patterns(exclude))] if exclude else []
    files: list[FileEntry] = []
    others: list[str] = []
    outside: list[str] = []
    real = os.path.join(os.path.realpath(root), "")  # noqa: PTH118  (with a separator behind)
    unreadable: list[tuple[str, str]] = []
    here, above = _above(root) if ignore else ("", [])
    pending: list[tuple[str, list[Rule]]] = [("", above)]
    while pending:
        prefix, rules = pending.pop()
        try:
            with os.scandir(root / prefix if prefix else root) as found:
                inside = [entry for entry in found if entry.name[0] != "." or (ignore and entry.name in _OF_GIT)]
        except OSError as error:
            unreadable.append((prefix, error.strerror or str(error)))
            continue
        if any(entry.name[0] == "." for entry in inside):
            inside = [entry for entry in inside if entry.name[0] != "."]
            rules = _ruled(root / prefix, here + prefix, rules)
        for entry in inside:
            name = prefix + entry.name
            if _is_folder(entry):
                if not (_matches(unwanted, name + "/") or _matches(rules, here + name + "/")):
                    if entry.is_symlink() or not is_utf8(name):
                        others.append(name)
                    else:
                        pending.append((name + "/", rules))
            elif not (_matches(unwanted, name) or _matches(rules, here + name)) and (
                wanted is None or wanted.match_file(name)
            ):
                listed = _listed(entry, name)
                if listed is None or not is_utf8(name):
                    others.append(name)
                elif entry.is_symlink() and not (follow_links or os.path.realpath(entry.path).startswith(real)):
                    outside.append(name)
                else:
                    files.append(listed)
    return FolderListing(root, sorted(files), sorted(others), sorted(unreadable), sorted(outside))


def _above(root: Path) -> tuple[str, list[Rule]]:
    """The folder's name from the top of its work tree, and what the folders on the way down to it say."""
    place = Path(os.path.realpath(root))
    top = next((folder for folder in (place, *place.parents) if _has_git(folder)), place)
    names = place.relative_to(top).parts
    rules: list[Rule] = []
    prefix, folder = "", top
    for name in names:
        rules = _ruled(folder, prefix, rules)
        prefix, folder = f"{prefix}{name}/", folder / name
        if _matches(rules, prefix):
            rules = []
    return prefix, rules


def _ruled(folder: Path, prefix: str, inherited: list[Rule]) -> list[Rule]:
    """What holds in a folder, what has the last word first; with a `.git` of its own it takes no rule from above."""
    rules = inherited
    if _has_git(folder):
        rules = [Rule(prefix, _patterns(_lines(_git(folder) / "info/exclude"), lenient=True))]
    if lines := _lines(folder / ".gitignore"):
        rules = [Rule(prefix, _patterns(lines, lenient=True)), *rules]
    return rules


def _git(folder: Path) -> Path:
    """Where a work tree's repository is."""
    found = folder / ".git"
    if link := _lines(found):  # a file, of a submodule or a further work tree
        found = folder / link[0].removeprefix("gitdir:").strip()
    if shared := _lines(found / "commondir"):  # which further work trees share with the first
        found /= shared[0].strip()
    return found


def _has_git(folder: Path) -> bool:
    return os.path.exists(folder / ".git")  # noqa: PTH110  (Path.exists raises where one may not look)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, or to where one may not look
        return False


def _listed(entry: os.DirEntry[str], name: str) -> FileEntry | None:
    try:
        status = entry.stat()
    except OSError:  # a broken link, a file that went
        return None
    return FileEntry(name, entry.path, status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _matches(rules: Sequence[Rule], name: str) -> bool:
    """Whether the nearest rule that speaks of `name` leaves it out."""
    for prefix, spec in rules:  # the deepest has the last word
        said = spec.check_file(name.removeprefix(prefix)).include
        if said is not None:
            return said
    return False


def _patterns(lines: Sequence[str], lenient: bool = False) -> GitIgnoreSpec:
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(lines)
    except ValueError as error:
        if lenient:  # git passes over patterns that are none
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


def _lines(path: Path) -> list[str]:
    """The lines of a file, no longer than one of patterns is; none of a pipe, which would be waited for."""
    try:
        return read_plain(path, MAX_PATTERNS).decode("utf-8", errors="replace").splitlines()
    except OSError:  # or what is no file: git follows no link here either
        return []
