"""Bytes packed with gzip, as far as they are sound: what is behind a fault costs nothing that stands before it."""

from __future__ import annotations

import io
import zlib
from typing import IO, Any

GZIP_MAGIC = b"\x1f\x8b"
UNPACKED_AT_ONCE = 1 << 16  # bytes that are read, and that are unpacked


class Unpacked(io.RawIOBase):
    """A stream of what is packed in another; it ends where that is cut, damaged, or goes on with something else.

    Attributes:
        fault: Then, why; empty where all was read.
        whole: Whether all that was packed is there, whatever stands behind it.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._ahead = b""  # read, and not yet unpacked
        self._saved = b""  # unpacked before a fault, and not yet given
        self._begun = self._ended = False  # of this member; of all
        self.fault = ""
        self.whole = True

    def readable(self) -> bool:
        """That it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Unpack some bytes; 0 at the end, whatever ends it."""
        if self._saved:
            found, self._saved = self._saved[: len(buffer)], self._saved[len(buffer) :]
            buffer[: len(found)] = found
            return len(found)
        while not self._ended:
            if not self._ahead and not self._more():
                break
            before = self._member.copy()
            try:
                found = self._member.decompress(self._ahead, len(buffer))
            except zlib.error as error:
                self._ends(f"the gzip data is damaged ({error})", whole=False)
                self._saved = _sound(before, self._ahead)
                return self.readinto(buffer) if self._saved else 0
            self._begun = True
            self._ahead = self._member.unconsumed_tail
            if self._member.eof:
                self._next(self._member.unused_data)
            if found:
                buffer[: len(found)] = found
                return len(found)
        return 0

    def _more(self) -> bool:
        """Read on; whether there is more."""
        try:
            self._ahead = self._stream.read(UNPACKED_AT_ONCE)
        except OSError as error:
            self._ends(error.strerror or str(error), whole=False)
            return False
        if not self._ahead:
            self._ends("the gzip data ends too early" if self._begun else "", whole=not self._begun)
        return bool(self._ahead)

    def _next(self, behind: bytes) -> None:
        """Go on with the next member behind the end of one; zeros between them are nothing."""
        self._begun = False
        while not behind.strip(b"\0"):
            behind = self._stream.read(UNPACKED_AT_ONCE)
            if not behind:
                self._ends("", whole=True)
                return
        behind = behind.lstrip(b"\0")
        behind += self._stream.read(1) if len(behind) == 1 else b""
        if behind.startswith(GZIP_MAGIC):
            self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self._ahead = behind
        else:
            self._ends("what stands behind the gzip data is something else", whole=True)

    def _ends(self, fault: str, *, whole: bool) -> None:
        self._ended, self.fault, self.whole = True, fault, whole


def _sound(member: Any, packed: bytes) -> bytes:
    """What comes before the byte that is at fault."""
    found = []
    try:
        for place in range(len(packed)):
            found.append(member.decompress(packed[place : place + 1]))
    except zlib.error:
        pass
    return b"".join(found)
