"""Which way a command runs: by itself, or in a child of the resident process; and what it is asked of that.

It is imported ahead of everything else: the standard library's smallest modules only.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as type checkers take it
if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = ("query", "search", "similar", "grep", "get")  # those that a resident process answers

verbose = False  # -v: say which way it was
wanted = False  # --resident: leave a resident process behind
there = False  # one runs for this environment, whether or not it took this command
why_not = "none was asked"  # why this process runs the command itself
lives: Callable[[], tuple[int, float]] | None = None  # in a child of a resident process: its pid, the seconds it ran
decline: Callable[[str], None] | None = None  # in such a child: gives the run back, unless something is printed already


def needs_terminal(what: str) -> None:
    """Called ahead of what only a process of the terminal itself can do: no child of a resident process does it."""
    if decline is not None:
        decline(f"{what} needs the terminal itself")


def sentence() -> str:
    """Which way it was, for people."""
    if lives is None:
        return f"answered without a resident process: {why_not}"
    pid, seconds = lives()
    return f"answered by the resident process {pid}, which has run for {seconds:,.0f} s"
