"""E-mail: a message is a part, its subject the title, who wrote to whom and when its metadata."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any, BinaryIO

from corpora.extraction.html import parsed, shown
from corpora.extraction.parts import FilePart, Unreadable

_HEADERS = {"from": "from", "to": "to", "cc": "cc", "message-id": "message_id"}


def message(file: BinaryIO) -> Iterator[FilePart]:
    """One message."""
    yield from _parts(file.read(), "")


def mailbox(file: BinaryIO) -> Iterator[FilePart]:
    """The messages of an mbox: each begins with a line 'From …' after an empty one."""
    deep = 0
    for number, raw in enumerate(_messages(file), 1):
        try:
            yield from _parts(raw, f"message={number}")
        except RecursionError:  # which costs the message alone
            deep += 1
    if deep:
        raise Unreadable(f"messages that are nested too deeply were left out: {deep:,}.")


def _messages(file: BinaryIO) -> Iterator[bytes]:
    held: list[bytes] = []
    empty = True
    for line in file:
        if line.startswith(b"From ") and empty:
            if held:
                yield b"".join(held)
            held = []
        else:
            held.append(line[1:] if line.startswith(b">From ") else line)
        empty = not line.strip()
    if held:
        yield b"".join(held)


def _parts(raw: bytes, name: str) -> Iterator[FilePart]:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    metadata: dict[str, Any] = {
        key: " ".join(str(message[header]).split()) for header, key in _HEADERS.items() if message[header]
    }
    if message["date"] is not None and (date := getattr(message["date"], "datetime", None)) is not None:
        metadata["date"] = date.isoformat()
    attached = [file for file in (part.get_filename() for part in message.iter_attachments()) if file]
    if attached:
        metadata["attachments"] = attached
    subject = " ".join(str(message["subject"] or "").split())
    text = _body(message).strip()
    if name and "message_id" in metadata:
        name = metadata["message_id"].strip("<>")
    if not text:
        text, subject = subject, ""
    if text:
        yield FilePart(name, text, subject, metadata)


def _body(message: EmailMessage) -> str:
    body = message.get_body(("plain", "html"))
    if body is None:
        return ""
    try:
        text = str(body.get_content())
    except (LookupError, ValueError):  # an alphabet that nobody knows
        raw = body.get_payload(decode=True)
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else ""
    if body.get_content_subtype() == "html" and text.strip():
        return "\n\n".join(text for _, text in shown(parsed(text.encode(errors="replace"))[0]))
    return text
