"""A connection that does not wait for ever for a server that says nothing: whether it is at work, another one asks.

A statement may take hours, and says nothing meanwhile; so does a network that passes nothing on, or a machine that
stands still. The operating system tells only of those that do not even acknowledge what they are sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg
from psycopg.rows import TupleRow

SILENCE_SECONDS = 30.0  # after which another connection asks
DOUBT_SECONDS = 1.0  # for an answer that may be under way
AT_WORK = b"""
SELECT state = 'active' AND wait_event IS DISTINCT FROM 'ClientRead' AND wait_event IS DISTINCT FROM 'ClientWrite'
FROM pg_stat_activity WHERE pid = %s
"""


class WatchedSession(psycopg.Connection[TupleRow]):
    """See the module.

    Attributes:
        at_work: Asks whether the server is at work for the connection of a process of it; raises psycopg's errors.
            Without it, whoever says nothing for so long is gone.
    """

    at_work: Callable[[int], bool] | None = None

    def wait(self, gen: Generator[Any, Any, Any], *given: Any, **named: Any) -> Any:
        """See `psycopg.Connection.wait`."""
        return super().wait(self._heard(gen), *given, **named)

    def _heard(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Pass on what is ready; where nothing is for too long, let go of the connection."""
        heard, patience, doubted = time.monotonic(), SILENCE_SECONDS, False
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard, patience, doubted = time.monotonic(), SILENCE_SECONDS, False
                elif time.monotonic() - heard > patience:
                    if self._is_at_work():
                        heard, patience, doubted = time.monotonic(), SILENCE_SECONDS, False
                    elif doubted:
                        self._give_up()
                    else:
                        heard, patience, doubted = time.monotonic(), min(DOUBT_SECONDS, SILENCE_SECONDS), True
                wanted = gen.send(ready)
        except StopIteration as ended:
            return ended.value

    def _is_at_work(self) -> bool:
        if self.at_work is None:
            self._give_up()
            return False
        try:
            return self.at_work(self.info.backend_pid)
        except psycopg.Error:
            self._give_up()
            return False

    def _give_up(self) -> None:
        self.pgconn.finish()
        raise psycopg.OperationalError(f"nothing was heard of the server for {SILENCE_SECONDS:g} s: the network stalls")
