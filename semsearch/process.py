"""This process: which one it is, and how long pools of threads spin, noted before any library starts a thread."""

from __future__ import annotations

import os

os.environ.setdefault(
    "GOMP_SPINCOUNT", "1000"
)  # turns, of some 40 to 140 cycles: about as long as from product to product
os.environ.setdefault("KMP_BLOCKTIME", "1")  # milliseconds

_born = os.getpid()


def forked() -> bool:
    """Whether this process is a fork of the one that imported semsearch."""
    return os.getpid() != _born


def begin() -> None:
    """Take this process for one of its own: it was forked from one that computed nothing, and kept no pool."""
    global _born
    _born = os.getpid()
