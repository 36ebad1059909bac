"""Work kept off an event loop: searches and writes run in a few threads of their own, and the loop goes on."""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

Given = TypeVar("Given")

# Each thread that runs Python takes its turn at the interpreter's lock, and the loop waits for as many turns as there
# are threads, of all that the system puts aside while they hold it: of a hundred searches four keep it for up to 37 ms
# of their computing, two for up to 20 (benchmarks/async_searches.py), and two answer as many a second as four.
MAX_OFFLOADED = 2  # at a time

_pool: tuple[int, ThreadPoolExecutor] | None = None


async def offloaded(function: Callable[..., Given], *args: Any, **kwargs: Any) -> Given:
    """What `function` gives, called in another thread, with the context variables of this task."""
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_executor(), call)


def _executor() -> ThreadPoolExecutor:
    global _pool
    if _pool is None or _pool[0] != os.getpid():  # a forked child has none of its parent's threads
        _pool = os.getpid(), ThreadPoolExecutor(MAX_OFFLOADED, "semsearch-async")
    return _pool[1]
