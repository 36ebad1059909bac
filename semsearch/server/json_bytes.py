"""JSON values as bytes: what `wire.dumps` says, many times as fast."""

from __future__ import annotations

from typing import Any

from pydantic_core import PydanticSerializationError, to_json

from semsearch import wire
from semsearch.controls import escaped_in_json

DELETE = b"\x7f"


def json_bytes(value: Any) -> bytes:
    """`value` as `wire.dumps` writes it, but for blanks and the digits of numbers, which mean the same."""
    try:
        written = to_json(value, inf_nan_mode="null", fallback=wire.plain)
    except (PydanticSerializationError, ValueError):  # half a surrogate pair, or what only `wire` knows
        return wire.dumps(value).encode()
    if written.isascii() and DELETE not in written:
        return written  # all other control characters of ASCII are escaped in any JSON
    return escaped_in_json(written.decode()).encode()
