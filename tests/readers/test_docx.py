"""DOCX: what Word shows is read, wherever it stands; what was deleted stays out."""

import io
import zipfile
from pathlib import Path

import pytest

from corpora.confined import Confined
from corpora.extraction import extractor
from corpora.extraction.parts import Lost
from semsearch.errors import DataError

OFFICE = "http://schemas.openxmlformats.org"
WORD = f"{OFFICE}/wordprocessingml/2006/main"
RELATED = f"{OFFICE}/officeDocument/2006/relationships"
NAMES = (
    f'xmlns:w="{WORD}" xmlns:r="{RELATED}" xmlns:mc="{OFFICE}/markup-compatibility/2006" '
    'xmlns:wps="http://schemas.microsoft.com/office/word/2010/wordprocessingShape" '
    'xmlns:v="urn:schemas-microsoft-com:vml"'
)


def made(body, included=None, **others):
    """A file of Word's with this body; the others are its parts of these kinds; `included`, name and content, whole."""
    chunks = included or {}
    types = "".join(
        f'<Override PartName="/word/{name}.xml" '
        f'ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.{kind}+xml"/>'
        for name, kind in [("document", "document.main"), *((name, name.rstrip("0123456789")) for name in others)]
    )
    relations = "".join(
        f'<Relationship Id="{name}" Type="{RELATED}/{name.rstrip("0123456789")}" Target="{name}.xml"/>'
        for name in others
    ) + "".join(f'<Relationship Id="{name}" Type="{RELATED}/aFChunk" Target="{name}"/>' for name in chunks)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{OFFICE}/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            + "".join(f'<Default Extension="{name[2:]}" ContentType="application/octet-stream"/>' for name in chunks)
            + f"{types}</Types>",
        )
        for name, inside in (
            ("_rels/.rels", f'<Relationship Id="d" Type="{RELATED}/officeDocument" Target="word/document.xml"/>'),
            ("word/_rels/document.xml.rels", relations),
        ):
            archive.writestr(
                name, f'<Relationships xmlns="{OFFICE}/package/2006/relationships">{inside}</Relationships>'
            )
        archive.writestr("word/document.xml", f"<w:document {NAMES}><w:body>{body}</w:body></w:document>")
        for name, content in chunks.items():
            archive.writestr(f"word/{name}", content)
        for name, content in others.items():
            kind = {"header": "hdr", "footer": "ftr"}.get(name.rstrip("0123456789"), name)
            archive.writestr(f"word/{name}.xml", f"<w:{kind} {NAMES}>{content}</w:{kind}>")
    return out.getvalue()


def run(text):
    return f"<w:r><w:t>{text}</w:t></w:r>"


def paragraph(inside, properties=""):
    return f"<w:p><w:pPr>{properties}</w:pPr>{inside}</w:p>"


def cell(inside, properties=""):
    return f"<w:tc><w:tcPr>{properties}</w:tcPr>{paragraph(run(inside)) if inside[:1] != '<' else inside}</w:tc>"


def table(*rows):
    return f"<w:tbl>{''.join(f'<w:tr>{row}</w:tr>' for row in rows)}</w:tbl>"


def texts(body, **others):
    found = extractor(Path("a.docx"))(io.BytesIO(made(body, **others)))
    return [(part.title or part.name, part.text) for part in found]


BOX = f"<w:txbxContent>{paragraph(run('in the box'))}</w:txbxContent>"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            paragraph(run("a ") + f"<w:ins>{run('new')}</w:ins><w:del><w:r><w:delText>old</w:delText></w:r></w:del>"),
            "a new",
        ),
        (paragraph(f"<w:moveTo>{run('to')}</w:moveTo>") + paragraph(f"<w:moveFrom>{run('from')}</w:moveFrom>"), "to"),
        (f"<w:sdt><w:sdtPr/><w:sdtContent>{paragraph(run('block'))}</w:sdtContent></w:sdt>", "block"),
        (paragraph(run("in") + f"<w:sdt><w:sdtContent>{run('line')}</w:sdtContent></w:sdt>"), "inline"),
        (paragraph(f"<w:smartTag><w:smartTag>{run('tag')}</w:smartTag></w:smartTag>"), "tag"),
        (paragraph(f'<w:fldSimple w:instr="DATE">{run("today")}</w:fldSimple>'), "today"),
        (paragraph(f"<w:r><w:instrText>PAGE</w:instrText></w:r>{run('7')}"), "7"),
        (paragraph(f"<w:hyperlink>{run('link')}</w:hyperlink><w:customXml>{run('ed')}</w:customXml>"), "linked"),
        (paragraph("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/></w:r>"), "a\tb\nc-"),
        (
            paragraph(
                run("a")
                + f"<w:r><mc:AlternateContent><mc:Choice><wps:txbx>{BOX}</wps:txbx></mc:Choice><mc:Fallback>"
                f"<v:textbox>{BOX}</v:textbox></mc:Fallback></mc:AlternateContent></w:r>"
                + run("fter")
            ),
            "after\n\nin the box",
        ),
        (paragraph(f"<w:r><w:pict><v:textbox>{BOX}</v:textbox></w:pict></w:r>"), "in the box"),
        (
            table(
                cell("wide", '<w:gridSpan w:val="3"/>') + cell("tall", '<w:vMerge w:val="restart"/>'),
                cell("a") + cell("b") + cell("c") + cell("", "<w:vMerge/>"),
            ),
            "wide | tall\na | b | c | ",
        ),
        (table(cell("out") + cell(table(cell("in") + cell("ner")))), "out | in | ner"),
        (table(cell(paragraph(run("a frame")) + table(cell("x") + cell("y")))), "a frame\n\nx | y"),
        (table(f"<w:sdt><w:sdtContent>{cell('a')}</w:sdtContent></w:sdt>{cell('b')}"), "a | b"),
        (table(f"<w:trPr><w:del/></w:trPr>{cell('gone')}{cell('too')}", cell("a") + cell("b")), "a | b"),
    ],
)  # fmt: skip
def test_what_word_shows_is_read_once(body, expected):
    assert [text for _, text in texts(body)] == [expected]


def test_notes_and_comments_follow_their_paragraph_and_heads_and_feet_come_last():
    found = texts(
        paragraph(
            run("Whales dive.") + '<w:r><w:footnoteReference w:id="2"/></w:r><w:r><w:commentReference w:id="0"/></w:r>'
        )
        + paragraph(run("Bread rises.") + '<w:r><w:endnoteReference w:id="2"/></w:r>'),
        footnotes=f'<w:footnote w:id="1">{paragraph(run("unused"))}</w:footnote><w:footnote w:id="2">'
        f'{paragraph("<w:r><w:footnoteRef/></w:r>" + run("Down to a mile."))}</w:footnote>',
        endnotes=f'<w:endnote w:id="2">{paragraph(run("Of yeast."))}</w:endnote>',
        comments=f'<w:comment w:id="0" w:author="Ann">{paragraph(run("Sure?"))}</w:comment>',
        header1=paragraph(run("Confidential")),
        header2=paragraph(run("Confidential")),
        footer1=table(cell("Page") + cell("1")),
    )  # fmt: skip
    assert found == [
        ("", "Whales dive.\n\nDown to a mile.\n\nSure?\n\nBread rises.\n\nOf yeast."),
        ("header", "Confidential"),
        ("footer", "Page | 1"),
    ]


def test_a_diagram_is_read():
    text = f'<a:p xmlns:a="{OFFICE}/drawingml/2006/main"><a:r><a:t>whales</a:t></a:r></a:p>'
    assert texts(paragraph(run("a")), diagramData=text + text) == [("", "a"), ("diagram=1", "whales\nwhales")]


def test_a_chart_is_read():
    text = f'<a:p xmlns:a="{OFFICE}/drawingml/2006/main"><a:r><a:t>whales</a:t></a:r></a:p>'
    assert texts(paragraph(run("a")), chart=text + text) == [("", "a"), ("chart=1", "whales")]


@pytest.mark.parametrize(
    ("content", "name", "found"),
    [
        ("<html><title>T</title><p>whales</p></html>", "a.html", ("T", "whales")),
        (r"{\rtf1 whales}", "a.rtf", ("included=1", "whales")),
        ("whales", "a.txt", ("included=1", "whales")),
        ("Content-Type: text/html\n\n<p>whales</p>", "a.eml", ("included=1", "whales")),
    ],
)
def test_what_a_file_includes_whole_is_read(content, name, found):
    assert texts(paragraph(run("a")), included={name: content}) == [("", "a"), found]


def test_what_a_file_includes_and_nobody_knows_is_named():
    raw = made(paragraph(run("a")), included={"a.zip": "PK"})
    _, lost = extractor(Path("a.docx"))(io.BytesIO(raw))
    assert lost == Lost("included=1", "it is of the kind application/octet-stream, which no reader here knows.")


@pytest.mark.parametrize(
    ("font", "char", "text"), [("Symbol", "F061", "α"), ("Symbol", "F0B3", "≥"), ("Arial", "20AC", "€"), ("", "x", "")]
)
def test_a_symbol_is_a_letter(font, char, text):
    sign = f'<w:r><w:sym w:font="{font}" w:char="{char}"/></w:r>'
    assert texts(paragraph(run("a") + sign + run("b"))) == [("", f"a{text}b")]


def test_the_alternative_that_holds_text_is_read():
    ways = f"<mc:Choice><wps:x/></mc:Choice><mc:Fallback><w:pict><v:textbox>{BOX}</v:textbox></w:pict></mc:Fallback>"
    body = paragraph(run("a") + f"<w:r><mc:AlternateContent>{ways}</mc:AlternateContent></w:r>")
    assert texts(body) == [("", "a\n\nin the box")]


def test_a_file_that_is_nested_deeply_is_told(tmp_path):
    deep = "<w:smartTag>" * 300 + run("deep") + "</w:smartTag>" * 300
    (tmp_path / "a.docx").write_bytes(made(paragraph(deep)))
    with Confined(60, 1000) as child, pytest.raises(DataError, match="its XML is nested more than 256 elements deep"):
        list(child.parts(tmp_path / "a.docx"))


def test_headings_are_known_by_name_base_and_outline():
    styles = (
        '<w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style>'
        '<w:style w:styleId="mine"><w:name w:val="Mine"/><w:basedOn w:val="berschrift1"/></w:style>'
        '<w:style w:styleId="a"><w:basedOn w:val="b"/></w:style><w:style w:styleId="b"><w:basedOn w:val="a"/></w:style>'
        '<w:style w:styleId="o"><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>'
    )
    body = "".join(
        paragraph(run(f"H{number}"), properties) + paragraph(run(f"t{number}"))
        for number, properties in enumerate(
            ('<w:pStyle w:val="berschrift1"/>', '<w:pStyle w:val="o"/>', '<w:pStyle w:val="mine"/>')
        )
    )
    assert texts(body + paragraph(run("loop"), '<w:pStyle w:val="a"/>'), styles=styles) == [
        ("H0", "t0"),
        ("H0 › H1", "t1"),
        ("H2", "t2\n\nloop"),
    ]
    assert texts(paragraph(run("Own"), '<w:outlineLvl w:val="0"/>') + paragraph(run("t"))) == [("Own", "t")]


def test_a_note_that_names_itself_is_there_once():
    note = paragraph(run("again") + '<w:r><w:footnoteReference w:id="1"/></w:r>')
    body = paragraph(run("a") + '<w:r><w:footnoteReference w:id="1"/></w:r>')
    assert texts(body, footnotes=f'<w:footnote w:id="1">{note}</w:footnote>') == [("", "a\n\nagain")]
