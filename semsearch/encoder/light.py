"""A model that answers its first questions by numpy: importing torch takes longer than all else that a query does.

A few short texts are computed by numpy, in float32. More of them, or longer ones, are left to torch, which is imported
then. Vectors of the two agree to some 1e-6 where torch computes in float32, too.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence

from semsearch.encoder.checkpoint import ROLES, Role
from semsearch.encoder.load import open_with
from semsearch.encoder.mapped_weights import Unsupported
from semsearch.encoder.text_encoder import Stream, TextEncoder
from semsearch.types import Vectors

FEW_TEXTS, FEW_CHARACTERS = 40, 2_000  # in all: torch would not be imported by the time that numpy is done


def load_light(name: str, revision: str | None, whole: Callable[[], TextEncoder]) -> TextEncoder | None:
    """The model of that name; None where numpy can't do it.

    Args:
        name: As `load_encoder` has it.
        revision: The same.
        whole: Opens the model in full, for more than a few texts.
    """
    from semsearch.encoder.numpy_modules import NumpyModules

    try:
        own = open_with(NumpyModules, name, revision)
    except Unsupported:
        return None
    full = _Full(whole)
    streams: dict[Role, Stream] = {role: LightStream(own.stream(role), full, role) for role in ROLES}
    if own.stream("query") is own.stream("document"):
        streams["query"] = streams["document"]  # what is counted is counted once
    return own.over(streams)


class _Full:
    """The model in full, opened once; threads may share it."""

    def __init__(self, opened: Callable[[], TextEncoder]) -> None:
        self._open = opened
        self._lock, self._pid = threading.Lock(), os.getpid()
        self.encoder: TextEncoder | None = None

    def get(self) -> TextEncoder:
        if self._pid != os.getpid():  # a forked child: the thread that may hold the lock is not here
            self._pid, self._lock = os.getpid(), threading.Lock()
        with self._lock:
            if self.encoder is None:
                self.encoder = self._open()
            return self.encoder


class LightStream:
    """Texts of one role: a few by numpy, else by the model in full."""

    def __init__(self, own: Stream, full: _Full, role: Role) -> None:
        self._own, self._full, self._role = own, full, role

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        full = self._full.encoder
        return self._own.truncated + (full.stream(self._role).truncated if full is not None else 0)

    def encode(self, texts: Iterable[str], prompt: str = "") -> Vectors:
        """Vectors `(n, dim)` of texts that all get the same prompt."""
        texts = texts if isinstance(texts, Sequence) else list(texts)
        if _are_few(texts):
            return self._own.encode(texts, prompt)
        return self._full.get().stream(self._role).encode(texts, prompt)


def _are_few(texts: Sequence[str]) -> bool:
    return len(texts) <= FEW_TEXTS and sum(len(text) for text in texts if isinstance(text, str)) <= FEW_CHARACTERS
