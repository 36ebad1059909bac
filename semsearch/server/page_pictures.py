"""The pages of a PDF as pictures, which can do nothing but be seen, drawn in a process of its own.

A browser runs the scripts of a PDF, follows its links and sends its forms; a picture of a page has none of them.
`python -P -m semsearch.server.page_pictures NUMBER` reads a PDF from stdin, within the bounds of `reading_process`, and
writes the page as PNG to stdout, behind a line of JSON that says how many pages there are, or what is wrong.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import threading
import zlib
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError, MissingDependency, SemsearchError
from semsearch.server.reading_process import confine, environment_of_readers

DRAWING_SECONDS = 30
WIDE, HIGH = 1_400, 2_400  # pixels at most
LARGEST_PICTURE = 32 << 20  # bytes
MOST_DRAWING = 2  # at once

_turns = threading.BoundedSemaphore(MOST_DRAWING)


class PagePicture(NamedTuple):
    """A page."""

    png: bytes
    pages: int  # of the file


def picture_of_page(file: IO[bytes], number: int) -> PagePicture:
    """Page `number`, counted from 1, of an open PDF.

    Raises:
        DataError: It is none, has no such page, or can't be drawn within the bounds.
        MissingDependency: The extra `documents` is not installed.
    """
    command = [sys.executable, "-P", "-m", "semsearch.server.page_pictures", str(number)]
    with _turns:
        try:
            ended = subprocess.run(
                command,
                stdin=file,
                capture_output=True,
                timeout=DRAWING_SECONDS,
                cwd=os.sep,
                env=environment_of_readers(),
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DataError(f"the page takes longer to draw than {DRAWING_SECONDS} seconds.") from None
    line, _, png = ended.stdout.partition(b"\n")
    try:
        said = json.loads(line)
    except ValueError:
        raise DataError("the page can't be drawn: the file ends what draws it.") from None
    if "missing" in said:
        raise MissingDependency(str(said["missing"]))
    if "error" in said:
        raise DataError(str(said["error"]))
    if not png.startswith(b"\x89PNG") or len(png) > LARGEST_PICTURE:
        raise DataError("the page can't be drawn.")
    return PagePicture(png, int(said["pages"]))


def _main(number: int) -> None:
    confine(DRAWING_SECONDS)
    try:
        pixels, pages = _drawn(number)
    except ImportError as error:
        _say(missing=f"pages are drawn by {error.name}: pip install 'semsearch[documents]'.")
    except SemsearchError as error:
        _say(error=str(error))
    except (MemoryError, ValueError, RuntimeError):
        _say(error="the file is no PDF that can be drawn.")
    else:
        _say(pages=pages)
        sys.stdout.buffer.write(png_of(pixels))
    sys.stdout.buffer.flush()


def _drawn(number: int) -> tuple[NDArray[np.uint8], int]:
    """The pixels `(height, width, 3)` of a page, and how many pages there are."""
    from pypdfium2 import PdfDocument

    document: Any = PdfDocument(os.fdopen(0, "rb"))
    if not 1 <= number <= len(document):
        raise DataError(f"the file has {len(document):,} pages, and no page {number:,}.")
    page = document[number - 1]
    width, height = page.get_size()
    if not (width > 0 and height > 0):
        raise DataError(f"page {number:,} has no size.")
    scale = min(WIDE / width, HIGH / height)
    bitmap = page.render(scale=scale, may_draw_forms=False, rev_byteorder=True, prefer_bgrx=False)
    return np.array(bitmap.to_numpy()[:, :, :3]), len(document)


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels `(height, width, 3)` as PNG (ISO/IEC 15948)."""
    height, width, _ = pixels.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, 3 * width)], axis=1)
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    chunks = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _say(**facts: object) -> None:
    sys.stdout.buffer.write(json.dumps(facts).encode() + b"\n")


if __name__ == "__main__":
    _main(int(sys.argv[1]))
