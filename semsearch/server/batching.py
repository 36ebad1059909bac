"""Texts of different clients encoded together: whoever comes while a batch is under way is in the next one.

No time is waited for company. When nobody encodes, a text is encoded at once, in the thread that brought it; what comes
meanwhile gathers, and the one who waits longest takes the next batch. Who waits in the event loop needs no thread for
it: a batch is not bounded by the threads that there are. It is so many tokens, shared out evenly among those who wait:
a question is never behind the ten thousand texts of somebody else, and those still get a share.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from semsearch.server.failures import too_many
from semsearch.sparse_vectors import SparseEncoder, SparseVectors
from semsearch.types import Encoder

Encoded: TypeAlias = Any  # `Vectors` or `SparseVectors`: a row for each text

BATCH_TOKENS = 16_384  # encoded in a turn, at the least one text of each who waits
LETTERS_PER_TOKEN = 3  # bytes of UTF-8, about: what is counted exactly is counted by the tokenizer, a second time
MOST_WAITING_TOKENS = 4_000_000  # of all that wait for one model


class Watch(Protocol):
    """Told of what the batches are; see `semsearch.server.instruments`."""

    def batch(self, texts: int, jobs: int) -> None:
        """A batch was encoded, of so many texts for so many who waited."""
        ...

    def dropped(self) -> None:
        """Somebody hung up, and what was still to do was left."""
        ...


class Job:
    """The texts of one who waits, and what is done of them."""

    def __init__(self, texts: Sequence[str], gone: Callable[[], bool]) -> None:
        """`gone` tells whether who asked has hung up."""
        self.texts = texts
        self.gone = gone
        self.costs = [1 + len(text.encode("utf-8", "replace")) // LETTERS_PER_TOKEN for text in texts]
        self.waiting = sum(self.costs)
        self.taken = 0  # texts that are in a batch already
        self.parts: list[Encoded] = []
        self.error: BaseException | None = None
        self.woken = threading.Condition()
        self.finished = self.leads = False
        self.lead: Callable[[], None] | None = None  # of who waits in the event loop: take the next batch in a thread,
        self.ended: Callable[[], None] | None = None  # and be told that all is done

    def take(self, share: int) -> Sequence[str]:
        """The texts that come next, of `share` tokens together, but one at least."""
        start = end = self.taken
        spent = 0
        while end < len(self.texts) and (end == start or spent + self.costs[end] <= share):
            spent += self.costs[end]
            end += 1
        self.taken, self.waiting = end, self.waiting - spent
        return self.texts[start:end]


class HungUp(Exception):
    """Whoever asked is gone."""


class EncodingQueue:
    """The texts that wait for one model in one role. Threads share it; each gets the vectors of its own."""

    def __init__(
        self,
        encode: Callable[[Sequence[str]], Encoded],
        watch: Watch,
        *,
        joined: Callable[[Sequence[Encoded]], Encoded] = np.concatenate,
        batch_tokens: int = BATCH_TOKENS,
        most_waiting: int = MOST_WAITING_TOKENS,
    ) -> None:
        self._encode = encode
        self._joined = joined
        self._watch = watch
        self._batch_tokens = batch_tokens
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._jobs: list[Job] = []  # in the order they came
        self._busy = False

    @property
    def waiting(self) -> int:
        """Tokens that wait, about."""
        with self._lock:
            return sum(job.waiting for job in self._jobs)

    def vectors(self, texts: Sequence[str], gone: Callable[[], bool] = lambda: False) -> Encoded:
        """The vectors `(len(texts), dim)`.

        Raises:
            Refusal: Too many wait already.
            HungUp: `gone` said so while they waited.
        """
        if not texts:
            return self._encode(texts)
        job = Job(texts, gone)
        job.leads = self._begun(job)
        with job.woken:
            while not job.finished and not job.leads:
                job.woken.wait()
        if not job.finished:
            self._lead(job)
        return self._found(job)

    async def awaited(self, texts: Sequence[str], gone: Callable[[], bool], pool: Executor) -> Encoded:
        """What `vectors` gives, for who waits in the event loop; encoding is done in a thread of `pool`.

        In that pool nobody may wait for a batch, as those who call `vectors` do: all its threads might.

        Raises:
            Refusal: Too many wait already.
            HungUp: `gone` said so while they waited.
        """
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        job = Job(texts, gone)

        def settle() -> None:
            if not over.done():
                over.set_result(None)

        def ended() -> None:
            with suppress(RuntimeError):  # the loop is no more
                loop.call_soon_threadsafe(settle)

        def lead() -> None:
            try:
                led = pool.submit(self._lead, job)
            except RuntimeError:  # the server is ending
                self._give_up(job)
            else:
                led.add_done_callback(lambda future: self._give_up(job) if future.cancelled() else None)

        job.ended, job.lead = ended, lead
        if self._begun(job):
            lead()
        await over
        return self._found(job)

    def _begun(self, job: Job) -> bool:
        """Let a job wait; whether nobody encodes, so that it is to."""
        with self._lock:
            ahead = sum(other.waiting for other in self._jobs)
            if ahead and ahead + job.waiting > self._most_waiting:
                raise too_many()
            self._jobs.append(job)
            leads, self._busy = not self._busy, True
        return leads

    def _found(self, job: Job) -> Encoded:
        if job.error is not None:
            raise job.error
        return job.parts[0] if len(job.parts) == 1 else self._joined(job.parts)

    def _lead(self, own: Job) -> None:
        """Encode batch after batch until one's own is done, and hand over to who waits longest."""
        try:
            while not own.finished:
                self._turn()
        finally:
            with self._lock:
                heir = next(iter(self._jobs), None)
                self._busy = heir is not None
            self._hand_over(heir)

    def _hand_over(self, heir: Job | None) -> None:
        if heir is not None and heir.lead is not None:
            heir.lead()
        elif heir is not None:
            with heir.woken:
                heir.leads = True
                heir.woken.notify()

    def _give_up(self, job: Job) -> None:
        """End a job that was to encode and gets no thread for it; others still may."""
        with self._lock:
            self._end(job, HungUp())
            heir = next(iter(self._jobs), None)
            self._busy = heir is not None
        self._hand_over(heir)

    def _turn(self) -> None:
        with self._lock:
            for job in [job for job in self._jobs if job.gone()]:
                self._watch.dropped()
                self._end(job, HungUp())
            share = self._batch_tokens // max(len(self._jobs), 1)
            batch = [(job, job.take(share)) for job in self._jobs]
            left = self._batch_tokens - sum(sum(job.costs[job.taken - len(own) : job.taken]) for job, own in batch)
            for place, (job, own) in enumerate(batch):  # what small ones left over goes to the first that has more
                if left > 0 and job.taken < len(job.texts):
                    more = job.take(left)
                    left -= sum(job.costs[job.taken - len(more) : job.taken])
                    batch[place] = (job, [*own, *more])
        if not batch:
            return
        try:
            vectors = self._together([own for _, own in batch])
        except BaseException as error:
            for job, own in batch:
                self._alone(job, own, error)
        else:
            for (job, _), part in zip(batch, vectors, strict=True):
                job.parts.append(part)
        with self._lock:
            for job in [job for job in self._jobs if job.error is not None or job.taken == len(job.texts)]:
                self._end(job, job.error)

    def _together(self, parts: Sequence[Sequence[str]]) -> list[Encoded]:
        """The vectors of each part, all encoded at once; a text that comes twice is encoded once."""
        places: dict[str, int] = {}
        for part in parts:
            for text in part:
                places.setdefault(text, len(places))
        vectors = self._encode(list(places))  # which goes by length itself
        self._watch.batch(len(places), len(parts))
        return [vectors[[places[text] for text in part]] for part in parts]

    def _alone(self, job: Job, own: Sequence[str], error: BaseException) -> None:
        """A text that the model can't take costs only the one who brought it."""
        if len(self._jobs) == 1:
            job.error = error
            return
        try:
            job.parts.append(self._encode(own))
        except BaseException as own_error:
            job.error = own_error

    def _end(self, job: Job, error: BaseException | None) -> None:
        self._jobs.remove(job)
        job.error = error
        with job.woken:
            job.finished = True
            job.woken.notify()
        if job.ended is not None:
            job.ended()


class Queues:
    """An `EncodingQueue` for each role of each model that is open."""

    def __init__(self, watch: Watch, *, most_waiting: int = MOST_WAITING_TOKENS) -> None:
        self._watch = watch
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._of: WeakKeyDictionary[Any, dict[str, EncodingQueue]] = WeakKeyDictionary()

    def of(self, encoder: Encoder, role: str) -> EncodingQueue:
        """That of a model for "query" or "document"."""
        return self._queue(encoder, role, np.concatenate)

    def of_sparse(self, encoder: SparseEncoder, role: str) -> EncodingQueue:
        """That of a sparse model for "query" or "document"; it gives `SparseVectors`."""
        dim = encoder.dim
        return self._queue(encoder, role, lambda parts: SparseVectors.joined(parts, dim))

    def _queue(
        self, encoder: Encoder | SparseEncoder, role: str, joined: Callable[[Sequence[Encoded]], Encoded]
    ) -> EncodingQueue:
        with self._lock:
            known = self._of.setdefault(encoder, {})
            if role not in known:
                encode = _encode(encoder, role)
                known[role] = EncodingQueue(encode, self._watch, joined=joined, most_waiting=self._most_waiting)
            return known[role]

    @property
    def waiting(self) -> int:
        """Tokens that wait in all of them."""
        with self._lock, suppress(RuntimeError):  # a model that goes meanwhile
            queues = [queue for known in self._of.values() for queue in known.values()]
        return sum(queue.waiting for queue in queues)


def _encode(encoder: Encoder | SparseEncoder, role: str) -> Callable[[Sequence[str]], Encoded]:
    from weakref import ref

    held = ref(encoder)  # the queue is kept as long as the model, and must not keep it

    def encode(texts: Sequence[str]) -> Encoded:
        model = held()
        assert model is not None, "who waits holds the model"
        return model.encode_queries(texts) if role == "query" else model.encode_documents(texts)

    return encode
