"""Processes to attack: forked from this one, which has imported semsearch and computed nothing, with limits set."""

import contextlib
import json
import os
import pty
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from semsearch import SemsearchError
from semsearch.cli.main import main

DEADLINE = 20  # seconds
ADDRESS_SPACE = 4 << 30  # bytes, above what the imports took
MEMORY = 2 << 30  # bytes that may be in use at once
PAGE = resource.getpagesize()


@dataclass
class Ended:
    """How a process ended and what it said."""

    what: str
    code: int  # below 0: the signal that ended it
    out: str
    err: str
    seconds: float
    memory: int
    late: bool = False
    disturbed: bool = False  # a signal was sent to it
    terminal: bool = False
    answer: object = None  # what a function gave


@dataclass
class Child:
    """A command line (a list) or a function of public calls, in a process of its own.

    It begins when there is a byte for it behind its `gate`, where it has one.
    """

    action: object
    arguments: tuple = ()
    cwd: Path = Path("/")
    environment: dict = field(default_factory=dict)
    stdin: bytes = b""
    terminal: bool = False
    gate: int | None = None
    disturbed: bool = False

    def __post_init__(self):
        self.out, self.err, self.answer, given = (tempfile.TemporaryFile() for _ in range(4))  # noqa: SIM115
        given.write(self.stdin)
        given.seek(0)
        self.screen, slave = pty.openpty() if self.terminal else (None, None)
        self.seen = b""
        sys.stdout.flush()
        sys.stderr.flush()
        self.begun = time.monotonic()
        self.pid = os.fork()
        if self.pid:
            if slave is not None:
                os.close(slave)
            given.close()
            return
        code = 70
        try:
            os.setsid()
            outputs = (slave, slave) if self.terminal else (self.out.fileno(), self.err.fileno())
            for number, file in enumerate((given.fileno(), *outputs)):
                os.dup2(file, number)
            code = self._in_child()
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _in_child(self):
        limit()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        for name, number in (("stdout", 1), ("stderr", 2)):
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
        os.environ.update(self.environment)
        os.chdir(self.cwd)
        if self.gate is not None:
            os.read(self.gate, 1)
        if callable(self.action):
            try:
                answer = self.action(*self.arguments)
            except SemsearchError as error:
                sys.stderr.write(f"semsearch: {error}\n")
                return error.exit_code
            self.answer.write(json.dumps(answer).encode())
            self.answer.flush()
            return 0
        sys.argv = ["semsearch", *map(os.fspath, self.action)]
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)

    def signal(self, number):
        """Send a signal to the process and what it started."""
        self.disturbed = True
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def pause(self, seconds):
        """Let it run for so long, or until it ends."""
        with contextlib.ExitStack() as opened:
            ends = []
            if hasattr(os, "pidfd_open"):
                ends.append(os.pidfd_open(self.pid))
                opened.callback(os.close, ends[0])
            select.select(ends, [], [], seconds)

    def wait(self, deadline=DEADLINE):
        """How it ended; it is killed when its time is over."""
        late, status = False, None
        with contextlib.ExitStack() as opened:
            watched = {} if self.screen is None else {self.screen: "screen"}
            if hasattr(os, "pidfd_open"):
                pidfd = os.pidfd_open(self.pid)
                opened.callback(os.close, pidfd)
                watched[pidfd] = "end"
            while status is None:
                left = self.begun + deadline - time.monotonic()
                if left <= 0 and not late:
                    late = True
                    self._kill()
                nap = max(left, 0.05) if "end" in watched.values() else 0.02
                ready, _, _ = select.select(list(watched), [], [], nap)
                if self.screen in ready:
                    self._look(watched)
                found, code, used = os.wait4(self.pid, os.WNOHANG)
                if found:
                    status = code
        seconds = time.monotonic() - self.begun
        self._kill()  # what it started and left
        while self.screen is not None and select.select([self.screen], [], [], 0)[0] and self._look({}):
            pass
        if self.screen is not None:
            os.close(self.screen)
        out, err, answer = (read(file) for file in (self.out, self.err, self.answer))
        what = " ".join(map(str, self.action)) if isinstance(self.action, list) else self.action.__name__
        return Ended(
            what,
            os.waitstatus_to_exitcode(status),
            (self.seen or out).decode(errors="backslashreplace"),
            err.decode(errors="backslashreplace"),
            seconds,
            used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            late,
            self.disturbed,
            self.terminal,
            json.loads(answer) if answer else None,
        )

    def _kill(self):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _look(self, watched):
        try:
            part = os.read(self.screen, 1 << 16)
        except OSError:  # nobody has the other side open any more
            part = b""
        if not part:
            watched.pop(self.screen, None)
        self.seen += part
        return bool(part)


def read(file):
    """All of a temporary file, which is closed."""
    with file:
        file.seek(0)
        return file.read(1 << 24)


def limit():
    """Address space and core files of this process."""
    with contextlib.suppress(OSError, ValueError):
        there = int(Path("/proc/self/statm").read_text().split()[0]) * PAGE
        resource.setrlimit(resource.RLIMIT_AS, (there + ADDRESS_SPACE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def together(start, count):
    """`count` processes that begin at once; `start(number, gate)` makes one that waits behind the gate."""
    gate, opener = os.pipe()
    children = [start(number, gate) for number in range(count)]
    os.write(opener, b"x" * count)
    os.close(gate)
    os.close(opener)
    return children
