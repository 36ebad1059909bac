"""Files taken apart in a child process, under limits: what hangs, swallows memory or crashes there is given up.

The child is this module as a program. It reads a path a line, as JSON, and answers with a line for each part and one
for the end. Memory is limited where the system can (not on macOS and Windows); everywhere are time, for a part and for
all of a file, and text: no file of a few bytes gives gigabytes, whatever it names how often.
"""

from __future__ import annotations

import base64
import codecs
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from corpora.extraction.parts import FilePart, Lost, ReadPart, Unreadable, reason
from semsearch.errors import DataError
from semsearch.places import Position
from semsearch.reading.files import MAX_TEXT_BYTES, UTF_8, printable
from semsearch.reading.packed import GZIP_MAGIC, UNPACKED_AT_ONCE, Unpacked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTS_WAITED_FOR = 30  # times the seconds for a part, that is waited for all parts of a file
TEXT = 1 << 26  # characters that any file may give …
TEXT_PER_BYTE = 100  # … and more by its length, unpacked where it is packed with gzip
MAX_LINE = 6 * MAX_TEXT_BYTES + (1 << 20)  # bytes of an answer: each character of a part as an escape


class Confined:
    """A child process that takes files apart, begun when it is first needed and anew after each accident."""

    def __init__(self, seconds: float, megabytes: int, encoding: str = UTF_8) -> None:
        self._seconds = seconds
        self._encoding = encoding
        self._megabytes = megabytes
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def parts(self, path: Path) -> Iterator[ReadPart]:
        """The parts of a file, and those that are lost.

        Raises:
            DataError: It can't be read, or only at the price of more time or memory than is allowed.
        """
        name = printable(path)
        child = self._begun()
        self._send(child, os.fsencode(path).hex())
        finished = False
        left = PARTS_WAITED_FOR * self._seconds
        try:
            while True:
                began = time.monotonic()
                answer = self._answer(child, name)
                left -= time.monotonic() - began
                if left < 0:
                    raise DataError(
                        f"{name}: given up after {PARTS_WAITED_FOR * self._seconds:g} seconds for all its parts."
                    )
                if "part" in answer:
                    name_of_part, text, title, metadata, position = answer["part"]
                    pixels = _pixels(answer["pixels"]) if "pixels" in answer else None
                    yield FilePart(name_of_part, text, title, metadata, Position.read(position), pixels)
                    continue
                if "lost" in answer:
                    yield Lost(*answer["lost"])
                    continue
                finished = not answer.get("spent")
                if "error" in answer:
                    raise DataError(f"{name}: {answer['error']}")
                return
        finally:
            if not finished:  # the answers to come are nobody's
                self._end()

    def _begun(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            command = [sys.executable, "-m", "corpora.confined", str(self._megabytes), self._encoding]
            quiet = subprocess.DEVNULL
            paths = os.pathsep.join(path for path in sys.path if path)
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=quiet,
                env={**os.environ, "PYTHONPATH": paths},
            )
        return self._child

    def _send(self, child: subprocess.Popen[bytes], text: str) -> None:
        assert child.stdin is not None
        with suppress(BrokenPipeError):  # told by the missing answer
            child.stdin.write(text.encode() + b"\n")
            child.stdin.flush()

    def _answer(self, child: subprocess.Popen[bytes], name: str) -> dict[str, Any]:
        assert child.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(self._seconds, end)
        timer.daemon = True
        timer.start()
        try:
            line = child.stdout.readline(MAX_LINE)
        finally:
            timer.cancel()
        if line.endswith(b"\n"):
            answer: dict[str, Any] = json.loads(line)
            return answer
        if late.is_set():
            raise DataError(f"{name}: given up after {self._seconds:g} seconds.")
        if len(line) >= MAX_LINE:
            raise DataError(f"{name}: given up at a part of more than {MAX_LINE:,} bytes.")
        raise DataError(f"{name}: the library that reads it crashed (exit code {child.wait()}).")

    def _end(self) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            child.kill()
            child.communicate()


def main() -> None:
    """The child: answers until nobody asks any more."""
    megabytes, encoding = int(sys.argv[1]), sys.argv[2]
    if sys.platform != "win32" and sys.platform != "darwin":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not spoil the answers

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value).encode() + b"\n")
        answers.flush()

    for line in sys.stdin.buffer:
        path = Path(os.fsdecode(bytes.fromhex(line.decode())))
        end: dict[str, Any]
        try:
            for part in _limited(path, megabytes, encoding):
                if isinstance(part, Lost):
                    answer({"lost": [_clean(part.name), _clean(part.reason), part.failed]})
                else:
                    position = _clean(part.position.to_json())
                    told = [part.name, _clean(part.text), _clean(part.title), dict(part.metadata), position]
                    shown = {} if part.pixels is None else {"pixels": _told(part.pixels)}
                    answer({"part": told, **shown})
            end = {}
        except MemoryError:
            end = {"error": f"given up: it needs more than {megabytes:,} MB of memory.", "spent": True}
        except Exception as error:  # whatever a library throws at what it does not expect
            end = {"error": reason(error)}
        answer(end)


def _limited(path: Path, megabytes: int, encoding: str = UTF_8) -> Iterator[ReadPart]:
    """The parts, as long as they are no more than a file of this length can hold, and none is too long."""
    from corpora.extraction import extractor, is_plain

    extract = extractor(path)
    with path.open("rb") as raw:
        file, fault = _unpacked(raw, megabytes)
        most = TEXT + TEXT_PER_BYTE * file.seek(0, io.SEEK_END)
        file.seek(0)
        if encoding != UTF_8 and is_plain(path):
            file = _recoded(file.read(), encoding)
        given = 0
        long: list[str] = []
        for part in extract(file):
            text, title = (part.reason, "") if isinstance(part, Lost) else (part.text, part.title)
            if len(text) > MAX_TEXT_BYTES:
                long.append(part.name)
                continue
            given += len(text) + len(title) + len(part.name)
            if given > most:
                raise Unreadable(
                    f"given up: it gives more than {most:,} characters, which a file of its length can't hold."
                )
            yield part
    if long:
        raise Unreadable(
            f"parts of more than {MAX_TEXT_BYTES:,} characters were left out: {len(long):,}. "
            f"The first is {long[0] or 'its beginning'}."
        )
    if fault:
        raise Unreadable(f"the rest can't be read: {fault}.")


def _unpacked(file: BinaryIO, megabytes: int) -> tuple[BinaryIO, str]:
    """The file, or what is in it where it is packed with gzip, and why that is not all of it.

    It is held in memory, at most half of what there is.
    """
    packed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    if not packed:
        return file, ""
    most = megabytes << 19
    unpacked = Unpacked(file)
    content = io.BufferedReader(unpacked, UNPACKED_AT_ONCE).read(most + 1)
    if len(content) > most:
        raise MemoryError
    return io.BytesIO(content), unpacked.fault


def _recoded(raw: bytes, encoding: str) -> BinaryIO:
    """Text of another encoding as UTF-8, unless it says itself that it is that."""
    if raw.startswith(codecs.BOM_UTF8):
        return io.BytesIO(raw)
    try:
        return io.BytesIO(raw.decode(encoding).encode())
    except UnicodeDecodeError as error:
        raise Unreadable(
            f"byte 0x{raw[error.start]:02x} at offset {error.start:,} of the file is not {encoding}: say another "
            "encoding (--read encoding=…), or convert the file to UTF-8."
        ) from None


def _told(pixels: NDArray[np.uint8]) -> list[Any]:
    """A picture as JSON has it: its height and width, and its bytes."""
    return [*pixels.shape[:2], base64.b64encode(pixels.tobytes()).decode()]


def _pixels(told: list[Any]) -> NDArray[np.uint8]:
    import numpy as np  # which takes memory in the child, whose limit other kinds of files need

    height, width, content = told
    return np.frombuffer(base64.b64decode(content), np.uint8).reshape(height, width, 3)


def _clean(text: str) -> str:
    """Text without what no text has: NUL characters and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


if __name__ == "__main__":
    main()
