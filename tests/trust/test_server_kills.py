"""A server that is killed in the midst of uploads, and one under siege; `make kill-server` and `make siege` do more."""

import multiprocessing

import pytest

for needed in ("starlette", "uvicorn", "prometheus_client", "pydantic"):
    pytest.importorskip(needed, reason="the extra 'server' is not installed")

from support import siege  # noqa: E402
from support.server_kills import kill_rounds  # noqa: E402

pytestmark = [
    pytest.mark.trust,
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"),
]


def test_what_was_acknowledged_is_there_after_a_kill_and_nothing_is_half_there(memory):
    wrong, acknowledged = kill_rounds(memory / "home", 2)
    assert wrong == []
    assert acknowledged


def test_it_answers_whatever_is_done_to_it(memory):
    told, before, after = siege.lay(memory, connections=200, slow=8, long=1, wrong=50)
    assert len(told) == 9
    assert after["megabytes"] < before["megabytes"] + 300
