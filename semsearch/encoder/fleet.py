"""Several devices at once: a process for each, which opens the model for itself and encodes its share of the texts.

Answers keep the order of the texts. A text that can't be encoded is an error for its call alone; a process that dies,
or a call that is broken off in the middle, ends the fleet's processes, and the next call starts new ones.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import numpy as np

from semsearch import hardware
from semsearch.encoder.checkpoint import ROLES, Role
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import EncodingFailed, ModelError, SemsearchError
from semsearch.types import Vectors

AHEAD = 2  # windows a process has at hand: one at work, one waiting


class OpenMember(Protocol):
    """Opens the model on a device; must be picklable, such as `functools.partial(load_encoder, name)`."""

    def __call__(self, *, device: str) -> TextEncoder:
        """The encoder, on that device."""
        ...


def spread(opener: OpenMember, devices: Sequence[str]) -> TextEncoder:
    """The model on several devices at once; their processes end when nobody uses it any more."""
    fleet = Fleet(opener, devices)
    return fleet.opened.over({role: Share(fleet, role) for role in ROLES})


class Fleet:
    """A process for each device. `opened` is the model as the first of them tells it."""

    def __init__(self, opener: OpenMember, devices: Sequence[str]) -> None:
        self._opener = opener
        self._devices = list(devices)
        self._members: list[_Member] = []
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self.truncated: dict[Role, int] = dict.fromkeys(ROLES, 0)  # texts so far that were cut
        weakref.finalize(self, _end, self._members, self._pid)
        self.opened = self._start()

    def encode(self, role: Role, texts: Iterable[str], prompt: str) -> Vectors:
        """Float32 vectors (n, dim) of texts, in their order; one call at a time."""
        if self._pid != os.getpid():  # a forked child: the processes are its parent's, and so is who holds the lock
            self._pid, self._lock, self._members = os.getpid(), threading.Lock(), []
            weakref.finalize(self, _end, self._members, self._pid)
        texts = texts if isinstance(texts, Sequence) else list(texts)
        vectors = np.empty((len(texts), self.opened.dim), np.float32)
        with self._lock:
            if not self._members and self._start().fingerprint != self.opened.fingerprint:
                self.close()
                raise ModelError(f"the model {self.opened.name} is another than it was: its files have changed.")
            try:
                self._fill(vectors, role, texts, prompt)
            except BaseException as error:
                if not isinstance(error, _MemberFailed):
                    self.close()
                    raise
                raise error.error from None
        return vectors

    def close(self) -> None:
        """End the processes; the next call starts new ones."""
        _end(self._members, self._pid)

    def _fill(self, vectors: Vectors, role: Role, texts: Sequence[str], prompt: str) -> None:
        from semsearch.encoder.inference import windows

        done = 0
        waiting: deque[_Member] = deque()

        def take() -> None:
            nonlocal done
            block, cut = waiting.popleft().receive()
            vectors[done : done + len(block)] = block
            done += len(block)
            self.truncated[role] += cut

        try:
            for number, window in enumerate(windows(texts, self._devices[0], len(self._members))):
                if len(waiting) == AHEAD * len(self._members):
                    take()
                member = self._members[number % len(self._members)]
                member.send((role, prompt, window))
                waiting.append(member)
            while waiting:
                take()
        except _MemberFailed:
            for member in waiting:  # answers still under way: the next call must not take them for its own
                with suppress(_MemberFailed):
                    member.receive()
            raise

    def _start(self) -> TextEncoder:
        """Start the processes, and wait until the model is open in all of them, side by side."""
        spawn = multiprocessing.get_context("spawn")  # a forked child can't use CUDA
        threads = max(1, hardware.threads() // len(self._devices))  # they share the cores
        try:
            for device in self._devices:
                here, there = spawn.Pipe()
                process = spawn.Process(target=_serve, args=(there, self._opener, device, threads), daemon=True)
                process.start()
                there.close()
                self._members.append(_Member(device, process, here))
            opened: list[TextEncoder] = [member.receive() for member in self._members]
        except _MemberFailed as failed:
            self.close()
            raise failed.error from None
        except BaseException:
            self.close()
            raise
        return opened[0]


class Share:
    """A fleet's way for the texts of one role."""

    def __init__(self, fleet: Fleet, role: Role) -> None:
        self._fleet, self._role = fleet, role

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        return self._fleet.truncated[self._role]

    def encode(self, texts: Iterable[str], prompt: str = "") -> Vectors:
        """Float32 vectors (n, dim) of texts, each with the prompt before it."""
        return self._fleet.encode(self._role, texts, prompt)


class _MemberFailed(Exception):
    """A process tells of an error, and goes on."""

    def __init__(self, error: SemsearchError) -> None:
        super().__init__(str(error))
        self.error = error


class _Member:
    """One process, and the way to speak with it."""

    def __init__(self, device: str, process: BaseProcess, connection: Connection) -> None:
        self.device, self.process, self.connection = device, process, connection

    def send(self, work: Any) -> None:
        """Give it something to do."""
        try:
            self.connection.send(work)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._ended() from error

    def receive(self) -> Any:
        """Its next answer; its error, raised here."""
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._ended() from error
        if isinstance(answer, SemsearchError):
            raise _MemberFailed(answer)
        return answer

    def _ended(self) -> EncodingFailed:
        self.process.join(timeout=5)
        return EncodingFailed(
            f"the process that encodes on {self.device} has ended (exit code {self.process.exitcode}): it may have "
            "been killed for its memory. What was encoded before is kept; run the same again."
        )


def _end(members: list[_Member], pid: int) -> None:
    """End processes, if they are this process's."""
    if pid != os.getpid():
        return
    for member in members:
        member.connection.close()
    for member in members:
        member.process.join(timeout=10)
        if member.process.is_alive():
            member.process.terminate()
    members.clear()


def _serve(connection: Connection, opener: OpenMember, device: str, threads: int) -> None:
    """What a process does until its connection closes."""
    hardware.set_threads(threads)
    with suppress(BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        try:
            encoder = opener(device=device)
        except Exception as error:
            connection.send(_sendable(error, f"opening the model on {device}"))
            return
        connection.send(encoder.over({}))
        inbox: queue.SimpleQueue[tuple[Role, str, list[str]] | None] = queue.SimpleQueue()
        threading.Thread(target=_take, args=(connection, inbox), daemon=True).start()
        while (work := inbox.get()) is not None:
            role, prompt, texts = work
            stream = encoder.stream(role)
            before = stream.truncated
            try:
                vectors = stream.encode(texts, prompt)
            except Exception as error:
                connection.send(_sendable(error, f"encoding on {device}"))
            else:
                connection.send((vectors, stream.truncated - before))


def _take(connection: Connection, inbox: queue.SimpleQueue[tuple[Role, str, list[str]] | None]) -> None:
    """Takes windows in while others are encoded: neither side may wait to send while the other does, too."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        inbox.put(None)


def _sendable(error: Exception, doing: str) -> SemsearchError:
    """An error that can be sent: not every exception can."""
    if isinstance(error, SemsearchError):
        return error
    return EncodingFailed(f"{doing} failed: {type(error).__name__}: {error}")
