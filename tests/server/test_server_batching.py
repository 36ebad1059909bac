"""The queue of texts that are to be encoded: together, fairly, each getting its own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.named_hash import NamedHash, until

from semsearch.errors import EncodingFailed
from semsearch.server.batching import EncodingQueue, HungUp, Queues
from semsearch.server.failures import Refusal


class Watch:
    def __init__(self):
        self.batches, self.drops = [], 0

    def batch(self, texts, jobs):
        self.batches.append((texts, jobs))

    def dropped(self):
        self.drops += 1


@pytest.fixture
def model():
    return NamedHash()


def in_thread(work):
    """What `work` gives, or raises, when it is asked for."""
    done = []

    def run():
        try:
            done.append(work())
        except BaseException as error:
            done.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()

    def result():
        thread.join(30)
        assert not thread.is_alive()
        if isinstance(done[0], BaseException):
            raise done[0]
        return done[0]

    return result


def waiting_behind(queue, model, jobs):
    """The results of jobs that came while a first was encoded."""
    model.may_go.clear()
    first = in_thread(lambda: queue.vectors(["first"]))
    assert model.begun.acquire(timeout=30)
    results = []
    for number, (texts, gone) in enumerate(jobs):
        results.append(in_thread(lambda texts=texts, gone=gone: queue.vectors(texts, gone)))
        until(lambda number=number: len(queue._jobs) == number + 2)
    model.batches.clear()
    model.may_go.set()
    first()
    return results


def never():
    return False


def test_alone_it_is_encoded_at_once(model):
    watch = Watch()
    queue = EncodingQueue(model.encode_queries, watch)
    assert np.array_equal(queue.vectors(["a", "b", "a"]), NamedHash().encode_queries(["a", "b", "a"]))
    assert model.batches == [["a", "b"]], "a text that comes twice is encoded once"
    assert watch.batches == [(2, 1)]
    assert queue.vectors([]).shape == (0, 16)
    assert queue.waiting == 0


def test_what_gathers_is_encoded_together_and_shared_out(model):
    watch = Watch()
    queue = EncodingQueue(model.encode_queries, watch)
    jobs = [[f"text {n}", "shared"] for n in range(5)]
    results = waiting_behind(queue, model, [(texts, never) for texts in jobs])
    for texts, result in zip(jobs, results, strict=True):
        assert np.array_equal(result(), NamedHash().encode_queries(texts))
    assert len(model.batches) == 1
    assert watch.batches == [(1, 1), (6, 5)]


def test_a_question_is_not_behind_ten_thousand_texts_of_another(model):
    queue = EncodingQueue(model.encode_queries, Watch(), batch_tokens=100)
    many = [f"long text number {n}" for n in range(500)]
    huge, small = waiting_behind(queue, model, [(many, never), (["small"], never)])
    assert np.array_equal(small(), NamedHash().encode_queries(["small"]))
    assert np.array_equal(huge(), NamedHash().encode_queries(many))
    assert "small" in model.batches[0]
    assert sum(len(batch) for batch in model.batches) == 501
    assert max(len(batch) for batch in model.batches) < 30, "a batch is so many tokens"


def test_who_hung_up_is_dropped(model):
    watch = Watch()
    queue = EncodingQueue(model.encode_queries, watch)
    gone, there = waiting_behind(queue, model, [(["gone"], lambda: True), (["there"], never)])
    with pytest.raises(HungUp):
        gone()
    assert there().shape == (1, 16)
    assert model.batches == [["there"]]
    assert watch.drops == 1


def test_a_text_that_can_not_be_encoded_costs_only_its_own(model):
    def encode(texts):
        vectors = model.encode_queries(texts)
        if "bad" in texts:
            raise EncodingFailed("the model gave NaN.")
        return vectors

    queue = EncodingQueue(encode, Watch())
    bad, good = waiting_behind(queue, model, [(["bad"], never), (["good"], never)])
    with pytest.raises(EncodingFailed):
        bad()
    assert np.array_equal(good(), NamedHash().encode_queries(["good"]))
    assert np.array_equal(queue.vectors(["after"]), NamedHash().encode_queries(["after"]))


def test_no_more_wait_than_memory_holds(model):
    queue = EncodingQueue(model.encode_queries, Watch(), most_waiting=1000)
    assert queue.vectors(["word " * 1000]).shape == (1, 16), "alone it may be as long as it is"
    model.may_go.clear()
    results = [in_thread(lambda n=n: queue.vectors([f"{n} " + "word " * 100])) for n in range(5)]
    until(lambda: len(queue._jobs) == 5)
    with pytest.raises(Refusal, match="too many wait"):
        queue.vectors(["word " * 1000])
    model.may_go.set()
    assert [result().shape for result in results] == [(1, 16)] * 5


def test_many_threads_get_what_is_theirs(model):
    queue = EncodingQueue(model.encode_queries, Watch(), batch_tokens=50)
    jobs = [[f"{n} {m}" for m in range(n % 7 + 1)] for n in range(40)]
    results = [in_thread(lambda texts=texts: queue.vectors(texts)) for texts in jobs]
    for texts, result in zip(jobs, results, strict=True):
        assert np.array_equal(result(), NamedHash().encode_queries(texts))
    assert queue._jobs == []
    assert not queue._busy


def test_models_and_roles_are_apart_and_go_with_the_model():
    queues = Queues(Watch())
    one, two = NamedHash("one"), NamedHash("two")
    assert queues.of(one, "query") is queues.of(one, "query")
    assert len({queues.of(one, "query"), queues.of(one, "document"), queues.of(two, "query")}) == 3
    queues.of(two, "document").vectors(["text"])
    assert two.calls == 1
    del two
    assert len(queues._of) == 1
    assert queues.waiting == 0


def test_who_waits_in_the_event_loop_needs_no_thread(model):
    """A hundred of them, and threads between, with one thread that encodes: all that gathered is one batch."""
    queue = EncodingQueue(model.encode_queries, Watch())
    model.may_go.clear()

    async def ask(pool):
        first = asyncio.ensure_future(queue.awaited(["first"], never, pool))
        await asyncio.to_thread(until, lambda: len(queue._jobs) == 1)
        others = [asyncio.ensure_future(queue.awaited([f"text {n}"], never, pool)) for n in range(100)]
        await asyncio.sleep(0)
        threads = [in_thread(lambda n=n: queue.vectors([f"thread {n}"])) for n in range(5)]
        await asyncio.to_thread(until, lambda: len(queue._jobs) == 106)
        model.batches.clear()
        model.may_go.set()
        return await asyncio.gather(first, *others), await asyncio.to_thread(lambda: [one() for one in threads])

    with ThreadPoolExecutor(1) as pool:
        found, of_threads = asyncio.run(ask(pool))
    texts = ["first", *(f"text {n}" for n in range(100))]
    assert np.array_equal(np.concatenate(found), NamedHash().encode_queries(texts))
    assert np.array_equal(np.concatenate(of_threads), NamedHash().encode_queries([f"thread {n}" for n in range(5)]))
    assert [len(batch) for batch in model.batches] == [105]
    assert (queue._jobs, queue._busy) == ([], False)


def test_who_gets_no_thread_is_told_and_others_go_on(model):
    queue = EncodingQueue(model.encode_queries, Watch())
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(HungUp):
        asyncio.run(queue.awaited(["a"], never, pool))
    assert queue.vectors(["b"]).shape == (1, 16)
    assert (queue._jobs, queue._busy) == ([], False)


def test_a_text_of_the_event_loop_that_can_not_be_encoded_costs_only_its_own(model):
    def encode(texts):
        if "bad" in texts:
            raise EncodingFailed("the model gave NaN.")
        return model.encode_queries(texts)

    queue = EncodingQueue(encode, Watch())

    async def ask(pool):
        asked = (["bad"], ["good"], ["bad"], ["better"])
        return await asyncio.gather(*(queue.awaited(one, never, pool) for one in asked), return_exceptions=True)

    with ThreadPoolExecutor(1) as pool:
        found = asyncio.run(ask(pool))
    assert [isinstance(one, EncodingFailed) for one in found] == [True, False, True, False]
