"""Two long operations of two processes at once: nothing goes wrong, at whatever step of the one the other runs.

Here a seeded sample of the pairs and steps is taken; `make crash` takes all of them.
"""

import itertools
import multiprocessing

import pytest
from support.pairs import LONG, left_by_two, steps
from support.workload import FULL, sample

pytestmark = [
    pytest.mark.trust,
    pytest.mark.usefixtures("as_large"),
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"),
]

PAIRS = sample(itertools.product(LONG, LONG), 10)


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "held"])
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_one_is_held_at_a_step_while_the_other_runs(base, memory, note, first, second, kill):
    if not FULL:
        note("pairs of long operations: a seeded sample of pairs and steps; 'make crash' takes every one")
    each = sample(range(steps(base[0], memory / "alone", first)), 1, seed=f"{first} {second} {kill}")
    for stop_at in each:
        assert left_by_two(base, memory / str(stop_at), first, second, stop_at, kill) == []
