"""The suite can fail: every deliberately broken variant of the store is noticed by the probe that is meant for it."""

from contextlib import contextmanager, nullcontext

import pytest
from support.mutants import MUTANTS
from support.probes import PROBES

from semsearch.errors import SemsearchError

pytestmark = [pytest.mark.trust, pytest.mark.usefixtures("as_large")]


def looked_into(probe, base, memory, mutant):
    try:
        return PROBES[probe](base, memory, mutant)
    except (SemsearchError, IndexError, ValueError) as error:
        return [f"{type(error).__name__}: {error}"]


@pytest.mark.parametrize("probe", PROBES)
def test_the_store_is_sound(base, memory, probe):
    assert looked_into(probe, base, memory, nullcontext) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_noticed(base, memory, name):
    context, probe = MUTANTS[name]

    @contextmanager
    def mutant():
        with context():
            yield

    mutant.mutant = name
    assert looked_into(probe, base, memory, mutant) != []
