"""What the tests that kill, cut the power and break the code stand on."""

import pytest
from support.workload import make_base, through_indexes


@pytest.fixture
def as_large(monkeypatch):
    """Small collections go the ways of large ones."""
    through_indexes(monkeypatch)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of the collection that each operation begins with, and its state."""
    home = tmp_path_factory.mktemp("base")
    return home, make_base(home)
