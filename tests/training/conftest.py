"""What tests of training share: a home that each may change, and judgements."""

import shutil

import pytest
from support import synonyms


@pytest.fixture
def home(made, tmp_path):
    """A copy of the collections that a module `made`."""
    return shutil.copytree(made, tmp_path / "home", dirs_exist_ok=True)


@pytest.fixture
def judged(tmp_path):
    """Questions and what answers them, as files."""
    return synonyms.files(tmp_path / "judged")
