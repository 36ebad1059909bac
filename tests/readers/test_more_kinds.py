"""Slides, sheets, OpenDocument, rich text and notebooks; and books of which a chapter is missing."""

import io
import json
import zipfile
from pathlib import Path

import pytest

from corpora.extraction import extractor
from corpora.extraction.parts import FilePart, Lost, Unreadable
from semsearch.places import Place, Position

OFFICE = "http://schemas.openxmlformats.org"
RELATED = f"{OFFICE}/officeDocument/2006/relationships"
PACKAGE = f"{OFFICE}/package/2006"
NAMES = (
    f'xmlns:a="{OFFICE}/drawingml/2006/main" xmlns:p="{OFFICE}/presentationml/2006/main" xmlns:r="{RELATED}" '
    f'xmlns="{OFFICE}/spreadsheetml/2006/main"'
)


def parts(name, content):
    raw = content if isinstance(content, bytes) else content.encode()
    return list(extractor(Path(name))(io.BytesIO(raw)))


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def package(main, relations, **others):
    """An Office package: its main part, what is related to what, and the other parts."""
    held = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/></Types>'
    }
    for source, targets in {"": {"m": ("officeDocument", "d/main.xml")}, **relations}.items():
        inside = "".join(
            f'<Relationship Id="{key}" Type="{RELATED}/{kind}" Target="{target}"/>'
            for key, (kind, target) in targets.items()
        )
        name = f"d/_rels/{source}.xml.rels" if source else "_rels/.rels"
        held[name] = f'<Relationships xmlns="{PACKAGE}/relationships">{inside}</Relationships>'
    held["d/main.xml"] = main
    return zipped(**held, **{f"d/{name}.xml": content for name, content in others.items()})


def shape(text, kind=""):
    place = f'<p:ph type="{kind}"/>' if kind else ""
    said = f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>"
    return f"<p:sp><p:nvPr>{place}</p:nvPr><p:txBody>{said}</p:txBody></p:sp>"


def slide(*shapes):
    return f"<p:sld {NAMES}><p:cSld><p:spTree>{''.join(shapes)}</p:spTree></p:cSld></p:sld>"


def cell(text):
    return f"<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"


def test_a_slide_is_a_document_with_its_notes():
    listed = "".join(f'<p:sldId id="{n}" r:id="s{n}"/>' for n in (2, 1, 3, 9))
    made = package(
        f"<p:presentation {NAMES}><p:sldIdLst>{listed}</p:sldIdLst></p:presentation>",
        {
            "main": {f"s{n}": ("slide", f"slide{n}.xml") for n in (1, 2, 3)},
            "slide2": {"n": ("notesSlide", "notes.xml"), "c": ("comments", "comments.xml")},
        },
        slide1=slide(shape("Bread", "title")),
        slide2=slide(
            shape("Whales", "ctrTitle"), shape("12", "sldNum"), f"<p:grpSp>{shape('They dive.')}</p:grpSp>",
            f"<p:graphicFrame><a:tbl><a:tr>{cell('a')}{cell('b')}</a:tr></a:tbl></p:graphicFrame>",
        ),
        slide3=slide("<p:pic/>"),
        notes=f"<p:notes {NAMES}>{shape('7', 'sldNum')}{shape('Say it slowly.', 'body')}</p:notes>",
        comments=f"<p:cmLst {NAMES}><p:cm><p:text>Sure?</p:text></p:cm></p:cmLst>",
    )  # fmt: skip
    first, second, third, fourth = parts("a.pptx", made)
    assert (first.name, first.title, first.metadata) == ("slide=1", "Whales", {"slide": 1})
    assert sorted(first.text.splitlines()) == ["Say it slowly.", "Sure?", "They dive.", "a | b"]
    assert (second.name, second.text) == ("slide=2", "Bread")
    assert [part.position for part in (first, second)] == [Position(slide=1), Position(slide=2)]
    assert third == Lost("slide=3", "it holds no text: pictures must go through text recognition first.")
    assert fourth == Lost("slide=4", "the file has no such slide.")


def inline(place, text):
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def test_a_sheet_is_a_document_of_its_rows_and_comments():
    rows = (
        f'<row r="1">{inline("A1", "name")}{inline("B1", "born")}</row>'
        f'<row r="3">{inline("A3", "Ann")}<c r="B3"><v>1990</v></c><c r="C3"><v>0.5</v></c></row>'
    )
    made = package(
        f'<workbook {NAMES}><sheets><sheet name="People" sheetId="1" r:id="s1"/>'
        '<sheet name="None" sheetId="2" r:id="s2"/></sheets></workbook>',
        {
            "main": {"s1": ("worksheet", "sheet1.xml"), "s2": ("worksheet", "sheet2.xml")},
            "sheet1": {"c": ("comments", "comments.xml"), "d": ("drawing", "drawing.xml")},
        },
        sheet1=f"<worksheet {NAMES}><sheetData>{rows}</sheetData></worksheet>",
        sheet2=f"<worksheet {NAMES}><sheetData/></worksheet>",
        comments=f"<comments {NAMES}><commentList><comment><text><r><t>Is she</t></r><r><t>?</t></r></text></comment>"
        "</commentList></comments>",
        drawing=f"<d {NAMES}><a:p><a:r><a:t>In a box</a:t></a:r></a:p></d>",
    )
    [part] = parts("a.xlsx", renamed(made, {"d/": "xl/", "main.xml": "workbook.xml"}))
    assert (part.name, part.title, part.metadata) == ("sheet=People", "People", {"sheet": "People"})
    assert part.position == Position(sheet="People")
    assert part.text == "name | born\nAnn | 1990 | 0.5\nIs she?\nIn a box"


def renamed(archive, names):
    """The archive with the names of its parts as Excel has them."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            content, called = old.read(name).decode(), name
            for before, after in names.items():
                called = called.replace(before, after)
                content = content.replace(f'"{before}', f'"{after}') if name == "_rels/.rels" else content
            new.writestr(called, content.replace("main.xml", "workbook.xml"))
    return out.getvalue()


ODT = (
    '<o:document-content xmlns:o="urn:office" xmlns:text="urn:text" xmlns:table="urn:table" xmlns:draw="urn:draw" '
    'xmlns:presentation="urn:presentation" xmlns:office="urn:office"><o:body>'
    "<o:text>{}</o:text></o:body></o:document-content>"
)


def test_opendocument_has_headings_tables_notes_and_no_deleted_text():
    body = (
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>"
        '<text:h text:outline-level="1">Whales</text:h>'
        "<text:p>They<text:s/>dive<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>Deep."
        "</text:p></text:note-body></text:note>.<text:line-break/>Far<o:annotation><o:creator>Ann</o:creator>"
        "<text:p>Sure?</text:p></o:annotation>.</text:p>"
        "<text:section><text:list><text:list-item><text:p>one</text:p></text:list-item></text:list></text:section>"
        "<text:p><draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box></draw:frame></text:p>"
        "<table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>"
        "<table:covered-table-cell><text:p>no</text:p></table:covered-table-cell><table:table-cell>"
        "<table:table><table:table-row><table:table-cell><text:p>b</text:p></table:table-cell></table:table-row>"
        "</table:table></table:table-cell></table:table-row></table:table>"
    )
    head = "<text:{0}><text:p>Secret</text:p></text:{0}>"
    styles = ODT.format(f"<s>{head.format('header')}{head.format('header-left')}</s>")
    meta = '<d xmlns:o="urn:office"><o:meta><o:title>Report</o:title></o:meta></d>'
    found = parts("a.odt", zipped(**{"content.xml": ODT.format(body), "styles.xml": styles, "meta.xml": meta}))
    assert [(part.name, part.title, part.text) for part in found] == [
        ("whales", "Report › Whales", "They dive.\nFar.\n\nDeep.\n\nSure?\n\none\n\nboxed\n\na | b"),
        ("header", "Report", "Secret"),
    ]


def test_slides_of_opendocument():
    frame = '<draw:frame presentation:class="{}"><text:p>{}</text:p></draw:frame>'
    shown = "".join(frame.format(*one) for one in (("title", "Whales"), ("outline", "They dive."), ("footer", "no")))
    notes = f"<presentation:notes>{frame.format('notes', 'Say it slowly.')}</presentation:notes>"
    pages = [shown + notes, frame.format("title", "Bread"), "<draw:frame><draw:image/></draw:frame>", ""]
    body = "".join(f"<draw:page>{page}</draw:page>" for page in pages)
    show = ODT.replace("o:text>", "o:presentation>").format(body)
    first, second, third = parts("a.odp", zipped(**{"content.xml": show}))
    assert (first.name, first.title, first.metadata) == ("slide=1", "Whales", {"slide": 1})
    assert first.text == "They dive.\nSay it slowly."
    assert (second.text, second.position) == ("Bread", Position(slide=2))
    assert third == Lost("slide=3", "it holds no text: pictures must go through text recognition first.")


def test_sheets_of_opendocument():
    cell = "<table:table-cell{}><text:p>{}</text:p></table:table-cell>"
    note = "<office:annotation><text:p>Sure?</text:p></office:annotation>"
    rows = [
        cell.format("", "city") + cell.format("", "size"),
        cell.format("", "Lima") + cell.format(' table:number-columns-repeated="9"', "7"),
    ]
    rows += ["<table:table-cell/>" * 3, cell.format("", f"Oslo</text:p>{note}<text:p>")]
    table = "".join(f"<table:table-row>{row}</table:table-row>" for row in rows)
    box = "<draw:frame><draw:text-box><text:p>boxed</text:p></draw:text-box></draw:frame>"
    shapes = f"<table:shapes>{box}</table:shapes>"
    sheets = f'<table:table table:name="Towns">{shapes}{table}</table:table><table:table table:name="Empty"/>'
    book = ODT.replace("o:text>", "o:spreadsheet>").format(sheets)
    [part] = parts("a.ods", zipped(**{"content.xml": book}))
    assert part.text.splitlines() == ["city | size", "Lima | 7", "Oslo Sure?", "boxed"]
    assert (part.name, part.title, part.position) == ("sheet=Towns", "Towns", Position(sheet="Towns"))


def test_rich_text_is_read_with_what_stands_beside_it():
    made = (
        r"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\header Secret\par}Caf\'e9 \u8364? {\b bold}\par Whales"
        r"{\footnote They dive.}{\*\annotation Sure?}{\deleted gone} sing.\par}"
    )
    [part] = parts("a.rtf", made)
    assert "Café € bold" in part.text
    for text in ("Secret", "Whales", "They dive.", "Sure?", "sing."):
        assert text in part.text
    assert "gone" not in part.text
    assert "Arial" not in part.text
    [part] = parts("a.rtf", r"{\rtf1 a {\b x\deleted gone \{too\}} b" + "{" + r"\deleted x " * 50_000)
    assert part.text.startswith("a  b")
    with pytest.raises(Unreadable, match="it is no rich text"):
        parts("a.rtf", "hello")


def test_a_notebook_has_its_headings_code_and_output():
    cells = [
        {"cell_type": "markdown", "source": ["# Whales\n", "They dive."]},
        {"cell_type": "code", "source": "depth(1)", "outputs": [
            {"output_type": "stream", "text": ["a mile\n"]},
            {"output_type": "execute_result", "data": {"text/plain": "1609", "image/png": "iVBOR"}},
        ]},
        {"cell_type": "raw", "source": "as it is"},
    ]  # fmt: skip
    assert [(part.title, part.text) for part in parts("a.ipynb", json.dumps({"cells": cells}))] == [
        ("Whales", "They dive.\n\ndepth(1)\n\na mile\n\n\n1609\n\nas it is")
    ]
    cells = [{"cell_type": "heading", "level": 1, "source": "H"}, {"cell_type": "code", "input": "x"}]
    [part] = parts("a.ipynb", json.dumps({"cells": cells}))
    assert part.position == Position(cells=((0, 2),))
    old = {"worksheets": [{"cells": cells}]}
    assert [(part.title, part.text) for part in parts("a.ipynb", json.dumps(old))] == [("H", "x")]
    for bad in ("[]", "{", ""):
        with pytest.raises((Unreadable, ValueError)):
            parts("a.ipynb", bad)


def test_each_line_of_a_notebook_knows_its_cell():
    sources = [("markdown", "# A\nfirst"), ("code", "x = 1\ny = 2"), ("raw", "last"), ("markdown", "# Bare")]
    cells = [{"cell_type": kind, "source": source} for kind, source in sources]
    cells[1]["outputs"] = [{"text": "shown"}]
    body, bare = parts("a.ipynb", json.dumps({"cells": cells}))
    found = {line: body.position.place("a", number).cell for number, line in enumerate(body.text.split("\n")) if line}
    assert found == {"first": 1, "x = 1": 2, "y = 2": 2, "shown": 2, "last": 3}
    assert (bare.text, bare.position.place("a")) == ("Bare", Place("a", cell=4))


def test_an_odd_cell_of_a_notebook_costs_itself():
    shown = [
        {"data": {"text/markdown": "**deep**", "text/plain": "<Markdown object>"}},
        {"output_type": "error", "ename": "OSError", "evalue": "no sonar"},
    ]
    cells = ["odd", {"cell_type": "code", "source": "dive()", "outputs": shown}, {"cell_type": "code", "outputs": 7}]
    found = parts("a.ipynb", json.dumps({"cells": cells}))
    assert [part.text.split() for part in found if isinstance(part, FilePart)] == [
        ["dive()", "**deep**", "no", "sonar"]
    ]
    assert [(part.name, part.failed) for part in found if isinstance(part, Lost)] == [
        ("cell=1", True),
        ("cell=3", True),
    ]


def test_a_missing_chapter_costs_that_chapter_only():
    items = "".join(f'<item id="{n}" href="{n}.xhtml"/>' for n in "abcd")
    spine = "".join(f'<itemref idref="{n}"/>' for n in "abxcd")
    book = zipped(
        **{
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="o.opf"/></rootfiles></container>',
            "META-INF/encryption.xml": '<e xmlns:x="urn:x"><x:CipherReference URI="d.xhtml"/></e>',
            "o.opf": f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest><spine>{spine}</spine>'
            "</package>",
            "a.xhtml": "<p>first</p>",
            "c.xhtml": "<p>third</p>",
            "d.xhtml": "\x01\x02",
        }
    )
    found = parts("a.epub", book)
    assert [(part.name, getattr(part, "text", None) or part.reason) for part in found] == [
        ("a.xhtml", "first"),
        ("b.xhtml", "the book has no such chapter."),
        ("x", "the book has no such chapter."),
        ("c.xhtml", "third"),
        ("d.xhtml", "it is encrypted."),
    ]
    chapters = [part.position for part in found if isinstance(part, FilePart)]
    assert chapters == [Position(chapter="a.xhtml"), Position(chapter="c.xhtml")]


def test_notes_and_pages_beside_the_chapters_of_a_book_are_read():
    items = "".join(
        f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"{more}/>'
        for name, more in (("a", ""), ("pic", ""), ("n", ""), ("toc", ' properties="nav"'), ("gone", ""))
    )
    page = '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="urn:e"><body>{}</body></html>'
    book = zipped(
        **{
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="o.opf"/></rootfiles></container>',
            "o.opf": f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}<item id="p" href="p.png" '
            'media-type="image/png"/></manifest><spine><itemref idref="a"/><itemref idref="pic"/></spine></package>',
            "pic.xhtml": page.format('<img src="p.png"/>'),
            "a.xhtml": page.format(
                '<main><p>first</p></main><aside epub:type="footnote" hidden="hidden">a note</aside>'
                "<aside>a box</aside><footer>a foot</footer><p>beside</p>"
            ),
            "n.xhtml": page.format("<p>notes</p>"),
            "toc.xhtml": page.format("<nav><a>contents</a></nav>"),
        }
    )
    found = parts("a.epub", book)
    assert [(part.name, getattr(part, "text", None) or part.reason) for part in found] == [
        ("a.xhtml", "first\n\na note\n\na box\n\na foot\n\nbeside"),
        ("pic.xhtml", "it holds no text: pictures must go through text recognition first."),
        ("n.xhtml", "notes"),
        ("gone.xhtml", "the book has no such chapter."),
    ]


CHART = (
    f'<c:chartSpace xmlns:c="urn:c" {NAMES}><c:title><c:rich><a:p><a:r><a:t>Dives</a:t></a:r></a:p></c:rich>'
    "</c:title><c:ser><c:tx><c:strRef><c:strCache><c:pt><c:v>North</c:v></c:pt></c:strCache></c:strRef></c:tx><c:cat>"
    "<c:strCache><c:pt><c:v>May</c:v></c:pt></c:strCache></c:cat>"
    "<c:val><c:numCache><c:pt><c:v>7</c:v></c:pt></c:numCache></c:val></c:ser></c:chartSpace>"
)


def test_charts_of_slides_and_sheets_are_read():
    shown = package(
        f'<p:presentation {NAMES}><p:sldIdLst><p:sldId id="1" r:id="s"/></p:sldIdLst></p:presentation>',
        {"main": {"s": ("slide", "slide.xml")}, "slide": {"c": ("chart", "chart.xml")}},
        slide=slide(shape("Whales", "title")),
        chart=CHART,
    )
    assert [part.text for part in parts("a.pptx", shown)] == ["Dives\nNorth\nMay"]
    sheet = package(
        f'<workbook {NAMES}><sheets><sheet name="S" sheetId="1" r:id="s1"/></sheets></workbook>',
        {"main": {"s1": ("worksheet", "sheet1.xml")}, "sheet1": {"d": ("drawing", "drawing.xml")},
         "drawing": {"c": ("chart", "chart.xml")}},
        sheet1=f'<worksheet {NAMES}><sheetData><row r="1">{inline("A1", "whales")}</row></sheetData></worksheet>',
        drawing=f"<d {NAMES}/>",
        chart=CHART,
    )  # fmt: skip
    [part] = parts("a.xlsx", renamed(sheet, {"d/": "xl/", "main.xml": "workbook.xml"}))
    assert part.text == "whales\nDives\nNorth\nMay"


def test_the_alternative_that_holds_text_is_read():
    ways = f"<mc:Choice><p:x/></mc:Choice><mc:Fallback>{shape('seen')}</mc:Fallback>"
    shown = package(
        f'<p:presentation {NAMES}><p:sldIdLst><p:sldId id="1" r:id="s"/></p:sldIdLst></p:presentation>',
        {"main": {"s": ("slide", "slide.xml")}},
        slide=slide(f'<mc:AlternateContent xmlns:mc="urn:mc">{ways}</mc:AlternateContent>'),
    )
    assert [part.text for part in parts("a.pptx", shown)] == ["seen"]


def test_fields_shapes_and_objects_of_opendocument_are_read():
    body = (
        "<text:p>Signed <text:date>1 May</text:date> by <text:creator>Ann</text:creator>.</text:p>"
        "<text:p>Whales <draw:custom-shape><text:p>in a shape</text:p></draw:custom-shape>dive<draw:frame><draw:image/>"
        "<draw:desc>a fin</draw:desc></draw:frame>.</text:p><draw:rect><text:p>on the page</text:p></draw:rect>"
    )
    chart = ODT.format("<chart><title><text:p>Dives</text:p></title></chart>")
    found = parts("a.odt", zipped(**{"content.xml": ODT.format(body), "Object 1/content.xml": chart}))
    assert [(part.name, part.text) for part in found] == [
        ("", "Signed 1 May by Ann.\n\nWhales dive a fin .\n\nin a shape\n\non the page"),
        ("Object 1", "Dives"),
    ]


def test_text_boxes_of_rich_text_are_read_once():
    box = r"{\shp{\*\shpinst\shpleft0{\sp{\sn x}{\sv 1}}{\shptxt \pard In {\b the} box\par}}%s}"
    again = r"{\shprslt{\*\do{\dptxbxtext\pard In the box}}}"
    [part] = parts("a.rtf", r"{\rtf1 Whales " + box % again + r"dive.{\*\do{\dptxbxtext old}} \{}")
    assert part.text.split() == ["Whales", "dive.", "{", "In", "the", "box", "old"]
    [part] = parts("a.rtf", r"{\rtf1 Whales" + again + "}")
    assert part.text.split() == ["Whales", "In", "the", "box"]
    [part] = parts("a.rtf", r"{\rtf1 a{\pict\bin3 }}}}" + box % "" + "b}")
    assert part.text.split() == ["ab", "In", "the", "box"]
    assert parts("a.rtf", r"{\rtf1 " + "{" * 200_000)[0].text == ""


def test_lettering_and_equations_of_rich_text_are_text():
    art = r"{\shp{\*\shpinst{\sp{\sn fFlipH}{\sv 0}}{\sp{\sn gtextUNICODE}{\sv Deep \u8364? sea}}{\sp{\sn x}{\sv y}}}}"
    assert parts("a.rtf", r"{\rtf1 Whales" + art + " dive}")[0].text == "Whales dive\nDeep € sea"
    ruby = r'{ EQ \\* jc2 \\* "Font:MS Mincho" \\* hps10 \\o\\ad(\\s\\up 9(\u12392?\u12358?),\u26481?)}'
    half = r"{\field{\*\fldinst EQ \\f(1,2)}{\fldrslt}}"
    link = r'{\field{\*\fldinst HYPERLINK "http://x"}{\fldrslt a link}}'
    [part] = parts(
        "a.rtf", r"{\rtf1 To {\field{\*\fldinst " + ruby + r"}{\fldrslt }}, " + half + f" a day, {link}" + "}"
    )
    assert part.text.split() == ["To", "とう", "東", ",", "1", "2", "a", "day,", "a", "link"]
    assert parts("a.rtf", r"{\rtf1 " + r"{\*\fldinst EQ " * 20_000 + "}" * 20_001)[0].text.split() == []


@pytest.mark.parametrize(
    ("front", "title", "text", "line"),
    [
        ("title: T\ndescription: of whales\ntags: [a, b]", "T", "description: of whales\ntags: [a, b]", 3),
        ("Note: this tale goes on", "", "Note: this tale goes on", 2),
        ("\ncreated: May\ntitle: T", "T", "created: May", 3),
        ("title: T", "T", "", 0),
    ],
)
def test_what_a_front_matter_says_is_text(front, title, text, line):
    *above, part = parts("a.md", f"---\n{front}\n---\n# Head\nbody")
    assert [(one.title, one.text) for one in above] == ([(title, text)] if text else [])
    assert [one.position.lines[0][1] for one in above] == ([line] if text else [])
    assert (part.title, part.text) == (f"{title} › Head".removeprefix(" › "), "body")
