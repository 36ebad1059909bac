"""What adaptors do without blocking an event loop: in few threads, whatever the number of searches."""

import asyncio
import gc
import importlib.util
import os
import sys
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest

pytest.importorskip("langchain_core", reason="langchain-core is not installed")

from support.fakes import HashEncoder

from semsearch.adaptors.offloading import MAX_CHANGES, MAX_SEARCHES, offloaded, offloaded_change
from semsearch.langchain import SemsearchEmbeddings, SemsearchVectorStore

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("async_searches", ROOT / "benchmarks" / "async_searches.py")
benchmark = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)
MOST = 50  # milliseconds that a loop may be kept
WHO = ContextVar("who")


@pytest.fixture
def _no_garbage():
    """What pytest and all frameworks hold is not looked at meanwhile: one look at it takes longer than a search."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Counted:
    """Counts how many calls run at once."""

    def __init__(self):
        self.running, self.most, self.lock = 0, 0, threading.Lock()

    def __call__(self):
        with self.lock:
            self.running += 1
            self.most = max(self.most, self.running)
        threading.Event().wait(0.002)
        with self.lock:
            self.running -= 1


async def test_a_hundred_run_a_few_at_a_time():
    searches, changes = Counted(), Counted()
    await asyncio.gather(*(offloaded(searches) for _ in range(100)), *(offloaded_change(changes) for _ in range(100)))
    assert (searches.most, changes.most) == (MAX_SEARCHES, MAX_CHANGES)


async def test_no_search_waits_for_changes():
    ended = threading.Event()
    changing = [asyncio.create_task(offloaded_change(ended.wait, 60)) for _ in range(4)]
    await asyncio.sleep(0)
    assert await asyncio.wait_for(offloaded(lambda: "found"), 30) == "found"
    assert not any(one.done() for one in changing)
    ended.set()
    assert await asyncio.gather(*changing) == [True] * 4


async def test_a_call_sees_the_context_of_its_task():
    WHO.set("the task")
    assert await offloaded(WHO.get) == await offloaded_change(WHO.get) == "the task"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
async def test_a_forked_child_has_threads_of_its_own():
    await asyncio.gather(*(offloaded(os.getpid) for _ in range(9)))
    if (child := os.fork()) == 0:
        found = -1
        try:
            asyncio.events._set_running_loop(None)
            found = asyncio.run(asyncio.wait_for(offloaded(os.getpid), 60))
        finally:
            os._exit(found != os.getpid())
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, child, 0))[1]) == 0


@pytest.mark.usefixtures("_no_garbage")
@pytest.mark.skipif(not os.environ.get("SEMSEARCH_FULL"), reason="`make adaptors` runs it")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long a thread waited for a processor")
@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_hundred_searches_never_keep_the_loop(tmp_path, mode):
    store = SemsearchVectorStore("notes", SemsearchEmbeddings(encoder=HashEncoder()), home=tmp_path)
    store.add_texts(benchmark.texts_of(None))
    store.similarity_search("warm", 1, mode=mode)
    _, noted = asyncio.run(benchmark.measured(lambda text: store.asimilarity_search(text, 4, mode=mode)))
    # a thread that is put aside while it holds the interpreter's lock computes nothing: that is the machine's doing
    assert max(min(one.kept, one.computed) for one in noted) < MOST
    store.close()
