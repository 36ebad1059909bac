"""SIGTERM ends the program the way Ctrl-C does: files are closed, and a sentence says what is committed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came. Unlike Ctrl-C it ends the interactive query too."""


def terminate() -> None:
    """What SIGTERM does unless something else is said."""
    raise Terminated


@contextmanager
def on_sigterm(act: Callable[[], None] = terminate) -> Iterator[None]:
    """While inside, SIGTERM calls `act`. Only the main thread can say so; in others nothing changes."""

    def handler(number: int, frame: FrameType | None) -> None:
        act()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
