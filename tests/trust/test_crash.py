"""Killed at every durable step: whatever was acknowledged is there afterwards, and nothing is half there.

Each operation is done in a child process that is killed (SIGKILL) at one of its failpoints; what it had acknowledged is
known outside. Then what it left is opened, compared with the states that may be there, and written to. Here a seeded
sample of the points is taken; `make crash` takes all of them.
"""

import multiprocessing

import pytest
from support.crashes import left_behind
from support.operations import OPERATIONS
from support.workload import FULL, sample

pytestmark = [
    pytest.mark.trust,
    pytest.mark.usefixtures("as_large"),
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"),
]

EACH = 4  # points of each operation in a sample


@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_a_durable_step(base, memory, note, name):
    if not FULL:
        note("crash tests: killed at a seeded sample of the durable steps; 'make crash' kills at every one")
    wrong, points = left_behind(base, memory / "whole", name, None)
    assert wrong == []
    assert len(points) > 1
    for die_at in sample(range(len(points)), EACH):
        wrong, _ = left_behind(base, memory / str(die_at), name, die_at)
        assert wrong == []
