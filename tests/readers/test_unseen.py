"""Texts of which nothing can be seen are empty, wherever they come from."""

import pytest
from support.command_line import run, tiny_model

import semsearch
from semsearch.errors import DataError
from semsearch.ingest.source import ReadReport, Source
from semsearch.types import Document
from semsearch.validation import check_document, is_empty

UNSEEN = [
    "\u200b",
    "\xad\xad",
    "\ufe0f",
    "\u2060 \u200d\n",
    "\ufeff",
    "\u3164",
    "\U000e0100",
    "\u2800",
    "\x01",
    "\u034f",
]
SEEN = ["a", "\u200ba", "\u0301", "👩‍🔬", "❤️", "1", ".", "\u0600", "日", "a\xad"]


@pytest.mark.parametrize("text", UNSEEN)
def test_what_is_not_seen_is_empty(text):
    assert is_empty(text)
    with pytest.raises(DataError, match="the text is empty"):
        check_document(Document("1", text))


@pytest.mark.parametrize("text", SEEN)
def test_what_is_seen_is_not(text):
    assert not is_empty(text)
    check_document(Document("1", text))


def test_records_lines_and_files_of_nothing_are_named_or_passed_over(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "\\u200b"}\n{"text": "\\u200b", "title": "Whales"}\n{"text": "one"}\n')
    report = ReadReport(skip=True)
    assert [document.text for document in Source.of(tmp_path / "a.jsonl").read(report)] == ["Whales", "one"]
    assert "the text is empty: nothing in it can be seen." in str(report.errors[0])
    (tmp_path / "a.txt").write_text("one\n\u200b\n \xad\ntwo\n", encoding="utf-8")
    assert [document.text for document in Source.of(tmp_path / "a.txt").read()] == ["one", "two"]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.html").write_text("<p>one")
    (tmp_path / "docs" / "b.html").write_text("<p>&#8203;&shy;&#xfe0f;")
    report = ReadReport()
    assert len(list(Source.of(tmp_path / "docs").read(report))) == 1
    assert report.empty_names == ["b.html"]


def test_no_document_and_no_line_is_of_nothing_that_can_be_seen(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    with semsearch.create("notes", encoder=str(model), home=tmp_path / "home") as notes:
        notes.add([Document("1", "whale and storm")])
        with pytest.raises(DataError, match="the text is empty"):
            notes.add([Document("2", "\u200b")])
    (tmp_path / "a.txt").write_text("\u200b\nbread\n\xad\n", encoding="utf-8")
    ended = run("grep", "storm", tmp_path / "a.txt", "-m", model, "--min-score", -1)
    assert [line.rpartition(": ")[2] for line in ended.lines] == ["bread"]
