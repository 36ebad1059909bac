"""PDF: words as they are read, under the numbers of their pages, and pages without text named."""

import io
import time
import zlib
from pathlib import Path

import pytest
from support.pdf import assembled

from corpora.extraction import extractor
from corpora.extraction.parts import Lost, Unreadable
from corpora.extraction.pdf import words
from corpora.extraction.pdf_text import ShownText
from corpora.extraction.right_to_left import as_read


def made(*contents, kids=None, extra=b"", more=(), count=None):
    """A PDF of a page for each stream of operators; the byte 1 of its font is the ligature of f and i.

    Contents that begin with "<<" are objects. `extra` is of each page, `more` objects from the number 5 on.
    """
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding<</Type/Encoding/Differences[1/fi 2/ffl]>>>>",
        b"<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>"
        b"stream\n\0\nendstream",
    ]
    objects += more
    named = []
    for content in contents:
        plain = b"<</Length %d>>stream\n%s\nendstream" % (len(content), content)
        objects.append(content if content.startswith(b"<<") else plain)
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>/XObject<</I 4 0 R>>>>"
            b"/Contents %d 0 R%s>>" % (len(objects), extra)
        )
        named.append(b"%d 0 R" % len(objects))
    kids = named if kids is None else [*named, *kids]
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), len(kids) if count is None else count)
    return assembled(objects)


def lines(*texts):
    return b"BT /F1 12 Tf 14 TL 72 720 Td %s ET" % b" T* ".join(b"(%s) Tj" % text for text in texts)


def parts(content):
    return list(extractor(Path("a.pdf"))(io.BytesIO(content)))


def test_ligatures_and_words_broken_at_line_ends_are_words():
    [part] = parts(
        made(lines(b"The \\001rst wha-", b"les sni\\002e at well-", b"known, well-known 2019-", b"2020 A-", b"B."))
    )
    assert " ".join(part.text.split()) == "The first whales sniffle at well-known, well-known 2019- 2020 A-B."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ ½ ²", "ff fi fl ffi ffl st st ½ ²"),
        ("Donau\xaddampf\xad\nschiff", "Donaudampfschiff"),
        ("über-\nflüssig", "überflüssig"),
        ("a list:\n- one\n- two", "a list:\n- one\n- two"),
        ("Donau\u2010\ndampf", "Donaudampf"),
        ("Hoch-\nund Tiefbau", "Hoch- und Tiefbau"),
        ("dash -\nnot a word", "dash -\nnot a word"),
        ("an ELE-\nMENT of Jean-\nPaul, A-\nB and UTF-\n8", "an ELEMENT of Jean-Paul, A-B and UTF-\n8"),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a-\n" * 200_000,
        "word-\nword well-known " * 50_000,
        "x" * 300_000 + "-",
        "- \n" * 100_000 + "a-" + "\n" * 100_000,
    ],
)
def test_words_are_found_in_time_that_grows_with_the_text(text):
    began = time.monotonic()
    words(text)
    assert time.monotonic() - began < 10


def glyphs(content, letters):
    """A PDF of a page with a font whose glyphs, of two bytes, are these texts."""
    table = b"".join(
        b"<%04x><%s>" % (glyph, text.encode("utf-16-be").hex().encode()) for glyph, text in letters.items()
    )
    cmap = b"begincmap 1 begincodespacerange<0000><ffff>endcodespacerange %d beginbfchar%s endbfchar endcmap"
    cmap %= (len(letters), table)
    system = b"<</Registry(Adobe)/Ordering(Identity)/Supplement 0>>"
    return assembled(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 4 0 R>>>>/Contents 8 0 R>>",
            b"<</Type/Font/Subtype/Type0/BaseFont/Own/Encoding/Identity-H/DescendantFonts[5 0 R]/ToUnicode 7 0 R>>",
            b"<</Type/Font/Subtype/CIDFontType2/BaseFont/Own/CIDSystemInfo%s/DW 1000/FontDescriptor 6 0 R>>" % system,
            b"<</Type/FontDescriptor/FontName/Own/Flags 4/FontBBox[0 0 1000 1000]/ItalicAngle 0/Ascent 800/Descent -200"
            b"/CapHeight 700/StemV 80>>",
            *(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream) for stream in (cmap, content)),
        ]
    )


def test_what_glyphs_stand_for_is_told_beside_them():
    """Glyphs that are no letters say what they are (ActualText): ligatures, letters that are drawn."""
    said = b"BT /F1 12 Tf 72 720 Td /Span <</ActualText<FEFF9CB8>>> BDC <00000000> Tj EMC 40 0 Td <0001> Tj ET"
    [part] = parts(glyphs(said, {1: "x"}))
    assert part.text == "鲸 x"


def test_letters_of_an_arabic_ligature_are_in_their_order():
    """On the page the word stands from right to left; the two letters of the glyph in its middle are read as one."""
    drawn = b"BT /F1 12 Tf 72 720 Td <0003000200010000> Tj ET"
    letters = {0: "\u0627", 1: "\u0633", 2: "\u0644\u0627", 3: "\u0645"}
    [part] = parts(glyphs(drawn, letters))
    assert part.text == "\u0627\u0633\u0644\u0627\u0645"  # Islam


@pytest.mark.parametrize(
    ("from_the_left", "read"),
    [
        ("לועב English words here אוה", "הוא English words here בעול"),
        ("line ינש לופכ words 7 הז two", "line כפול שני words 7 זה two"),
        (".םויס Vector Machine (SVM) תועצמאב", "באמצעות Vector Machine (SVM) סיום."),
        (".םש (New York City ריעב) 2024 יאמב 15", "15 במאי 2024 (בעיר New York City) שם."),
        (".ףוס Python 3.11 and C++ 17 םע", "עם Python 3.11 and C++ 17 סוף."),
        ("See בל ,הניב (deep) and", "See בינה, לב (deep) and"),
        (".5.5% רבכ", "כבר 5.5%."),
        ("٣ ، 12", "٣ ، 12"),
    ],
)
def test_lines_of_both_directions_are_in_the_order_of_reading(from_the_left, read):
    """Each word, number and sign of the other direction stands where it is read, brackets open before they close."""
    letters = dict(enumerate(sorted(set(from_the_left))))
    numbers = {letter: number for number, letter in letters.items()}
    shown = "".join(f"{numbers[letter]:04x}" for letter in from_the_left).encode()
    [part] = parts(glyphs(b"BT /F1 12 Tf 72 720 Td <%s> Tj ET" % shown, letters))
    assert part.text == read


def test_a_stroke_that_fills_an_arabic_line_is_no_letter():
    """LibreOffice's PDFs call it ':', which another program draws between two words: boxes as they were measured."""

    class Measured:
        boxes = ((468.2, 762.8, 475.4, 766.7), (464.4, 763.1, 468.1, 764.2), (458.9, 763.1, 464.6, 769.2))
        origin = staticmethod({0: (468.3, 763.1), 1: (464.5, 763.1), 2: (458.1, 763.1)}.get)
        box = boxes.__getitem__

    class Colon(Measured):
        box = (*Measured.boxes[:1], (465.4, 763.1, 466.7, 768.4), *Measured.boxes[2:]).__getitem__

    assert as_read("م:ة", Measured) == "مة"
    assert as_read("م:ة", Colon) == "م:ة"


def test_what_pdfium_can_not_read_pypdf_does(monkeypatch):
    from pypdfium2 import PdfDocument, PdfiumError

    def fails(*_):
        raise PdfiumError("Failed to load page.")

    for broken in ("__getitem__", "__init__"):
        with monkeypatch.context() as patch:
            patch.setattr(PdfDocument, broken, fails)
            assert [part.text for part in parts(made(lines(b"one"), lines(b"two")))] == ["one", "two"]
    with monkeypatch.context() as patch:
        patch.setattr(PdfDocument, "__len__", lambda _: 1)  # its numbers would be others
        assert [part.name for part in parts(made(lines(b"one"), lines(b"two")))] == ["page=1", "page=2"]


def test_a_scanned_page_among_others_is_named_and_numbers_stay():
    picture = b"q 100 0 0 100 0 0 cm /I Do Q"
    found = parts(made(picture, lines(b"two"), picture, b"", lines(b"five")))
    assert [part.name for part in found] == ["page=1", "page=2", "page=3", "page=5"]
    assert [part.text for part in found if not isinstance(part, Lost)] == ["two", "five"]
    assert found[1].metadata == {"page": 2}
    assert "it holds no text: scanned images must go through text recognition" in found[0].reason
    with pytest.raises(Unreadable, match="no page holds text"):
        parts(made(picture, picture))


def test_a_page_that_cannot_be_read_costs_itself(monkeypatch):
    read = ShownText.of

    def broken(shown, number, page):
        if number == 1:
            raise KeyError("/Font")
        return read(shown, number, page)

    monkeypatch.setattr(ShownText, "of", broken)
    first, second, third = parts(made(lines(b"one"), lines(b"two"), lines(b"three")))
    assert (first.text, third.text) == ("one", "three")
    assert second == Lost("page=2", "it can't be read (KeyError: '/Font').", failed=True)


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-128", "AES-256"])
def test_what_is_locked_without_a_password_opens(algorithm):
    from pypdf import PdfReader, PdfWriter

    for password, owner in (("", "secret"), ("secret", "secret")):
        writer, out = PdfWriter(PdfReader(io.BytesIO(made(lines(b"whales dive"))))), io.BytesIO()
        writer.encrypt(password, owner, algorithm=algorithm)
        writer.write(out)
        if password:
            with pytest.raises(Unreadable, match="locked with a password"):
                parts(out.getvalue())
        else:
            assert [part.text for part in parts(out.getvalue())] == ["whales dive"]


@pytest.mark.parametrize("kids", [[b"99 0 R"], [b"3"], [b"null"], [b"5 0 R"]])
def test_pages_that_are_not_there_are_named(kids):
    tree = b"<</Type/Pages/Count 2>>"
    part, lost = parts(made(lines(b"one"), kids=kids, more=[tree], count=2))
    assert part.text == "one"
    assert lost.reason == "the file says that it has 2 pages, and 1 can be found: the others are lost."
    [lost] = parts(made(kids=[b"99 0 R"]))
    assert "it has 1 pages, and 0 can be found" in lost.reason


def packed(content, cut=None):
    raw = zlib.compress(content)[:cut]
    return b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(raw), raw)


LONG = b" ".join(lines(b"whale%d" % (n * 7919 % 1000)) for n in range(200))


def test_a_page_whose_contents_are_cut_short_is_named():
    whole, unsigned = parts(made(packed(LONG), packed(LONG, -4)))
    assert "whale81" in whole.text
    assert unsigned.text == whole.text, "many files lack the checksum"
    found = parts(made(packed(LONG, -60), lines(b"two"), packed(b"BT (a) Tj ET " * 40, -20)))
    lost = [part.name for part in found if isinstance(part, Lost)]
    assert lost == ["page=1", "page=3"]
    assert [part.text for part in found if not isinstance(part, Lost)][-1] == "two"


def test_a_page_whose_contents_are_not_there_is_named():
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents %s>>"
    part, one, other = parts(
        made(lines(b"one"), kids=[b"5 0 R", b"6 0 R"], more=[page % b"[99 0 R]", page % b"98 0 R"])
    )
    assert part.text == "one"
    assert one == Lost("page=2", "a part of its contents is not in the file.", failed=True)
    assert other == Lost("page=3", "a part of its contents is not in the file.", failed=True)


def test_what_was_filled_in_and_noted_is_read():
    more = [
        b"<</Subtype/Widget/FT/Tx/T(name)/V(Ann Lee)>>",
        b"<</FT/Tx/V(from above)/Parent 6 0 R>>",
        b"<</Subtype/Widget/Parent 6 0 R>>",
        b"<</Subtype/Widget/FT/Btn/V/Yes>>",
        b"<</Subtype/Widget/FT/Ch/V[(red)(blue)]>>",
        b"<</Subtype/Text/Contents(Is it so?)>>",
        b"<</Subtype/FreeText/Contents(whales dive)>>",
        b"<</Subtype/Link>>",
    ]
    annotations = b"/Annots[%s 99 0 R 7]" % b" ".join(b"%d 0 R" % (5 + n) for n in range(len(more)))
    [part] = parts(made(lines(b"whales dive"), extra=annotations, more=more))
    assert part.text.splitlines() == ["whales dive", "Ann Lee", "from above", "red", "blue", "Is it so?"]
    [part] = parts(made(b"", extra=annotations, more=more))
    assert part.text.startswith("Ann Lee\nfrom above")
