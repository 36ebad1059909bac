"""The power goes: what was not fsynced is lost, zeros, rubbish or torn, and what was committed is there."""

from pathlib import Path

import pytest
from support.operations import OPERATIONS
from support.power_cuts import power_cuts
from support.workload import FULL

pytestmark = [
    pytest.mark.trust,
    pytest.mark.usefixtures("as_large"),
    pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="holds files by their inode as Linux does"),
]

EACH = 4  # points of each operation in a sample


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_power_goes(base, memory, monkeypatch, note, name):
    if not FULL:
        note("power cuts: at a seeded sample of the durable steps; 'make crash' takes every one")
    wrong, cases = power_cuts(base, memory, name, monkeypatch, count=EACH)
    assert wrong == []
    assert cases > 1
