"""A phrase that stands where a document was parted into passages is found, required and excluded as any other."""

import pytest
from support import tiny

import semsearch
from semsearch.search.analysis import words
from semsearch.testing.memory import MemoryHome
from semsearch.types import Document


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny.bert(tmp_path_factory.mktemp("models") / "bert"))


def parted(model, text, home):
    """A collection of this text and another, and the phrase of two words, or letters, where the first was parted."""
    made = semsearch.create("long", encoder=model, home=home)
    made.add([Document("long", text), Document("other", "a short one")])
    with made.engine.view() as view:
        passages = [passage for batch, _ in view.stored() for passage in batch if passage.id == "long"]
    assert len(passages) > 2
    first, second = passages[0], passages[1]
    *_, (start, end, apart) = words(first.text)
    begin, after, _ = next(words(second.text))
    glue = text[first.end : second.start]
    if apart:
        return made, f"{first.text[start:end]} {second.text[begin:after]}"
    return made, first.text[end - 1 : end] + glue + second.text[begin : begin + 1]


@pytest.mark.parametrize("home", ["folder", ":memory:"])
@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize("text", [" ".join(f"word{n}" for n in range(600)), "".join(map(chr, range(0x4E00, 0x5100)))])
def test_it_is_found(tmp_path, monkeypatch, model, home, mode, text):
    monkeypatch.setattr(MemoryHome, "_engines", {})
    made, phrase = parted(model, text, tmp_path if home == "folder" else home)
    with made:
        for query in (f'"{phrase}"', f'+"{phrase}"'):
            found = made.search(query, mode=mode)
            assert [hit.id for hit in found] == ["long"], query
            assert found.notes == (f'every answer holds "{phrase}".',)
        left = made.search(f'{phrase} short -"{phrase}"', mode=mode)
        assert [hit.id for hit in left] == ["other"]
        turned = " ".join(reversed(phrase.split())) if " " in phrase else phrase[::-1]
        assert made.search(f'+"{turned}"', mode=mode) == []
