"""An encoder without weights that a server can open by its name."""

import threading
import time

from semsearch.testing.encoder import HashEncoder

NAME = "hash"


class NamedHash(HashEncoder):
    """A `HashEncoder` that tells its name, keeps the batches it was given, and may be held up."""

    def __init__(self, name=NAME, dim=16):
        super().__init__(dim)
        self.name = name
        self.batches: list[list[str]] = []
        self.may_go = threading.Event()
        self.may_go.set()
        self.begun = threading.Semaphore(0)

    def encode_queries(self, texts):
        self.batches.append(list(texts))
        self.begun.release()
        assert self.may_go.wait(30)
        return super().encode_queries(texts)


def until(condition, seconds=30.0):
    """Give other threads their turn until something holds; fail when it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.002)
