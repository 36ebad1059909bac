"""A process without threads that others are forked from: those that tests kill."""

import multiprocessing
import os
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from unittest import mock


@cache
def server():
    """A process without threads to fork the doomed ones from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["support.preloaded"])
    here = {"PYTHONPATH": str(Path(__file__).parents[1])}  # until Python 3.13 the server forgets the path it is given
    with mock.patch.dict(os.environ, here):
        forkserver.ensure_running()
    return context
