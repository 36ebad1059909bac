"""Long work that an engine elsewhere has done here, and that may ask back: for vectors of its client's own model, say.

An errand has a thread. Its client looks at it again and again, gives what it asks for, and is told how it ended. A
client that has not looked for two minutes is taken for gone: what then asks for something ends, and lets go of all that
it holds; what asks for nothing is done to its end.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from semsearch.errors import CollectionLocked
from semsearch.server.failures import Refusal, too_many

MOST_ERRANDS = 8  # that are under way at once
LOOKING_SECONDS = 5.0  # that a look waits for news
SILENT_SECONDS = 120.0  # without a look, until a client is taken for gone
KEPT_SECONDS = 600.0  # that the end of one can be looked at
FIRST_PAUSE, LONGEST_PAUSE = 0.002, 0.1

Ask = Callable[..., Any]
"""What an errand asks its client with, by name; the answer is as the client gave it."""


class Errand:
    """One of them, between the thread that does it and the requests that look at it."""

    def __init__(self, collection: str, silent_seconds: float = SILENT_SECONDS) -> None:
        self.id = secrets.token_hex(16)
        self.collection = collection
        self.progress = 0
        self.ended: float | None = None
        self.ending = False  # the server is
        self._silent = silent_seconds
        self._seen = time.monotonic()
        self._news = threading.Condition()
        self._question: Mapping[str, Any] | None = None
        self._number = 0  # of the question
        self._answer: Any = None
        self._result: Any = None
        self._error: BaseException | None = None

    def ask(self, **question: Any) -> Any:
        """What the client answers; called in the errand's thread.

        Raises:
            CollectionLocked: The client is gone, or the server is ending.
        """
        with self._news:
            self._number += 1
            self._question, self._answer = question, None
            while self._question is not None:
                if self.ending or time.monotonic() - self._seen > self._silent:
                    self._question = None
                    raise CollectionLocked("whoever asked for this is gone, and with it what only it could answer.")
                self._news.wait(1.0)
            return self._answer

    def tell(self, progress: int) -> None:
        """Note how far it is."""
        self.progress = progress

    def end(self, result: Any = None, error: BaseException | None = None) -> None:
        """Note how it ended."""
        with self._news:
            self._result, self._error, self.ended = result, error, time.monotonic()

    async def look(self, number: int | None, answer: Any) -> dict[str, Any]:
        """The news for a client, after its answer to question `number`, if it has one: a question, or the end.

        Without news it is told how far the work is. A question is told until it is answered, so a look may be repeated.
        """
        pause, until = FIRST_PAUSE, time.monotonic() + LOOKING_SECONDS
        with self._news:
            if number is not None and number == self._number and self._question is not None:
                self._answer, self._question = answer, None
                self._news.notify_all()
        while True:
            with self._news:
                self._seen = time.monotonic()
                if self.ended is not None:
                    if self._error is not None:
                        raise self._error
                    return {"done": self._result, "progress": self.progress}
                if self._question is not None:
                    return {"question": dict(self._question), "number": self._number, "progress": self.progress}
            if time.monotonic() > until:
                return {"progress": self.progress}
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


class Errands:
    """Those of a server. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._errands: dict[str, Errand] = {}
        self._pool = ThreadPoolExecutor(MOST_ERRANDS, "semsearch-errand")

    def begin(self, collection: str, work: Callable[[Errand], Any], silent_seconds: float = SILENT_SECONDS) -> Errand:
        """Begin one.

        Raises:
            Refusal: Too many are under way.
        """
        errand = Errand(collection, silent_seconds)
        now = time.monotonic()
        with self._lock:
            known = self._errands
            for old in [one for one in known.values() if one.ended is not None and now - one.ended > KEPT_SECONDS]:
                del known[old.id]
            if sum(one.ended is None for one in known.values()) >= MOST_ERRANDS:
                raise too_many()
            known[errand.id] = errand

        def run() -> None:
            try:
                errand.end(work(errand))
            except BaseException as error:
                errand.end(error=error)

        self._pool.submit(run)
        return errand

    def get(self, identity: str, collection: str) -> Errand:
        """The errand of that id.

        Raises:
            Refusal: There is none at that collection.
        """
        with self._lock:
            found = self._errands.get(identity)
        if found is None or found.collection != collection:
            raise Refusal(404, "errand_not_found", "there is no such errand, or none any more: begin it again.")
        return found

    @property
    def unfinished(self) -> bool:
        """Whether a thread still works at one."""
        with self._lock:
            return any(one.ended is None for one in self._errands.values())

    def close(self) -> None:
        """Let those end that wait for a client; nobody waits for those that work."""
        with self._lock:
            for one in self._errands.values():
                one.ending = True
        self._pool.shutdown(wait=False, cancel_futures=True)
