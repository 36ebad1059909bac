"""Has a command run by the resident process, where one runs: the first thing that the program tries.

It is ahead of everything else, and stands on the standard library's smallest modules: `_socket` and `_signal` are what
`socket` and `signal` wrap, which take as long to import as the rest of this takes in all.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys

from semsearch.resident import address, route

TYPE_CHECKING = False  # as type checkers take it
if TYPE_CHECKING:
    import _socket
    from collections.abc import Iterable

RUN, STATUS, STOP = b"run", b"status", b"stop"
ANSWER_PATIENCE = 3.0  # seconds that it may take to answer at all: on a busy machine a command by itself takes longer
MOST_SIGNALS = 3  # of a kind: whoever sends more wants this process to end, whatever the other does
FORWARDED = (_signal.SIGINT, _signal.SIGTERM)
KILLED = 137  # 128 and SIGKILL, as a shell tells it


class NotTaken(Exception):
    """The resident process does not run the command; says why."""


def answered(arguments: list[str]) -> int | None:
    """Have the command run; its exit code, or None where this process is to run it, and `route` says why."""
    if not arguments or arguments[0] not in route.COMMANDS or "_SEMSEARCH_COMPLETE" in os.environ:
        return None
    if "--no-resident" in arguments:
        route.why_not = "--no-resident"
        return None
    if None in (sys.stdin, sys.stdout, sys.stderr):  # closed: their numbers may be anything's
        route.why_not = "a standard stream is closed"
        return None
    try:
        return _run(arguments)
    except (NotTaken, address.NoResident) as why:
        route.why_not = str(why)
    except OSError as error:
        route.why_not = f"it can't be reached ({error.strerror or error})"
    return None


def _run(arguments: list[str]) -> int:
    opened = address.open_folder()
    if opened is None or not any(name.endswith(address.SOCKET) for name in os.listdir(opened)):  # noqa: PTH208
        raise NotTaken("none runs")
    environment = address.environment()
    try:
        connection = connect(address.at(opened, address.name_of(environment) + address.SOCKET))
    except FileNotFoundError:
        raise NotTaken("none runs for this environment") from None
    finally:
        os.close(opened)
    route.there = True
    try:
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return _Forwarding(connection).run(_request(environment, arguments), (0, 1, 2, here))
        finally:
            os.close(here)
    finally:
        connection.close()


def connect(path: str) -> _socket.socket:
    """A connection to a process of this user, which has said that it is there.

    Raises:
        NotTaken: It is no such process, or does not say so in time.
    """
    import _socket

    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(ANSWER_PATIENCE)
        connection.connect(path)
        peer = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)  # pid, uid, gid
        if int.from_bytes(peer[4:8], sys.byteorder) != os.geteuid():
            raise NotTaken("what listens there is another user's")
        said = b""
        while len(said) < len(address.PROTOCOL) and (more := connection.recv(len(address.PROTOCOL) - len(said))):
            said += more
    except TimeoutError:
        connection.close()
        raise NotTaken(f"it did not answer within {ANSWER_PATIENCE:.0f} s") from None
    except ConnectionRefusedError:
        connection.close()
        raise NotTaken("the one that was there has gone") from None
    except BaseException:
        connection.close()
        raise
    if said != address.PROTOCOL:
        connection.close()
        raise NotTaken("it took no command" if not said else "it is of another version")
    return connection


def send(connection: _socket.socket, fields: Iterable[bytes], descriptors: tuple[int, ...] = ()) -> None:
    """Send a request: its length in bytes, 4 bytes of them, and its fields with NULs between."""
    import _socket

    body = b"\0".join(fields)
    message = len(body).to_bytes(4, "little") + body
    packed = b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)
    passed = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)] if descriptors else []
    if rest := message[connection.sendmsg([message[:1024]], passed) :]:  # else it may have answered and gone by now
        connection.sendall(rest)


def answer(connection: _socket.socket) -> bytes:
    """All that is answered until the end."""
    said = b""
    while more := connection.recv(1 << 16):
        said += more
    return said


def _request(environment: bytes, arguments: list[str]) -> list[bytes]:
    mask = os.umask(0o077)
    os.umask(mask)
    words = [os.fsencode(word) for word in (sys.argv[0], *arguments)]
    path = [os.fsencode(entry) for entry in sys.path if isinstance(entry, str)]
    variables = [name + b"=" + value for name, value in os.environb.items()]
    return [RUN, environment, b"%d %d %d" % (mask, len(words), len(path)), *words, *path, *variables]


class _Forwarding:
    """Waits for the end of a command, and passes on what interrupts it."""

    def __init__(self, connection: _socket.socket) -> None:
        self._connection = connection
        self._asked = False
        self._signals: list[int] = []

    def run(self, request: list[bytes], descriptors: tuple[int, ...]) -> int:
        before = {number: _signal.getsignal(number) for number in FORWARDED}
        heard = [number for number in FORWARDED if before[number] != _signal.SIG_IGN]
        try:
            for number in heard:
                _signal.signal(number, self._came)
            said = self._asked_for(request, descriptors)
        finally:
            for number in heard:
                _signal.signal(number, before[number])
        word, _, rest = said.strip().partition(b" ")
        if word == b"exit":
            return int(rest)
        if word == b"declined":
            for number in self._signals:  # this process runs it, and would have been interrupted
                os.kill(os.getpid(), number)
            raise NotTaken(rest.decode(errors="replace"))
        if word == b"signal":
            _say(f"semsearch: the command was ended by signal {int(rest)} while the resident process ran it.")
            return 128 + int(rest)
        _say("semsearch: the resident process ended while it ran the command, which ended with it: type it again.")
        return KILLED

    def _asked_for(self, request: list[bytes], descriptors: tuple[int, ...]) -> bytes:
        try:
            send(self._connection, request, descriptors)
        except OSError as error:  # what was not received whole is not run
            raise NotTaken(f"it broke off ({error.strerror or error})") from error
        self._connection.settimeout(None)
        self._asked = True
        for number in self._signals:
            self._pass_on(number)
        try:
            return answer(self._connection)
        except ConnectionResetError:
            return b""

    def _came(self, number: int, frame: object) -> None:
        self._signals.append(number)
        if self._signals.count(number) > MOST_SIGNALS:  # nothing comes of them
            os._exit(128 + number)
        if self._asked:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        try:
            self._connection.send(bytes([number]))
        except OSError:  # it has ended meanwhile
            return


def _say(sentence: str) -> None:
    os.write(2, f"{sentence}\n".encode())
