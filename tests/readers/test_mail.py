"""E-mail: all that was written and can be read is there, and names its mail."""

import io
import time
from email.message import EmailMessage
from pathlib import Path

import pytest

from corpora.extraction import extractor
from corpora.extraction.parts import FilePart, Lost


def parts(content, name="a.eml"):
    raw = content if isinstance(content, bytes) else content.encode()
    return list(extractor(Path(name))(io.BytesIO(raw)))


def mail(**headers):
    made = EmailMessage()
    for name, value in {"From": "ann@example.org", "Subject": "Whales", "Message-ID": "<1@x>", **headers}.items():
        made[name] = value
    return made


def multipart(kind, *inside, boundary="b"):
    body = "".join(f"--b\nContent-Type: {part}\n" for part in inside)
    head = f"; boundary={boundary}" if boundary else ""
    return f"Subject: Whales\nContent-Type: multipart/{kind}{head}\n\n{body}--b--\n"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (multipart("alternative", "text/plain\n\n \n", "text/html\n\n<p>dive</p>"), "dive"),
        (multipart("alternative", "text/html\n\n<p>no</p>", "text/plain\n\ndive\n"), "dive"),
        (
            multipart(
                "alternative", "text/plain\n\nSee HTML.\n", "text/html\n\n<p>The contract ends in May, at noon.</p>"
            ),
            "The contract ends in May, at noon.",
        ),
        (multipart("mixed", "text/plain\n\none\n", "image/png\n\nx\n", "text/plain\n\ntwo\n"), "one\n\ntwo"),
        (multipart("mixed", "text/plain\n\none\n", "text/html\n\n<p>two</p>\n"), "one\n\ntwo"),
        (multipart("mixed", "text/plain\n\none\n", "text/plain\n\ntwo\n", boundary=""), "one\n\ntwo"),
        (multipart("mixed", "text/plain\n\none\n", boundary="other"), "one"),
        ("Subject: Whales\nContent-Type: multipart/mixed\n\njust text\n", "just text"),
        ("Subject: Whales\nContent-Type: text/html\n\n<h1>Dive</h1><p>deep</p>", "Dive\n\ndeep"),
        (b"Subject: Whales\nContent-Transfer-Encoding: 8bit\n\n\xc3\xbcber", "über"),
        (b"Subject: Whales\nContent-Type: text/plain; charset=us-ascii\n\n\xfcber", "über"),
        (b"Subject: Whales\nContent-Type: text/plain; charset=utf-8\n\n\xc3\xbcber\xff \xe5\x8c\x97", "über\ufffd 北"),
        ("Subject: Whales\nContent-Type: text/plain; charset=gb2312\n\n朱镕基".encode("gbk"), "朱镕基"),
        ("Subject: Whales\nContent-Type: text/plain; charset=Shift_JIS\n\n①髙".encode("cp932"), "①髙"),
    ],
)
def test_every_text_of_a_message_is_read(content, text):
    assert [(part.title, part.text) for part in parts(content)] == [("Whales", text)]


def test_a_part_within_an_alternative_that_is_attached_is_kept():
    made = mail()
    made.set_content("dive")
    made.add_alternative("<p>no</p>", subtype="html")
    made.get_payload()[1].make_mixed()
    made.get_payload()[1].add_attachment("deep", filename="notes.txt")
    assert [part.text.strip() for part in parts(made.as_bytes())] == ["dive", "deep"]


def test_what_is_attached_and_can_be_read_names_its_mail():
    made = mail(Date="Tue, 02 Jan 2024 23:30:00 -0500")
    made.set_content("see there")
    made.add_attachment("# Deep\nThey dive.", subtype="markdown", filename="notes.md")
    made.add_attachment(b"<p>page", maintype="application", subtype="octet-stream", filename="PAGE.HTM")
    made.add_attachment(b"whales", maintype="text", subtype="plain")
    made.add_attachment(b"%PDF broken", maintype="application", subtype="pdf", filename="broken.pdf")
    made.add_attachment(b"PK", maintype="application", subtype="zip", filename="all.zip")
    made.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="a.png")
    made.add_attachment(b"", maintype="text", subtype="x-python", filename="empty.py")
    found = parts(made.as_bytes())
    read = [part for part in found if isinstance(part, FilePart)]
    assert [(part.name, part.title, part.text.strip()) for part in read] == [
        ("", "Whales", "see there"),
        ("notes.md/deep", "Whales › Deep", "They dive."),
        ("PAGE.HTM", "Whales › PAGE.HTM", "page"),
        ("attachment", "Whales", "whales"),
    ]
    assert read[0].metadata["attachments"] == [
        "notes.md", "PAGE.HTM", "broken.pdf", "all.zip", "a.png", "empty.py",
    ]  # fmt: skip
    assert read[1].metadata == {
        "mail": "<1@x>",
        "attachment": "notes.md",
        "from": "ann@example.org",
        "date": "2024-01-03T04:30:00+00:00",
    }
    lost = {part.name: part.reason for part in found if isinstance(part, Lost)}
    assert lost.keys() == {"broken.pdf", "all.zip", "empty.py"}
    assert lost["broken.pdf"].startswith("it can't be read (")
    assert lost["all.zip"] == "an attachment of the kind application/zip, which no reader here knows."
    assert lost["empty.py"] == "an attachment that holds no text."


def test_a_forwarded_message_is_a_document_that_names_its_mail():
    inner = mail(**{"Subject": "Bread", "Message-ID": "<2@x>", "From": "bob@example.org"})
    inner.set_content("It rises.")
    inner.add_attachment("Of yeast.", filename="why.txt")
    made = mail()
    made.set_content("see below")
    made.add_attachment(inner)
    found = parts(made.as_bytes())
    assert [(part.name, part.title, part.text.strip(), part.metadata.get("mail")) for part in found] == [
        ("", "Whales", "see below", None),
        ("forwarded/2@x", "Bread", "It rises.", "<1@x>"),
        ("forwarded/2@x/why.txt", "Bread › why.txt", "Of yeast.", "<2@x>"),
    ]


@pytest.mark.parametrize(
    ("date", "told"),
    [
        ("Tue, 02 Jan 2024 10:00:00 +0100", "2024-01-02T09:00:00+00:00"),
        ("Tue, 02 Jan 2024 09:30:00 GMT", "2024-01-02T09:30:00+00:00"),
        ("Tue, 02 Jan 2024 09:30:00 -0000", "2024-01-02T09:30:00+00:00"),
        ("yesterday", None),
        ("Fri, 31 Dec 9999 23:00:00 -2300", None),
    ],
)
def test_dates_are_in_utc_so_that_they_compare(date, told):
    [part] = parts(f"Date: {date}\nSubject: x\n\nhello")
    assert part.metadata.get("date") == told


def test_a_message_that_cannot_be_read_costs_itself_alone(monkeypatch):
    from corpora.extraction import mail as module

    content = module._content

    def broken(part):
        if part["subject"] == "bad":
            raise KeyError("bad")
        return content(part)

    monkeypatch.setattr(module, "_content", broken)
    box = "From a\nSubject: one\n\nx\n\nFrom b\nSubject: bad\n\ny\n\nFrom c\nSubject: two\n\nz\n"
    first, second, third = parts(box, "a.mbox")
    assert (first.text, third.text) == ("x", "z")
    assert second == Lost("message=2", "it can't be read (KeyError: 'bad').", failed=True)


@pytest.mark.slow
@pytest.mark.parametrize("header", ["To", "Subject", "Content-Type", "References", "X-Odd"])
def test_a_header_without_end_costs_itself_alone(header):
    letter = "From a Mon Jan  1 00:00:00 2024\nSubject: one\nMessage-ID: <%s@x>\n%s\nbody %s\n\n"
    long = f"{header}: {'text/plain; a=b, ' * 18_000}\n"
    began = time.monotonic()
    found = parts("".join(letter % (n, long if n == 1 else "", n) for n in range(3)), "a.mbox")
    assert time.monotonic() - began < 10
    assert [part.text for part in found if isinstance(part, FilePart)] == ["body 0", "body 1", "body 2"]
    [lost] = [part for part in found if isinstance(part, Lost)]
    most = "4,096" if header == "Content-Type" else "16,384"
    assert lost == Lost("message=2", f"its header {header} has 306,000 characters, of which {most} are read.")


@pytest.mark.parametrize(
    "line",
    ["From here on it is text.", "From now", "From 10:30 on\nit is text.", "From: Ann", "From Ann at 10:30\nto Bob"],
)
def test_a_line_of_a_mail_that_begins_with_from_is_its_text(line):
    box = (
        f"From a\nSubject: one\n\nHello.\n\n{line}\nmore\n\nFrom b@c Mon Jan  1 00:00:00 2024\nSubject: two\n\nbye\n\n"
    )
    found = parts(box + "From c\n\nno header\n", "a.mbox")
    assert [part.text for part in found] == [f"Hello.\n\n{line}\nmore", "bye", "no header"]
