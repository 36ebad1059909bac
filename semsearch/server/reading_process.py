"""A stranger's file read in a process of its own, within bounds of memory, time and text, before it is read here.

`python -P -m semsearch.server.reading_process FILE MOST` reads the file by the reader of its kind and says, as JSON,
how many documents and characters it gave. What ends, floods or holds up that process harms nothing else. A reader makes
the same of the same file again, so what came through once may be indexed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from semsearch.errors import DataError, SemsearchError

READER_MEMORY = 4 << 30  # bytes of addresses
CPU_SECONDS = 120
WALL_SECONDS = 300
OPEN_FILES = 256
MOST_CHARACTERS = 500_000_000  # of all documents of a file
SAID_BYTES = 10_000


def check_readable(file: Path, most: int = MOST_CHARACTERS) -> int:
    """How many documents a file gives, read in a process of its own.

    Raises:
        DataError: It can't be read within the bounds; says why.
    """
    command = [sys.executable, "-P", "-m", "semsearch.server.reading_process", str(file), str(most)]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WALL_SECONDS,
            cwd=os.sep,  # not where the file lies, which may be named like a module
            env=environment_of_readers(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"the file takes longer to read than {WALL_SECONDS} seconds.") from None
    try:
        said = json.loads(ended.stdout[-SAID_BYTES:].splitlines()[-1])
    except (ValueError, IndexError):
        raise DataError(
            f"the file can't be read within {CPU_SECONDS} seconds and {READER_MEMORY >> 30} GB of memory, or ends what "
            "reads it."
        ) from None
    if "error" in said:
        raise DataError(str(said["error"]).replace(str(file), file.name))
    return int(said["documents"])


def environment_of_readers() -> dict[str, str]:
    """What such a process is told of this one's: no key, say."""
    known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "LANG", "HOME") if name in os.environ}
    return {**known, "OMP_NUM_THREADS": "1"}


def _main(path: str, most: int) -> None:
    from semsearch.ingest.source import ReadReport, Source

    confine()
    documents = characters = 0
    try:
        report = ReadReport(skip=True)
        for document in Source.of(path).read(report):
            documents += 1
            characters += len(document.text) + len(document.title)
            if characters > most:
                raise DataError(f"the file holds more than {most:,} characters of text.")
    except SemsearchError as error:
        _say(error=str(error))
    except (MemoryError, RecursionError):
        _say(error=f"the file needs more than the {READER_MEMORY >> 30} GB of memory that a file may take.")
    else:
        _say(documents=documents, characters=characters)


def confine(seconds: int = CPU_SECONDS) -> None:
    """Bound what this process may take of memory, time and files."""
    with suppress(ImportError):  # a system without
        import resource

        for what, most in (
            (resource.RLIMIT_AS, READER_MEMORY),
            (resource.RLIMIT_CPU, seconds),
            (resource.RLIMIT_NOFILE, OPEN_FILES),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_FSIZE, 0),  # it writes no file
        ):
            with suppress(ValueError, OSError):
                resource.setrlimit(what, (most, most))


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
