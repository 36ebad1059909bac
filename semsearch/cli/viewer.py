"""From a hit to its source: the editor or pager at its line, the viewer of PDFs at its page, else the stored text.

A program is started with the path as one argument and never through a shell: whoever wrote the documents named their
files too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from semsearch.cli.render import confirmed, draw_document, on_terminal, say, screen
from semsearch.controls import one_line
from semsearch.errors import UsageError
from semsearch.types import Hit, Span

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.places import Place

MAX_LOOKED_AT = 1 << 25  # bytes of a file, to see whether a passage is still where it was
PACKED = (".gz",)

_AtLine = Callable[[str, int], list[str]]
_COLON: _AtLine = lambda path, line: [f"{path}:{line}"]  # noqa: E731
_GOTO: _AtLine = lambda path, line: ["--goto", f"{path}:{line}"]  # noqa: E731
_OPTION: _AtLine = lambda path, line: ["--line", str(line), path]  # noqa: E731
_PLUS: _AtLine = lambda path, line: [f"+{line}", path]  # noqa: E731  (vi and its kin, emacs, nano, micro, kak, …)
EDITORS: dict[str, _AtLine] = {  # those that do not know +LINE, by the name of the program
    **dict.fromkeys(("code", "code-insiders", "codium", "vscodium", "cursor", "windsurf"), _GOTO),
    **dict.fromkeys(("subl", "sublime_text", "zed", "zeditor", "hx", "helix", "lapce"), _COLON),
    **dict.fromkeys(("kate", "kwrite", "mate", "idea", "pycharm", "webstorm", "goland", "clion", "rubymine"), _OPTION),
    **dict.fromkeys(("notepad", "open", "xdg-open"), lambda path, line: [path]),
    "notepad++": lambda path, line: [f"-n{line}", path],
}
PAGERS = ("less", "more", "most")
VIEWERS: dict[str, Callable[[str, int], list[str]]] = {  # of PDFs, in the order in which they are looked for
    "evince": lambda path, page: [f"--page-index={page}", path],
    "okular": lambda path, page: ["--page", str(page), path],
    "zathura": lambda path, page: ["-P", str(page), path],
    "atril": lambda path, page: [f"--page-index={page}", path],
    "xreader": lambda path, page: [f"--page-index={page}", path],
    "qpdfview": lambda path, page: [f"{path}#{page}"],
    "mupdf": lambda path, page: [path, str(page)],
    "sioyek": lambda path, page: ["--page", str(page), path],
    "SumatraPDF": lambda path, page: ["-page", str(page), path],
}

_started: list[subprocess.Popen[bytes]] = []  # viewers, which outlive us


def open_hit(collection: Collection, hit: Hit) -> None:
    """Open the file that a hit stands in; where that can't be, show the whole document as it is stored.

    Raises:
        UsageError: The editor that the environment names can't be started.
    """
    place = hit.place
    if not on_terminal() or not sys.stdin.isatty():  # an editor needs both
        say("a file is opened from a terminal alone; this is what is stored of it.")
        read_hit(hit)
        return
    if place is None or place.attachment or not (place.line or place.page) or place.path.endswith(PACKED):
        read_hit(hit)
        return
    real = os.path.realpath(place.path)
    if not os.path.isfile(real):  # noqa: PTH113  (what is no file, a pipe say, would keep an editor waiting)
        say(f"{one_line(place.path)} is not there any more; this is what is stored of it.")
        read_hit(hit)
        return
    if not _is_within(real, collection.sources) and not confirmed(
        f"{real} lies outside the sources of '{collection.name}'. Open it all the same?"
    ):
        return
    if not open_file(place, real, lambda line: line_now(hit, real, line)):
        read_hit(hit)


def open_file(place: Place, path: str, line_of: Callable[[int], int] = lambda line: line) -> bool:
    """Open `path` at the page or line of a place; False where there is no program for it, which is said.

    Args:
        place: In the file.
        path: The file, its links followed.
        line_of: Where the line is by now.
    """
    if place.page is not None:
        command = viewer(os.environ, path, place.page)
        if command is None:
            say(f"no viewer of PDFs was found (name one in PDFVIEWER); {one_line(place.path)}, page {place.page}:")
            return False
        if Path(command[0]).stem not in VIEWERS:
            say(f"'{one_line(command[0])}' can't be told the page from here; it is page {place.page}.")
        _start(command)
        return True
    words = editor(os.environ) or pager(os.environ)
    if words is None or place.line is None:
        return False
    name = Path(words[0]).stem.lower()
    _run([*words, *EDITORS.get(name, _PLUS)(path, line_of(place.line))])
    return True


def editor(environment: Mapping[str, str]) -> list[str] | None:
    """The words of `VISUAL` or `EDITOR`; None where neither is set.

    Raises:
        UsageError: They can't be told apart.
    """
    return _words("VISUAL", environment) or _words("EDITOR", environment)


def pager(environment: Mapping[str, str]) -> list[str] | None:
    """The words of `PAGER`, else `less`, where it is one that knows +LINE and the file is read by nothing before it.

    Raises:
        UsageError: They can't be told apart.
    """
    words = _words("PAGER", environment) or ["less"]
    name = Path(words[0]).name
    if name not in PAGERS or shutil.which(words[0]) is None:
        return None
    return [*words, "-L"] if name == "less" else words  # else its LESSOPEN runs a shell on the file's name


def viewer(environment: Mapping[str, str], path: str, page: int) -> list[str] | None:
    """The command that shows a PDF at a page; None where there is none, or no screen for it.

    Raises:
        UsageError: `PDFVIEWER` is none.
    """
    if words := _words("PDFVIEWER", environment):
        known = VIEWERS.get(Path(words[0]).stem)
        return [*words, *(known(path, page) if known else [path])]
    if sys.platform == "linux" and not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        return None
    for name, arguments in VIEWERS.items():
        if (program := shutil.which(name)) is not None:
            return [program, *arguments(path, page)]
    return ["open", path] if sys.platform == "darwin" else None


def _words(name: str, environment: Mapping[str, str]) -> list[str] | None:
    said = environment.get(name, "")
    try:
        return shlex.split(said, posix=os.name != "nt") or None
    except ValueError as error:
        raise UsageError(f"{name} is {said!r:.200}, which is no command: {error}.") from error


def line_now(hit: Hit, path: str, line: int) -> int:
    """The line in which a passage stands in a file that may have been edited since it was read; the nearest of many.

    What a record says stands in its line otherwise than the file has it, and is not looked for.
    """
    provenance = None if hit.locate is None else hit.locate(hit)
    if provenance is None or not provenance.position.lines:
        return line
    wanted = hit.text[provenance.offset :].strip().split("\n")[0].strip()
    if not wanted:
        return line
    with open(path, "rb") as file:  # noqa: PTH123
        raw = file.read(MAX_LOOKED_AT)
    try:
        lines = raw.decode().split("\n")
    except UnicodeDecodeError:  # of another encoding, or cut within a character
        return line
    if line <= len(lines) and wanted in lines[line - 1]:
        return line
    found = [number for number, text in enumerate(lines, 1) if wanted in text]
    if not found:
        if len(raw) < MAX_LOOKED_AT:
            say(
                "the file was changed since it was read, and the passage is not in it: 'semsearch sync' reads it again."
            )
        return min(line, len(lines))
    return min(found, key=lambda number: abs(number - line))


def read_hit(hit: Hit) -> None:
    """The whole document as it is stored, through the pager if it does not fit on the screen."""
    console = screen()
    with console.capture() as captured:
        draw_document(console, hit.document, Span(hit.start, hit.end))
    lines = captured.get().splitlines(keepends=True)
    page(lines, len(lines))


def page(lines: Iterable[str], count: int) -> None:
    """Through the pager if it does not fit on the screen."""
    if on_terminal() and count > shutil.get_terminal_size().lines - 2:
        click.echo_via_pager(lines)
    else:
        for line in lines:
            click.echo(line, nl=False)


def _is_within(real: str, sources: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a file, its links followed, is one of these sources or lies in one."""
    for source in sources:
        root = source.get("path")
        if isinstance(root, str) and os.path.isabs(root) and Path(real).is_relative_to(root):  # noqa: PTH117
            return True
    return False


def _run(command: list[str]) -> None:
    try:
        code = subprocess.run(command, check=False).returncode
    except OSError as error:
        raise UsageError(f"'{command[0]}' can't be started: {error.strerror}. See EDITOR.") from error
    if code:
        say(f"{command[0]} ended with {code}.")


def _start(command: list[str]) -> None:
    quiet = subprocess.DEVNULL
    try:
        child = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    except OSError as error:
        raise UsageError(f"'{command[0]}' can't be started: {error.strerror}. See PDFVIEWER.") from error
    _started.append(child)
