"""Documents as people have them: what each kind of file gives, and that no file can stop a run."""

import gzip
import io
import os
import random
import sys
import zipfile
from pathlib import Path

import pytest
from support.command_line import run, tiny_model
from support.pdf import assembled

import semsearch
from corpora.confined import Confined
from corpora.extraction import KINDS, extractor
from corpora.extraction.parts import Unreadable
from semsearch.errors import DataError
from semsearch.ingest.source import ReadReport, Source
from semsearch.types import Document


def parts(name: str, content: bytes | str):
    raw = content if isinstance(content, bytes) else content.encode()
    return [(part.name, part.title, part.text) for part in extractor(Path(name))(io.BytesIO(raw))]


def write(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def pdf(*pages: str, title: str = "") -> bytes:
    """A PDF of a line of text a page, as its specification lays it out."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    kids = []
    for text in pages:
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream))
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
            % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), len(kids))
    objects.append(f"<</Title({title})>>".encode())
    return assembled(objects, b"/Info %d 0 R" % len(objects))


def epub(**chapters: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        )
        items = "".join(f'<item id="{name}" href="text/{name}.xhtml"/>' for name in chapters)
        spine = "".join(f'<itemref idref="{name}"/>' for name in reversed(chapters))
        book.writestr(
            "OPS/book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<metadata><dc:title>The Book</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine>"
            "</package>",
        )
        for name, body in chapters.items():
            book.writestr(f"OPS/text/{name}.xhtml", f"<html><body>{body}</body></html>")
    return out.getvalue()


def test_markdown_has_its_headings_for_context():
    text = """---
title: "The manual"
---
Preamble.

# Install
## On Linux #
Type it.

```sh
# no heading
make
```
## On Windows
Click it.

Use
===
Run it.

* a list
---
"""
    assert parts("a.md", text) == [
        ("", "The manual", "Preamble."),
        ("install/on-linux", "The manual › Install › On Linux", "Type it.\n\n```sh\n# no heading\nmake\n```"),
        ("install/on-windows", "The manual › Install › On Windows", "Click it."),
        ("use", "The manual › Use", "Run it.\n\n* a list\n---"),
    ]
    assert parts("a.md", "# Only\n## headings\n") == [("", "", "Only\nheadings")]
    assert parts("a.md", b"\xff\xfe" + "# Ä\nö".encode("utf-16-le")) == [("ä", "Ä", "ö")]
    with pytest.raises(Unreadable, match=r"byte 0xe9 at offset 7 .* is not UTF-8; .*--read encoding=cp1252"):
        parts("a.md", b"# A\ncaf\xe9")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n- item\n\n  # in it\n  - deeper\n", [("a", "A", "- item\n\n  # in it\n  - deeper")]),
        ("# A\n> # quoted\n> said\n", [("a", "A", "> # quoted\n> said")]),
        ("# A\n<div>\n# no heading\n</div>\n\n# B\nb", [("a", "A", "<div>\n# no heading\n</div>"), ("b", "B", "b")]),
        ("# A\n<!--\n# B\n\nC\n---\n-->\n", [("a", "A", "<!--\n# B\n\nC\n---\n-->")]),
        ("# A\n~~~\n# x\n```\n~~~~\n# B\nb", [("a", "A", "~~~\n# x\n```\n~~~~"), ("b", "B", "b")]),
        ("# A\n1. ```\n   # x\n   ```\n# B\nb", [("a", "A", "1. ```\n   # x\n   ```"), ("b", "B", "b")]),
        ("# A\n    # code\n", [("a", "A", "    # code")]),
        ("Two\nlines\n===\nbelow\n", [("two-lines", "Two lines", "below")]),
        ("# A\na\n\nTwo *lines*\nabove\n---\n", [
            ("a", "A", "a"), ("a/two-lines-above", "A › Two *lines* above", "Two *lines*\nabove\n---"),
        ]),
        ("# A #\n#hashtag\n####### seven\n", [("a", "A", "#hashtag\n####### seven")]),
        ("a\n\n***\nb\n\n---\nc\n", [("", "", "a\n\n***\nb\n\n---\nc")]),
        ("# A\r\none\r\ntwo\r\n", [("a", "A", "one\ntwo")]),
        ("# A\n\x0bone\u2028two\x85three\x1cfour\n", [("a", "A", "\x0bone\u2028two\x85three\x1cfour")]),
        ("# A\n| x | y |\n|---|---|\n| 1 | 2 |\n\n[b]: http://b\n", [
            ("a", "A", "| x | y |\n|---|---|\n| 1 | 2 |\n\n[b]: http://b"),
        ]),
        ("---\ntitle: T\n...\n# A\na", [("a", "T › A", "a")]),
        ("---\n# comment\n\nkey:\n  - a: b\n---  \n# A\na", [
            ("", "", "# comment\n\nkey:\n  - a: b"), ("a", "A", "a"),
        ]),
        ("---\nA rule above, one below.\n\n---\nb", [("", "", "---\nA rule above, one below.\n\n---\nb")]),
        ("", []),
        ("---\n", [("", "", "---")]),
        ("# Заголовок\nтекст\n\n# 見出し\n本文", [("заголовок", "Заголовок", "текст"), ("見出し", "見出し", "本文")]),
    ],
)  # fmt: skip
def test_markdown_is_parsed_as_commonmark(text, expected):
    assert parts("a.md", text) == expected


def test_no_list_quotation_or_html_is_lost_whatever_stands_around_it():
    kept = ("- b", "> e", "<p>", "```")
    around = ("# A", "a", "", "  # c", "B", "===", "# d", "# f", "C", "D", "---")
    generator = random.Random(0)
    for _ in range(300):
        lines = generator.choices(kept + around, k=12)
        found = [line for _, _, text in parts("a.md", "\n".join(lines)) for line in text.split("\n")]
        for line in kept:
            assert found.count(line) == lines.count(line), "\n".join(lines)


def test_html_is_what_a_reader_sees():
    text = """<html><head><title> The
      page </title><style>b{}</style></head><body><nav>Home | About</nav><main><h1>One<a href="#">¶</a></h1>
      <p>A <b>bold</b>ly   set<br>line.</p><script>alert(1)</script><ul><li>first<li>second</ul>
      <h2>Two</h2><pre>x = 1
  y</pre>tail</main><footer>©</footer></body></html>"""
    assert parts("a.html", text) == [
        ("one", "The page › One", "A boldly set\nline.\n\nfirst\n\nsecond"),
        ("one/two", "The page › One › Two", "x = 1\n  y\n\ntail"),
    ]
    assert parts("a.htm", "<p>überall") == [("", "", "überall")]
    assert parts("a.htm", b"<meta charset=latin1><p>" + b"\xfcber") == [("", "", "über")]


def test_a_page_of_a_pdf_is_a_document_with_its_number():
    found = list(extractor(Path("a.pdf"))(io.BytesIO(pdf("Whales dive.", "", "Bread rises.", title="Notes"))))
    assert [(part.name, part.title, part.text, part.metadata) for part in found] == [
        ("page=1", "Notes", "Whales dive.", {"page": 1}),
        ("page=3", "Notes", "Bread rises.", {"page": 3}),
    ]


def test_word_files_have_headings_and_tables():
    import docx

    made = docx.Document()
    made.core_properties.title = "Report"
    made.add_paragraph("Before.")
    made.add_heading("Results", 1)
    made.add_paragraph("We found.")
    table = made.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "a", "b"
    made.add_heading("Detail", 2)
    made.add_paragraph("More.")
    out = io.BytesIO()
    made.save(out)
    assert parts("a.docx", out.getvalue()) == [
        ("", "Report", "Before."),
        ("results", "Report › Results", "We found.\n\na | b"),
        ("results/detail", "Report › Results › Detail", "More."),
    ]


def test_the_chapters_of_a_book_come_in_their_order():
    assert parts("a.epub", epub(two="<h1>End</h1><p>Last.</p>", one="<p>First.</p>")) == [
        ("OPS/text/one.xhtml", "The Book", "First."),
        ("OPS/text/two.xhtml/end", "The Book › End", "Last."),
    ]


MAIL = """From: Ann <ann@example.org>
To: =?utf-8?q?J=C3=BCrgen?= <j@example.org>
Subject: =?utf-8?b?w5xiZXIgV2FsZQ==?=
Date: Tue, 02 Jan 2024 10:00:00 +0100
Message-ID: <1@example.org>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/html

<p>no</p>
--b
Content-Type: text/plain; charset=latin-1
Content-Transfer-Encoding: quoted-printable

Wale tauchen f=FCr Stunden.
--b--
"""


def test_a_message_has_its_subject_and_who_wrote_it():
    [part] = extractor(Path("a.eml"))(io.BytesIO(MAIL.encode()))
    assert (part.name, part.title, part.text) == ("", "Über Wale", "Wale tauchen für Stunden.")
    assert part.metadata == {
        "from": "Ann <ann@example.org>",
        "to": "Jürgen <j@example.org>",
        "message_id": "<1@example.org>",
        "date": "2024-01-02T09:00:00+00:00",
    }
    assert parts("a.eml", "Subject: x\nContent-Type: text/html\n\n<p>a<p>b") == [("", "x", "a\n\nb")]
    assert parts("a.eml", "Subject: x\nContent-Type: text/plain; charset=klingon\n\nhello") == [("", "x", "hello")]
    assert parts("a.eml", "Subject: all there is\n\n") == [("", "", "all there is")]
    box = f"From a@b Tue Jan  2 10:00:00 2024\n{MAIL}\n"
    box += "From c@d Wed\nSubject: two\n\nhello\n>From here\n\nFrom e@f Thu\n\n"
    assert [(name, text) for name, _, text in parts("a.mbox", box)] == [
        ("1@example.org", "Wale tauchen für Stunden."),
        ("message=2", "hello\nFrom here"),
    ]


PYTHON = '''"""The module."""
import os

LIMIT = 3

# what it is for
@cached
def swim(far):
    """Swims."""
    return far


class Whale:
    """Sings."""

    size = 1

    def dive(self):
        return 1  # {filler}

    def sing(self):
        return 2


def broken(:
'''


def test_code_is_split_at_definitions():
    assert parts("a.py", PYTHON)[:2] == [
        ("swim", "swim", '# what it is for\n@cached\ndef swim(far):\n    """Swims."""\n    return far'),
        ("Whale", "Whale", PYTHON[PYTHON.index("class Whale") : PYTHON.index("\n\n\ndef broken")]),
    ]
    long = {name: text for name, _, text in parts("a.py", PYTHON.replace("{filler}", "x" * 3000))}
    assert long["Whale"].startswith('class Whale:\n    """Sings."""')
    assert "size = 1" in long["Whale"]
    assert "def" not in long["Whale"]
    assert long["Whale.dive"].startswith("def dive(self):")
    assert long["Whale.sing"] == "def sing(self):\n        return 2"
    assert long[""].startswith('"""The module."""\nimport os')
    assert "LIMIT = 3" in long[""]


@pytest.mark.parametrize(
    ("name", "text", "names"),
    [
        ("a.js", "export class A { f() {} }\nconst g = (x) => x\nfunction h() {}\nlet y = 1", ["A", "g", "h", ""]),
        ("a.ts", "interface I { x: number }\nexport function f(x: I): void {}\ntype T = string", ["I", "f", "T"]),
        ("a.tsx", "export const App = () => <div/>", ["App"]),
        ("A.java", "import x.y;\n/** Doc. */\npublic class A { void f() {} }", ["A", ""]),
        ("a.go", "package a\n// F does.\nfunc F() {}\ntype T struct{}\nfunc (t T) M() {}", ["F", "T", "M", ""]),
        ("a.rs", "use x;\nfn f() {}\nstruct S;\nimpl S { fn g() {} }", ["f", "S", "S", ""]),
        ("a.c", "#include <x.h>\nstatic int *f(int a) { return 0; }\nstruct s { int x; };", ["f", "s", ""]),
        ("a.cpp", "namespace n { class A { void f(); }; }\ntemplate <class T> T g(T t) { return t; }", ["n", "g"]),
        ("a.rb", "require 'x'\nmodule M\n  class A\n    def f; end\n  end\nend", ["M", ""]),
    ],
)  # fmt: skip
def test_definitions_are_known_in_every_language(name, text, names):
    found = parts(name, text)
    assert [name for name, _, _ in found] == names
    everything = "\n".join(text for _, _, text in found)
    assert sorted("".join(everything.split())) == sorted("".join(text.replace(";", "").split())) or ";" in text


def test_every_kind_has_its_extractor():
    for suffix in KINDS:
        assert callable(extractor(Path(f"x{suffix}")))


def held(folder, report=None):
    return {document.id: document for document in Source.of(folder).read(report or ReadReport(skip=True))}


@pytest.mark.slow
def test_a_folder_of_all_kinds_is_read_and_what_is_broken_is_named(tmp_path):
    write(tmp_path, "a.md", "# Head\nbody\n# Head\nagain")
    write(tmp_path, "in/b.html", "<p>page")
    write(tmp_path, "c.pdf", pdf("whales"))
    write(tmp_path, "packed.pdf.gz", gzip.compress(pdf("packed")))
    write(tmp_path, "d.txt", "plain")
    write(tmp_path, "empty.py", "")
    write(tmp_path, "broken.pdf", b"%PDF-1.4 and no more")
    write(tmp_path, "broken.docx", b"PK no zip")
    write(tmp_path, "scan.pdf", pdf(""))
    write(tmp_path, "binary.txt", b"\x00\x01\x02")
    write(tmp_path, "odd.exe", b"MZ")
    assert Source.of(tmp_path).format == "documents"
    report = ReadReport(skip=True)
    found = held(tmp_path, report)
    assert {identity: (entry.title, entry.text) for identity, entry in found.items()} == {
        "a.md#head": ("Head", "body"),
        "a.md#head~2": ("Head", "again"),
        "in/b.html": ("in/b.html", "page"),
        "c.pdf#page=1": ("c.pdf", "whales"),
        "packed.pdf.gz#page=1": ("packed.pdf.gz", "packed"),
        "d.txt": ("d.txt", "plain"),
    }
    assert found["c.pdf#page=1"].metadata == {"file": "c.pdf", "page": 1}
    told = " ".join(str(error) for error in report.errors)
    assert report.skipped == 4
    for name in ("broken.pdf", "broken.docx", "scan.pdf", "binary.txt"):
        assert f"{name}: " in told
    assert report.kinds == {".exe": 1}
    assert report.done == report.total


@pytest.mark.slow
def test_the_command_goes_on_behind_a_broken_file_unless_told_to_stop(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    write(tmp_path / "docs", "a.pdf", b"%PDF broken")
    write(tmp_path / "docs", "b.md", "whale and storm")
    ended = run("index", tmp_path / "docs", "-m", model, "--on-error", "stop")
    assert (ended.code, ended.out) == (3, "")
    assert "a.pdf: it can't be read" in ended.err
    ended = run("index", tmp_path / "docs", "-m", model)
    assert (ended.code, ended.out) == (0, "added 1, changed 0, unchanged 0, skipped 1\n")
    assert "a.pdf: it can't be read" in ended.err
    write(tmp_path / "docs", "a.pdf", pdf("dough and oven"))
    assert run("sync", "docs").out == "added 1, changed 0, removed 0, unchanged 1\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_file_that_takes_for_ever_is_given_up(tmp_path):
    os.mkfifo(tmp_path / "a.md")
    write(tmp_path, "b.md", "fine")
    with Confined(0.3, 512) as confined:
        with pytest.raises(DataError, match=r"a\.md: given up after 0\.3 seconds"):
            list(confined.parts(tmp_path / "a.md"))
        confined._seconds = 60
        assert [part.text for part in confined.parts(tmp_path / "b.md")] == ["fine"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the system does not limit a process's memory")
def test_a_file_that_swallows_memory_is_given_up(tmp_path):
    bomb = io.BytesIO()
    with gzip.GzipFile(fileobj=bomb, mode="wb", compresslevel=9) as packed:
        for _ in range(400):
            packed.write(b" " * 2**20)
    write(tmp_path, "bomb.html.gz", bomb.getvalue())
    write(tmp_path, "b.md", "fine")
    with Confined(60, 300) as confined:
        with pytest.raises(DataError, match=r"bomb\.html\.gz: given up: it needs more than 300 MB"):
            list(confined.parts(tmp_path / "bomb.html.gz"))
        assert [part.text for part in confined.parts(tmp_path / "b.md")] == ["fine"]


@pytest.mark.slow
def test_a_library_that_crashes_costs_its_file_alone(tmp_path):
    write(tmp_path, "a.md", "\n".join(f"# {number}\ntext" for number in range(5000)))
    with Confined(60, 512) as confined:
        reading = confined.parts(tmp_path / "a.md")
        next(reading)
        confined._child.kill()
        with pytest.raises(DataError, match=r"a\.md: the library that reads it crashed"):
            list(reading)
        assert len(list(confined.parts(tmp_path / "a.md"))) == 5000


def test_hostile_xml_does_nothing(tmp_path):
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    hostile = f'<!DOCTYPE x [<!ENTITY a0 "ha"><!ENTITY f SYSTEM "file:///etc/passwd">{laughs}]><x>&a11;&f;</x>'
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as book:
        book.writestr("META-INF/container.xml", hostile)
    write(tmp_path, "a.epub", out.getvalue())
    write(tmp_path, "deep.html", "<div>" * 200_000 + "deep")
    write(tmp_path, "page.html", hostile)
    found = held(tmp_path, ReadReport(skip=True))
    assert "root:" not in "".join(entry.text for entry in found.values())


def test_parquet_rows_are_documents(tmp_path):
    import datetime

    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "id": [1, 2],
            "text": ["whales dive", None],
            "title": ["Sea", ""],
            "day": [datetime.date(2024, 1, 2), None],
            "score": [0.5, float("nan")],
            "tags": [["a", "b"], []],
            "vector": [[0.1, 0.2], [0.3, 0.4]],
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    report = ReadReport(skip=True)
    assert list(Source.of(tmp_path / "a.parquet").read(report)) == [
        Document("1", "whales dive", "Sea", {"day": "2024-01-02", "score": 0.5, "tags": ["a", "b"]})
    ]
    assert "row 2: the field 'text' must be text, but is null" in str(report.errors[0])
    write(tmp_path, "b.parquet", b"PAR1 no more")
    with pytest.raises(DataError, match=r"b\.parquet can't be read"):
        list(Source.of(tmp_path / "b.parquet").read())
    with pytest.raises(DataError, match="there is no column 'plot'"):
        list(Source.of(tmp_path / "a.parquet", options={"text": "plot"}).read())


@pytest.mark.slow
def test_a_folder_of_nothing_but_text_is_a_document_a_file(tmp_path):
    model = tiny_model(tmp_path / "tiny")
    write(tmp_path / "notes", "a.txt", "whale")
    write(tmp_path / "notes", "deep/b.md", "# Bread\ndough\n# Again\noven")
    assert run("index", tmp_path / "notes", "-m", model).out.startswith("added 2,")
    with semsearch.open("notes") as notes:
        assert {document.id for document in notes.documents()} == {"a.txt", "deep/b.md"}
    ended = run("index", tmp_path / "notes", "--name", "parts", "-m", model, "--format", "documents")
    assert ended.out.startswith("added 3,")
