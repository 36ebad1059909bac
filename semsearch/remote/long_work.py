"""Long work at a server, from here: begun, looked at until it ends, and given what it asks for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from semsearch.errors import CollectionLocked, SemsearchError, StorageError

if TYPE_CHECKING:
    from semsearch.remote.connection_to_server import ServerConnection

Replies = Mapping[str, Callable[[Mapping[str, Any]], Any]]
"""What answers a question, by the name that is in it."""

LOOKING_TRIES = 5  # of a look that does not get through
SIGN_OF_LIFE_SECONDS = 5.0


class LongWork:
    """One piece of it."""

    def __init__(self, connection: ServerConnection, collection: str, what: str, facts: Mapping[str, Any]) -> None:
        """Begin it."""
        self._connection = connection
        self._path = f"/v1/engine/{quote(collection, safe='')}"
        begun = connection.ask("POST", f"{self._path}/errands/{what}", facts)
        self._path += f"/errand/{quote(str(begun['errand']), safe='')}"

    def look(self, number: int | None = None, answer: Any = None) -> Mapping[str, Any]:
        """The news, after the answer to a question; a look that does not get through may be repeated."""
        facts = {} if number is None else {"number": number, "answer": answer}
        for left in range(LOOKING_TRIES - 1, -1, -1):
            try:
                news: Mapping[str, Any] = self._connection.ask("POST", self._path, facts)
            except StorageError:
                if not left:
                    raise
            else:
                return news
        raise AssertionError("a look is made or raises")

    def done(self, answers: Replies, progress: Callable[[int], None] | None = None) -> Any:
        """How it ended."""
        news, told = self.look(), 0
        while "done" not in news:
            told = _tell(news, told, progress)
            if "question" not in news:
                news = self.look()
                continue
            question = news["question"]
            (name,) = [name for name in answers if name in question] or [""]
            if not name:
                raise StorageError("the server asks for something that is not known here: is it a newer semsearch?")
            news = self.look(int(news["number"]), answers[name](question))
        _tell(news, told, progress)
        return news["done"]


def _tell(news: Mapping[str, Any], told: int, progress: Callable[[int], None] | None) -> int:
    now = int(news.get("progress", 0))
    if progress is not None and now > told:
        progress(now)
    return max(now, told)


class HeldWriters:
    """Other writers are held off at a server, and what is written meanwhile is written there by who holds them off."""

    def __init__(self, work: LongWork, raised: Callable[[Mapping[str, Any]], SemsearchError]) -> None:
        self._work = work
        self._raised = raised
        self._lock = threading.Lock()
        self._number = 0

    def begin(self) -> None:
        """Wait until they are held off.

        Raises:
            CollectionLocked: Another process writes for too long.
        """
        self._number = int(self._asked(self._work.look())["number"])

    def write(self, what: str, facts: Mapping[str, Any]) -> Any:
        """Write something."""
        with self._lock:
            news = self._asked(self._work.look(self._number, {"what": what, "facts": dict(facts)}))
            self._number = int(news["number"])
        told = news["question"]
        if "error" in told:
            raise self._raised(told["error"])
        return told["result"]

    def end(self) -> None:
        """Let them write again."""
        with self._lock:
            news = self._work.look(self._number, None)
            while "done" not in news:
                news = self._work.look()

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Give a sign of life now and then, without which the server lets others write."""
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(SIGN_OF_LIFE_SECONDS):
                with self._lock, suppress(SemsearchError):
                    self._work.look()

        thread = threading.Thread(target=look, name="semsearch-hold", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _asked(self, news: Mapping[str, Any]) -> Mapping[str, Any]:
        while "question" not in news:
            if "done" in news:
                raise CollectionLocked("writers are held off no more: the server heard nothing for too long.")
            news = self._work.look()
        return news
