"""Readers: every kind of file gives the documents it holds, and whatever is wrong is one sentence with its place."""

import csv
import gzip
import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semsearch import plugins
from semsearch.errors import DataError, UsageError
from semsearch.evaluation.judgements import read_qrels, read_queries
from semsearch.home import Home
from semsearch.ingest.source import ReadReport, Source, formats
from semsearch.types import CorpusReader, Document
from semsearch.validation import check_document, is_empty


def read(path, kind=None, report=None, **options):
    return list(Source.of(path, kind, options).read(report))


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    return path


def jsonl(*records) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def feed(monkeypatch):
    """Puts bytes on standard input."""

    def put(raw: bytes):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return put


# --- what each format gives


def test_json_lines_keep_ids_titles_and_typed_metadata(tmp_path):
    path = write(
        tmp_path,
        "films.jsonl",
        '{"id": "a", "title": "Alien", "text": "In space.", "year": 1979, "genres": ["Horror"], "seen": true}\n'
        "\n"
        '{"_id": 7, "text": "Ünïcode \\ud83d\\ude00", "title": null, "metadata": {"year": 1, "x": 2}, "year": 3}',
    )
    assert read(path) == [
        Document("a", "In space.", "Alien", {"year": 1979, "genres": ["Horror"], "seen": True}),
        Document("7", "Ünïcode 😀", "", {"year": 3, "x": 2}),
    ]


def test_columns_can_be_chosen_in_json_lines(tmp_path):
    path = write(tmp_path, "x.jsonl", jsonl({"k": "1", "plot": "It rains.", "name": "Rain", "text": "other"}))
    assert read(path, text="plot", id="k", title="name") == [Document("1", "It rains.", "Rain", {"text": "other"})]


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz", "t.tab"])
def test_tables_quote_span_lines_and_infer_types_over_the_whole_file(tmp_path, name):
    rows = [
        ["id", "title", "text", "year", "price", "new", "zip", "big", "mixed", "none"],
        ["1", "A", 'She said "hi",\nand left.', "1999", "1", "true", "007", str(2**70), "1", ""],
        ["2", "", "Second\ttext", "-3", "2.5", "False", "10", "1", "x", ""],
        ["3", "", "Third", "", "1e3", "", "", "", "", ""],
    ]
    held = io.StringIO()
    csv.writer(held, delimiter="," if ".csv" in name else "\t").writerows(rows)
    first, second, third = read(write(tmp_path, name, held.getvalue()))
    assert first.text == 'She said "hi",\nand left.'
    assert first.metadata == {"year": 1999, "price": 1.0, "new": True, "zip": "007", "big": str(2**70), "mixed": "1"}
    assert [type(first.metadata[key]) for key in ("year", "price", "new")] == [int, float, bool]
    assert second == Document(
        "2", "Second\ttext", "", {"year": -3, "price": 2.5, "new": False, "zip": "10", "big": "1", "mixed": "x"}
    )
    assert third == Document("3", "Third", "", {"price": 1000.0})


def test_a_type_can_be_overridden_and_a_cell_that_is_not_of_it_is_named(tmp_path):
    path = write(tmp_path, "t.csv", "text,year\none,1999\ntwo,n/a\n")
    assert [document.metadata["year"] for document in read(path)] == ["1999", "n/a"]
    with pytest.raises(
        DataError, match=r"t\.csv, line 3: the column 'year' should hold type int, but here holds 'n/a'"
    ):
        read(path, types={"year": "int"})
    assert read(write(tmp_path, "u.csv", "text,n\none,1\n"), types={"n": "str"})[0].metadata == {"n": "1"}
    with pytest.raises(UsageError, match="must be one of str, int, float, bool, date, list, not 'year'"):
        read(path, types={"year": "year"})
    with pytest.raises(DataError, match="no column 'yaer' to give the type 'int' to"):
        read(path, types={"yaer": "int"})
    with pytest.raises(DataError, match="the column 'text' is no metadata but text, id or title"):
        read(path, types={"text": "int"})


def test_the_delimiter_is_found_or_given(tmp_path):
    assert read(write(tmp_path, "semi.csv", "id;text\n1;a, b\n")) == [Document("1", "a, b")]
    assert read(write(tmp_path, "pipe.csv", "id|text\n1|a, b\n"), delimiter="|") == [Document("1", "a, b")]


def test_quotes_can_be_ordinary_characters(tmp_path):
    path = write(tmp_path, "t.tsv", 'id\ttext\n1\t"Hi" there\n2\t5" pipe\n')
    with pytest.raises(DataError, match=r"line 2: the row can't be read: .* \(--read quotes=false\)"):
        read(path)
    assert [document.text for document in read(path, quotes=False)] == ['"Hi" there', '5" pipe']


def test_each_of_several_text_columns_is_a_document_and_equal_ones_are_one(tmp_path):
    path = write(tmp_path, "pairs.tsv", "question1\tquestion2\tsame\nA?\tB?\t1\nB?\tC?\t0\n")
    report = ReadReport()
    found = read(path, report=report, text=["question1", "question2"])
    assert [(document.text, document.metadata) for document in found] == [
        ("A?", {"same": 1}),
        ("B?", {"same": 1}),
        ("C?", {"same": 0}),
    ]
    assert report.same == 1
    with_ids = write(tmp_path, "ids.tsv", "id\tq\ta\n1\tWhy?\tSo.\n")
    assert [d.id for d in read(with_ids, text=["q", "a"])] == ["1/q", "1/a"]


def test_a_text_file_holds_a_document_a_line_a_paragraph_or_is_one(tmp_path):
    content = "First line.\r\nsecond line\n\n  \nLast."
    path = write(tmp_path, "notes.txt", content)
    assert [d.text for d in read(path)] == ["First line.", "second line", "Last."]
    assert [d.text for d in read(path, unit="paragraph")] == ["First line.\r\nsecond line", "Last."]
    assert read(path, unit="file") == [Document("notes.txt", content)]
    assert [d.text for d in read(write(tmp_path, "n.md", "# Head\n\nOne\ntwo."), "text")] == ["# Head", "One\ntwo."]
    with pytest.raises(UsageError, match="'unit' must be one of line, paragraph, file, not 'page'"):
        read(path, unit="page")


def test_a_folder_gives_a_document_a_file_and_counts_what_it_can_not_read(tmp_path):
    write(tmp_path, "b.txt", "Bee.")
    write(tmp_path, "a/deep.md", "\n#  The deep  \n\nWater.")
    write(tmp_path, "a/packed.txt.gz", "Packed.")
    write(tmp_path, "c.pdf", b"%PDF")
    write(tmp_path, "a/d.PDF", b"%PDF")
    write(tmp_path, "e.tar.gz", b"")
    write(tmp_path, "Makefile", "all:")
    write(tmp_path, ".hidden.txt", "no")
    write(tmp_path, ".git/x.txt", "no")
    report = ReadReport()
    assert read(tmp_path, "text", report=report) == [
        Document("a/deep.md", "\n#  The deep  \n\nWater.", "The deep"),
        Document("a/packed.txt.gz", "Packed."),
        Document("b.txt", "Bee."),
    ]
    assert report.kinds == {".pdf": 2, ".tar.gz": 1, "files without extension": 1}
    assert report.sentences() == [
        "files not read, because no reader here knows their kind: 2 .pdf, 1 .tar.gz, 1 files without extension."
    ]
    assert (
        report.done
        == report.total
        == sum((tmp_path / d).stat().st_size for d in ("a/deep.md", "a/packed.txt.gz", "b.txt"))
    )


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        (
            "jsonl",
            {"1.jsonl": jsonl({"text": "a"}), "sub/2.ndjson.gz": jsonl({"text": "b"}), "3.json": '{"text": "c"}'},
        ),
        ("csv", {"1.csv": "text\na\n", "sub/2.TSV": "text\nb\n", "3.csv.gz": "text\nc\n"}),
    ],
)
def test_a_folder_of_nothing_but_records_needs_no_format(tmp_path, kind, files):
    for name, content in files.items():
        write(tmp_path, name, content)
    write(tmp_path, ".hidden/notes.md", "# Notes")
    write(tmp_path, ".DS_Store", b"\0")
    source = Source.of(tmp_path)
    assert source.format == kind
    assert sorted(document.text for document in source.read()) == ["a", "b", "c"]
    write(tmp_path, "read me.md", "Of records.")
    assert Source.of(tmp_path).format == "text"
    assert Source.of(tmp_path, kind).format == kind


def test_an_empty_folder_is_of_no_kind(tmp_path):
    assert Source.of(tmp_path).format == "text"


def test_a_folder_of_json_lines_or_tables_is_read_when_told(tmp_path):
    write(tmp_path, "1.jsonl", jsonl({"text": "a"}, {"id": "x", "text": "b"}))
    write(tmp_path, "sub/2.jsonl", jsonl({"text": "a"}))
    write(tmp_path, "3.csv", "text\nc\n")
    with pytest.raises(
        DataError, match=r"holds no documents: files of other kinds: 1 \.csv, 2 \.jsonl; --format chooses"
    ):
        read(tmp_path)
    found = read(tmp_path, "jsonl")
    assert [document.text for document in found] == ["a", "b", "a"]
    assert [document.id.partition(":")[0] for document in found] == ["1.jsonl", "x", "sub/2.jsonl"]
    assert [document.text for document in read(tmp_path, "csv")] == ["c"]


@pytest.mark.parametrize("packed", ["", ".gz"])
def test_a_beir_folder_gives_corpus_queries_and_judgements(tmp_path, packed):
    write(tmp_path, f"corpus.jsonl{packed}", jsonl({"_id": "d1", "title": "T", "text": "x", "metadata": {"year": 2}}))
    write(tmp_path, f"queries.jsonl{packed}", jsonl({"_id": "q1", "text": "why"}, {"_id": 2, "text": "how"}))
    qrels = write(tmp_path, f"qrels/test.tsv{packed}", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n2\td1\t1\n")
    assert Source.of(tmp_path).format == "beir"
    assert read(tmp_path) == [Document("d1", "x", "T", {"year": 2})]
    assert read_queries(tmp_path) == {"q1": "why", "2": "how"}
    assert read_qrels(qrels) == {"q1": {"d1": 2, "d2": 0}, "2": {"d1": 1}}
    trec = write(tmp_path, "qrels.txt", "q1 0 d1 2\nq1 Q0 d2 0\n2 0 d1 1\n")
    assert read_qrels(trec) == read_qrels(qrels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q\td\tscore\nq1\td1\tgood\n", r"line 2: expected query, document and a whole grade"),
        ("q\td\tscore\nq1\td1\n", r"line 2: expected query"),
        ("q1\td1\t1\nq1\td1\t2\n", r"line 2: document 'd1' is judged twice"),
        ("q\td\tscore\n", "holds no judgements"),
        (b"q\td\tscore\nq1\t\xff\t1\n", "line 2: byte 0xff at offset 13"),
    ],
)
def test_bad_judgements_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_qrels(write(tmp_path, "q.tsv", content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"_id": "1"}\n', r"line 1: a query needs '_id' and 'text' that are text"),
        ('{"_id": "1", "text": "a"}\n{"_id": "1", "text": "b"}\n', "line 2: the query '1' is there twice"),
        ("", "holds no queries"),
    ],
)
def test_bad_queries_are_refused(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_queries(write(tmp_path, "queries.jsonl", content))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("kind", "content", "options"),
    [
        ("jsonl", jsonl({"text": "one", "n": 1}, {"text": "two", "n": 2}), {}),
        ("csv", "text,n\none,1\ntwo,2\n", {}),
        ("text", "one\ntwo\n", {}),
        ("text", "one\n\ntwo\n", {"unit": "paragraph"}),
    ],
)
def test_standard_input_gives_what_the_file_gives(tmp_path, feed, kind, content, options, packed):
    path = write(tmp_path, "file", content)
    feed(gzip.compress(content.encode()) if packed else content.encode())
    streamed = read("-", kind, **options)
    filed = read(path, kind, **options)
    assert [(d.text, d.metadata) for d in streamed] == [(d.text, d.metadata) for d in filed]
    assert [d.text for d in streamed] == ["one", "two"]
    assert all(d.id.startswith("-:") for d in streamed)


def test_documents_come_while_the_rest_is_still_being_written():
    reader = plugins.corpus_reader("jsonl")
    out, into = os.pipe()
    with os.fdopen(out, "rb") as stream, os.fdopen(into, "wb", buffering=0) as writer:
        writer.write(jsonl({"id": "1", "text": "a"}, {"id": "2", "text": "b"}).encode())
        documents = reader.read(stream, reader.Options(), ReadReport())
        assert next(documents).id == "1"  # would wait for ever if the reader wanted the whole
        writer.write(jsonl({"id": "3", "text": "c"}).encode())
        writer.close()
        assert [document.id for document in documents] == ["2", "3"]


@pytest.mark.skipif(sys.platform == "win32", reason="a pipe of POSIX")
@pytest.mark.parametrize(("kind", "content"), [("csv", "text,n\none,1\ntwo,x\n"), ("text", "one\ntwo\n")])
def test_a_named_pipe_is_read_once_and_kept_where_it_is_needed_twice(tmp_path, kind, content):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=[content])
    writer.start()
    found = read(pipe, kind)
    writer.join()
    assert [document.text for document in found] == ["one", "two"]
    if kind == "csv":
        assert [document.metadata for document in found] == [{"n": "1"}, {"n": "x"}]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a device of POSIX")
def test_a_device_has_no_end_and_is_not_read():
    with pytest.raises(UsageError, match="'/dev/zero' is a device, which holds no documents"):
        Source.of("/dev/zero", "text")
    assert Source.of("/dev/null", "text").path == "/dev/null"


# --- ids


def test_ids_do_not_shift_when_a_line_is_put_in_above(tmp_path):
    path = write(tmp_path, "n.txt", "one\ntwo\n")
    before = {d.text: d.id for d in read(path)}
    write(tmp_path, "n.txt", "zero\none\n\ntwo\n")
    after = {d.text: d.id for d in read(path)}
    assert before.items() <= after.items()
    write(tmp_path, "n.txt.gz", "one\ntwo\n")
    assert {d.text: d.id for d in read(tmp_path / "n.txt.gz")} == before
    assert len(set(after.values())) == 3


def test_a_duplicate_id_names_both_places(tmp_path):
    path = write(tmp_path, "d.jsonl", jsonl({"id": 1, "text": "a"}, {"id": "2", "text": "b"}, {"id": "1", "text": "c"}))
    with pytest.raises(DataError, match=r"d\.jsonl, line 3: the id '1' was given before, at .*d\.jsonl, line 1;"):
        read(path)
    report = ReadReport(skip=True)
    assert [d.text for d in read(path, report=report)] == ["a", "b"]
    assert report.skipped == 1


def test_title_and_text_decide_a_content_id(tmp_path):
    path = write(tmp_path, "d.jsonl", jsonl({"title": "ab", "text": "c"}, {"title": "a", "text": "bc"}, {"text": "c"}))
    assert len({document.id for document in read(path)}) == 3


def test_a_record_that_is_all_title_is_found_by_it(tmp_path):
    path = write(
        tmp_path, "t.jsonl", jsonl({"id": "1", "title": "Only", "text": ""}, {"title": "T", "text": " ", "id": "2"})
    )
    assert read(path) == [Document("1", "Only"), Document("2", "T")]


# --- bad input


BAD_LINES = [  # a bad line of JSON, and what is said of it
    (b"{no", r"not JSON: Expecting property name enclosed in double quotes at column 2"),
    (b'{"id": "1", "text": "a"', r"not JSON: "),
    (b'[{"id": "1", "text": "a"}]', "must be a JSON object, but is a list."),
    (b"17", "must be a JSON object, but is a number"),
    (b'{"id": "1", "text": "\xff"}', r"byte 0xff at offset \d+ of the file is not UTF-8"),
    (b'{"id": "1", "text": "a\\u0000b"}', r"the text holds a NUL character \(at 1\)"),
    (b'{"id": "1", "text": "a\x00b"}', r"not JSON: Invalid control character"),
    (b'{"id": "1", "text": "\\ud800"}', "the text holds half a surrogate pair"),
    (b'{"id": "1", "title": "\\udfff", "text": "a"}', "the title holds half a surrogate pair"),
    (b'{"id": "1", "titel": "x"}', r"there is no column 'text'; there are: 'id', 'titel'. Say with --text"),
    (b'{"id": "1", "text": ""}', "the text is empty"),
    (b'{"id": "1", "text": " \\n\\t "}', "the text is empty"),
    (b'{"id": "1", "text": null}', "the field 'text' must be text, but is null"),
    (b'{"id": "1", "text": 5}', "the field 'text' must be text, but is a number"),
    (b'{"id": "1", "text": ["a"]}', "the field 'text' must be text, but is a list"),
    (b'{"id": "1", "title": {}, "text": "a"}', "the title must be text, but is an object"),
    (b'{"id": 1.5, "text": "a"}', "the id must be text or a whole number, but is a number"),
    (b'{"id": true, "text": "a"}', "the id must be text or a whole number, but is true"),
    (b'{"id": null, "text": "a"}', "the id must be text or a whole number, but is null"),
    (b'{"id": " ", "text": "a"}', "the id is empty"),
    (b'{"id": "' + b"i" * 5000 + b'", "text": "a"}', "has 5,000 characters; at most 4,096"),
    (b'{"id": "1", "text": "a", "x": NaN}', "NaN is no JSON number"),
    (b'{"id": "1", "text": "a", "x": [-Infinity]}', "-Infinity is no JSON number"),
    (b'{"id": "1", "text": "a", "x": 1e999}', "the metadata, 'x', holds inf"),
    (b'{"id": "1", "text": "a", "x": 9223372036854775808}', "the metadata, 'x', holds a whole number beyond 64 bits"),
    (
        b'{"id": "1", "text": "a", "x": ' + b"9" * 5000 + b"}",
        "a number has more digits than are read; write it as a text",
    ),
    (b'{"id": "1", "text": "a", "x": {"y": "\\u0000"}}', "the metadata, 'x', holds a NUL character"),
    (b'{"id": "1", "text": "a", "\\ud800": 1}', "the metadata: a key holds half a surrogate pair"),
    (b'{"id": "1", "text": "a", "x": ' + b"[" * 30 + b"]" * 30 + b"}", "nested deeper than 20 levels"),
    (b"[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("bad", "message"), BAD_LINES, ids=[message[:30] for _, message in BAD_LINES])
def test_a_bad_line_is_named_and_costs_only_itself(tmp_path, bad, message):
    good = [{"id": "first", "text": "good"}, {"id": "last", "text": "good too"}]
    path = write(tmp_path, "b.jsonl", jsonl(good[0]).encode() + bad + b"\n" + jsonl(good[1]).encode())
    with pytest.raises(DataError, match=rf"b\.jsonl, line 2: .*{message}") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    report = ReadReport(skip=True)
    assert [document.id for document in read(path, report=report)] == ["first", "last"]
    assert report.skipped == 1
    assert report.sentences()[0] == "1 bad record skipped:"


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"a,b\n1,2\n", {}, r"line 1: there is no column 'text'; there are: 'a', 'b'. Say with --text"),
        (b"a,b\n1,2\n", {"text": "c"}, r"line 1: there is no column 'c'; there are: 'a', 'b'\.$"),
        (b"text,b\n1,2\n", {"id": "key"}, "there is no column 'key'"),
        (b"text,b\n1,2\n", {"title": "name"}, "there is no column 'name'"),
        (b"text,text\n1,2\n", {}, "the column 'text' is there twice"),
        (b"id,text\n1,a\n2\n", {}, r"line 3: the row has 1 field, where the header has 2"),
        (b"id,text\n1,a\n2,b,c\n", {}, r"line 3: the row has 3 fields, where the header has 2"),
        (
            b'id,text\n1,a\n2,"b\n3,c\n',
            {},
            r"line 3: the row can't be read: a quotation mark that begins a cell of it is never closed",
        ),
        (b"id,text\n1,a\n2,\n", {}, r"line 3: the text is empty"),
        (b"id,text\n1,a\n,b\n", {}, r"line 3: the id is empty"),
        (b"id,text\n1,a\n2,b\x00c\n", {}, r"line 3: the text holds a NUL"),
        (b"id,text,x\n1,a,1\n2,b,\x00\n", {}, r"line 3: the metadata, 'x', holds a NUL"),
        (b"id,text\n1,a\n2,\xe9t\xe9\n", {}, r"line 3: byte 0xe9 at offset 14 of the file is not UTF-8"),
        (b"", {}, "has no header line: it is empty"),
        (b"id,text\n", {}, r"t\.csv holds no documents\.$"),
        ("id,text\n1,a\n".encode("utf-16"), {}, "line 1: this looks like UTF-16"),
    ],
)
def test_bad_tables(tmp_path, content, options, message):
    path = write(tmp_path, "t.csv", content)
    with pytest.raises(DataError, match=message) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)


def test_a_place_is_that_of_the_line_where_a_row_begins(tmp_path):
    path = write(tmp_path, "t.csv", b'id,text\n1,"a\nb"\n\n\xff\n2,"c\nd"\n2,e\n')
    report = ReadReport(skip=True)
    assert [d.text for d in read(path, report=report)] == ["a\nb", "c\nd"]
    assert "t.csv, line 5: byte 0xff" in str(report.errors[0])
    assert "line 8: the id '2' was given before, at" in str(report.errors[1])
    assert str(report.errors[1]).endswith("t.csv, line 6; ids must be unique.")


@pytest.mark.parametrize("content", [b"", b"\n \n\n"])
@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
def test_an_empty_corpus_is_an_error(tmp_path, feed, kind, content):
    with pytest.raises(DataError, match=r"holds no documents|is empty"):
        read(write(tmp_path, "x", content), kind)
    feed(content)
    with pytest.raises(DataError, match=r"standard input (holds no documents|has no header line)"):
        read("-", kind)


def test_an_empty_folder_and_an_empty_file_in_one(tmp_path):
    with pytest.raises(DataError, match="holds no documents"):
        read(tmp_path)
    write(tmp_path, "a.txt", "")
    write(tmp_path, "b.txt", "b")
    report = ReadReport()
    assert [document.id for document in read(tmp_path, report=report)] == ["b.txt"]
    assert (report.empty, report.empty_names) == (1, ["a.txt"])


def test_when_all_was_skipped_the_first_reason_is_given(tmp_path):
    with pytest.raises(DataError, match=r"holds no documents: 2 bad records skipped, the first: .*no column 'text'"):
        read(write(tmp_path, "x.jsonl", jsonl({"a": 1}, {"a": 2})), report=ReadReport(skip=True))


def test_a_title_column_that_the_first_record_lacks_is_a_slip(tmp_path):
    path = write(tmp_path, "x.jsonl", jsonl({"name": "N", "text": "a"}, {"text": "b"}))
    assert [d.title for d in read(path, title="name")] == ["N", ""]
    with pytest.raises(DataError, match="line 1: there is no column 'nmae'; there are: 'name', 'text'"):
        read(path, title="nmae")


def test_files_that_refuse_are_named_and_the_others_read(tmp_path, monkeypatch):
    """Root may read everything, so the refusal is played."""
    for name in ("a.txt", "b.txt", "c.txt"):
        write(tmp_path, name, name)
    opened = Path.open

    def refuse(self, *args, **kwargs):
        if self.name == "b.txt":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"b\.txt can't be read: Permission denied"):
        read(tmp_path)
    report = ReadReport(skip=True)
    assert [document.id for document in read(tmp_path, report=report)] == ["a.txt", "c.txt"]
    assert report.skipped == 1


def test_a_folder_that_refuses_is_named(tmp_path, monkeypatch):
    write(tmp_path, "a.txt", "a")
    write(tmp_path, "closed/b.txt", "b")
    scanned = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scanned(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match=r"the folder .*closed can't be read: Permission denied"):
        read(tmp_path)
    assert [document.id for document in read(tmp_path, report=ReadReport(skip=True))] == ["a.txt"]


@pytest.mark.skipif(sys.platform == "win32", reason="links and pipes of POSIX")
def test_loops_links_and_pipes_in_a_folder_are_harmless(tmp_path):
    write(tmp_path, "a/real.txt", "real")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "link.txt").symlink_to(tmp_path / "a" / "real.txt")
    (tmp_path / "broken.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    report = ReadReport()
    assert [document.id for document in read(tmp_path, report=report)] == ["a/real.txt", "link.txt"]
    assert report.kinds == {"links to folders": 1, "broken links": 1, "not regular (pipes, sockets, devices)": 1}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_names_that_are_not_utf_8_are_left_out_and_told_in_printable_words(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9s")
    folder.mkdir()
    for name in (b"caf\xe9.txt", b"caf\xe9s/a.txt"):
        (tmp_path / os.fsdecode(name)).write_text("x")
    with pytest.raises(DataError, match=r"no documents.*not UTF-8.*2: .*/caf\\xe9\.txt, .*/caf\\xe9s\.") as caught:
        read(tmp_path)
    str(caught.value).encode()
    write(tmp_path, "b.txt", "y")
    report = ReadReport(keep=1)
    assert [document.id for document in read(tmp_path, report=report)] == ["b.txt"]
    (said,) = report.sentences()
    assert "names are not UTF-8 (rename them): 2: /" in said
    assert said.endswith(r"/caf\xe9.txt, ….")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_a_source_whose_path_is_not_utf_8_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9s")
    folder.mkdir()
    write(folder, "a.txt", "x")
    monkeypatch.chdir(folder)
    for path in (folder, folder / "a.txt", "a.txt", ".", "\ud800.txt"):
        with pytest.raises(UsageError, match="is not UTF-8") as caught:
            Source.of(path)
        str(caught.value).encode()
    with pytest.raises(UsageError, match="is not UTF-8"):
        Source.of(write(tmp_path, "b.txt", "y")).with_vectors("a.txt")
    with pytest.raises(UsageError, match="is not UTF-8"):
        Home.of(folder)


def test_damaged_gzip_says_so_and_keeps_what_came_before(tmp_path):
    lines = "".join(f"line {i} {os.urandom(20).hex()}\n" for i in range(2000))
    path = tmp_path / "x.txt.gz"
    path.write_bytes(gzip.compress(lines.encode())[:-2000])
    with pytest.raises(DataError, match=r"after line [\d,]+: the rest can't be read: the gzip data ends too early"):
        read(path)
    report = ReadReport(skip=True)
    assert 1000 < len(read(path, report=report)) < 2000
    path.write_bytes(gzip.compress(lines.encode())[:40] + b"rubbish" * 20)
    with pytest.raises(DataError, match=r"the rest can't be read|not UTF-8"):
        read(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        ("a.txt", "one\ntwo\nthree\n", 3),
        ("a.jsonl", '{"text": "one"}\n{"text": "two"}\n', 2),
        ("a.json", '[{"text": "one"}, {"text": "two"}]', 2),
        ("a.csv", "text\none\ntwo\n", 2),
        ("a.md", "# one\n1\n# two\n2\n", 2),
        ("a.mbox", "From a\nSubject: x\n\none\n\n", 1),
    ],
)
def test_what_stands_behind_gzip_data_costs_nothing_before_it(tmp_path, name, content, count):
    path = tmp_path / f"{name}.gz"
    packed = gzip.compress(content.encode())
    for behind, told in (
        (b"rubbish", "what stands behind the gzip data is something else"),
        (b"\0\0\0r", "what stands behind the gzip data is something else"),
        (packed[:5], "the gzip data ends too early"),
        (b"\0" * 100, None),
        (gzip.compress(b""), None),
    ):
        path.write_bytes(packed + behind)
        report = ReadReport(skip=True)
        assert len(read(path, None, report)) == count, behind
        assert [str(error).rpartition(": ")[2] for error in report.errors] == ([f"{told}."] if told else []), behind


def test_half_a_line_of_a_file_that_is_cut_short_is_none(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\ntwo\nthr", 0)[:-10])
    report = ReadReport(skip=True)
    assert [document.text for document in read(path, None, report)] == ["one", "two"]
    assert "after line 2: the rest can't be read: the gzip data ends too early." in str(report.errors[0])


@pytest.mark.slow
def test_what_stands_before_damaged_gzip_data_is_read(tmp_path):
    lines = "".join(f"line {number}\n" for number in range(100_000)).encode()
    packed = gzip.compress(lines)
    path = tmp_path / "a.txt.gz"
    for content, least in ((packed[:-8] + b"\1" * 8, 100_000), (packed[: len(packed) // 2] + b"\xff" * 99, 40_000)):
        path.write_bytes(content)
        report = ReadReport(skip=True)
        found = read(path, None, report)
        assert len(found) >= least
        assert [document.text for document in found] == lines.decode().splitlines()[: len(found)]
        assert "the rest can't be read: the gzip data " in str(report.errors[0])


def test_a_packed_file_that_is_a_document_is_whole_or_none(tmp_path):
    packed = gzip.compress(b"whales dive")
    (tmp_path / "a.txt.gz").write_bytes(packed + b"rubbish")
    (tmp_path / "b.txt.gz").write_bytes(packed[:-3])
    report = ReadReport(skip=True)
    assert [document.id for document in read(tmp_path, "text", report)] == ["a.txt.gz"]
    assert [str(error).partition(".gz: the rest can't be read: ")[2] for error in report.errors] == [
        "what stands behind the gzip data is something else.",
        "the gzip data ends too early.",
    ]


@pytest.mark.parametrize("kind", ["text", "jsonl", "csv"])
def test_a_line_beyond_the_limit_is_refused_and_left_out(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("semsearch.reading.files.MAX_TEXT_BYTES", 1000)
    long = "x" * 5000
    content = {
        "text": f"one\n{long}\ntwo\n",
        "jsonl": jsonl({"text": "one"}, {"text": long}, {"text": "two"}),
        "csv": f"text\none\n{long}\ntwo\n",
    }[kind]
    path = write(tmp_path, "x", content)
    with pytest.raises(DataError, match=r"line [23]: 5,0\d\d bytes long, where 1,000 are the most"):
        read(path, kind)
    assert [document.text for document in read(path, kind, ReadReport(skip=True))] == ["one", "two"]


def test_a_document_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("semsearch.reading.files.MAX_TEXT_BYTES", 1000)
    monkeypatch.setattr("corpora.text.MAX_TEXT_BYTES", 1000)
    path = write(tmp_path, "x.txt", "word\n" * 300 + "\nend")
    with pytest.raises(DataError, match="longer than 1,000 bytes"):
        read(path, unit="file")
    with pytest.raises(DataError, match="line 1: a paragraph of 1,500 characters, where 1,000 are the most"):
        read(path, unit="paragraph")
    assert [d.text for d in read(path, unit="paragraph", report=ReadReport(skip=True))] == ["end"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert read(write(tmp_path, "x.txt", b"\xef\xbb\xbfone\n"))[0].text == "one"
    assert read(write(tmp_path, "x.csv", b"\xef\xbb\xbfid,text\n1,a\n")) == [Document("1", "a")]


# --- sources


def test_the_format_is_recognised_or_asked_for(tmp_path):
    assert formats() == ["beir", "csv", "documents", "images", "jsonl", "parquet", "text"]
    for name, kind in (("a.JSONL", "jsonl"), ("a.ndjson.gz", "jsonl"), ("a.tsv", "csv"), ("a.md", "documents")):
        assert Source.of(write(tmp_path, name, "")).format == kind
    with pytest.raises(
        UsageError,
        match=r"x\.log' can't be told from its name: say --format beir or csv or documents or images or jsonl or "
        "parquet or text",
    ):
        Source.of(write(tmp_path, "x.log", ""))
    with pytest.raises(UsageError, match="there is no file or folder 'nowhere'"):
        Source.of("nowhere")
    with pytest.raises(UsageError, match="standard input has no name to know its format by"):
        Source.of("-")
    with pytest.raises(UsageError, match="'xml' is not among the known corpora"):
        Source.of(tmp_path, "xml")
    with pytest.raises(UsageError, match=r"format 'text' has no option 'types'. It has: unit \(what makes a document"):
        Source.of(tmp_path, "text", {"types": {}})
    with pytest.raises(UsageError, match=r"format 'beir' has no option 'text'\. It has: none"):
        Source.of(tmp_path, "beir", {"text": "x"})
    with pytest.raises(DataError, match="is no BEIR folder"):
        read(tmp_path, "beir")


def test_a_source_is_remembered_as_json_and_reads_the_same(tmp_path, monkeypatch):
    path = write(tmp_path, "my films!.tsv.gz", "k\tplot\tyear\n1\tRain.\t3\n")
    monkeypatch.chdir(tmp_path)
    source = Source.of(path.name, options={"text": ["plot"], "id": "k", "title": None, "types": {"year": "float"}})
    assert source.path == str(path)
    assert source.options == {"text": ["plot"], "id": "k", "types": {"year": "float"}}
    again = Source(**json.loads(source.to_json()))
    assert again == source
    assert list(again.read()) == [Document("1", "Rain.", "", {"year": 3.0})]
    assert again == Source.of(path, "csv", {"types": {"year": "float"}, "text": "plot", "id": "k"})


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("films.jsonl", "films"),
        ("my_films-2.csv.gz", "my_films-2"),
        ("Übersicht.txt", "Übersicht"),
        ("a.b.txt", "a.b"),
        ("v1.2/", "v1.2"),
    ],
)
def test_the_default_name_is_the_stem(tmp_path, name, stem):
    path = tmp_path / name
    path.mkdir() if name.endswith("/") else path.write_text("x")
    assert Source.of(path, "text").name == stem


def test_without_a_stem_a_name_is_asked_for(tmp_path):
    with pytest.raises(UsageError, match="gives the collection no name: choose one with --name"):
        _ = Source("-", "text").name


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("!!!.txt", "--name"),
        ("my films (2).csv.gz", "--name, as in --name my-films-2"),
        (".-x.txt", "--name, as in --name x"),
    ],
)
def test_a_stem_that_is_no_name_is_not_bent(tmp_path, name, advice):
    source = Source.of(write(tmp_path, name, "x"), "text")
    with pytest.raises(UsageError, match=rf"can't name a collection: .* Choose one with {advice}\.$"):
        _ = source.name


def test_every_built_in_reader_has_the_protocol():
    for name in formats():
        reader: CorpusReader = plugins.corpus_reader(name)
        assert reader.Options() == reader.Options()
        assert not reader.recognises(Path("unheard.of"))


# --- whatever comes, documents or a DataError


TEXTS = st.text(min_size=1, max_size=40).filter(lambda s: not is_empty(s) and "\0" not in s)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = TEXTS.filter(lambda name: name not in {"id", "_id", "text", "title", "metadata"})
DOCUMENTS = st.lists(
    st.builds(Document, TEXTS, TEXTS, TEXTS | st.just(""), st.dictionaries(NAMES, VALUES, max_size=3)),
    min_size=1,
    max_size=5,
    unique_by=lambda document: document.id,
)
QUIET = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.slow
@QUIET
@given(documents=DOCUMENTS, escaped=st.booleans())
def test_json_lines_give_back_what_was_written(tmp_path, documents, escaped):
    lines = [
        json.dumps({"id": d.id, "title": d.title, "text": d.text, **d.metadata}, ensure_ascii=escaped)
        for d in documents
    ]
    assert read(write(tmp_path, "x.jsonl", "\n".join(lines))) == documents


@pytest.mark.slow
@QUIET
@given(documents=DOCUMENTS, tab=st.booleans())
def test_tables_give_back_what_was_written(tmp_path, documents, tab):
    held = io.StringIO(newline="")
    writer = csv.writer(held, delimiter="\t" if tab else ",")
    writer.writerow(["id", "title", "text"])
    writer.writerows([d.id, d.title, d.text] for d in documents)
    found = read(write(tmp_path, "x.tsv" if tab else "x.csv", held.getvalue()))
    assert found == [Document(d.id, d.text, d.title) for d in documents]


@pytest.mark.slow
@QUIET
@given(lines=st.lists(TEXTS.filter(lambda s: "\n" not in s and s == s.rstrip("\r")), min_size=1, unique=True))
def test_lines_give_back_what_was_written(tmp_path, lines):
    lines[0] = lines[0].lstrip("\ufeff") or "x"
    assert [d.text for d in read(write(tmp_path, "x.txt", "\n".join(lines)))] == list(dict.fromkeys(lines))


FRAGMENTS = rb'{"text": "|"}|{|[|"|,|id|text|"id": 1, |\ud800|NaN|1e999| |a|'.split(
    b"|"
) + b"\n:\t:\x00:\xff:\r:\x1f\x8b:\xef\xbb\xbf:\xe2\x80\xa8:text,b\n".split(b":")
HOSTILE = st.binary(max_size=300) | st.lists(st.sampled_from(FRAGMENTS), max_size=40).map(b"".join)


@pytest.mark.slow
@QUIET
@given(raw=HOSTILE, packed=st.booleans(), skip=st.booleans())
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("text", {}),
        ("text", {"unit": "paragraph"}),
        ("text", {"unit": "file"}),
        ("jsonl", {}),
        ("csv", {}),
        ("csv", {"quotes": False, "text": "a", "id": "id"}),
    ],
)
def test_hostile_bytes_give_documents_or_a_data_error(tmp_path, kind, options, raw, packed, skip):
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    report = ReadReport(skip=skip)
    ids = set()
    try:
        for document in Source.of(path, kind, options).read(report):
            check_document(document)
            assert document.id not in ids
            ids.add(document.id)
    except DataError as error:
        str(error).encode()
        assert not skip or not ids  # with skip, only a corpus without a document is an error


# --- the real data


@pytest.mark.real
def test_all_distinct_questions_of_quora_are_documents(data):
    report = ReadReport()
    seen = set()
    count = 0
    for document in Source.of(data / "quora-pairs.tsv", options={"text": ["question1", "question2"]}).read(report):
        seen.add(document.text)
        count += 1
    with (data / "quora-pairs.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    assert count == len(seen) == 137_551
    assert seen == {question for row in rows for question in row[:2]}
    assert report.same == 2 * len(rows) - count


@pytest.mark.real
def test_the_real_sets_are_read_whole(data):
    assert sum(1 for _ in Source.of(data / "scifact").read()) == 5_183
    assert sum(1 for _ in Source.of(data / "nfcorpus").read()) == 3_633
    films = list(Source.of(data / "wikipedia-movies.jsonl").read())
    assert len(films) == 34_532
    assert all(isinstance(film.metadata["year"], int) and isinstance(film.metadata["genres"], list) for film in films)
    pairs = Source.of(
        data / "stsbenchmark.tsv.gz",
        options={"text": ["sentence1", "sentence2"], "quotes": False, "types": {"sid": "str", "score": "float"}},
    )
    report = ReadReport()
    scores = [document.metadata["score"] for document in pairs.read(report)]
    assert len(scores) + report.same == 2 * (5_749 + 1_500 + 1_379)
    assert all(isinstance(score, float) and 0 <= score <= 5 for score in scores)
    judged = read_qrels(data / "scifact" / "qrels" / "test.tsv")
    assert len(judged) == 300
    assert sum(map(len, judged.values())) == 339
    assert judged.keys() <= read_queries(data / "scifact").keys()
