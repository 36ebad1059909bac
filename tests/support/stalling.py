"""A network that stalls: connections stay, and nothing is passed on."""

import socket
import threading
from contextlib import suppress


class StallingProxy:
    """Listens on a port of this machine, and passes on what it hears to a socket, until it is told to stall."""

    def __init__(self, target):
        """`target`: the path of a socket."""
        self._target = str(target)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._ends, self._threads = [], []
        self._run(self._accept)

    def _run(self, work, *given):
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self._ends.append(near)
            self._flows.wait()
            with suppress(OSError):
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._ends.append(far)
                self._run(self._pass, near, far)
                self._run(self._pass, far, near)

    def _pass(self, one, other):
        with suppress(OSError):
            while some := one.recv(1 << 16):
                self._flows.wait()
                other.sendall(some)
        for end in (one, other):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stall(self):
        """Pass nothing on any more."""
        self._flows.clear()

    def cut(self):
        """End all connections, and let new ones through."""
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._flows.set()

    def close(self):
        """End it."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(60)
        for end in self._ends:
            end.close()
