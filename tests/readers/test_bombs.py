"""Files that say little and mean much: each is given up in bounded time, memory and text, and costs itself alone."""

import contextlib
import gzip
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.pdf import assembled

from corpora import confined, parquet_batches
from corpora.confined import Confined
from corpora.extraction import archive, extractor
from corpora.extraction.parts import Unreadable
from semsearch.errors import DataError
from semsearch.ingest.source import ReadReport, Source

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="book.opf"/></rootfiles></container>'
)


def parts(name, content):
    return list(extractor(Path(name))(io.BytesIO(content)))


def zipped(**entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as book:
        for name, content in entries.items():
            book.writestr(name.replace("__", "/"), content)
    return out.getvalue()


def book(items, spine, **pages):
    package = (
        f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{spine}</spine></package>'
    )
    return zipped(**{"META-INF/container.xml": CONTAINER, "book.opf": package, **pages})


def pdf(pages, *rest):
    """A PDF whose tree of pages begins with the object 2, `pages`; the others follow."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", pages, *rest]
    return assembled(objects)


FONT = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
STREAM = b"<</Length 37>>stream\nBT /F1 12 Tf 72 720 Td (dough) Tj ET\nendstream"
PAGE = (
    b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 4 0 R>>>>/Contents 5 0 R>>",
    FONT,
    STREAM,
)


@pytest.mark.slow
def test_a_book_that_names_a_page_many_times_has_it_once():
    names = ("a.xhtml", "./a.xhtml", "%61.xhtml", "x/../a.xhtml")
    items = "".join(f'<item id="i{n}" href="{name}"/>' for n, name in enumerate(names))
    spine = "".join(f'<itemref idref="i{n % 4}"/>' for n in range(100_000))
    found = parts("a.epub", book(items, spine, **{"a.xhtml": "<html><body><p>dough</p></body></html>"}))
    assert [(part.name, part.text) for part in found] == [("a.xhtml", "dough")]


def test_a_pdf_that_names_a_page_many_times_has_it_once():
    found = parts("a.pdf", pdf(b"<</Type/Pages/Count 3000/Kids[%s]>>" % (b"3 0 R " * 3000), *PAGE))
    assert [(part.name, part.text) for part in found] == [("page=1", "dough")]


PDFS = {
    "a tree that holds itself": pdf(b"<</Type/Pages/Count 1/Kids[2 0 R]>>"),
    "a tree that holds itself further down": pdf(
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>", b"<</Type/Pages/Count 1/Kids[2 0 R]>>"
    ),
    "a tree of 2 to the power of 40 pages": pdf(
        *(b"<</Type/Pages/Count 2/Kids[%d 0 R %d 0 R]>>" % (n + 1, n + 1) for n in range(2, 42)), b"<</Type/Page>>"
    ),
    "a million pages that are not there": pdf(b"<</Type/Pages/Count 1000000/Kids[%s]>>" % (b"9 0 R " * 1_000_000)),
    "a count of pages that is none": pdf(b"<</Type/Pages/Count -1/Kids 7>>"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", PDFS)
def test_no_tree_of_pages_is_without_end(tmp_path, kind):
    (tmp_path / "a.pdf").write_bytes(PDFS[kind])
    (tmp_path / "b.md").write_text("fine")
    with Confined(4, 400) as child:
        with pytest.raises(DataError, match=r"a\.pdf: "):
            list(child.parts(tmp_path / "a.pdf"))
        assert [part.text for part in child.parts(tmp_path / "b.md")] == ["fine"]


@pytest.mark.parametrize("name", ["a.docx", "a.epub", "a.pptx", "a.xlsx", "a.odt"])
def test_an_archive_that_would_become_much_is_not_unpacked(name, monkeypatch):
    monkeypatch.setattr(archive, "ALWAYS", 1 << 20)
    bomb = zipped(**{"META-INF/container.xml": b" " * (1 << 21), "word/document.xml": b" " * (1 << 21)})
    with pytest.raises(Unreadable, match="would become 2 files of 4,194,304 bytes"):
        parts(name, bomb)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 10)
    with pytest.raises(Unreadable, match="would become 11 files of 0 bytes"):
        parts(name, zipped(**{f"f{n}": b"" for n in range(11)}))


@pytest.mark.slow
def test_a_real_bomb_costs_itself_alone(tmp_path):
    (tmp_path / "a.docx").write_bytes(zipped(**{"word__document.xml": b" " * (1 << 27)}))
    with (
        Confined(60, 400) as child,
        pytest.raises(DataError, match=r"a\.docx: its .* would become 1 files of 134,217,728"),
    ):
        list(child.parts(tmp_path / "a.docx"))


def test_entities_of_a_word_file_are_not_expanded():
    library = pytest.importorskip("docx")
    sound, out = io.BytesIO(), io.BytesIO()
    document = library.Document()
    document.add_paragraph("dough")
    document.save(sound)
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    hostile = f'<!DOCTYPE x [<!ENTITY a0 "ha"><!ENTITY f SYSTEM "file:///etc/passwd">{laughs}]>'
    with zipfile.ZipFile(sound) as made, zipfile.ZipFile(out, "w") as changed:
        for name in made.namelist():
            text = made.read(name)
            if name == "word/document.xml":
                head, _, rest = text.decode().partition("?>")
                text = f"{head}?>{hostile}{rest.replace('dough', 'dough &a11; &f;')}".encode()
            changed.writestr(name, text)
    told = ""
    with contextlib.suppress(Exception):  # the library may refuse it, in its own way
        told = str(parts("a.docx", out.getvalue()))
    assert "haha" not in told
    assert "root:" not in told


def test_archives_in_archives_are_not_opened(tmp_path):
    inner = zipped(**{"secret.txt": "dough"})
    items, spine = '<item id="i" href="inner.zip"/>', '<itemref idref="i"/>'
    assert "dough" not in str(parts("a.epub", book(items, spine, **{"inner.zip": inner})))
    (tmp_path / "a.md.gz").write_bytes(gzip.compress(gzip.compress(b"dough")))
    with Confined(60, 400) as child, pytest.raises(DataError, match="bytes that no text has"):
        list(child.parts(tmp_path / "a.md.gz"))


def nested_mail(levels):
    head = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (n, n) for n in range(levels))
    return b"From: a@b\r\nSubject: deep\r\n" + head + b"Content-Type: text/plain\r\n\r\ndough\r\n"


def forwarded(levels):
    return b"From: a@b\r\nSubject: deep\r\n" + b"Content-Type: message/rfc822\r\n\r\n" * levels + b"dough\r\n"


@pytest.mark.slow
@pytest.mark.parametrize("mail", [nested_mail, forwarded])
def test_mail_that_is_nested_deeply_costs_itself_alone(tmp_path, mail):
    (tmp_path / "a.eml").write_bytes(mail(10_000))
    letter = b"From x Mon Jan  1 00:00:00 2024\n"
    fine = b"Subject: fine\n\noven\n\n"
    (tmp_path / "b.mbox").write_bytes(
        letter + fine + letter + mail(10_000).replace(b"\r", b"") + b"\n\n" + letter + fine
    )
    with Confined(20, 600) as child:
        with pytest.raises(DataError, match=r"a\.eml: it is nested too deeply"):
            list(child.parts(tmp_path / "a.eml"))
        found = []
        with pytest.raises(DataError, match=r"b\.mbox: messages that are nested too deeply were left out: 1\."):
            found.extend(part.text for part in child.parts(tmp_path / "b.mbox"))
        assert found == ["oven", "oven"]


def test_a_file_gives_no_more_text_than_its_length_can_hold(tmp_path, monkeypatch):
    path = tmp_path / "a.md"
    path.write_text("\n".join(f"# {n}\ntext" for n in range(100)))
    assert len(list(confined._limited(path, 400))) == 100
    monkeypatch.setattr(confined, "TEXT", 50)
    monkeypatch.setattr(confined, "TEXT_PER_BYTE", 0)
    found = []
    with pytest.raises(Unreadable, match="more than 50 characters, which a file of its length can't hold"):
        found.extend(confined._limited(path, 400))


def test_a_part_that_is_too_long_is_left_out_and_told(tmp_path, monkeypatch):
    monkeypatch.setattr(confined, "MAX_TEXT_BYTES", 10)
    path = tmp_path / "a.md"
    path.write_text("# one\nshort\n# two\n" + "long " * 10)
    found = []
    with pytest.raises(Unreadable, match=r"parts of more than 10 characters were left out: 1\."):
        found.extend(part.text for part in confined._limited(path, 400))
    assert found == ["short"]


def test_what_is_packed_is_unpacked_up_to_a_size(tmp_path):
    path = tmp_path / "a.md.gz"
    path.write_bytes(gzip.compress(b" " * ((1 << 19) + 1)))
    with pytest.raises(MemoryError):
        list(confined._limited(path, 1))
    path.write_bytes(gzip.compress(b"x" * (1 << 19)))
    assert len(list(confined._limited(path, 1))) == 1


def test_all_parts_of_a_file_together_are_waited_for_so_long(tmp_path, monkeypatch):
    monkeypatch.setattr(confined, "PARTS_WAITED_FOR", 0)
    (tmp_path / "a.md").write_text("# one\ntext")
    with (
        Confined(60, 400) as child,
        pytest.raises(DataError, match=r"a\.md: given up after 0 seconds for all its parts"),
    ):
        list(child.parts(tmp_path / "a.md"))


def test_an_answer_without_end_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(confined, "MAX_LINE", 20)
    (tmp_path / "a.md").write_text("# one\n" + "text " * 100)
    with Confined(60, 400) as child, pytest.raises(DataError, match=r"a\.md: given up at a part of more than 20 bytes"):
        list(child.parts(tmp_path / "a.md"))


@pytest.mark.slow
def test_a_sheet_whose_cells_lie_far_apart_costs_itself_alone(tmp_path):
    office = "http://schemas.openxmlformats.org"
    related = f"{office}/officeDocument/2006/relationships"
    rels = f'<Relationships xmlns="{office}/package/2006/relationships"><Relationship Id="r" Type="{related}/'
    (tmp_path / "a.xlsx").write_bytes(
        zipped(
            **{
                "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types">'
                '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
                '<Default Extension="xml" ContentType="application/xml"/></Types>',
                "_rels__.rels": f'{rels}officeDocument" Target="xl/workbook.xml"/></Relationships>',
                "xl___rels__workbook.xml.rels": f'{rels}worksheet" Target="sheet.xml"/></Relationships>',
                "xl__workbook.xml": f'<workbook xmlns="{office}/spreadsheetml/2006/main" xmlns:r="{related}"><sheets>'
                '<sheet name="S" sheetId="1" r:id="r"/></sheets></workbook>',
                "xl__sheet.xml": f'<worksheet xmlns="{office}/spreadsheetml/2006/main"><sheetData><row r="1"><c r="A1">'
                '<v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row></sheetData></worksheet>',
            }
        )
    )
    (tmp_path / "b.md").write_text("fine")
    with Confined(20, 600) as child:
        with pytest.raises(DataError, match=r"a\.xlsx: "):
            list(child.parts(tmp_path / "a.xlsx"))
        assert [part.text for part in child.parts(tmp_path / "b.md")] == ["fine"]


def parquet(path, column, kind=None, **options):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as library

    array = column if isinstance(column, pyarrow.Array) else pyarrow.array(column, kind)
    table = pyarrow.table({"text": [f"dough {n}" for n in range(len(array))], "m": array})
    library.write_table(table, path, dictionary_pagesize_limit=1 << 30, **options)
    report = ReadReport(skip=True)
    found = [document.metadata.get("m") for document in Source.of(path).read(report)]
    return found, [str(error).removeprefix(f"{path}, ") for error in report.errors]


def test_a_value_that_every_row_of_a_parquet_file_names_is_bounded(tmp_path, monkeypatch):
    """One value of a dictionary and 200 names of it: rows are read as many as fit, and no more than a file can hold."""
    monkeypatch.setattr(parquet_batches, "BATCH_BYTES", 4_000)
    sizes = []
    pieces = parquet_batches._pieces
    monkeypatch.setattr(parquet_batches, "_pieces", lambda batch: sizes.append(batch.num_rows) or pieces(batch))
    long = "whale " * 200
    for kind in (None, "dictionary"):
        pyarrow = pytest.importorskip("pyarrow")
        column = pyarrow.array([long] * 200)
        found, bad = parquet(tmp_path / "a.parquet", column.dictionary_encode() if kind else column)
        assert (found, bad) == ([long] * 200, [])
        assert max(sizes) <= 3
    monkeypatch.setattr(parquet_batches, "GROUP_BYTES", 100_000)
    monkeypatch.setattr(parquet_batches, "GROUP_RATIO", 0)
    found, [told] = parquet(tmp_path / "b.parquet", [long] * 200, row_group_size=150)
    assert found[-50:] == [long] * 50, "the next group is read"
    assert 70 <= len(found) - 50 < 90
    assert "row group 1: its " in told
    assert "bytes become more than 100,000, and are not read from the row " in told
    monkeypatch.setattr(parquet_batches, "GROUP_BYTES", 1_000)
    with pytest.raises(
        DataError, match=r"the rows 1 to 200: row group 1: its [\d,]+ bytes become more than 1,000, and"
    ):
        parquet(tmp_path / "c.parquet", [long] * 200)


def test_what_lies_in_lists_is_bounded_too(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    long = "whale " * 200
    kinds = {
        "list": ([[long] * 2, [long] * 50, None], pyarrow.list_(pyarrow.string())),
        "struct": ([{"x": [long]}, {"x": [long] * 50}, None], pyarrow.struct([("x", pyarrow.list_(pyarrow.string()))])),
        "map": ([[("a", long)], [("a", long)] * 50, None], pyarrow.map_(pyarrow.string(), pyarrow.string())),
        "binary": ([[b"whale " * 200], [b"whale " * 200] * 50, None], pyarrow.list_(pyarrow.binary())),
    }
    for name, (column, kind) in kinds.items():
        monkeypatch.setattr(parquet_batches, "ROW_BYTES", 1 << 28)
        monkeypatch.setattr(parquet_batches, "BATCH_BYTES", 1 << 26)
        whole, bad = parquet(tmp_path / f"{name}.parquet", column, kind)
        assert len(str(whole[1])) > 60_000, name
        assert bad == []
        monkeypatch.setattr(parquet_batches, "ROW_BYTES", 10_000)
        monkeypatch.setattr(parquet_batches, "BATCH_BYTES", 4_000)
        found, [told] = parquet(tmp_path / f"{name}.parquet", column, kind)
        assert found == [whole[0], whole[2]], name
        assert re.fullmatch(r"row 2: its values take 6\d,\d+ bytes, where 10,000 are the most\.", told), told
    monkeypatch.setattr(parquet_batches, "GROUP_BYTES", 10_000)
    monkeypatch.setattr(parquet_batches, "GROUP_RATIO", 0)
    with pytest.raises(DataError, match="row group 1: its"):
        parquet(tmp_path / "n.parquet", [[7] * 5_000], pyarrow.list_(pyarrow.int64()))


@pytest.mark.slow
def test_a_real_bomb_of_parquet_ends_in_bounded_memory(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as library

    names = pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 2_000, pyarrow.int32()), pyarrow.array(["z" * 30_000_000])
    )
    library.write_table(
        pyarrow.table({"text": names}), tmp_path / "a.parquet", compression="zstd", dictionary_pagesize_limit=1 << 30
    )
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))\n"
        "from semsearch.ingest.source import ReadReport, Source\n"
        "report = ReadReport(skip=True)\n"
        "print(len(list(Source.of(sys.argv[1]).read(report))), report.errors)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.parquet")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 [")
    assert "row group 1: its" in done.stdout
