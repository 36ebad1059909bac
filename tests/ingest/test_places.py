"""Where a hit stands: the file, line, page, sheet or message of every kind that has one, and of what it moved to."""

import copy
import json
import mailbox
import os
import pickle
from email.message import EmailMessage
from pathlib import Path

import pytest
from support.fakes import HashEncoder
from support.pdf import assembled

import semsearch
from semsearch.errors import CollectionClosed
from semsearch.ingest.source import Source
from semsearch.places import Place, Position, cut, provenance, stretches
from semsearch.types import Document

CODE = '''\
"""What it does."""

import os

LIMIT = 3


# said of it
@wraps
def first(a):
    return a


VALUE = os.environ


class Long:
    """Its head."""

    kind = "long"

    def method(self):
        return "{filler}"

    other = 1

    def another(self):
        return "{filler}"


print(VALUE)
'''
MARKDOWN = """\
---
title: Notes
---

Before any heading.

# Boiling

Water boils
at 100 degrees.

## Bare

## Bread


Yeast makes the gas.
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "notes"
    made.mkdir()
    return made


class Narrow(HashEncoder):
    """It reads forty words of a text, so that longer ones are split."""

    window = 40

    def __init__(self):
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import Whitespace

        super().__init__(8)
        self.tokenizer = Tokenizer(WordLevel({"?": 0}, unk_token="?"))
        self.tokenizer.pre_tokenizer = Whitespace()


def collected(source, name="notes", **how):
    collection = semsearch.create(name, encoder=Narrow(), **how)
    collection.add_from(source)
    return collection


def places(collection):
    """The place of every passage, by its text."""
    vector = HashEncoder(8).encode_queries(["anything"])[0]
    hits = collection.search(vector=vector, k=1000, group_by=None)
    return {hit.text: hit.place for hit in hits}


def held_against(found):
    """Each place names the line in which the passage begins; how many there were."""
    for text, place in found.items():
        lines = Path(place.path).read_text("utf-8").split("\n")
        first = text.strip().split("\n")[0].strip()
        assert first in lines[place.line - 1], (place, first)
    return len(found)


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_lines_of_code_and_text(folder, ends):
    (folder / "a.py").write_text(CODE.replace("{filler}", "filler " * 200).replace("\n", ends), newline="")
    (folder / "b.md").write_text(MARKDOWN.replace("\n", ends), newline="")
    (folder / "c.txt").write_text(f"{ends}{ends}one{ends}two{ends}", newline="")
    (folder / "sub").mkdir()
    (folder / "sub" / "d.js").write_text(f"// x{ends}{ends}export default function f() {{{ends}}} g(){ends}h(){ends}")
    with collected(folder) as collection:
        found = places(collection)
        assert held_against(found) >= 12
        by_start = {text.strip()[:12]: place for text, place in found.items()}
    assert by_start["# said of it"] == Place(str(folder / "a.py"), 8)
    assert by_start["Yeast makes "] == Place(str(folder / "b.md"), 17)
    assert by_start["Bare"].line == 12, "a heading with nothing below it"
    assert by_start["one" + ends + "two"].line == 3


@pytest.mark.slow
def test_passages_of_a_long_text_and_of_one_in_pieces(folder):
    lines = [f"Line {number} says something of its own about the number {number}." for number in range(4000)]
    (folder / "long.txt").write_text("\n".join(lines))
    assert sum(map(len, lines)) > 1 << 17
    with collected(folder) as collection:
        assert held_against(places(collection)) > 100


@pytest.mark.slow
def test_a_text_that_changed_since_it_was_found_has_no_line(folder):
    (folder / "long.txt").write_text("\n".join(f"The line {number} is here." for number in range(9000)))
    with collected(folder) as collection:
        hits = collection.search("anything", 50, group_by=None)
        (folder / "long.txt").write_text("short\n")
        collection.sync()
        late = [hit.place for hit in hits if hit.start]
        assert {(place.path, place.line) for place in late} == {(str(folder / "long.txt"), None)}


@pytest.mark.parametrize("unit", ["line", "paragraph"])
def test_lines_and_paragraphs(tmp_path, unit):
    file = tmp_path / "poem.txt"
    file.write_text("\n\nfirst\nsecond\n\n\nthird\n")
    with collected(Source.of(file, "text", {"unit": unit})) as collection:
        found = {text.split("\n")[0]: place.line for text, place in places(collection).items()}
    assert found == ({"first": 3, "second": 4, "third": 7} if unit == "line" else {"first": 3, "third": 7})


def test_records(tmp_path):
    texts = ["one\nof two lines", "two", "three"]
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts) + "\n")
    (tmp_path / "b.json").write_text(json.dumps([{"text": text} for text in texts], indent=2))
    (tmp_path / "c.csv").write_text('text,n\n"one\nof two lines",1\n\ntwo,2\n')
    expected = {
        "a.jsonl": {"one": 1, "two": 2, "three": 3},
        "b.json": {"one": 2, "two": 5, "three": 8},
        "c.csv": {"one": 2, "two": 5},
    }
    for name, lines in expected.items():
        with collected(tmp_path / name, name[0]) as collection:
            found = places(collection)
        assert {text.split("\n")[0]: place.line for text, place in found.items()} == lines, name
        assert {place.path for place in found.values()} == {str(tmp_path / name)}


def test_a_long_array_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("semsearch.reading.json_objects.READ_AT_ONCE", 16)
    records = [{"id": str(number), "text": "x" * number} for number in range(1, 40)]
    (tmp_path / "a.json").write_text(json.dumps(records, indent=1))
    with collected(tmp_path / "a.json") as collection:
        found = places(collection)
    assert [found["x" * number].line for number in range(1, 40)] == [4 * number - 2 for number in range(1, 40)]


def test_the_corpus_within_a_folder_of_beir(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "corpus.jsonl").write_text('{"_id": "a", "text": "one"}\n{"_id": "b", "text": "two"}\n')
    with collected(tmp_path / "set") as collection:
        assert places(collection)["two"] == Place(str(tmp_path / "set" / "corpus.jsonl"), 2)


@pytest.mark.slow
def test_pages(folder):
    stream = b"BT /F1 12 Tf 72 720 Td (%s) Tj ET"
    contents = [stream % text for text in (b"page of bread", b"page of wine")]
    (folder / "a.pdf").write_bytes(
        assembled(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[4 0 R 5 0 R]/Count 2>>",
                b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
                *[
                    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
                    % number
                    for number in (6, 7)
                ],
                *[b"<</Length %d>>stream\n%s\nendstream" % (len(content), content) for content in contents],
            ]
        )
    )
    with collected(folder) as collection:
        found = places(collection)
        assert found["page of wine"] == Place(str(folder / "a.pdf"), page=2)
        assert str(found["page of wine"]) == f"{folder}/a.pdf, page 2"
        store = collection.engine.store
        with store.write(), store.database.write() as connection:  # as an older version left it
            connection.exec_driver_sql("UPDATE origins SET position = NULL")
        assert places(collection)["page of wine"] == Place(str(folder / "a.pdf"), page=2)


@pytest.mark.slow
def test_messages(folder):
    box = mailbox.mbox(folder / "box.mbox")
    for number in (1, 2):
        message = EmailMessage()
        message["Subject"] = f"subject {number}"
        message.set_content(f"letter {number}")
        box.add(message)
    box.close()
    with collected(folder) as collection:
        assert places(collection)["letter 2"] == Place(str(folder / "box.mbox"), message=2)


def attached(subject, name, text):
    message = EmailMessage()
    message["Subject"] = subject
    message.set_content(f"letter of {subject}")
    message.add_attachment(text, subtype="markdown", filename=name)
    return message


@pytest.mark.slow
def test_attachments(folder):
    """A line or page of an attachment is none of the mail's: no editor and no viewer is sent there."""
    (folder / "a.eml").write_bytes(bytes(attached("one", "notes.md", "\n\nof whales\n")))
    box = mailbox.mbox(folder / "box.mbox")
    box.add(attached("two", "more.md", "of bread\n"))
    box.close()
    sheet = json.dumps({"cells": [{"cell_type": "raw", "source": source} for source in ("filler", "of wheels")]})
    mail = attached("three", "deep.ipynb", sheet)
    (folder / "b.eml").write_bytes(bytes(mail))
    with collected(folder) as collection:
        found = places(collection)
    assert found["of whales"] == Place(str(folder / "a.eml"), attachment="notes.md")
    assert str(found["of bread"]) == f"{folder}/box.mbox, message 1, attachment more.md"
    assert str(found["filler\n\nof wheels"]) == f"{folder}/b.eml, attachment deep.ipynb, cell 1"


def test_what_an_older_version_kept_as_metadata_alone(folder):
    """Slides were metadata, and a page of an attachment looked like one of its mail."""
    spec = {"path": str(folder), "format": "documents"}
    for metadata, place in (
        ({"slide": 4}, "a.pptx, slide 4"),
        ({"page": 2, "attachment": "x.pdf"}, "a.pptx, attachment x.pdf, page 2"),
    ):
        path, position, _ = provenance(spec, "a.pptx", "", metadata)
        assert str(position.place(path)) == f"{folder}/{place}"


def query_places(collection, query, **how):
    return [str(hit.place).rpartition("/")[2] for hit in collection.search(query, 10, **how)]


POEM = "The harbour lies still.\nNo bread is left.\n\nA whale came by, a whale of a size.\nA whale and bread.\n"


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
def test_a_hit_stands_in_the_line_that_has_most_words_of_the_query(folder, mode):
    (folder / "a.txt").write_text(POEM)
    with collected(folder) as collection:
        for query, line in (("whale", 4), ("whales and bread", 5), ("bread", 2), ("harbour", 1)):
            assert query_places(collection, query, mode=mode) == [f"a.txt:{line}"], query
        if mode == "dense":
            assert query_places(collection, "nothing of it") == ["a.txt:1"]


@pytest.mark.slow
def test_lines_of_later_passages_of_records_and_of_notebooks(folder):
    lines = [f"Line {number} says something of its own about the {'tide' if number == 33 else 'reef'}." for number in
             range(1, 60)]  # fmt: skip
    (folder / "long.txt").write_text("\n".join(lines))
    with collected(folder, "long") as collection:
        assert query_places(collection, "tide", mode="lexical") == ["long.txt:33"]
        [copied] = pickle.loads(pickle.dumps(list(collection.search("tide", mode="lexical"))))
        assert copied.place.line == 33
    (folder / "a.jsonl").write_text(json.dumps({"text": POEM}) + "\n")
    with collected(folder / "a.jsonl", "records") as collection:
        assert query_places(collection, "whale") == ["a.jsonl:1"]
    (folder / "n.ipynb").write_text(json.dumps({"cells": [{"cell_type": "raw", "source": s} for s in POEM.split(".")]}))
    with collected(folder / "n.ipynb", "cells") as collection:
        assert query_places(collection, "whale") == ["n.ipynb, cell 3"]
        vector = HashEncoder(8).encode_queries(["whale"])[0]
        [hit] = collection.search(vector=vector)
        assert hit.place.cell == 1, "nobody knows which words were looked for"


def test_what_no_file_gave_has_no_place(tmp_path):
    with semsearch.create("notes", encoder=HashEncoder(8)) as collection:
        collection.add([Document("a", "one", metadata={"page": 3})])
        assert places(collection) == {"one": None}


@pytest.mark.slow
def test_lines_that_moved_are_known_without_encoding_anything(folder):
    (folder / "a.py").write_text("def f():\n    return 1\n")
    with collected(folder) as collection:
        (folder / "a.py").write_text('"""New."""\n\n\ndef f():\n    return 1\n')
        os.utime(folder / "a.py", ns=(10**18, 10**18))
        synced = collection.sync()
        assert (synced.changes.added, synced.changes.changed, synced.changes.unchanged) == (1, 0, 1)
        assert places(collection)["def f():\n    return 1"].line == 4


@pytest.mark.slow
def test_reading_again_tells_what_an_older_version_did_not_keep(folder):
    (folder / "a.py").write_text("\n\ndef f():\n    return 1\n")
    with collected(folder) as collection:
        store = collection.engine.store
        with store.write(), store.database.write() as connection:
            connection.exec_driver_sql("UPDATE origins SET position = NULL")
        assert list(places(collection).values()) == [Place(str(folder / "a.py"))]
        collection.sync()
        assert list(places(collection).values()) == [Place(str(folder / "a.py"))], "what is as it was is not read"
        assert collection.add_from(folder).unchanged == 1
        assert list(places(collection).values()) == [Place(str(folder / "a.py"), 3)]


def test_of_two_sources_the_first_one_counts(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"id": "x", "text": "one"}\n')
    with collected(tmp_path / "a.jsonl") as collection:
        collection.add_from(tmp_path / "b.jsonl")
        assert places(collection)["one"].path == str(tmp_path / "a.jsonl")


def test_copies_know_it_too(folder):
    (folder / "a.txt").write_text("one\n")
    with collected(folder) as collection:
        hit, other = collection.search("one")[0], collection.search("one")[0]
        copies = [pickle.loads(pickle.dumps(hit)), copy.deepcopy(hit), copy.copy(hit)]
        assert hit == copies[0]
        assert hit.place == Place(str(folder / "a.txt"), 1)
    assert [one.place for one in copies] == [hit.place] * 3
    with pytest.raises(CollectionClosed):
        _ = other.place


def test_in_memory_too(folder):
    (folder / "a.txt").write_text("one\n")
    with collected(folder, "places-in-memory", home="memory://") as collection:
        assert places(collection)["one\n"] == Place(str(folder / "a.txt"), 1)
        (folder / "a.txt").write_text("\n\none\n")
        os.utime(folder / "a.txt", ns=(10**18, 10**18))
        collection.sync()
        assert [place.line for place in places(collection).values()] == [3]


@pytest.mark.parametrize(
    "stored",
    [
        '{"line": "+!sh", "page": true, "lines": [[0, "1"]], "sheet": 3, "message": 0, "file": null}',
        '{"line": -1, "lines": [[0, 1, 2]]}',
        '{"line": 1e99, "lines": [[-5, 3]]}',
        '{"lines": {"0": 1}}',
        "[1]",
        "rubbish",
        "[" * 100_000,
        "",
        None,
    ],
)
def test_a_position_that_nobody_writes_is_none(stored):
    assert Position.read(stored) == Position()


def test_positions_come_back():
    for position in (
        Position(3),
        Position(lines=((0, 1), (5, 90))),
        Position(page=2, sheet="Ä"),
        Position(message=1),
        Position(slide=3, cells=((0, 2),), chapter="c", attachment="a"),
    ):
        assert Position.read(position.to_json()) == position


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([(1, "a\nb\n"), (10, "\nc")], {0: 1, 1: 2, 3: 11}),
        ([(1, "a"), (10, "\nc")], {0: 1, 1: 11}),  # what stands before the seam is where it was
        ([(1, "a"), (10, "b"), (20, "\nc")], {0: 1, 1: 21}),
        ([(1, ""), (10, "b\n"), (20, ""), (30, "c")], {0: 10, 1: 30}),
    ],
)
def test_pieces_of_a_file_behind_one_another(pieces, lines):
    position = Position(lines=stretches(pieces))
    assert {number: position.line_of(number) for number in lines} == lines
    for count in lines:
        rest = Position(lines=cut(position.lines, count))
        assert {n: rest.line_of(n - count) for n in lines if n >= count} == {n: lines[n] for n in lines if n >= count}
