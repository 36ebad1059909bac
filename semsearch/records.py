"""Documents that were checked and are ready to be stored, whatever the engine that stores them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from semsearch.metadata_values import json_value
from semsearch.types import Document, ImageDocument, Span, Vectors
from semsearch.validation import check_document

_JSON = json.JSONEncoder(  # made once: it is called a lot
    sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=json_value
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
        content = hashlib.blake2b(document.title.encode() + b"\0" + document.text.encode(), digest_size=16)
        if isinstance(document, ImageDocument) and document.pixels is not None:
            content.update(b"\0" + repr(document.pixels.shape).encode() + document.pixels.tobytes())
        if vector is not None:
            content.update(b"\0")
            content.update(np.ascontiguousarray(vector).data)  # its bytes, without a copy
        metadata = "{}"
        if given := document.metadata:
            metadata = _JSON.encode(given if type(given) is dict else dict(given))
            if not _AS_IT_IS.issuperset(map(type, given.values())) and not all(map(_is_kept, given.values())):
                document = replace(document, metadata=json.loads(metadata))  # as it will be read: a date is a text
        return cls(document, metadata, content.digest())


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
