"""Work kept off an event loop: searches and changes run in a few threads of their own, and the loop goes on."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from semsearch.hardware import cores

Given = TypeVar("Given")

# Each thread that runs Python takes its turn at the interpreter's lock, 5 ms at most, and the loop waits for as many
# turns as there are threads: for nine 45 ms at most, with the two cores that it was measured on 15 ms
# (benchmarks/async_searches.py). More threads than cores answer no more searches a second.
MAX_SEARCHES = min(max(cores(), 2), 8)  # at a time
MAX_CHANGES = 1  # at a time, beside them: to take documents in may last minutes, for which no search waits

_pools: dict[str, tuple[int, ThreadPoolExecutor]] = {}


async def offloaded(function: Callable[..., Given], *args: Any, **kwargs: Any) -> Given:
    """What `function`, which answers a question, gives in another thread with the context variables of this task."""
    return await _run("search", MAX_SEARCHES, function, args, kwargs)


async def offloaded_change(function: Callable[..., Given], *args: Any, **kwargs: Any) -> Given:
    """As `offloaded`, of what takes documents in or out, or encodes them: it may take long."""
    return await _run("change", MAX_CHANGES, function, args, kwargs)


async def _run(
    kind: str, most: int, function: Callable[..., Given], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Given:
    pool = _pools.get(kind)
    if pool is None or pool[0] != os.getpid():  # a forked child has none of its parent's threads
        pool = _pools[kind] = os.getpid(), ThreadPoolExecutor(most, f"semsearch-async-{kind}")
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(pool[1], call)
