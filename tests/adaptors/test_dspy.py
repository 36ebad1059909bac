"""DSPy asks a collection; what it gets has the members that it reads."""

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.dspy import SemsearchRM

ADAPTOR = "semsearch.dspy"
TEXTS = {"1": "the cat sleeps", "2": "the dog barks", "3": "water boils"}


@pytest.fixture
def notes(tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as made:
        made.add([semsearch.Document(identity, text, metadata={"n": 1}) for identity, text in TEXTS.items()])
        yield made


def test_passages(notes):
    (first, _) = SemsearchRM(notes, k=2)("cat sleeps")
    assert (first.long_text, first.pid, first.metadata) == ("the cat sleeps", "1", {"n": 1})
    assert [one.pid for one in SemsearchRM(notes)(["cat sleeps", "dog barks"], k=1)] == ["1", "2"]
    with pytest.raises(semsearch.UsageError, match="no query"):
        SemsearchRM(notes)([])
    with pytest.raises(AttributeError):
        _ = first.nothing


@pytest.mark.filterwarnings("ignore")
def test_dspy_itself_retrieves(notes):
    dspy = pytest.importorskip("dspy", reason="dspy is not installed")
    with dspy.context(rm=SemsearchRM(notes)):
        assert dspy.Retrieve(k=1)("cat sleeps").passages == ["the cat sleeps"]
