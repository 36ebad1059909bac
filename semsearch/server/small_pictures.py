"""The pictures of a collection as small ones, decoded by processes under limits that stay for those that come next.

A page asks for dozens at once, and beginning a process takes ten times what decoding one does. A process reads the
files of one collection alone, as when these were indexed, and ends when it has had nothing to do for some seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from semsearch import plugins
from semsearch.encoder.image_preparation import Pixels
from semsearch.ingest.pictures import MOST_DECODED, sent_image, small_jpeg

IDLE_SECONDS = 5.0


class _PictureDecoder(NamedTuple):
    """A process that decodes one picture after the other, and what ends it."""

    collection: str
    decode: Callable[[Path], Pixels]
    process: ExitStack


class SmallPictures:
    """Those of a server. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_PictureDecoder] = []
        self._timer: threading.Timer | None = None
        self._closed = False

    def small(self, collection: str, content: bytes, side: int) -> bytes:
        """The bytes of a JPEG of at most `side` pixels in either direction, of a picture's file.

        Raises:
            DataError: It can't be decoded; says why.
        """
        decoder = self._taken(collection)
        try:
            pixels = sent_image(content, decoder.decode)
        finally:
            self._give_back(decoder)
        return small_jpeg(pixels, side)

    def close(self) -> None:
        """End them all."""
        with self._lock:
            self._closed = True
        self._end_idle()

    def _taken(self, collection: str) -> _PictureDecoder:
        with self._lock:
            for place, one in enumerate(self._idle):
                if one.collection == collection:
                    return self._idle.pop(place)
        process = ExitStack()
        reader: Any = plugins.corpus_reader("images")  # which decodes, beside what every reader does
        return _PictureDecoder(collection, process.enter_context(reader.decoding(reader.Options())), process)

    def _give_back(self, decoder: _PictureDecoder) -> None:
        with self._lock:
            self._idle.append(decoder)
            ended = self._idle if self._closed else self._idle[:-MOST_DECODED]
            self._idle = self._idle[len(ended) :]
            if self._timer is not None:
                self._timer.cancel()
            self._timer = threading.Timer(IDLE_SECONDS, self._end_idle)
            self._timer.daemon = True
            self._timer.start()
        for one in ended:
            one.process.close()

    def _end_idle(self) -> None:
        with self._lock:
            ended, self._idle = self._idle, []
            if self._timer is not None:
                self._timer.cancel()
        for one in ended:
            one.process.close()
