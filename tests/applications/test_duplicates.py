"""Duplicates: what goes, for what, and why; never in a chain, never a document that was changed meanwhile."""

import json
import re
import shutil
from itertools import pairwise

import numpy as np
import pytest
from support import tiny
from support.command_line import run

import semsearch
from semsearch.applications import duplicates as duplicates_module
from semsearch.applications.wording import Wordings, folded, jaccard, shingles
from semsearch.errors import UsageError
from semsearch.records import Entry, Record
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Span

pytest.importorskip("datasketch")


@pytest.fixture(params=["file", "memory"])
def home(request, tmp_path, monkeypatch):
    if request.param == "file":
        return tmp_path / "collections"
    from semsearch.testing.memory import MemoryHome

    monkeypatch.setattr(MemoryHome, "_engines", {})
    return "memory://"


def documents(*texts, **metadata):
    """Documents 0, 1, 2, … with these texts."""
    fields = [dict(zip(metadata, row, strict=True)) for row in zip(*metadata.values(), strict=True)] or [{}] * len(
        texts
    )
    return [semsearch.Document(str(at), text, metadata=fields[at]) for at, text in enumerate(texts)]


def collection(home, given, name="texts", dim=64):
    made = semsearch.create(name, home=home, encoder=HashEncoder(dim), passages=False)
    made.add(given)
    return made


def by_vectors(home, degrees, given=None, name="turned"):
    """Documents whose vectors have these angles."""
    made = semsearch.create(name, home=home, encoder=None, dim=2, passages=False)
    angles = np.radians(degrees)
    given = given or documents(*(f"text of {degree} degrees" for degree in degrees))
    made.add(given, vectors=np.stack([np.cos(angles), np.sin(angles)], axis=1))
    return made


def told(found):
    return [(each.id, each.of, each.reason) for each in found]


LONG = "the quick brown fox jumps over the lazy dog and runs through the forest to the river "


def test_three_reasons(home):
    texts = ("A  cat\nsleeps.", "A cat sleeps.", LONG * 3, LONG * 3 + "again", "sleeps. A cat", "rain")
    with collection(home, documents(*texts)) as made:
        found = made.duplicates(min_score=0.99)
        assert told(found) == [("1", "0", "text"), ("3", "2", "wording"), ("4", "0", "meaning")]
        assert found[0].score == 1
        assert 0.8 <= found[1].score < 1
        assert found.documents == 6
        assert told(made.duplicates(min_score=None)) == told(found)[:2]
        assert told(made.duplicates(min_score=None, wording=False)) == told(found)[:1]
        assert made.remove_duplicates(found) == 3
        assert list(made.ids()) == ["0", "2", "5"]


def test_no_chains(home):
    """0 ~ 10 ~ 20 degrees: the last is like the second only, which goes, so it stays."""
    with by_vectors(home, [0, 10, 20]) as made:
        assert told(made.duplicates(min_score=0.98, wording=False)) == [("1", "0", "meaning")]


@pytest.mark.parametrize(
    ("keep", "stays"), [("first", "0"), ("newest", "2"), ("longest", "1"), ("rank", "1"), ("on", "0")]
)
def test_which_one_stays(home, keep, stays):
    given = documents("short", "the longest of all", "newer", rank=[1, 3, 2], on=["2024-06-01", "2023-01-01", "x"])
    with by_vectors(home, [0, 1, 2], given) as made:
        found = made.duplicates(min_score=0.98, wording=False, keep=keep)
        assert {each.of for each in found} == {stays}
        assert len(found) == 2


def test_the_same_text_goes_with_what_it_is_like(home):
    """Two equal texts that are like a third by meaning: both go for it."""
    given = documents("stays", "goes", "goes")
    with by_vectors(home, [0, 5, 5], given) as made:
        assert told(made.duplicates(min_score=0.9)) == [("1", "0", "meaning"), ("2", "0", "meaning")]
        assert told(made.duplicates(min_score=0.9, keep="newest")) == [("0", "2", "meaning"), ("1", "2", "text")]


def test_against_another_collection(home):
    with (
        by_vectors(home, [0, 45, 90, 90]) as train,
        by_vectors(home, [91, 180], documents("like the third", "unlike"), "test") as test,
    ):
        found = train.duplicates(test, min_score=0.99)
        assert told(found) == [("2", "0", "meaning"), ("3", "0", "meaning")]
        assert train.remove_duplicates(found) == 2


def test_a_shared_passage_makes_no_duplicate(home):
    encoder = HashEncoder(64)

    def entry(identity, *sentences):
        """A document of which each sentence is a passage."""
        document = semsearch.Document(identity, "".join(sentences))
        ends = np.cumsum([len(sentence) for sentence in sentences]).tolist()
        spans = [Span(start, end) for start, end in pairwise([0, *ends])]
        return Entry(Record.of(document), spans, encoder.encode_documents(list(sentences)))

    shared, cats, stocks = "All rights are reserved. ", "Cats sleep on every mat. ", "Stocks fell in far Tokyo. "
    with semsearch.create("long", home=home, encoder=encoder) as made:
        made.engine.put([entry("0", shared, cats), entry("1", shared, stocks), entry("2", shared)])
        assert told(made.duplicates(min_score=0.99, wording=False)) == []
        assert len(made.pairs(min_score=0.99)) == 3
        made.engine.put([entry("turned", cats, shared), entry("twice", stocks, shared, stocks)])
        found = made.duplicates(min_score=0.99, wording=False)
        assert told(found) == [("turned", "0", "meaning"), ("twice", "1", "meaning")]


def by_definition(given, vectors, least, within, against=()):
    """What goes for what, by a look at each pair, the first documents preferred: `vectors` by passage, of each id."""
    goes = {}
    for at, one in enumerate(given):
        best = None
        for other in given[:at] if within else against:
            if other in goes and within:
                continue
            scores = (vectors[one] @ vectors[other].T).astype(np.float32)
            score = min(scores.max(axis=0).min(), scores.max(axis=1).min())
            if score >= least and (best is None or score > best[1]):
                best = other, score
        if best is not None:
            goes[one] = best
    return [(one, of, float(score)) for one, (of, score) in goes.items()]


@pytest.mark.parametrize("within", [True, False], ids=["itself", "against"])
@pytest.mark.parametrize("most", [1, 3], ids=["one passage", "several"])
def test_meaning_is_the_definition(home, within, most):
    rng = np.random.default_rng(most)
    centres = rng.standard_normal((12, 8))
    vectors, entries = {}, {}
    for at in range(120):
        name, count = str(at), int(rng.integers(1, most + 1))
        own = centres[rng.integers(12, size=count)] + 0.25 * rng.standard_normal((count, 8))
        vectors[name] = (own / np.linalg.norm(own, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
        words = [f"{name} passage {number}. " for number in range(count)]
        spans = [Span(start, end) for start, end in pairwise(np.cumsum([0, *map(len, words)]).tolist())]
        entries[name] = Entry(
            Record.of(semsearch.Document(name, "".join(words))), spans, vectors[name].astype(np.float32)
        )
    names = list(entries)
    sides = (names, []) if within else (names[:70], names[70:])
    with (
        semsearch.create("one", home=home, encoder=None, dim=8) as one,
        semsearch.create("other", home=home, encoder=None, dim=8) as other,
    ):
        for made, own in ((one, sides[0]), (other, sides[1])):
            made.engine.put([entries[name] for name in own])
        for least in (0.5, 0.8, 0.93):
            found = one.duplicates(None if within else other, min_score=least, wording=False)
            expected = by_definition(sides[0], vectors, np.float32(least), within, sides[1])
            assert [(each.id, each.of) for each in found] == [(one, of) for one, of, _ in expected], least
            assert [each.score for each in found] == pytest.approx([score for _, _, score in expected], abs=1e-6)
            assert expected or least == 0.93


def test_what_was_changed_meanwhile_stays(home):
    with collection(home, documents("a b", "a b", "c d", "c d", "e f", "e f")) as made:
        found = made.duplicates()
        made.add([semsearch.Document("1", "something new"), semsearch.Document("2", "else")])
        assert made.remove_duplicates(found) == 1
        assert set(made.ids()) == {"0", "1", "2", "3", "4"}


def test_borderline_pairs_are_around_the_threshold(home):
    with by_vectors(home, [0, 10, 25, 90]) as made:
        found = made.duplicates(min_score=0.98, wording=False, borderline=2)
        assert [(one, other) for one, other, _ in found.borderline] == [("0", "1"), ("1", "2")]
        assert told(found) == [("1", "0", "meaning")]


def test_what_makes_no_sense_is_refused(home, monkeypatch):
    with by_vectors(home, [0, 1, 2, 3]) as made:
        with pytest.raises(UsageError, match=r"no document has a field of that name.*; no document has any metadata"):
            made.duplicates(keep="nosuch")
        monkeypatch.setattr(duplicates_module, "MOST_PAIRS", 3)
        with pytest.raises(
            UsageError, match=r"about 6 pairs reach a score of 0.5\d*, and .*: ask for a higher score\.$"
        ):
            made.duplicates(min_score=0.5, wording=False)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"borderline": "5"}, "borderline must be a whole number, not '5'"),
        ({"borderline": 2.5}, "borderline must be a whole number, not 2.5"),
        ({"borderline": -1}, "borderline must be at least 0, not -1"),
        ({"borderline": 3, "min_score": None}, "there are none where meaning does not count"),
        ({"wording": "no"}, "wording must be True or False, not 'no'"),
        ({"against": "name"}, r"against is an open collection, semsearch.open\('…'\), and not the text 'name'"),
        ({"min_score": "0.9"}, "min_score must be a number"),
    ],
)
def test_wrong_kinds_of_arguments(home, given, message):
    with by_vectors(home, [0, 1]) as made, pytest.raises(UsageError, match=message):
        made.duplicates(**given)


@pytest.mark.parametrize("found", [None, [], "0", [("0", "1", "text", 1.0)]])
def test_only_what_was_found_is_removed(home, found):
    with by_vectors(home, [0, 0]) as made:
        with pytest.raises(UsageError, match="remove_duplicates takes what duplicates"):
            made.remove_duplicates(found)
        assert len(made) == 2


def test_beside_an_empty_collection(home):
    with by_vectors(home, [0, 0, 1]) as made, semsearch.create("none", home=home, encoder=None, dim=2) as none:
        for one, other in ((made, none), (none, made)):
            assert list(one.duplicates(other)) == []
            assert list(one.pairs(other)) == []


def test_an_empty_collection(home):
    with semsearch.create("empty", home=home, encoder=HashEncoder(8)) as made:
        assert list(made.duplicates(keep="year")) == []


def test_words_that_the_model_does_not_know(tmp_path):
    """It reads them all alike, so texts that differ in nothing else have one vector, and are no duplicates."""
    texts = [
        "the cat sleeps",
        "the 😀 sleeps",
        "the 😢 sleeps",
        "สวัสดี",
        "ราคา",
        "a" * 300,
        "b" * 300,
        "the 😢 sleeps !",
        "The  CAT sleeps!",
        "the Ć cat",
        "the 😀 runs on 😢",
        "the 😢 runs on 😀",  # the same, in another order
    ]
    made = semsearch.create("read", home=tmp_path, encoder=str(tiny.bert(tmp_path / "model")))
    with made:
        made.add(documents(*texts))
        read = made.encoder.readings(["the cat", "the 😀 ราคา สวัสดี", "A" * 300])
        assert [each.unknown for each in read] == [(), ("😀", "ราคา", "สวัสดี"), ("a" * 300,)]
        found = made.duplicates(min_score=0.5, wording=False)
        assert told(found) == [("7", "2", "meaning"), ("8", "0", "meaning")]
        (note,) = found.notes
        assert re.match("not counted: [0-9]+ pairs that score enough", note)
        assert "words that the model reads alike, as it does not know them" in note
        assert "'ć', '😀', '😢'" in note
        around = {
            (one, other) for one, other, _ in made.duplicates(min_score=0.5, wording=False, borderline=50).borderline
        }
        assert around == {("2", "7"), ("0", "8")}


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        ("the dög sleeps", "the dog sleeps", ("dog", "dög")),
        ("the dög sleeps", "the dọg sleeps", ("dög", "dọg")),
        ("dög sleeps dọg", "dọg sleeps dög", ("dög", "dọg")),  # each of both has both
        ("the dog runs dög", "the dög runs dog", ("dog", "dög")),
        ("the cat\ue000", "the cat\ue001", ("cat\ue000", "cat\ue001")),
        ("the \ue000 cat", "the \ue001 cat", ("the\ue000", "the\ue001")),
        ("\ue000 the cat", "\ue001 the cat", ("\ue000", "\ue001")),
        ("\ue000", "\ue001", ("\ue000", "\ue001")),  # nothing of it is read
        ("🏴\U000e0067\U000e007f", "🏴\U000e0073\U000e007f", ("🏴\U000e0067\U000e007f", "🏴\U000e0073\U000e007f")),
    ],
)
def test_accents_that_the_model_leaves_out(tmp_path, one, other, words):
    """It reads both texts alike, and they say different things."""
    with semsearch.create("read", home=tmp_path, encoder=str(tiny.bert(tmp_path / "model"))) as made:
        made.add(documents(one, other, f"{one} !", f"{other}\u00ad !"))
        found = made.duplicates(min_score=-1.0, wording=False)
        assert told(found) == [("2", "0", "meaning"), ("3", "1", "meaning")]
        assert found[0].score < 1
        assert re.match(r"not counted: [24] pairs ", found.notes[0])
        assert "({})".format(", ".join(f"'{word}'" for word in words)) in found.notes[0]


def test_accents_that_both_have_or_that_make_another_word(tmp_path):
    """What the model can tell apart by its other words is left to it."""
    with semsearch.create("read", home=tmp_path, encoder=str(tiny.bert(tmp_path / "model"))) as made:
        made.add(
            documents(
                "the dög sleeps", "the DO\u0308G sleeps", "the do\u0308\u200bg sleeps !", "water boils at sea level"
            )
        )
        found = made.duplicates(min_score=-1.0, wording=False)
        assert told(found) == [("1", "0", "meaning"), ("2", "0", "meaning"), ("3", "0", "meaning")]
        assert found.notes == ()
        with semsearch.create("other", home=tmp_path, encoder=str(tmp_path / "model")) as other:
            other.add(documents("the dọg sleeps", "the dög sleeps"))
            found = made.duplicates(other, min_score=0.99999, wording=False)
            assert [(each.id, each.of) for each in found] == [("0", "1"), ("1", "1")]
            assert "('dög', 'dọg')" in found.notes[0]


def test_long_texts_are_told_apart_by_one_look(tmp_path):
    encoder = semsearch.load_encoder(str(tiny.bert(tmp_path / "model")))
    one, other = encoder.readings(["the dög sleeps on dọg " * 5000, "the dög sleeps on dög " * 5000])
    assert one.mistaken(other) == {"dọg"}


def test_words_of_a_model_that_is_gone(tmp_path):
    model = tiny.bert(tmp_path / "model")
    with semsearch.create("read", home=tmp_path, encoder=str(model)) as made:
        made.add(documents("the cat sleeps", "sleeps the cat"))
    shutil.rmtree(model)
    with semsearch.open("read", home=tmp_path) as made:
        found = made.duplicates(min_score=0.1, wording=False)
        assert told(found) == [("1", "0", "meaning")]
        assert "can't be told" in found.notes[0]


def test_wording_is_decided_by_shingles():
    assert folded("A", "Ｂ  c\n") == "a b c"
    assert folded("", "10² Ｈ₂Ｏ ⁽ﬁ⁾ 1½") == "10² h₂o ⁽fi⁾ 1½"  # what is raised says something else
    assert shingles("abc") == {"abc"}
    assert shingles("abcdef") == {"abcde", "bcdef"}
    assert jaccard(shingles("abcdef"), shingles("bcdefg")) == pytest.approx(1 / 3)
    texts = ["東京は日本の首都である都市です", "東京は日本の首都である都市だ", "rain", "x" * 40]
    wordings = Wordings(0.6)
    candidates = [(at, other) for at, text in enumerate(texts) for other in wordings.add(at, text)]
    assert [(one, other) for one, other, _ in wordings.decided(candidates, lambda n, _: {i: texts[i] for i in n})] == [
        (1, 0)
    ]


def test_on_the_command_line(tmp_path):
    home = tmp_path / "collections"
    collection(home, documents("a b", "b a", "a b", "c", "d", "e f g")).close()
    ended = run("duplicates", "texts", "--home", home)
    assert ended.lines == ["1\t0\tmeaning\t1.0000", "2\t0\ttext\t1.0000"]
    assert "2 of 6 documents can go: 1 by text, 1 by meaning" in ended.err
    assert run("duplicates", "texts", "--out", tmp_path / "gone.csv", "--home", home).code == 0
    assert (tmp_path / "gone.csv").read_text().splitlines()[:2] == ["id,of,reason,score", "1,0,meaning,1.0"]
    around = run("duplicates", "texts", "--borderline", 3, "--home", home)
    assert "goes" not in around.err
    assert around.lines == ["1.0000\t0\t1\ta b\tb a"]  # with their texts, to judge them by
    lines = run("duplicates", "texts", "--borderline", 3, "--json", "--home", home).lines
    assert [json.loads(line) for line in lines] == [
        {"score": 1.0, "one": "0", "other": "1", "one_text": "a b", "other_text": "b a"}
    ]
    both = run("duplicates", "texts", "--borderline", 3, "--out", tmp_path / "both.csv", "--home", home)
    assert both.lines == around.lines
    assert (tmp_path / "both.csv").read_text() == (tmp_path / "gone.csv").read_text()
    refused = run("duplicates", "texts", "--borderline", 3, "--no-meaning", "--home", home)
    assert refused.code == 2
    assert "there are none where meaning does not count" in refused.err
    refused = run("duplicates", "texts", "--apply", "--home", home)
    assert refused.code == 2
    assert "2 of the 6 documents" in refused.err
    assert "removed 2" in run("duplicates", "texts", "--apply", "--yes", "--json", "--home", home).err
    assert run("duplicates", "texts", "--home", home).code == 1
