"""Whether this process was forked from one that may have computed already.

OpenMP, under torch and FAISS, keeps a pool of threads. A fork copies the pool's books and not its threads, and the
child waits for them for ever. So a forked child computes on its own thread alone.
"""

from __future__ import annotations

import os

_BORN = os.getpid()  # this module is imported before any library that keeps threads


def forked() -> bool:
    """Whether this process is a fork of the one that imported semsearch."""
    return os.getpid() != _BORN


def compute_alone_if_forked() -> None:
    """Keep torch off the threads that a forked child does not have; call before it computes."""
    if forked():
        import torch

        torch.set_num_threads(1)
