"""What could not be read is named in the end with its reason and counted: "skipped 0" is never said over lost text."""

import io
import json
import os
import sys
from pathlib import Path

import pytest
from support.command_line import run, tiny_model

from corpora import office
from corpora.extraction import extractor
from corpora.extraction.parts import FilePart, Lost
from semsearch.errors import DataError
from semsearch.ingest.source import ReadReport, Source


def files(folder, **contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("_DOT_", ".")).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("kind", "full", "empty"),
    [
        ("documents", {"a.md": b"# whales\ndive"}, {"b.py": b"", "c.md": b" \n", "d.html": b"<script>x</script>"}),
        ("jsonl", {"a.jsonl": b'{"text": "whales"}\n'}, {"b.jsonl": b"", "c.jsonl": b"\n\n"}),
        ("csv", {"a.csv": b"text\nwhales\n"}, {"b.csv": b"text\n"}),
        ("text", {"a.txt": b"whales"}, {"b.txt": b"", "c.md": b"\n\n"}),
    ],
)
def test_a_file_that_gives_nothing_is_named_and_ends_no_run(tmp_path, kind, full, empty):
    folder = files(tmp_path / "folder", **full, **empty)
    report = ReadReport()
    assert len(list(Source.of(folder, kind).read(report))) == 1
    assert (report.empty, report.empty_names, report.left_out) == (len(empty), sorted(empty), len(empty))
    if empty:
        assert report.sentences() == [f"files that hold no text: {len(empty)}: {', '.join(sorted(empty))}."]


def test_a_file_whose_records_came_before_or_were_bad_is_not_empty(tmp_path):
    line = b'{"text": "whales"}\n'
    folder = files(tmp_path / "folder", **{"a.jsonl": line, "b.jsonl": b"{", "c.jsonl": line + line})
    report = ReadReport(skip=True)
    list(Source.of(folder, "jsonl").read(report))
    assert (report.skipped, report.empty, report.left_out) == (1, 0, 1)


def test_a_lost_part_is_named_and_the_others_are_there(tmp_path, monkeypatch):
    def parts(self, path):
        yield FilePart("page=1", "whales dive", "", {"page": 1})
        yield Lost("page=2", "it holds no text.")
        yield FilePart("page=3", "bread rises", "", {"page": 3})

    monkeypatch.setattr(office.Confined, "parts", parts)
    folder = files(tmp_path / "folder", **{"a.pdf": b"%PDF"})
    report = ReadReport(skip=True)
    assert [document.id for document in Source.of(folder).read(report)] == ["a.pdf#page=1", "a.pdf#page=3"]
    assert [str(error) for error in report.errors] == [f"{folder}/a.pdf, page=2: it holds no text."]
    with pytest.raises(DataError, match="page=2: it holds no text"):
        list(Source.of(folder).read(ReadReport()))


@pytest.mark.slow
def test_what_vanished_is_taken_out_of_a_file_that_holds_a_lost_part(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    letter = b"From a\nSubject: %s\nMessage-ID: <%s@x>\nContent-Type: %s\n\nwhales\n\n"
    zipped = b"multipart/mixed; boundary=b\n\n--b\n\nbread\n--b\nContent-Type: application/zip\n\nPK\n--b--\n"
    kept = letter % (b"one", b"1", b"text/plain") + letter % (b"zip", b"2", zipped)
    folder = files(tmp_path / "docs", **{"a.mbox": kept + letter % (b"gone", b"3", b"text/plain"), "b.md": b"bread\n"})
    assert run("index", folder, "-m", model).out == "added 4, changed 0, unchanged 0, skipped 1\n"
    files(folder, **{"a.mbox": kept})
    ended = run("sync", "docs", "--yes")
    assert ended.out == "added 0, changed 0, removed 1, unchanged 3\n"
    assert "an attachment of the kind application/zip" in ended.err
    assert run("sync", "docs").code == 0, "it is as it was, and is not read again"


def test_records_files_and_parts_of_files_are_counted_apart(tmp_path, monkeypatch):
    """A page of a scan is no bad record, and a locked file is no page."""

    def parts(self, path):
        if path.name == "b.pdf":
            raise DataError(f"{path}: it is locked with a password.")
        yield FilePart("page=1", "whales dive")
        yield Lost("page=2", "it holds no text.")
        yield Lost("page=3", "it is broken.", failed=True)

    model = tiny_model(tmp_path / "tiny")
    monkeypatch.setattr(office.Confined, "parts", parts)
    folder = files(tmp_path / "docs", **{"a.pdf": b"%PDF", "b.pdf": b"%PDF"})
    ended = run("index", folder, "-m", model)
    assert ended.out == "added 1, changed 0, unchanged 0, skipped 3\n"
    assert ended.err.splitlines()[-6:-1] == [
        "1 file that can't be read to its end:",
        f"  {folder}/b.pdf: it is locked with a password.",
        "2 parts of files that are lost:",
        f"  {folder}/a.pdf, page=2: it holds no text.",
        f"  {folder}/a.pdf, page=3: it is broken.",
    ]
    told = json.loads(run("index", folder, "--json").out)
    assert (told["skipped"], [len(told[kind]) for kind in ("errors", "records", "files", "parts")]) == (3, [3, 0, 1, 2])
    assert told["parts"] == [f"{folder}/a.pdf, page=2: it holds no text.", f"{folder}/a.pdf, page=3: it is broken."]
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "whale"}\n{\n')
    told = json.loads(run("index", tmp_path / "a.jsonl", "-m", model, "--on-error", "skip", "--json").out)
    assert (len(told["records"]), told["files"], told["parts"]) == (1, [], [])


@pytest.mark.slow
def test_the_command_counts_and_lists_what_was_lost(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    folder = files(
        tmp_path / "docs", **{"a.md": b"whale and storm", "b.py": b"", "c.docx": b"PK no zip", "d.exe": b"MZ"}
    )
    ended = run("index", folder, "-m", model)
    assert (ended.code, ended.out) == (0, "added 1, changed 0, unchanged 0, skipped 2\n")
    assert "files that hold no text: 1: b.py." in ended.err
    assert "c.docx: " in ended.err
    told = json.loads(run("index", folder, "--json").out)
    assert (told["added"], told["unchanged"], told["skipped"]) == (0, 1, 2)
    assert (told["empty"], told["kinds"]) == (["b.py"], {".exe": 1})
    assert len(told["errors"]) == 1
    assert f"{folder}/c.docx: " in told["errors"][0]
    assert json.loads(run("index", folder, "--json", "--dry-run").out)["skipped"] == 2
    files(folder, **{"e.py": b"", "f.md": b"bread"})
    ended = run("sync", "docs")
    assert ended.out == "added 1, changed 0, removed 0, unchanged 1\n"
    assert "files that hold no text: 1: e.py." in ended.err


def test_every_bad_record_is_in_the_json(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "whale"}\n' + b"{\n" * 30)
    told = json.loads(run("index", tmp_path / "a.jsonl", "-m", model, "--on-error", "skip", "--json").out)
    assert (told["added"], told["skipped"], len(told["errors"])) == (1, 30, 30)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are text")
def test_names_that_are_not_utf_8_end_no_run_and_are_counted(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    folder = files(tmp_path / "docs", **{"a.md": b"whale and storm", ".gitignore": b"*.log\n\xff*\n"})
    deep = folder / os.fsdecode(b"caf\xe9s")
    deep.mkdir()
    (deep / "in.md").write_text("bread")
    for name in (b"b\xe9.md", b"c\xe9.log", b"\xe9"):
        (folder / os.fsdecode(name)).write_text("bread")
    (folder / os.fsdecode(b"link\xe9.md")).symlink_to("/etc/hostname")
    (folder / os.fsdecode(b"broken\xe9.md")).symlink_to("nowhere")
    ended = run("index", folder, "-m", model)
    assert (ended.code, ended.out) == (0, "added 1, changed 0, unchanged 0, skipped 5\n")
    assert r"names are not UTF-8 (rename them): 5: " in ended.err
    assert r"/b\xe9.md" in ended.err
    told = json.loads(run("index", folder, "--json").out)
    assert told["skipped"] == 5
    assert f"{folder}/caf\\xe9s" in told["odd_names"]
    files(folder, **{"z.md": b"bread"})
    ended = run("sync", "docs")
    assert (ended.code, ended.out) == (0, "added 1, changed 0, removed 0, unchanged 1\n")
    assert "names are not UTF-8 (rename them): 5: " in ended.err
    for pattern in (["--include", "*.md"], ["--exclude", "caf*"], ["--no-ignore"], ["--format", "text"]):
        ended = run("index", folder, *pattern, "--name", f"n{pattern[0].strip('-')}", "-m", model)
        assert (ended.code, ended.out.split(",")[0]) == (0, "added 2"), pattern
    ended = run("grep", "bread", folder, "-m", model)
    assert ended.code in (0, 2)
    assert "Traceback" not in ended.err


def test_a_heading_without_text_of_its_own_is_found():
    """Menus and lists of questions are headings alone; the last of a page often is."""
    menu = b"# Menu\n\nWelcome.\n\n## Soup\n\n## Pie\n\nwith cream\n\n## Open\n\n### Nine to five\n"
    assert [(part.name, part.title, part.text) for part in extractor(Path("menu.md"))(io.BytesIO(menu))] == [
        ("menu", "Menu", "Welcome."),
        ("menu/soup", "Menu", "Soup"),
        ("menu/pie", "Menu › Pie", "with cream"),
        ("menu/open/nine-to-five", "Menu › Open", "Nine to five"),
    ]
