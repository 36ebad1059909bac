"""Resident processes as tests start them, and commands that may be run by them."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.command_line import Ended

SERVER = """
import sys
from semsearch.resident import server
{patch}
server.LOOK = {look}
sys.exit(server.main(sys.argv[1:], idle={idle}, ready=lambda: print("ready", flush=True)))
"""


@dataclass
class Place:
    """Where commands run: the environment that they have, and their folder."""

    environment: dict[str, str]
    folder: Path

    def start(self, *arguments: object, environment=None, folder=None, **options) -> subprocess.Popen:
        """`semsearch ARGUMENTS`, which asks the resident process if there is one."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
        return subprocess.Popen(
            [sys.executable, "-m", "semsearch", *map(str, arguments)],
            env=self.environment | (environment or {}),
            cwd=folder or self.folder,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in what a shell runs behind it
            **pipes,
        )

    def run(self, *arguments: object, stdin: bytes = b"", **options) -> Ended:
        """The same, to its end."""
        process = self.start(*arguments, stdin=subprocess.PIPE, **options)
        out, err = process.communicate(stdin, timeout=120)
        return Ended(process.returncode, out.decode(), err.decode())

    def serve(
        self, *arguments: str, idle: float = 600, look: float = 20, patch: str = "", **variables: str
    ) -> subprocess.Popen:
        """A resident process, once it listens; `patch` is Python that it runs first."""
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", SERVER.format(idle=idle, look=look, patch=patch), *arguments],
            env=self.environment | variables,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout.readline() == b"ready\n"
        return process

    @contextmanager
    def resident(self, **options):
        """While inside, one runs."""
        process = self.serve(**options)
        try:
            yield process
        finally:
            process.kill()
            process.wait(60)
            process.stdout.close()

    def sockets(self) -> list[Path]:
        """Those that lie there."""
        return sorted(Path(self.environment["SEMSEARCH_STATE"], "resident").glob("*.sock"))

    def log(self) -> str:
        """What its residents wrote down."""
        files = Path(self.environment["SEMSEARCH_STATE"], "resident").glob("*.log")
        return "".join(file.read_text("utf-8") for file in files)

    def status(self) -> list[dict]:
        """What `semsearch resident status --json` tells of them."""
        return json.loads(self.run("resident", "status", "--json").out)


def place(root: Path, **variables: str) -> Place:
    """A home, a state and a cache of their own under `root`."""
    for name in ("home", "state", "cache", "here"):
        (root / name).mkdir(parents=True, exist_ok=True)
    own = {
        "SEMSEARCH_HOME": str(root / "home"),
        "SEMSEARCH_STATE": str(root / "state"),
        "SEMSEARCH_CACHE": str(root / "cache"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "PYTHONDONTWRITEBYTECODE": "1",  # a folder of the path that gains a cache is another folder
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEMSEARCH_", "PYTEST_", "COV_"))}
    kept.pop("XDG_RUNTIME_DIR", None)
    return Place(kept | own | variables, root / "here")
