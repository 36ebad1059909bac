"""What the libraries have to tell, log messages and warnings and what nobody caught: said as all else is."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TextIO

from semsearch.cli.render import say


class _Said(logging.Handler):
    """Says log messages as they would stand on stderr without any handler."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(*self.format(record).splitlines())
        except Exception:  # as every handler: what can't be said stops no work
            self.handleError(record)


@contextmanager
def said() -> Iterator[None]:
    """While a command runs, log messages and warnings are said."""
    root, handler = logging.getLogger(), _Said(logging.WARNING)
    alone = not root.handlers  # who runs commands within a program of their own may log otherwise
    if alone:
        root.addHandler(handler)
    with warnings.catch_warnings():
        if alone:
            warnings.showwarning = _warned
        try:
            yield
        finally:
            root.removeHandler(handler)


def say_uncaught() -> None:
    """From now on, say the traceback of what nobody catches."""
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    say(*warnings.formatwarning(message, category, filename, lineno, line).splitlines())


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    say(*"".join(traceback.format_exception(kind, error, trace)).splitlines())


def _uncaught_in_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not issubclass(failed.exc_type, SystemExit):
        _uncaught(failed.exc_type, failed.exc_value, failed.exc_traceback)
