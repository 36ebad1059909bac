"""Applications on a disk that is full at the start or fills up on the way; `make crash` does it with a million rows."""

import subprocess
import sys
from pathlib import Path

import pytest
from support import full_disk

pytestmark = [
    pytest.mark.trust,
    pytest.mark.skipif(not full_disk.possible(), reason="this machine lets nobody mount a file system"),
]


def test_a_full_disk_ends_each_application_with_a_sentence_and_harms_nothing():
    command = [sys.executable, "-m", "support.full_disk", "600", "--shares", "0", "0.5"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    told = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(told) == set(full_disk.commands(600))
    assert all(said.endswith("times, 0 faults") and "room 0" not in said for said in told.values()), told
