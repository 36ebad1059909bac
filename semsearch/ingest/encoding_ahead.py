"""A thread that encodes a batch while its caller commits the one before and reads the next.

Whatever touches the engine, the documents or the caller's functions stays in the caller's thread: here is only the
encoder, which threads may share (`semsearch.types.Encoder`).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

Ahead = TypeVar("Ahead")

Told = Callable[[int], None]  # is told how many passages of the work under way are done


class EncodingAhead(Generic[Ahead]):
    """One piece of work at a time; leaving its `with` by an interrupt ends what is under way."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None  # made when there is work: most runs are one batch
        self._at_work = 0  # the thread, while an interrupt would be raised within its work
        self._turn = threading.Lock()  # to say so, or to interrupt it
        self._under_way: Future[Ahead] | None = None
        self._told: SimpleQueue[int | None] = SimpleQueue()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._thread is None:
            return
        if self._under_way is not None and error is not None and not self._under_way.cancel():
            with self._turn:
                if self._at_work:
                    _interrupt(self._at_work)
        self._thread.shutdown()

    def begin(self, work: Callable[[Told], Ahead]) -> None:
        """Do `work` in the thread; what was begun before must have been taken."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "semsearch-encoder")
        told: SimpleQueue[int | None] = SimpleQueue()
        self._told = told

        def done() -> Ahead:
            try:
                with self._turn:
                    self._at_work = threading.get_ident()
                try:
                    return work(told.put)
                finally:
                    with self._turn:
                        self._at_work = 0
            finally:
                told.put(None)

        self._under_way = self._thread.submit(done)

    def take(self, tell: Told) -> Ahead:
        """What the work made, or its error, waited for; `tell` is called here with what the work tells."""
        assert self._under_way is not None, "something was begun"
        for count in iter(self._told.get, None):
            tell(count)
        under_way, self._under_way = self._under_way, None
        return under_way.result()


def _interrupt(thread: int) -> None:
    """Raise KeyboardInterrupt in another thread at its next step: seconds of encoding would be for nothing."""
    raised: Any = getattr(getattr(ctypes, "pythonapi", None), "PyThreadState_SetAsyncExc", None)  # CPython's
    if raised is not None:
        raised(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))
