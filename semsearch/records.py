"""Documents that were checked and are ready to be stored, whatever the engine that stores them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from json.encoder import c_make_encoder, encode_basestring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from semsearch.metadata_values import json_value
from semsearch.types import Document, ImageDocument, Span, Vectors
from semsearch.validation import check_document

_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=json_value)
# What `_JSON` makes anew for each call, which takes longer than the encoding of a short mapping.
_ENCODED = c_make_encoder and c_make_encoder(
    None, json_value, encode_basestring, None, _JSON.key_separator, _JSON.item_separator, True, False, True
)
_AS_IT_IS = frozenset({str, int, float, bool, type(None)})


class Record(NamedTuple):
    """A document that was checked, as it is stored."""

    document: Document
    metadata: str  # JSON, keys sorted
    hash: bytes  # of title and text, of a picture, and of a vector that was made elsewhere

    @classmethod
    def of(cls, document: Document, vector: Vectors | None = None, *, checked: bool = False) -> Record:
        """`document` as it will be stored, or a `DataError` that names it and says what is wrong.

        With a `vector` that was made elsewhere, the vector is part of the content: another one is a change. A document
        that was read from a source is `checked` already, where its place was known.
        """
        if not checked:
            check_document(document)
        content: list[Any] = [document.title.encode(), document.text.encode()]
        if isinstance(document, ImageDocument) and document.pixels is not None:
            content.append(repr(document.pixels.shape).encode() + document.pixels.tobytes())
        if vector is not None:
            content.append(vector if vector.flags.c_contiguous else vector.copy())  # its bytes
        metadata = "{}"
        if given := document.metadata:
            plain = given if type(given) is dict else dict(given)
            metadata = "".join(_ENCODED(plain, 0)) if _ENCODED else _JSON.encode(plain)
            if not _AS_IT_IS.issuperset(map(type, given.values())) and not all(map(_is_kept, given.values())):
                document = replace(document, metadata=json.loads(metadata))  # as it will be read: a date is a text
        return cls(document, metadata, hashlib.blake2b(b"\0".join(content), digest_size=16).digest())


def _is_kept(value: object) -> bool:
    """Whether JSON gives a value back as it is."""
    return type(value) in _AS_IT_IS or (type(value) is list and _AS_IT_IS.issuperset(map(type, value)))


class Entry(NamedTuple):
    """A record with its passages and their vectors, ready to be written."""

    record: Record
    spans: Sequence[Span]
    vectors: Vectors  # (len(spans), dim)


class Known(NamedTuple):
    """What an engine has of a document already."""

    doc: int
    hash: bytes
    metadata: str
