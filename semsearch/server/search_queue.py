"""Searches of different clients done together: who comes while one like it is under way is in the next.

Alike are searches of the same collections with the same options; each may have another question. No time is waited for
company: where none like it is under way, a search is begun at once. Those that were hung up on meanwhile are left out.
All of this happens in the event loop; the searches themselves are done in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from semsearch.errors import SemsearchError
from semsearch.server.failures import too_many

Item = TypeVar("Item")
FoundFor = TypeVar("FoundFor")

MOST_TOGETHER = 128  # questions in a search


class SearchQueue(Generic[Item, FoundFor]):
    """The searches that wait, by what makes them alike."""

    def __init__(self, dropped: Callable[[], None], most: int) -> None:
        """`dropped` is called for each that was hung up on; `most` may wait at once."""
        self._dropped = dropped
        self._most = most
        self._count = 0
        self._waiting: dict[Hashable, list[tuple[Item, asyncio.Future[FoundFor]]]] = {}
        self._under_way: set[asyncio.Task[None]] = set()  # held, for the loop holds tasks weakly

    async def found(
        self, key: Hashable, item: Item, search: Callable[[Sequence[Item]], Awaitable[Sequence[FoundFor]]]
    ) -> FoundFor:
        """What was found for one, in the company of those alike.

        Args:
            key: Equal for those that may be searched together.
            item: What is searched for.
            search: Finds it for several.

        Raises:
            Refusal: Too many wait already.
        """
        if self._count >= self._most:
            raise too_many()
        own: asyncio.Future[FoundFor] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = [(item, own)]
            task = asyncio.ensure_future(self._work(key, search))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        else:
            waiting.append((item, own))
        self._count += 1
        try:
            return await own
        finally:
            self._count -= 1

    async def _work(self, key: Hashable, search: Callable[[Sequence[Item]], Awaitable[Sequence[FoundFor]]]) -> None:
        while waiting := self._waiting[key]:
            batch, self._waiting[key] = waiting[:MOST_TOGETHER], waiting[MOST_TOGETHER:]
            there = [(item, own) for item, own in batch if not own.done()]
            for _ in range(len(batch) - len(there)):
                self._dropped()
            if there:
                await _search(there, search)
        del self._waiting[key]


async def _search(
    batch: Sequence[tuple[Item, asyncio.Future[FoundFor]]],
    search: Callable[[Sequence[Item]], Awaitable[Sequence[FoundFor]]],
) -> None:
    """Give each of a batch what is its own; where one can't be answered, each is searched alone, to fail alone."""
    try:
        found = await search([item for item, _ in batch])
    except SemsearchError as error:
        if len(batch) == 1:
            _give(batch[0][1], error=error)
            return
        for one in batch:
            await _search([one], search)
        return
    except Exception as error:  # of all of them: it took too long, say
        for _, own in batch:
            _give(own, error=error)
        return
    for (_, own), answer in zip(batch, found, strict=True):
        _give(own, answer)


def _give(own: asyncio.Future[Any], found: object = None, error: BaseException | None = None) -> None:
    if own.done():
        return
    if error is not None:
        own.set_exception(error)
    else:
        own.set_result(found)
