"""SIGTERM ends the program the way Ctrl-C does: files are closed, and a sentence says what is committed.

Neither is lost: what is raised while Python lets go of an object, a generator that nobody reads on, say, it drops.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

AGAIN_SECONDS = 0.05  # until an interrupt that was dropped comes again


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


def _interrupt(number: int) -> None:
    """Send this process's main thread a signal, which ends what it waits for."""
    if sys.platform == "win32":
        _thread.interrupt_main(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)


@contextmanager
def not_dropped() -> Iterator[None]:
    """While inside, an interrupt that Python drops comes again a moment later, or in the end.

    Raises:
        KeyboardInterrupt: One was dropped and did not come again until the end.
    """
    before, timers = sys.unraisablehook, list[threading.Timer]()

    def hook(dropped: Any) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        number = signal.SIGTERM if issubclass(dropped.exc_type, Terminated) else signal.SIGINT
        # raised here it would be dropped once more
        timers.append(threading.Timer(AGAIN_SECONDS, _interrupt, (number,)))
        timers[-1].daemon = True
        timers[-1].start()

    sys.unraisablehook = hook
    try:
        yield
        if any(timer.is_alive() for timer in timers):
            raise KeyboardInterrupt
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.cancel()
