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


@pytest.mark.slow
@pytest.mark.parametrize("home", ["folder", ":memory:"])
@pytest.mark.parametrize(
    ("text", "glue"), [(" ".join(f"word{n}" for n in range(900)), " "), ("".join(map(chr, range(0x4E00, 0x5200))), "")]
)
def test_a_long_one_is_found_across_however_many(tmp_path, monkeypatch, model, home, text, glue):
    """Of more than 64 terms, and across three passages and all of them; each that holds a part of it is an answer."""
    monkeypatch.setattr(MemoryHome, "_engines", {})
    units = text.split() if glue else list(text)
    with semsearch.create("long", encoder=model, home=tmp_path if home == "folder" else home) as made:
        made.add([Document("long", text), Document("other", "a short one")])
        with made.engine.view() as view:
            spans = [(one.start, one.end) for batch, _ in view.stored() for one in batch if one.id == "long"]
        assert len(spans) > 4
        begin = len(text[: spans[1][0]].split()) if glue else spans[1][0]
        behind = len(text[: spans[3][1]].split()) if glue else spans[3][1]
        for first, last, count in ((begin - 3, behind - 3, 4), (0, len(units), len(spans)), (begin - 70, begin + 2, 0)):
            phrase = glue.join(units[max(first, 0) : last])
            found = made.search(f'"{phrase}"', k=50, mode="lexical", group_by=None)
            assert {hit.id for hit in found} == {"long"}
            assert len(found) == (count or len(found)), (first, last)
            assert found.notes == (f'every answer holds "{phrase}".',)
            assert [hit.id for hit in made.search(f'short {phrase[:3]} -"{phrase}"', mode="lexical")] == ["other"]
            wrong = glue.join([*units[max(first, 0) : last - 1], units[max(first, 0)]])
            assert made.search(f'+"{wrong}"', mode="lexical") == []
