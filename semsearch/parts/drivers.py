"""Who makes all parts: processes of this machine, or a Ray cluster. Neither keeps anything but what lies in the folder.

A part whose maker ended or took too long is tried again, `ATTEMPTS` times in all; an error that names what is wrong
with the source or the model would be the same again, and ends the run.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from semsearch.errors import DataError, MissingDependency, StorageError, UsageError
from semsearch.parts.part_encoding import NO_PARTS, EncodedParts, PartsPlan
from semsearch.parts.part_file import PartHeader
from semsearch.parts.part_worker import answer, raised

ATTEMPTS = 3  # at a part
RAY = "ray://"
_LOCAL = re.compile(r"local:(\d{1,4})")
_WAITED_SECONDS = 1.0  # between two looks at the clock

OnPart = Callable[[Mapping[str, Any]], None]


def make_on(
    plan: PartsPlan,
    on: str,
    timeout: float | None,
    on_error: Callable[[DataError], None] | None,
    progress: Callable[[EncodedParts], None] | None,
) -> EncodedParts:
    """Make all parts of a plan; see `semsearch.encode`."""
    done, refused = NO_PARTS, set[str]()

    def note(told: Mapping[str, Any]) -> None:
        nonlocal done
        if "error" in told:
            raise raised(told)
        for words in told["refused"]:
            if on_error is not None and words not in refused:  # who makes a part reads all of the source
                refused.add(words)
                on_error(DataError(words))
        done = done.with_part(PartHeader(**told["header"]), made=bool(told["made"]))
        if progress is not None:
            progress(done)

    local = _LOCAL.fullmatch(on)
    if local is not None and int(local[1]):
        _LocalMakers(plan, min(int(local[1]), plan.parts), timeout).run(note)
    elif on.startswith(RAY):
        _on_ray(plan, on, timeout, note)
    else:
        raise UsageError(f"parts are made on local:N (so many processes here) or ray://…, and not on '{on}'.")
    return done


class _LocalMakers:
    """Processes of this machine, each with a thread that tells it what to do and waits for it."""

    def __init__(self, plan: PartsPlan, processes: int, timeout: float | None) -> None:
        self._plan = plan
        self._timeout = timeout
        self._waiting: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()  # parts, and how often they were tried
        self._told: queue.SimpleQueue[Mapping[str, Any] | BaseException] = queue.SimpleQueue()
        self._running: dict[int, subprocess.Popen[str]] = {}
        self._lock = threading.Lock()
        self._over = False
        self._threads = [threading.Thread(target=self._serve, args=(row,), daemon=True) for row in range(processes)]

    def run(self, note: OnPart) -> None:
        """Make all parts, telling of each."""
        for number in range(self._plan.parts):
            self._waiting.put((number, 1))
        for thread in self._threads:
            thread.start()
        try:
            for _ in range(self._plan.parts):
                told = self._told.get()
                if isinstance(told, BaseException):
                    raise told
                note(told)
        finally:
            with self._lock:
                self._over = True
                for process in self._running.values():
                    process.kill()
            for _ in self._threads:
                self._waiting.put((-1, 0))
            for thread in self._threads:
                thread.join()

    def _serve(self, row: int) -> None:
        process: subprocess.Popen[str] | None = None
        try:
            while True:
                number, attempt = self._waiting.get()
                if number < 0:
                    return
                if process is None or process.poll() is not None:
                    _end(process)
                    process = self._started(row)
                told = None if process is None else self._asked(process, number)
                if self._over:
                    return
                if told is not None:
                    self._told.put(json.loads(told))
                elif attempt < ATTEMPTS:
                    self._waiting.put((number, attempt + 1))
                else:
                    self._told.put(_given_up(number, self._plan.parts))
        except BaseException as error:  # what this thread can't do, the caller is told
            self._told.put(error)
        finally:
            _end(process)

    def _started(self, row: int) -> subprocess.Popen[str] | None:
        # without the present folder, in which anybody may have put a module; but where this semsearch was found
        found = str(Path(__file__).resolve().parents[2])
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([found, *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        with self._lock:
            if self._over:
                return None
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "semsearch.parts.part_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                env=environment,
            )
            self._running[row] = process
        self._say(process, self._plan.to_json())
        return process

    def _asked(self, process: subprocess.Popen[str], number: int) -> str | None:
        """What the process says of a part; None where it ended, or was ended for taking too long."""
        late = threading.Timer(self._timeout, process.kill) if self._timeout is not None else None
        try:
            if late is not None:
                late.daemon = True
                late.start()
            self._say(process, str(number))
            assert process.stdout is not None
            line = process.stdout.readline()
        finally:
            if late is not None:
                late.cancel()
        if not line.endswith("\n"):
            process.kill()
            process.wait()
            return None
        return line

    def _say(self, process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None
        with suppress(OSError):  # it has ended; whoever reads its answer sees that
            process.stdin.write(line + "\n")
            process.stdin.flush()


def _end(process: subprocess.Popen[str] | None) -> None:
    """End a process, if it has not ended, and let go of what led to it."""
    if process is None:
        return
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):  # what was not yet written has nobody to read it
                stream.close()


def _given_up(number: int, parts: int) -> StorageError:
    return StorageError(
        f"part {number}/{parts} was tried {ATTEMPTS} times, and each time its process ended or took too long. The "
        "parts that are made stay; run the same command again, with more time or more parts."
    )


def _on_ray(plan: PartsPlan, on: str, timeout: float | None, note: OnPart) -> None:
    """Make all parts as tasks of a Ray cluster, whose nodes have semsearch, and see the source and the folder."""
    try:
        import ray
    except ImportError as error:
        raise MissingDependency("parts on a Ray cluster need the extra 'ray': pip install 'semsearch[ray]'.") from error
    place = on.removeprefix(RAY)
    own = not ray.is_initialized()
    if own:
        try:
            ray.init("auto" if place in ("", "auto") else on, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UsageError(f"no Ray cluster answers at '{on}' ({str(error)[:200]}).") from error
    try:
        _RayTasks(ray, plan, timeout).run(note)
    finally:
        if own:
            ray.shutdown()


class _RayTasks:
    """The parts as tasks; what a lost node was making, Ray makes elsewhere."""

    def __init__(self, ray: Any, plan: PartsPlan, timeout: float | None) -> None:
        self._ray = ray
        self._plan = plan
        self._timeout = timeout
        self._remote = ray.remote(max_retries=ATTEMPTS - 1)(_ray_task)
        self._waiting: list[tuple[int, int]] = []  # parts, and which attempt it is
        self._running: dict[Any, tuple[int, int, float]] = {}  # part, attempt, and when it was handed in

    def run(self, note: OnPart) -> None:
        """Make all parts, telling of each."""
        self._waiting = [(number, 1) for number in reversed(range(self._plan.parts))]
        try:
            while self._waiting or self._running:
                while self._waiting and len(self._running) < self._at_once():
                    self._submit(*self._waiting.pop())
                ready, _ = self._ray.wait(list(self._running), timeout=_WAITED_SECONDS)
                for task in ready:
                    number, attempt, _ = self._running.pop(task)
                    try:
                        told = json.loads(self._ray.get(task))
                    except self._ray.exceptions.RayError as error:
                        self._again(number, attempt, error)
                        continue
                    note(told)
                self._end_late()
        finally:
            for task in self._running:
                self._ray.cancel(task, force=True)

    def _at_once(self) -> int:
        """Tasks that are handed in: all, for a cluster that grows by them; where time counts, those that can run."""
        if self._timeout is None:
            return self._plan.parts
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _submit(self, number: int, attempt: int) -> None:
        self._running[self._remote.remote(self._plan.to_json(), number)] = number, attempt, time.monotonic()

    def _again(self, number: int, attempt: int, error: BaseException | None) -> None:
        if attempt >= ATTEMPTS:
            raise _given_up(number, self._plan.parts) from error
        self._waiting.append((number, attempt + 1))

    def _end_late(self) -> None:
        if self._timeout is None:
            return
        now = time.monotonic()
        for task, (number, attempt, begun) in list(self._running.items()):
            if now - begun > self._timeout:
                self._ray.cancel(task, force=True)
                del self._running[task]
                self._again(number, attempt, None)


def _ray_task(plan: str, number: int) -> str:
    """One part, on whichever node; the model stays open for the next one in the same process."""
    global _kept
    if _kept is None or _kept[0] != plan:
        _kept = plan, PartsPlan.from_json(plan), None
    told, maker = answer(_kept[1], _kept[2], number)
    _kept = plan, _kept[1], maker
    return json.dumps(told)


_kept: tuple[str, PartsPlan, Any] | None = None  # the plan that this process worked at last, with its model
