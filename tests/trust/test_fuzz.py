"""A few per cent of the mutations of `make fuzz`: an error or right answers, never a dead process or a wrong hit."""

import multiprocessing

import pytest
from support.fuzzing import fuzz, mutated

pytestmark = [
    pytest.mark.trust,
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork"),
]

COUNT = 200


def test_mutated_files(memory, note):
    note(f"fuzzing: {COUNT} mutated files; 'make fuzz' takes 10,000")
    wrong, ends = fuzz(memory, COUNT)
    assert wrong == []
    assert sum(ends.values()) == COUNT
    assert ends["answered"] > COUNT / 4  # damaged indexes and vectors are lived with
    assert ends["CollectionDamaged"] > COUNT / 20  # a damaged database is not


def test_mutations_change_something():
    import random

    content = bytes(range(256)) * 40
    changed = [mutated(random.Random(seed), content) for seed in range(200)]
    assert sum(new != content for _, new in changed) > 180
    assert len({name.split(" at ")[0] for name, _ in changed}) > 10
