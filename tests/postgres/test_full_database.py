"""A PostgreSQL on a full disk: whatever is tried ends with a sentence, and nothing is lost or half there."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from support import full_database

pytestmark = [
    pytest.mark.trust,
    pytest.mark.skipif(not full_database.possible(), reason="this machine lets nobody mount a file system"),
]


@pytest.mark.parametrize("full", list(full_database.ROOM))
def test_a_full_disk_ends_with_a_sentence_and_harms_nothing(server, full):
    command = [sys.executable, "-m", "support.full_database", full]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{full}: full after " in done.stdout
    assert "No space left on device" in done.stdout
    assert f"{full}: 0 faults" in done.stdout
