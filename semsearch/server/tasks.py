"""Long work of a server: begun by a request, done behind it, followed and cancelled by its id.

A task is a file of its own, written when its state changes, so that a server that starts again tells of each as what it
is: done, failed, cancelled, or interrupted where the server ended under it. Tasks of one collection are done one after
the other. Of finished ones the last thousand are kept, with what they found (`semsearch.server.task_results`).
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from semsearch import wire
from semsearch.server.failures import Refusal
from semsearch.server.task_results import ResultFiles, TaskResults

QUEUED, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = (
    "queued",
    "running",
    "done",
    "failed",
    "cancelled",
    "interrupted",
)
FINISHED = frozenset({DONE, FAILED, CANCELLED, INTERRUPTED})
HIDDEN = ("owner", "role", "others")
KEPT_TASKS = 1_000
MOST_QUEUED = 100


class Cancelled(Exception):
    """Raised inside a task that was asked to end."""


@dataclass(slots=True)
class Task:
    """What there is to know of a task, as JSON values; times are seconds since 1970."""

    id: str
    kind: str
    collection: str
    state: str = QUEUED
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    cancelling: bool = False
    result: Any = None
    error: dict[str, Any] | None = None
    owner: str = ""  # the process that does it
    role: str = "read"  # that who reads what it found must have
    others: list[str] = field(default_factory=list)  # collections that are in what it found, too

    def told(self) -> dict[str, Any]:
        """As clients are told of it."""
        facts = asdict(self)
        for name in HIDDEN:
            del facts[name]
        return facts


Work = Callable[[Callable[..., None]], Any]
"""Does a task; given what it calls with its progress by name, which raises `Cancelled` once it was cancelled."""

FindingWork = Callable[[Callable[..., None], ResultFiles], Any]
"""The same, of one that keeps what it finds in files."""


class Tasks:
    """The tasks of a server. Threads share it."""

    def __init__(
        self,
        folder: Path | None,
        tell: Callable[[str, BaseException], Refusal],
        pool: ThreadPoolExecutor,
    ) -> None:
        """Tasks in a folder; None keeps them while the server runs. `tell` makes of an error what clients are told."""
        self._folder = folder
        self._tell = tell
        self._pool = pool
        self.results = TaskResults(None if folder is None else folder / "results")
        self._lock = threading.Lock()
        self._tasks: dict[str, Task] = {}
        self._futures: dict[str, Future[None]] = {}
        self._turns: dict[str, threading.Lock] = {}
        self._me = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._ending = False
        self._read()

    def begin(self, kind: str, collection: str, work: Work, *, given_up: Callable[[], None] | None = None) -> Task:
        """A new task, queued; `given_up` is called where it is cancelled before its turn comes.

        Raises:
            Refusal: Too many wait already.
        """
        return self._begin(kind, collection, lambda task: work, "read", (), given_up)

    def begin_finding(
        self, kind: str, collection: str, work: FindingWork, *, role: str = "read", others: Iterable[str] = ()
    ) -> Task:
        """A new task, queued, which keeps what it finds.

        Args:
            kind: What it does.
            collection: With which collection.
            work: Does it.
            role: That who reads what it found must have.
            others: Collections that are in what it finds, too.

        Raises:
            Refusal: Too many wait already.
        """

        def finding(task: Task) -> Work:
            return lambda progress: work(progress, self.results.of(task.id))

        return self._begin(kind, collection, finding, role, others)

    def _begin(
        self,
        kind: str,
        collection: str,
        work: Callable[[Task], Work],
        role: str,
        others: Iterable[str],
        given_up: Callable[[], None] | None = None,
    ) -> Task:
        """See `begin`.

        Raises:
            Refusal: Too many wait already.
        """
        with self._lock:
            waiting = sum(task.state == QUEUED for task in self._tasks.values())
            if waiting >= MOST_QUEUED:
                raise Refusal(429, "too_many_tasks", f"{waiting} tasks wait already.", None, {"Retry-After": "10"})
            made = time.time()
            task = Task(f"{int(1000 * made):013d}-{secrets.token_hex(4)}", kind, collection, owner=self._me)
            task.role, task.others = role, list(others)
            self._tasks[task.id] = task
            turn = self._turns.setdefault(collection, threading.Lock())
        self._keep(task)
        self._futures[task.id] = self._pool.submit(self._run, task, work(task), turn, given_up)
        self._prune()
        return task

    def get(self, identity: str) -> Task:
        """The task of that id.

        Raises:
            Refusal: There is none.
        """
        with self._lock:
            task = self._tasks.get(identity)
        if task is None:
            raise Refusal(404, "task_not_found", f"there is no task '{identity:.60}'.", "task")
        return task

    def told(self, task: Task) -> dict[str, Any]:
        """As clients are told of a task."""
        return {**task.told(), "formats": self.results.formats(task.id) if task.state == DONE else []}

    def listed(self) -> list[Task]:
        """All of them, the newest first."""
        with self._lock:
            return sorted(self._tasks.values(), key=lambda task: task.id, reverse=True)

    def cancel(self, identity: str) -> Task:
        """Ask a task to end: at once where it waits, else when it next tells how far it is.

        Raises:
            Refusal: There is none, or it is finished.
        """
        task = self.get(identity)
        with self._lock:
            if task.state in FINISHED:
                raise Refusal(409, "task_finished", f"the task is {task.state}: there is nothing to cancel.", "task")
            task.cancelling = True
            queued = task.state == QUEUED
            if queued:
                task.state, task.finished = CANCELLED, time.time()
        self._keep(task)
        return task

    def count(self, state: str) -> int:
        """How many are in that state."""
        with self._lock:
            return sum(task.state == state for task in self._tasks.values())

    @property
    def unfinished(self) -> bool:
        """Whether a thread still works at one, whatever it was told."""
        return any(not future.done() for future in list(self._futures.values()))

    def close(self, seconds: float) -> None:
        """Ask all to end, and wait so long for those that run; what is under way by then is interrupted."""
        with self._lock:
            self._ending = True
            mine = [task for task in self._tasks.values() if task.owner == self._me and task.state not in FINISHED]
            for task in mine:
                task.cancelling = True
        until = time.monotonic() + seconds
        for task in mine:
            future = self._futures.get(task.id)
            if future is not None and not future.cancel():
                with suppress(Exception):
                    future.result(max(until - time.monotonic(), 0))
            with self._lock:
                if task.state not in FINISHED:
                    task.state, task.finished = INTERRUPTED, time.time()
            self._keep(task)
        self.results.close()

    def _run(self, task: Task, work: Work, turn: threading.Lock, given_up: Callable[[], None] | None) -> None:
        with turn:
            with self._lock:
                begins = task.state == QUEUED and not task.cancelling
                if begins:
                    task.state, task.started = RUNNING, time.time()
            if not begins:
                self._futures.pop(task.id, None)
                if given_up is not None:
                    given_up()
                return
            self._keep(task)

            def progress(**facts: Any) -> None:
                task.progress = facts
                if task.cancelling:
                    raise Cancelled

            state, result, error = DONE, None, None
            try:
                result = wire.plain(work(progress))
            except Cancelled:
                state = INTERRUPTED if self._ending else CANCELLED
            except BaseException as raised:
                state, error = FAILED, self._tell(task.id, raised).body()["error"]
            if state != DONE:
                self.results.forget(task.id)
            with self._lock:
                if task.state == RUNNING:
                    task.state, task.result, task.error, task.finished = state, result, error, time.time()
                self._futures.pop(task.id, None)
            self._keep(task)

    # Files

    def _keep(self, task: Task) -> None:
        """Write a task down; where the disk is full it is known as long as the server runs."""
        if self._folder is None:
            return
        with suppress(OSError), self._lock:
            beside = self._folder / f".{task.id}.{secrets.token_hex(4)}"
            try:
                descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(json.dumps({**asdict(task), "owner": f"{self._me}"}))
                beside.replace(self._folder / f"{task.id}.json")
            except OSError:
                beside.unlink(missing_ok=True)
                raise

    def _read(self) -> None:
        """What other servers of this home left; what one of them did that is no more was interrupted."""
        if self._folder is None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in self._folder.glob("*.json"):
            task = _read_task(file)
            if task is None:
                continue
            if task.state not in FINISHED:
                if is_alive(task.owner):
                    continue  # another server of the same home is at it
                task.state, task.finished, task.cancelling = INTERRUPTED, task.finished or time.time(), False
                self._tasks[task.id] = task
                self._keep(task)
            self._tasks[task.id] = task
        self._prune()

    def forget_results(self, collection: str) -> None:
        """Delete what tasks found in a collection, since that is gone, or is to be erased everywhere."""
        with self._lock:
            own = [task.id for task in self._tasks.values() if collection in (task.collection, *task.others)]
        for identity in own:
            self.results.forget(identity)

    def _prune(self) -> None:
        with self._lock:
            old = sorted(task.id for task in self._tasks.values() if task.state in FINISHED)[:-KEPT_TASKS]
            for identity in old:
                del self._tasks[identity]
            known = list(self._tasks)
        self.results.prune(known)
        for identity in old if self._folder is not None else ():
            assert self._folder is not None
            with suppress(OSError):
                (self._folder / f"{identity}.json").unlink(missing_ok=True)


def _read_task(file: Path) -> Task | None:
    known = {one.name for one in fields(Task)}
    try:
        facts: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
        task = Task(**{name: value for name, value in facts.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return task if task.id == file.stem and isinstance(task.state, str) else None


def is_alive(owner: str) -> bool:
    """Whether the process that an owner names (`PID-…`) may still be at what it began."""
    pid = owner.partition("-")[0]
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    with suppress(OSError):  # a number that was given to another program since
        return b"semsearch" in Path(f"/proc/{pid}/cmdline").read_bytes() or not Path("/proc/self/cmdline").exists()
    return True
