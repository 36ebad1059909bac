"""E-mail: a message is a part, its subject the title, who wrote to whom and when its metadata.

What is attached and can be read, and what is forwarded, are parts of their own that name their mail.
"""

from __future__ import annotations

import email
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.message import Message
from email.policy import EmailPolicy
from email.utils import parsedate_to_datetime
from io import BytesIO
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, BinaryIO

from corpora.extraction import KINDS, extractor, is_plain
from corpora.extraction.charsets import decoded_as
from corpora.extraction.html import beside, parsed, shown
from corpora.extraction.parts import FilePart, Lost, ReadPart, Unreadable

SAID_ELSEWHERE = 3  # times as long: where another form of the same says so much more, the text is none
_HEADERS = {"from": "from", "to": "to", "cc": "cc", "message-id": "message_id"}
_BOUNDARY = re.compile(r"^--(\S+)--[ \t]*\r?$", re.MULTILINE)  # the last one, where the header does not name it
MAX_HEADER = 1 << 14  # characters that are read of one; the library's time grows faster than its length
MAX_KIND = 1 << 12  # of one that says what a part is
_FROM = re.compile(rb"From (?:\S+|\S+@\S+ .*|.*\d\d:\d\d.*)\s*")  # who and when, before each message of an mbox
_HEADER_LINE = re.compile(rb"[!-9;-~]+[ \t]*:|>From |[ \t]*\r?\n?$")
_NEVER_TEXT = ("image", "audio", "video")
_SIGNATURES = ("pgp-signature", "pkcs7-signature", "x-pkcs7-signature")


@dataclass
class _Content:
    """What a message, or one of its parts, consists of."""

    texts: list[str] = field(default_factory=list)  # in their order
    attached: list[Message] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # reasons
    plain: bool = False  # the texts were written as text

    def length(self) -> int:
        """Of what can be seen in the texts."""
        return sum(len("".join(text.split())) for text in self.texts)

    def add(self, other: _Content, *, texts: bool = True) -> None:
        if texts:
            self.texts += other.texts
            self.lost += other.lost
        self.attached += other.attached


class _Policy(EmailPolicy):
    """The library's own, with an eye on the length of headers."""

    cut: list[str] = []  # noqa: RUF012  (each message gets a list of its own: a policy takes attributes of its class)

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        most = MAX_KIND if name.lower().startswith("content-") else MAX_HEADER
        if len(value) > most:
            self.cut.append(f"its header {name[:40]} has {len(value):,} characters, of which {most:,} are read.")
        return name, value[:most]


def _message(raw: bytes, name: str) -> Iterator[ReadPart]:
    """The parts of a message, and which of its headers are too long."""
    cut: list[str] = []
    policy = _Policy(cut=cut)  # type: ignore[call-overload]  # takes every attribute of its class
    yield from _parts(email.message_from_bytes(raw, policy=policy), name)
    yield from (Lost(name, why) for why in cut)


def message(file: BinaryIO) -> Iterator[ReadPart]:
    """One message."""
    yield from _message(file.read(), "")


def mailbox(file: BinaryIO) -> Iterator[ReadPart]:
    """The messages of an mbox: each begins with a line 'From …' after an empty one, and before its headers."""
    deep = 0
    for number, raw in enumerate(_messages(file), 1):
        name = f"message={number}"
        try:
            for part in _message(raw, name):
                if isinstance(part, FilePart):
                    part = replace(part, position=part.position._replace(message=number))
                yield part
        except RecursionError:  # which costs the message alone
            deep += 1
        except MemoryError:
            raise
        except Exception as error:  # whatever the library throws at what it does not expect
            yield Lost.of(name, error)
    if deep:
        raise Unreadable(f"messages that are nested too deeply were left out: {deep:,}.")


def _messages(file: BinaryIO) -> Iterator[bytes]:
    held: list[bytes] = []
    empty = True
    for line, following in pairwise(chain(file, [b""])):
        if empty and _FROM.fullmatch(line) and (not held or _HEADER_LINE.match(following)):
            if held:
                yield b"".join(held)
            held = []
        else:
            held.append(line[1:] if line.startswith(b">From ") else line)
        empty = not line.strip()
    if held:
        yield b"".join(held)


def _parts(message: Message, name: str, mail: str = "") -> Iterator[ReadPart]:
    """A message, then what is attached; `mail` is the one that it was attached to."""
    metadata: dict[str, Any] = {key: value for header, key in _HEADERS.items() if (value := _header(message, header))}
    if date := _date(message):
        metadata["date"] = date
    content = _content(message)
    if attached := [file for part in content.attached if (file := _file_name(part))]:
        metadata["attachments"] = attached
    if mail:
        metadata["mail"] = mail
    title = subject = _header(message, "subject")
    text = "\n\n".join(text.strip() for text in content.texts if text.strip())
    if "message_id" in metadata and (name or mail):
        name = "/".join(filter(None, [name if mail else "", metadata["message_id"].strip("<>")]))
    if not text:
        text, title = subject, ""
    if text:
        yield FilePart(name, text, title, metadata)
    yield from (Lost(name, why) for why in content.lost)
    own: dict[str, Any] = {key: metadata[key] for key in ("from", "date") if key in metadata}
    own["mail"] = metadata.get("message_id") or subject or name or "without a subject"
    for part in content.attached:
        yield from _attached(part, name, subject, own)


def _attached(part: Message, name: str, subject: str, own: dict[str, Any]) -> Iterator[ReadPart]:
    """The parts of what is attached to the message `name`."""
    if part.get_content_type() == "message/rfc822":
        for forwarded in part.get_payload():
            if isinstance(forwarded, Message):
                yield from _parts(forwarded, f"{name}/forwarded".lstrip("/"), own["mail"])
        return
    file = _file_name(part)
    kind = _kind(part, file)
    place = f"{name}/{file or 'attachment'}".lstrip("/")
    if kind is None:
        if part.get_content_maintype() not in _NEVER_TEXT and part.get_content_subtype() not in _SIGNATURES:
            yield Lost(place, f"an attachment of the kind {part.get_content_type()}, which no reader here knows.")
        return
    raw = _text(part).encode() if is_plain(Path(f"x{kind}")) else part.get_payload(decode=True)
    found = False
    try:
        for inner in extractor(Path(f"x{kind}"))(BytesIO(raw if isinstance(raw, bytes) else b"")):
            found = True
            inside = f"{place}/{inner.name}".rstrip("/")
            if isinstance(inner, Lost):
                yield replace(inner, name=inside)
                continue
            title = " › ".join(filter(None, [subject, inner.title or file]))
            position = inner.position._replace(line=None, lines=(), message=None, attachment=file or "without a name")
            yield FilePart(inside, inner.text, title, {**inner.metadata, **own, "attachment": file}, position)
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # a broken attachment costs itself
        yield Lost.of(place, error)
    else:
        if not found:
            yield Lost(place, "an attachment that holds no text.")


def _kind(part: Message, file: str) -> str | None:
    """The suffix by which a reader knows what is attached: of its name, or else of the kind that it says it is."""
    for suffix in (Path(file).suffix.lower(), mimetypes.guess_extension(part.get_content_type())):
        if suffix in KINDS:
            return suffix
    return None


def _content(part: Message) -> _Content:
    """The texts of a part and what is attached to it."""
    if part.get_content_maintype() == "multipart" and not part.is_multipart():
        part = _bounded(part)
    if part.is_multipart() and part.get_content_maintype() == "multipart":
        inside = [_content(inner) for inner in part.get_payload() if isinstance(inner, Message)]
        found = _Content()
        if part.get_content_subtype() == "alternative":  # the same in several forms: as text, where it is not empty
            full = [one for one in inside if any(text.strip() for text in one.texts)]
            chosen = next((one for one in full if one.plain), full[0] if full else None)
            if chosen is not None:  # a text that only says that the other form is to be looked at
                longest = max(full, key=_Content.length)
                chosen = longest if longest.length() > SAID_ELSEWHERE * chosen.length() else chosen
            for one in inside:
                found.add(one, texts=one is chosen)
            found.plain = chosen is not None and chosen.plain
        else:
            for one in inside:
                found.add(one)
            found.plain = all(one.plain for one in inside if one.texts)
        return found
    kind = part.get_content_type()
    if part.get_content_disposition() == "attachment" or kind == "message/rfc822":
        return _Content(attached=[part])
    if kind == "text/html":
        return _of_html(_text(part))
    if kind == "text/plain" or (part.get_content_maintype() in ("text", "multipart") and not _file_name(part)):
        return _Content([_text(part)], plain=True)
    if part.get_content_maintype() == "message":  # what a server says of a delivery
        return _Content([str(inner) for inner in part.walk() if inner is not part])
    return _Content(attached=[part])


def _bounded(part: Message) -> Message:
    """A part whose header does not name its boundary, or wrongly, by the one that it has."""
    body = part.get_payload()
    found = _BOUNDARY.findall(body) if isinstance(body, str) else []
    if not found:
        return part
    head = f'Content-Type: {part.get_content_type()}; boundary="{found[-1]}"\n\n'
    return email.message_from_string(head + str(body), policy=part.policy)


def _of_html(text: str) -> _Content:
    if not text.strip():
        return _Content()
    root, lost = parsed(text.encode(errors="replace"))
    texts = ["\n\n".join(block.text for block in shown(root) + beside(root))]
    return _Content(texts, lost=[] if lost is None else [lost.reason])


def _text(part: Message) -> str:
    """The text of a part, whatever alphabet it says it is in."""
    raw = part.get_payload(decode=True)
    if not isinstance(raw, bytes):
        return ""
    return decoded_as(raw, part.get_content_charset())


def _header(message: Message, name: str) -> str:
    """A header in one line; empty if it is not there, or the library can make nothing of it."""
    try:
        return " ".join(str(message[name] or "").split())
    except Exception:  # whatever the library throws at what it does not expect
        return ""


def _file_name(part: Message) -> str:
    try:
        return " ".join(str(part.get_filename() or "").split()).replace("/", "_")
    except Exception:  # as above
        return ""


def _date(message: Message) -> str:
    """When it was sent, in UTC, so that dates compare as texts; without a zone it is taken to be so."""
    try:
        sent = parsedate_to_datetime(_header(message, "date"))
        return (sent if sent.tzinfo is not None else sent.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except (ValueError, TypeError, OverflowError):
        return ""
