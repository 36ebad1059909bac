"""Named points at every durable step, where tests stop, kill or fail the process; in use they do nothing."""

from __future__ import annotations

from collections.abc import Callable

_armed: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Mark that the durable step `name` comes next."""
    if _armed is not None:
        _armed(name)


def arm(action: Callable[[str], None] | None) -> None:
    """Call `action(name)` at every failpoint from now on; None disarms."""
    global _armed
    _armed = action
