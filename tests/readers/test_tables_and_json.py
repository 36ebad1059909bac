"""Tables and JSON of all hands: delimiters, types, encodings, arrays and keys."""

import gzip
import io
import json
import sys

import pytest

from semsearch.errors import DataError, UsageError
from semsearch.ingest.source import ReadReport, Source
from semsearch.types import Document


def read(tmp_path, name, content, report=None, kind=None, **options):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(Source.of(path, kind, options).read(report))


# --- tables


@pytest.mark.parametrize(
    ("content", "metadata"),
    [
        ('id;"a, b, c, d";text\n1;x;one\n', {"a, b, c, d": "x"}),
        ('id,"a;b;c;""d;",text\n1,x,one\n', {'a;b;c;"d;': "x"}),
        ("id|text|m\n1|one|x\n", {"m": "x"}),
        ("sep=;\nid;text;m,n,o,p\n1;one;x\n", {"m,n,o,p": "x"}),
        ("\ufeffSEP=|\r\n\r\nid|text|m\r\n1|one|x\r\n", {"m": "x"}),
        ("sep=\t\nid\ttext\tm\n1\tone\tx\n", {"m": "x"}),
    ],
)
def test_the_delimiter_is_what_stands_outside_quotes_or_is_said(tmp_path, content, metadata):
    assert read(tmp_path, "t.csv", content) == [Document("1", "one", "", metadata)]


def test_quotes_that_are_ordinary_characters_hide_no_delimiter(tmp_path):
    found = read(tmp_path, "t.csv", 'id;"text;n\n1;one;2\n', quotes=False, text='"text')
    assert found == [Document("1", "one", "", {"n": 2})]


def test_what_excel_says_is_no_row_and_what_is_given_goes_over_it(tmp_path):
    assert read(tmp_path, "t.csv", "sep=,\nid;text\n1;a,b\n", delimiter=";") == [Document("1", "a,b")]


def test_a_bad_row_is_named_by_its_line_in_the_file(tmp_path):
    report = ReadReport(skip=True)
    read(tmp_path, "t.csv", "sep=;\nid;text\n1;one\n2\n", report)
    assert "t.csv, line 4: the row has 1 field," in str(report.errors[0])


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.10", "2.25"], ["1.10", "2.25"]),
        (["1.1", "2.25", "3.0"], [1.1, 2.25, 3.0]),
        (["+5", "5"], ["+5", "5"]),
        (["-0", "1"], ["-0", "1"]),
        ([".5"], [".5"]),
        (["5."], ["5."]),
        (["0.12345678901234567890"], ["0.12345678901234567890"]),
        (["1e3", "2"], [1000.0, 2.0]),
        (["12345678901234567890"], ["12345678901234567890"]),
        (["007"], ["007"]),
    ],
)
def test_a_cell_that_would_not_come_back_as_it_was_written_stays_text(tmp_path, cells, values):
    rows = "".join(f"text {number},{cell}\n" for number, cell in enumerate(cells))
    assert [document.metadata["m"] for document in read(tmp_path, "t.csv", f"text,m\n{rows}")] == values


def test_a_type_that_is_said_goes_over_it(tmp_path):
    [found] = read(tmp_path, "t.csv", "text,m\none,1.10\n", types={"m": "float"})
    assert found.metadata == {"m": 1.1}


def test_a_cell_can_be_a_list(tmp_path):
    content = 'text,tags\none,"sea, deep blue,"\ntwo,\nthree,sea\n'
    found = read(tmp_path, "t.csv", content, types={"tags": "list"})
    assert [document.metadata for document in found] == [{"tags": ["sea", "deep blue"]}, {}, {"tags": ["sea"]}]
    [found] = read(tmp_path, "t.csv", "text,tags\none,a|b;c\n", types={"tags": "list"}, separator="|")
    assert found.metadata == {"tags": ["a", "b;c"]}
    with pytest.raises(UsageError, match="the separator is empty"):
        read(tmp_path, "t.csv", content, separator="")


# --- encodings


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kind", "content"),
    [
        ("a.txt", "text", "grün"),
        ("a.csv", None, "text\ngrün\n"),
        ("a.jsonl", None, '{"text": "grün"}\n'),
        ("a.json", None, '[{"text": "grün"}]'),
        ("a.md", "documents", "grün"),
        ("a.txt", "documents", "grün"),
        ("a.py", "documents", "# grün"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_text_of_another_encoding_is_read_where_that_is_said(tmp_path, name, kind, content, packed):
    pack = gzip.compress if packed else bytes
    name += ".gz" if packed else ""
    report = ReadReport(skip=True)
    with pytest.raises(DataError, match=r"byte 0xfc at offset \d+ .* is not UTF-8; .* \(--read encoding=cp1252\)"):
        read(tmp_path, name, pack(content.encode("cp1252")), kind=kind)
    assert report.skipped == 0
    for encoding in ("cp1252", "latin-1", "utf-16", "utf-16-le", "utf-8"):
        [found] = read(tmp_path, name, pack(content.encode(encoding)), kind=kind, encoding=encoding)
        assert "grün" in found.text, encoding
    [found] = read(tmp_path, name, pack(b"\xef\xbb\xbf" + content.encode()), kind=kind, encoding="cp1252")
    assert "grün" in found.text, "what says itself that it is UTF-8 is that"


def test_what_is_not_of_the_encoding_is_named(tmp_path):
    report = ReadReport(skip=True)
    found = read(tmp_path, "a.txt", b"one\n\x81\xfc\ntwo\n", report, encoding="cp1252")
    assert [document.text for document in found] == ["one", "two"]
    assert report.skipped == 1
    with pytest.raises(DataError, match="not cp1252: say another encoding"):
        read(tmp_path, "a.md", b"\x81", kind="documents", encoding="cp1252")
    for name in ("klingon", "base64", "rot13"):
        for kind in ("text", "csv", "jsonl", "documents"):
            with pytest.raises(UsageError, match=f"there is no encoding '{name}'; cp1252, "):
                read(tmp_path, "a.txt", b"x", kind=kind, encoding=name)


# --- JSON


RECORDS = [{"id": str(number), "text": f"text {number} ü 😀", "n": number} for number in range(3000)]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_an_array_of_objects_is_read_as_records(tmp_path, name, indent):
    content = b"\xef\xbb\xbf \n" + json.dumps(RECORDS, ensure_ascii=False, indent=indent).encode()
    found = read(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)
    assert [(document.id, document.text, document.metadata["n"]) for document in found] == [
        (record["id"], record["text"], record["n"]) for record in RECORDS
    ]


def test_an_array_comes_through_a_pipe_too(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(RECORDS[:3]).encode())))
    assert [document.id for document in Source.of("-", "jsonl").read()] == ["0", "1", "2"]


@pytest.mark.parametrize("content", ['{\n  "text": "one"\n}', '{"text":\n"one"}\n{"text": "two"}\n'])
def test_a_json_file_may_hold_objects_over_several_lines(tmp_path, content):
    assert next(document.text for document in read(tmp_path, "a.json", content)) == "one"


@pytest.mark.parametrize(
    ("content", "texts", "said"),
    [
        ('[{"text": "one"}, 5, {"text": "two"}]', ["one", "two"], "record 2: must be a JSON object, but is a number"),
        ('[{"text": "one"}, {"text": "a", "text": "b"}, {"text": "two"}]', ["one", "two"], "record 2: the key 'text'"),
        ('[{"text": "one"}, {"text": "x", "n": NaN}, {"text": "two"}]', ["one", "two"], "record 2: NaN is no JSON"),
        ('[{"text": "one"}, {"text": 1}, {"text": "two"}]', ["one", "two"], "record 2: the field 'text' must be text"),
        ('[{"text": "one"}, {oops}, {"text": "two"}]', ["one"], "record 2: not JSON"),
        ('[{"text": "one"} {"text": "two"}]', ["one"], "record 1: not JSON: no comma"),
        ('[{"text": "one"}', ["one"], "record 1: not JSON: no comma and no bracket"),
        ('[{"text": "one"},', ["one"], "the array has no end; it was read up to the record 1"),
        ('[{"text": "one"}] {"text": "two"}', ["one"], "more stands behind the record 1"),
        (b'[{"text": "one"}, {"text": "\xff"}]', [], "is not UTF-8"),
        ('[{"text": "one"}, ' + "[" * 100_000, ["one"], "record 2: nested too deeply"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_an_array_is_named(tmp_path, content, texts, said):
    report = ReadReport(skip=True)
    try:
        found = [document.text for document in read(tmp_path, "a.json", content, report)]
    except DataError:
        found = []
    assert found == texts
    assert report.skipped == 1
    assert said in str(report.errors[0])


def test_a_key_that_comes_twice_is_named(tmp_path):
    lines = '{"text": "one"}\n{"text": "a", "m": {"x": 1, "x": 2}}\n{"text": "two"}\n'
    report = ReadReport(skip=True)
    assert [document.text for document in read(tmp_path, "a.jsonl", lines, report)] == ["one", "two"]
    assert "a.jsonl, line 2: the key 'x' comes twice; one of its values would be lost." in str(report.errors[0])


def test_an_element_that_is_too_long_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("semsearch.reading.json_objects.MAX_TEXT_BYTES", 100_000)
    report = ReadReport(skip=True)
    content = json.dumps([{"text": "one"}, {"text": "x" * 1_000_000}, {"text": "two"}])
    found = [document.text[:3] for document in read(tmp_path, "a.json", content, report)]
    assert found in (["one"], ["one", "two"])
    assert "record 2: longer than 100,000 characters" in str(report.errors[0])


def test_a_quotation_mark_that_is_never_closed_says_what_it_costs(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('text,n\none,1\n"two,2\nthree,3\nfour,4\n')
    report = ReadReport(skip=True)
    assert [document.text for document in Source.of(path).read(report)] == ["one"]
    assert str(report.errors[0]) == (
        f"{path}, line 3: the row can't be read: a quotation mark that begins a cell of it is never closed. It costs 3 "
        "lines, to the line 5. If quotation marks are ordinary characters in this file, say so (--read quotes=false)."
    )


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["9007199254740993", "0.5"], ["9007199254740993", "0.5"]),
        (["0.5", "9007199254740993"], ["0.5", "9007199254740993"]),
        (["9007199254740993", "1", "0.5"], ["9007199254740993", "1", "0.5"]),
        (["9007199254740993", "1"], [9007199254740993, 1]),
        (["9007199254740992", "0.5"], [9007199254740992.0, 0.5]),
        (["9223372036854775807", "2"], [9223372036854775807, 2]),
    ],
)
def test_a_whole_number_beside_fractions_keeps_its_digits(tmp_path, cells, values):
    path = tmp_path / "a.csv"
    path.write_text("text,n\n" + "".join(f"text {n},{cell}\n" for n, cell in enumerate(cells)))
    assert [document.metadata["n"] for document in Source.of(path).read()] == values


def test_a_column_of_dates(tmp_path):
    content = 'text,on\none,2024-05-01\ntwo,2024-05-01T23:00:00-05:00\nthree,"Wed, 01 May 2024 12:00:00 +0200"\nfour,\n'
    found = read(tmp_path, "t.csv", content, types={"on": "date"})
    assert [dict(document.metadata) for document in found] == [
        {"on": "2024-05-01"},
        {"on": "2024-05-02T04:00:00+00:00"},
        {"on": "2024-05-01T10:00:00+00:00"},
        {},
    ]
    report = ReadReport(skip=True)
    assert [
        document.text for document in read(tmp_path, "t.csv", content + "x,01.05.2024\n", report, types={"on": "date"})
    ]
    assert "the column 'on' should hold type date, but here holds '01.05.2024'" in str(report.errors[0])


def test_dates_in_json(tmp_path):
    sent = "Wed, 01 May 2024 12:00:00 +0200"
    records = [
        {"text": "one", "on": sent, "all": [sent, "2024-05-01"]},
        {"text": "two", "metadata": {"on": "20240501"}},
        {"text": "three", "on": None},
        {"text": "four"},
    ]
    content = "".join(json.dumps(record) + "\n" for record in records)
    found = read(tmp_path, "t.jsonl", content, types={"on": "date", "all": "date"})
    assert [dict(document.metadata) for document in found] == [
        {"on": "2024-05-01T10:00:00+00:00", "all": ["2024-05-01T10:00:00+00:00", "2024-05-01"]},
        {"on": "2024-05-01"},
        {"on": None},
        {},
    ]
    report = ReadReport(skip=True)
    for wrong in ("soon", 5, {"a": 1}, [5], True):
        content += json.dumps({"text": "x", "on": wrong}) + "\n"
    again = read(tmp_path, "t.jsonl", content, report, types={"on": "date", "al": "date"})
    assert [document.id for document in again] == [document.id for document in found]
    said = [str(error) for error in report.errors]
    assert "line 5: the field 'on' should be a date, but is 'soon'." in said[0]
    assert len(said) == 6
    assert said[5].endswith("no record has the field 'al', to be a date.")
    with pytest.raises(UsageError, match="JSON says the type of 'on' itself"):
        read(tmp_path, "t.jsonl", content, types={"on": "int"})
