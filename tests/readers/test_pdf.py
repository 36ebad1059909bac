"""PDF: words as they are read, under the numbers of their pages, and pages without text named."""

import io
import time
from pathlib import Path

import pytest
from support.pdf import assembled

from corpora.extraction import extractor
from corpora.extraction.parts import Lost, Unreadable
from corpora.extraction.pdf import words


def made(*contents):
    """A PDF of a page for each stream of operators; the byte 1 of its font is the ligature of f and i."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"",
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding<</Type/Encoding/Differences[1/fi 2/ffl]>>>>",
        b"<</Type/XObject/Subtype/Image/Width 1/Height 1/ColorSpace/DeviceGray/BitsPerComponent 8/Length 1>>"
        b"stream\n\0\nendstream",
    ]
    kids = []
    for content in contents:
        objects.append(b"<</Length %d>>stream\n%s\nendstream" % (len(content), content))
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>/XObject<</I 4 0 R>>>>"
            b"/Contents %d 0 R>>" % len(objects)
        )
        kids.append(b"%d 0 R" % len(objects))
    objects[1] = b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(kids), len(kids))
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
    from pypdf import PageObject

    extract = PageObject.extract_text

    def broken(page):
        if page.page_number == 1:
            raise KeyError("/Font")
        return extract(page)

    monkeypatch.setattr(PageObject, "extract_text", broken)
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
