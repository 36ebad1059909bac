"""The resident process: it imports everything, opens what models its children asked for, and forks a child a command.

It computes nothing, so that no pool of threads is there at a fork. It reads nothing from callers but which signal to
pass on: the child reads the request. It keeps to one socket, whose folder and name `address` tells, by a lock that
lives as long as it does, and it goes after ten idle minutes, when semsearch or a package changed, or when told.
"""

from __future__ import annotations

from semsearch.resident import address  # ahead of all else: what is imported must be what the environment says

_STARTED_IN = address.environment()

import contextlib  # noqa: E402
import ctypes  # noqa: E402
import gc  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import selectors  # noqa: E402
import signal  # noqa: E402
import socket  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from logging.handlers import RotatingFileHandler  # noqa: E402
from typing import Any  # noqa: E402

from semsearch import __version__, plugins  # noqa: E402
from semsearch.hardware import Compute  # noqa: E402
from semsearch.resident import child, client  # noqa: E402
from semsearch.resident.kept import ResidentState, WantedModel  # noqa: E402
from semsearch.resident.ownership import HeldByAnother, Ownership  # noqa: E402

IDLE = 600.0  # seconds without a command after which it goes
LOOK = 20.0  # seconds between two looks at whether it is still what its callers mean
MOST_RUNS = 64  # at once: further callers run their command themselves
MOST_LOGGED = 1 << 16  # bytes
MOST_TOLD = 1 << 20  # bytes that a child may tell

log = logging.getLogger("semsearch.resident")

# What commands import when they need it, beside what comes with their modules. None of it keeps threads.
PRELOADED = (
    *("semsearch.cli.query", "semsearch.cli.similar", "semsearch.cli.grep", "semsearch.cli.manage"),
    *("semsearch.federation", "semsearch.opening", "semsearch.local.engine", "semsearch.local.home"),
    *("semsearch.search.pipeline", "semsearch.upkeep", "semsearch.local.index.build", "semsearch.local.lexical.build"),
    *("semsearch.local.sparse.build", "semsearch.local.planner", "semsearch.local.store.filters"),
    "semsearch.rich_display",
    *("semsearch.encoder.cache", "semsearch.encoder.light", "semsearch.encoder.numpy_modules"),
    *("semsearch.search.background", "semsearch.search.matches", "semsearch.search.where_text"),
    *("indexes.exact", "indexes.without_torch", "semsearch.ingest.source", "semsearch.wire", "platformdirs"),
    *("rich.console", "rich.table", "sqlalchemy.dialects.sqlite.pysqlite"),
)


@dataclass(eq=False)
class ChildRun:
    """A child, its caller, and what it told so far."""

    pid: int
    connection: socket.socket
    told: int  # the end of a pipe
    unread: bytes = b""
    begun: bool = False
    declined: str | None = None


class Resident:
    """Listens, forks, and tells callers how their commands ended."""

    def __init__(
        self, listener: socket.socket, state: ResidentState, withdraw: Callable[[], None], idle: float
    ) -> None:
        self._listener = listener
        self._state = state
        self._withdraw = withdraw
        self._idle = idle
        self._runs: dict[int, ChildRun] = {}
        self._wanted: list[WantedModel] = []
        self._hopeless: set[WantedModel] = set()
        self._stopping = False
        self._last = time.monotonic()
        self._selector = selectors.DefaultSelector()
        self._woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)

    def want(self, wanted: WantedModel) -> None:
        """Open a model when there is nothing else to do."""
        if wanted not in self._wanted and wanted not in self._hopeless:
            self._wanted.append(wanted)

    def stop(self) -> None:
        """Take no further command, and end with the last child."""
        if not self._stopping:
            self._stopping = True
            self._selector.unregister(self._listener)
            self._listener.close()
            self._withdraw()

    def serve(self, still: Callable[[], bool]) -> None:
        """Until it is to end; `still` says whether it is what its callers mean."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(self._woken, selectors.EVENT_READ, self._reap)
        looked = time.monotonic()
        while self._runs or not self._stopping:
            busy = self._once(min(LOOK, self._idle / 4))
            now = time.monotonic()
            if self._runs:
                self._last = now
            elif not busy and self._wanted:
                self._open(self._wanted.pop(0))
            if self._stopping:
                continue
            if now - self._last > self._idle:
                log.info("idle for %.0f s", self._idle)
                self.stop()
            elif now - looked > LOOK:
                looked = now
                if not still():
                    log.info("semsearch, a package or the socket changed")
                    self.stop()

    def _once(self, patience: float) -> bool:
        """Whether anything happened."""
        events = self._selector.select(0.05 if self._wanted and not self._runs else patience)
        for key, _ in events:
            # What one event led to may have closed what the next is about, and its number may be another's by now.
            if self._selector.get_map().get(key.fd) is key:
                key.data()
        return bool(events)

    def _open(self, wanted: WantedModel) -> None:
        try:
            if self._state.kept.keep(wanted):
                log.info("keeps %s", wanted.name)
            else:
                self._hopeless.add(wanted)
        except Exception:  # the next child opens it itself, and says what is wrong
            log.exception("%s", wanted.name)
            self._hopeless.add(wanted)
        if "torch" in sys.modules:  # then a child would compute otherwise
            log.error("torch was imported")
            self.stop()
        gc.freeze()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        try:
            uid = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[4:8], sys.byteorder)
            if uid == os.geteuid() and len(self._runs) < MOST_RUNS:
                self._fork(connection)
                return
            log.warning("refused user %d", uid)
        except OSError:
            log.exception("no child")
        connection.close()

    def _fork(self, connection: socket.socket) -> None:
        connection.setblocking(True)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        self._state.requests += 1
        pid = os.fork()
        if not pid:
            try:
                signal.set_wakeup_fd(-1)
                self._let_go()
                os.close(reading)
                child.answer(connection, writing, self._state)
            except BaseException:
                log.exception("a child failed")
            finally:
                os._exit(child.BROKEN)
        os.close(writing)
        os.set_blocking(reading, False)
        run = self._runs[pid] = ChildRun(pid, connection, reading)
        connection.setblocking(False)
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._hear(run))
        self._last = time.monotonic()

    def _let_go(self) -> None:
        """What is the parent's alone: its lock and its socket live no longer than itself."""
        self._selector.close()
        self._listener.close()
        for run in self._runs.values():
            run.connection.close()
            os.close(run.told)
        Ownership.leave_to_parent()

    def _hear(self, run: ChildRun) -> None:
        """What a child tells, a line each."""
        try:
            said = os.read(run.told, 1 << 16)
        except BlockingIOError:
            return
        if not said or len(run.unread) > MOST_TOLD:
            self._selector.unregister(run.told)
            return
        *lines, run.unread = (run.unread + said).split(b"\n")
        for line in lines:
            self._told(run, json.loads(line))

    def _told(self, run: ChildRun, fact: dict[str, Any]) -> None:
        if "begun" in fact:
            run.begun = True
            log.info("took %s", fact["begun"])
            self._selector.register(run.connection, selectors.EVENT_READ, lambda: self._pass_on(run))
        elif "declined" in fact:
            run.declined = str(fact["declined"])
        elif "stop" in fact:
            log.info("told to stop")
            self.stop()
        elif "opened" in fact:
            for name, revision, device, dtype, batch_tokens in fact["opened"]:
                self.want(WantedModel(name, revision, Compute(device, dtype, batch_tokens)))

    def _pass_on(self, run: ChildRun) -> None:
        """A signal from who asked; who is gone ends the child. It is not reaped yet, so that its number is its own."""
        try:
            said = run.connection.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        for number in said or bytes([signal.SIGKILL]):
            if not said or number in client.FORWARDED:
                os.kill(run.pid, number)
        if not said:
            self._selector.unregister(run.connection)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 512):
                pass
        while self._runs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in self._runs:
                self._end(self._runs.pop(pid), os.waitstatus_to_exitcode(status))

    def _end(self, run: ChildRun, code: int) -> None:
        while run.told in self._selector.get_map():  # the rest of what it told
            before = len(run.unread)
            self._hear(run)
            if len(run.unread) == before:
                break
        for source in (run.told, run.connection):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(source)
        os.close(run.told)
        if run.declined is not None:
            line = f"declined {run.declined}"
        elif not run.begun:
            line = "declined its child ended before it began"
        elif code < 0:
            line = f"signal {-code}"
        else:
            line = f"exit {code}"
        with contextlib.suppress(OSError), run.connection:
            run.connection.send(f"{line}\n".encode())
        if code < 0:
            log.warning("a child was ended by signal %d", -code)


def main(arguments: list[str], idle: float = IDLE, ready: Callable[[], None] = lambda: None) -> int:
    """Be the resident process of this environment, unless there is one.

    Args:
        arguments: The name that who started it expects, and the models to open first, as JSON.
        idle: Seconds after which it goes.
        ready: Called once it listens.
    """
    os.umask(0o077)
    os.chdir("/")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    opened = address.open_folder(make=True)
    assert opened is not None
    name = address.name_of(_STARTED_IN)
    file = address.at(opened, name + address.LOG)
    handler = RotatingFileHandler(
        file, maxBytes=MOST_LOGGED, backupCount=1, encoding="utf-8", errors="backslashreplace"
    )
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    if arguments and arguments[0] != name:
        log.warning("this process is not what who started it wants: it would be %s, not %s", name, arguments[0])
        return 1
    try:
        with Ownership(opened, name) as owned:
            return _serve(owned, arguments[1:], idle, ready)
    except HeldByAnother:
        log.info("there is one already")
        return 0
    except Exception:
        log.exception("ends")
        return 1


def _serve(owned: Ownership, models: list[str], idle: float, ready: Callable[[], None]) -> int:
    for module in PRELOADED:
        importlib.import_module(module)
    for group in ("semsearch.indexes", "semsearch.corpora", "semsearch.engines"):
        plugins.names(group)
    state = ResidentState(_STARTED_IN, __version__)
    child.prepare(ctypes.CDLL(None))
    with owned.listen() as listener:
        resident = Resident(listener, state, owned.withdraw, idle)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.signal(signal.SIGTERM, lambda number, frame: resident.stop())
        for name, revision, device, dtype, batch_tokens in json.loads(models[0]) if models else ():
            resident.want(WantedModel(name, revision, Compute(device, dtype, batch_tokens)))

        def still() -> bool:
            return owned.stands() and address.environment() == state.environment

        if not still():
            log.info("semsearch or a package changed while this process started")
            return 1
        gc.collect()
        gc.freeze()
        log.info("listens")
        ready()
        resident.serve(still)
    log.info("ends after %d requests", state.requests)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
