"""Several devices at once: a process for each, which opens the model for itself and encodes window after window.

The windows are those of a single process and keep their order, so the vectors are the same, whichever device made them.
"""

from __future__ import annotations

import multiprocessing
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Literal, Protocol, Self

import numpy as np

from semsearch.errors import EncodingFailed, SemsearchError, UsageError
from semsearch.types import Encoder, Metric, Vectors

AHEAD = 2  # windows a process has at hand: one at work, one waiting
Role = Literal["query", "document"]


class Opener(Protocol):
    """Opens the model on a device; must be picklable, such as `functools.partial(load_encoder, name)`."""

    def __call__(self, *, device: str) -> Encoder:
        """The encoder, on that device."""
        ...


class Fleet:
    """An encoder that spreads its texts over devices. Close it, or use it in a `with` statement.

    >>> with Fleet(partial(load_encoder, "all-MiniLM-L6-v2"), ["cuda:0", "cuda:1"]) as fleet:   # doctest: +SKIP
    ...     vectors = fleet.encode_documents(texts)

    A script that makes one needs the guard `if __name__ == "__main__":`, since the processes are started anew.
    """

    def __init__(self, opener: Opener, devices: Sequence[str]) -> None:
        if not devices:
            raise UsageError("a fleet needs one device or more; say, for example, ['cuda:0', 'cuda:1'].")
        spawn = multiprocessing.get_context("spawn")  # a forked child can't use CUDA
        self._members: list[_Member] = []
        try:
            for device in devices:
                here, there = spawn.Pipe()
                share = sum(device.partition(":")[0] == "cpu" for device in devices)
                process = spawn.Process(target=_serve, args=(there, opener, device, share), daemon=True)
                process.start()
                there.close()
                self._members.append(_Member(device, process, here))
            told = [member.receive() for member in self._members]  # opened side by side
        except BaseException:
            self.close()
            raise
        self.dim: int
        self.metric: Metric
        self.fingerprint: str
        self.dim, self.metric, self.fingerprint = told[0]

    def encode_documents(
        self, texts: Iterable[str], out: Vectors | None = None, progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Vectors (n, dim), float32, of texts to be found, in their order; written to `out` where it is given."""
        return self._encode("document", texts, out, progress)

    def encode_queries(
        self, texts: Iterable[str], out: Vectors | None = None, progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Vectors (n, dim), float32, of questions."""
        return self._encode("query", texts, out, progress)

    def close(self) -> None:
        """End the processes."""
        for member in self._members:
            member.connection.close()
        for member in self._members:
            member.process.join(timeout=10)
            if member.process.is_alive():
                member.process.terminate()
        self._members.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode(
        self, role: Role, texts: Iterable[str], out: Vectors | None, progress: Callable[[int], None] | None
    ) -> Vectors:
        if out is None:
            texts = texts if isinstance(texts, Sequence) else list(texts)
            out = np.empty((len(texts), self.dim), np.float32)
        done = 0
        try:
            for block in self._blocks(role, texts):
                out[done : done + len(block)] = block
                done += len(block)
                if progress is not None:
                    progress(done)
        except BaseException:
            self.close()  # answers to this call may still be under way: the next must not take them for its own
            raise
        return out

    def _blocks(self, role: Role, texts: Iterable[str]) -> Iterator[Vectors]:
        """Vectors window by window; the members take turns, so that answers come in the order of the windows."""
        from semsearch.encoder.pipeline import windows

        if not self._members:
            raise UsageError("the fleet is closed; open another.")
        waiting: deque[_Member] = deque()
        most = AHEAD * len(self._members)
        for number, window in enumerate(windows(texts, self._members[0].device)):
            if len(waiting) == most:
                yield waiting.popleft().receive()
            member = self._members[number % len(self._members)]
            member.connection.send((role, window))
            waiting.append(member)
        while waiting:
            yield waiting.popleft().receive()


class _Member:
    """One process, and the way to speak with it."""

    def __init__(self, device: str, process: BaseProcess, connection: Connection) -> None:
        self.device, self.process, self.connection = device, process, connection

    def receive(self) -> Any:
        """Its next answer; its error, raised here."""
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self.process.join(timeout=5)
            raise EncodingFailed(
                f"the process that encodes on {self.device} has ended (exit code {self.process.exitcode}): it may have "
                "been killed for its memory. What was encoded before is kept; run the same again."
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _serve(connection: Connection, opener: Opener, device: str, share: int) -> None:
    """What a process does until its connection closes."""
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // max(1, share)))  # several on one CPU share its cores
    try:
        encoder = opener(device=device)
        connection.send((encoder.dim, encoder.metric, encoder.fingerprint))
        inbox: queue.SimpleQueue[tuple[Role, list[str]] | None] = queue.SimpleQueue()
        threading.Thread(target=_take, args=(connection, inbox), daemon=True).start()
        while (work := inbox.get()) is not None:
            role, texts = work
            encode = encoder.encode_queries if role == "query" else encoder.encode_documents
            connection.send(encode(texts))
    except (BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return
    except SemsearchError as error:
        connection.send(error)
    except Exception as error:  # not every exception can be sent
        connection.send(EncodingFailed(f"encoding on {device} failed: {type(error).__name__}: {error}"))


def _take(connection: Connection, inbox: queue.SimpleQueue[tuple[Role, list[str]] | None]) -> None:
    """Takes windows in while others are encoded: neither side may wait to send while the other does, too."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        inbox.put(None)
