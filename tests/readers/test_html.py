"""HTML as a reader sees it, however deep, long or odd the page is."""

import io
from pathlib import Path

import pytest

from corpora.extraction import extractor
from corpora.extraction.parts import Lost, Unreadable


def parts(content, name="a.html"):
    raw = content if isinstance(content, bytes) else content.encode()
    return list(extractor(Path(name))(io.BytesIO(raw)))


def texts(content, name="a.html"):
    return [part.text for part in parts(content, name)]


@pytest.mark.parametrize("tag", ["div", "span", "b", "blockquote"])
@pytest.mark.parametrize("depth", [260, 2000])
def test_what_stands_behind_nested_elements_is_there(tag, depth):
    nested = f"<{tag}>" * depth + "deep" + f"</{tag}>" * depth
    assert "\n\n".join(texts(f"<p>first</p>{nested}<p>last</p>")).split() == ["first", "deep", "last"]


@pytest.mark.parametrize(
    "huge",
    ["<img src='data:image/png;base64,{}'>", "<script>{}</script>", "<style>{}</style>", "<a href='{}'></a>"],
)
def test_what_stands_behind_a_huge_element_is_there(huge):
    found = texts(f"<p>first</p>{huge.format('x' * 12_000_000)}<p>last</p>")
    assert "\n\n".join(found).split() == ["first", "last"]


def test_where_the_parser_gives_up_what_is_lost_is_named():
    try:
        found = parts("<p>first</p>" + "<div>" * 3000 + "deep" + "</div>" * 3000 + "<p>last</p>")
    except Unreadable as error:
        assert "its parser gave up: Excessive depth" in str(error)  # noqa: PT017
    else:
        assert isinstance(found[-1], Lost)
        assert "its parser gave up: Excessive depth" in found[-1].reason


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<form action=x><h1>A page</h1><p>whales dive</p><button>Send</button></form>", ["whales dive"]),
        ("<p>seen<p hidden>no<p style='color:red; display : none'>no<p style='visibility:hidden'>no", ["seen"]),
        ("<p>seen<p hidden=until-found>found", ["seen\n\nfound"]),
        ("<p>seen<template>no</template><dialog>no</dialog><select><option>no</select>", ["seen"]),
        ("<p>The <my-term>great</my-term> <o:p>blue</o:p> whale<blink>s</blink>.", ["The great blue whales."]),
        ("<div>a</div><main>one</main><p>b</p><main><p>two</main>", ["one\n\ntwo", "a\n\nb"]),
        ("<main><div role=main>once</div></main>", ["once"]),
        ("<main></main><p>whales</p>", ["whales"]),
        ("<nav>Home</nav><p>text</p><aside>no</aside><footer>no</footer>", ["text"]),
        ("<article>text<aside>pulled</aside><footer>by Ann</footer></article>", ["text\n\npulled\n\nby Ann"]),
        ("<nav><a>Home</a></nav>", ["Home"]),
        ("<noscript>whales</noscript>", ["whales"]),
        ("<p>Donau\u00addampf<wbr>schiff&shy;fahrt&ZeroWidthSpace;en", ["Donaudampfschifffahrten"]),
        ("<p>a<!-- no -->b<?no pi?>c<p>d", ["abc\n\nd"]),
        ("<textarea>a  b\n c</textarea>", ["a  b\n c"]),
        ("<details><summary>Why?</summary><p>So.</details>", ["Why?\n\nSo."]),
        ("<p>x<svg><title>no</title><text>no</text></svg>y", ["xy"]),
    ],
)  # fmt: skip
def test_what_is_seen_is_text(content, expected):
    assert texts(content) == expected


def test_a_part_tells_its_lines():
    """As far as lines of the text are lines of the file, and as the parser counts them."""
    page = "<html>\n<h1>T</h1>\n<p>one\n two</p>\n\n<p>three</p>\n<pre>a\nb</pre>\n<h2>S</h2><p>\n x<br>\ny</p>"
    first, second = parts(page)
    assert first.text == "one two\n\nthree\n\na\nb"
    assert [first.position.line_of(number) for number in (0, 2, 4, 5)] == [3, 6, 7, 8]
    assert [second.position.line_of(number) for number in (0, 1)] == [10, 11]
    for unknown in ("<p>a<br>b</p>\n<p>c", "<p>a" + "\n" * 70_000 + "<p>b"):
        assert parts(unknown)[0].position.lines == ()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "<table><caption>Prices</caption><tr><th>Fruit<th>Price<tr><td>apple<td>3"
            "<tr><td><p>ripe <b>pear</b></p><td>from <p>4</p> on<td></table>behind",
            "Prices\n\nFruit | Price\n\napple | 3\n\nripe pear | from 4 on\n\nbehind",
        ),
        ("<table><tr><td><td>x<td hidden>not seen<td>y", "x | y"),
        ("<table><tr><td>1 |<td>2", "1 | | 2"),
        ("<table><tr><td><h2>menu</h2><p>a</p><p>b</p><td>aside", "a\n\nb\n\naside"),  # which lays out a page
        ("<table><tr><td>out<table><tr><td>a<td>b</table><td>behind", "out\n\na | b\n\nbehind"),
        ("<table><tr><td>first<br>second<td>third", "first\nsecond\n\nthird"),
    ],
)
def test_a_row_of_a_table_is_a_line(content, expected):
    """What stands in one row belongs together, as it does in DOCX and ODT."""
    assert texts(content) == [expected]


def test_a_button_in_a_heading_is_its_text():
    [part] = parts("<h2><button>How long?</button></h2><p>A day.")
    assert (part.title, part.text) == ("How long?", "A day.")


XHTML = (
    '<?xml version="1.0" encoding="{}"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/>'
    '<script src="x.js"/></head><body><p/><h1>Caf&eacute;</h1><p>whales&nbsp;dive &amp; sing<br/>deep</p></body></html>'
)


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1", "utf-16"])
def test_xhtml_is_xml_where_it_is_sound(encoding):
    [part] = parts(XHTML.format(encoding).encode(encoding), "a.xhtml")
    assert (part.title, " ".join(part.text.split())) == ("Café", "whales dive & sing deep")


def test_xhtml_that_is_not_sound_is_html():
    broken = XHTML.format("utf-8").replace("<br/>", "<br>").replace('<script src="x.js"/>', "").replace("<title/>", "")
    assert texts(broken) == ["whales dive & sing\ndeep"]


@pytest.mark.parametrize(
    ("said", "written", "text"),
    [
        ("gb2312", "gbk", "总理朱镕基今天"),
        ("Shift_JIS", "cp932", "①髙島屋の前"),
        ("EUC-KR", "cp949", "똠방각하"),
        ("iso-8859-1", "cp1252", "“whales” – 5 €"),
    ],
)
def test_letters_of_the_wider_alphabet_lose_nothing(said, written, text):
    page = f'<html><head><meta charset="{said}"></head><body><p>{text}</p><p>last</p></body></html>'
    assert parts(page.encode(written))[0].text == f"{text}\n\nlast"


def test_a_byte_that_is_wrong_costs_itself():
    page = b'<meta charset="gb2312"><p>\xd7\xdc\xff\xc0\xed</p><p>last</p>'
    [part] = parts(page)
    assert part.text.endswith("last")
    assert part.text.startswith("总")


def test_an_article_beside_the_main_part_is_read():
    page = "<article>one<article>in it</article></article><main>two</main><nav><article>no</article></nav>"
    assert texts(page) == ["one\n\nin it\n\ntwo"]
    assert texts("<p>intro</p><article>one</article><p>outro</p>") == ["intro\n\none\n\noutro"]


def test_what_stands_beside_the_main_part_is_a_part_of_its_own():
    page = (
        "<title>T</title><header>no</header><p>a</p><main>two</main><section><h2>S</h2>b</section><footer>no</footer>"
    )
    found = [(part.name, part.title, part.text) for part in parts(page)]
    assert found == [("", "T", "two"), ("beside/", "T", "a"), ("beside/s", "T › S", "b")]
    assert texts("<p>a</p><main></main>") == ["a"]


def test_notes_are_read_wherever_they_stand():
    assert texts("<p>text</p><aside role=doc-footnote>note</aside><aside>no</aside>") == ["text\n\nnote"]
