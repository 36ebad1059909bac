"""A child of the resident process: it becomes what its caller would have been, runs the command, and ends."""

from __future__ import annotations

import array
import io
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from semsearch import models, plugins, process
from semsearch.cli import main as program
from semsearch.cli.messages import say_uncaught
from semsearch.resident import address, client, route

if TYPE_CHECKING:
    import ctypes

    from semsearch.resident.kept import ResidentState

BROKEN = 70  # the exit code of a child that failed outside of the command (EX_SOFTWARE of sysexits.h)
REQUEST_PATIENCE = 10.0  # seconds that a request may take to arrive
MOST_BYTES = 1 << 24  # of a request; systems allow arguments and environment of some megabytes
PR_SET_PDEATHSIG = 1
_libraries: list[Any] = []


class Declined(BaseException):
    """The caller is to run the command itself."""


class Noted(io.TextIOWrapper):
    """A stream that knows whether anything was written to it."""

    written = False

    def write(self, text: str) -> int:
        """As ever."""
        self.written = True
        return super().write(text)


def prepare(library: ctypes.CDLL) -> None:
    """Give children the C library, which is loaded once."""
    _libraries.append(library)


def answer(connection: socket.socket, told: int, state: ResidentState) -> NoReturn:
    """Read what is asked for, and do it."""
    _libraries[-1].prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != state.pid:  # it ended meanwhile
        os._exit(BROKEN)

    def tell(**fact: Any) -> None:
        os.write(told, json.dumps(fact).encode() + b"\n")

    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    try:
        connection.settimeout(REQUEST_PATIENCE)
        connection.sendall(address.PROTOCOL)
        body, descriptors = _received(connection)
    except OSError:
        os._exit(BROKEN)
    kind, *fields = body.split(b"\0")
    if kind == client.STATUS:
        connection.sendall(json.dumps(state.as_json()).encode() + b"\n")
        os._exit(0)
    if kind == client.STOP:
        tell(stop=True)
        os._exit(0)
    if kind != client.RUN or fields[0] != state.environment:
        tell(declined="the one that runs is of another environment")
        os._exit(0)
    connection.close()
    _run(fields[1:], descriptors, tell, state)


def _received(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A request, and the descriptors that came with it.

    Raises:
        OSError: It did not come whole.
    """
    size = array.array("i").itemsize
    said, passed, _, _ = connection.recvmsg(1 << 16, socket.CMSG_SPACE(4 * size), socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in passed:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % size])
    while len(said) < 4 or len(said) < 4 + int.from_bytes(said[:4], "little"):
        more = connection.recv(1 << 16)
        if not more or len(said) > MOST_BYTES:
            raise ConnectionError
        said += more
    return said[4 : 4 + int.from_bytes(said[:4], "little")], descriptors.tolist()


def _run(fields: Sequence[bytes], descriptors: Sequence[int], tell: Any, state: ResidentState) -> NoReturn:
    mask, words, path = map(int, fields[0].split())
    said = [os.fsdecode(field) for field in fields[1:]]
    variables = dict(field.split(b"=", 1) for field in fields[1 + words + path :])
    *streams, here = descriptors
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.fchdir(here)
    for descriptor in descriptors:
        os.close(descriptor)
    os.umask(mask)
    _take_environment(variables)
    sys.argv[:] = said[:words]
    sys.path[:] = said[words : words + path]
    written = _take_streams()
    if not sys.flags.safe_path and _holds_packages(sys.path[0]):
        plugins.look_again()
    process.begin()
    models.held = state.kept.current
    route.lives = lambda: (state.pid, time.monotonic() - state.started)

    def decline(why: str) -> None:
        if not any(stream.written for stream in written):
            raise Declined(why)

    route.decline = decline
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tell(begun=sys.argv[1])
    say_uncaught()
    try:
        code = program.execute()
    except Declined as why:
        tell(declined=str(why))
        os._exit(0)
    except KeyboardInterrupt:
        code = program.INTERRUPTED
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    if models.opened:
        asked = [[name, revision, *_as_list(compute)] for name, revision, compute in models.opened]
        tell(opened=asked)
    program.end(code)


def _holds_packages(entry: str) -> bool:
    """Whether packages are in the first folder of the caller's path, the only one that is not the parent's too."""
    try:
        return any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(entry or "."))  # noqa: PTH208
    except OSError:
        return False


def _as_list(compute: Any) -> list[Any]:
    return [compute.device, compute.dtype, compute.batch_tokens]


def _take_environment(variables: Mapping[bytes, bytes]) -> None:
    for name in os.environb.keys() - variables.keys():
        del os.environb[name]
    for name, value in variables.items():
        if os.environb.get(name) != value:
            os.environb[name] = value


def _take_streams() -> list[Noted]:
    """Standard streams as Python makes them when it starts; those that are written to."""
    made = []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        raw = io.FileIO(number, "w" if number else "r", closefd=False)
        binary: Any = io.BufferedWriter(raw) if number else io.BufferedReader(raw)
        own: io.TextIOWrapper = getattr(sys, f"__{name}__")  # this process's, which has the same locale
        stream = Noted(
            binary,
            own.encoding,
            own.errors,
            newline="\n",
            line_buffering=name == "stderr" or raw.isatty(),
            write_through=own.write_through,
        )
        stream.mode = own.mode  # type: ignore[misc]
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
        made.append(stream)
    return made[1:]
