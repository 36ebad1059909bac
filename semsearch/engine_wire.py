"""What an engine is asked and answers, as JSON: between a collection here and the engine of a server elsewhere.

Arrays are Base64 of little-endian bytes, so that float32 comes across bit for bit; filters are lists that begin with
their kind. What is read is checked: the other side may be a stranger.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.arguments import kind_of
from semsearch.engine import Candidates, File, Origin, Settlement, Stamp
from semsearch.errors import DataError
from semsearch.records import Entry, Known, Record
from semsearch.search.query_syntax import Query
from semsearch.search.recall import Certificate, Point
from semsearch.search.where import And, Compare, Contains, Equal, Exists, Filter, Like, Member, Not, Or, Value, Within
from semsearch.search.where_text import MAX_FILTER_DEPTH
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Document, Keys, Passage, Span, Vectors

MOST_SENT_PIXELS = 1 << 24  # of a picture on its way; one that was read has half of it at most
_SIDES = ("$gt", "$gte", "$lt", "$lte")


def pack(array: NDArray[Any]) -> str:
    """An array as text."""
    little = array.dtype.newbyteorder("<")
    return base64.b64encode(np.ascontiguousarray(array, dtype=little).tobytes()).decode()


def unpack(text: object, dtype: str) -> NDArray[Any]:
    """What `pack` made, as `(n,)`.

    Raises:
        DataError: It is nothing of the kind.
    """
    try:
        if not isinstance(text, str):
            raise ValueError
        content = base64.b64decode(text, validate=True)
        return np.frombuffer(content, dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype)
    except (ValueError, binascii.Error):
        raise DataError(f"an array must be the Base64 of {dtype}, and is {kind_of(text)}.") from None


def unpack_keys(text: object) -> Keys:
    """Keys `(n,)`."""
    keys: Keys = unpack(text, "int64")
    return keys


def unpack_vectors(text: object, dim: int) -> Vectors:
    """Vectors `(n, dim)`, all of them finite."""
    flat = unpack(text, "float32")
    if dim < 1 or len(flat) % dim:
        raise DataError(f"{len(flat)} numbers are no vectors of {dim} components.")
    if not np.isfinite(flat).all():
        raise DataError("a vector holds what is not finite.")
    return flat.reshape(-1, dim)


def pixels_json(pixels: NDArray[np.uint8]) -> list[Any]:
    """What a picture shows, uint8 `(height, width, 3)`."""
    height, width, _ = pixels.shape
    return [height, width, base64.b64encode(zlib.compress(np.ascontiguousarray(pixels).tobytes(), 1)).decode()]


def read_pixels(said: Any) -> NDArray[np.uint8]:
    """What `pixels_json` made.

    Raises:
        DataError: It is nothing of the kind, or more than `MOST_SENT_PIXELS`.
    """
    try:
        height, width, packed = said
        if not (type(height) is type(width) is int and height > 0 and width > 0):
            raise TypeError
        content = base64.b64decode(packed, validate=True)
        if (count := height * width) <= MOST_SENT_PIXELS:
            pixels = zlib.decompressobj().decompress(content, 3 * count + 1)
            return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    except (TypeError, ValueError, zlib.error):
        raise DataError("a picture must be its height, its width and the Base64 of its packed pixels.") from None
    raise DataError(f"a picture that is sent has {MOST_SENT_PIXELS:,} pixels at most: make it smaller.")


def sparse_json(vectors: SparseVectors) -> list[Any]:
    """Sparse vectors."""
    return [pack(vectors.indptr), pack(vectors.indices), pack(vectors.values), vectors.dim]


def read_sparse(said: Any) -> SparseVectors:
    """What `sparse_json` made, checked.

    Raises:
        DataError: It is nothing of the kind.
    """
    try:
        indptr, indices, values, dim = said
        if type(dim) is not int or dim < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise DataError(f"sparse vectors can't be read: they are {kind_of(said)}.") from None
    found = SparseVectors(unpack(indptr, "int64"), unpack(indices, "int32"), unpack(values, "float32"), dim)
    if fault := found.fault():
        raise DataError(f"sparse vectors can't be used: {fault}.")
    return found


# ------------------------------------------------------------------------------------------------- filters and queries


def filter_json(where: Filter) -> list[Any]:
    """A filter."""
    match where:
        case And(parts):
            return ["and", *map(filter_json, parts)]
        case Or(parts):
            return ["or", *map(filter_json, parts)]
        case Not(part):
            return ["not", filter_json(part)]
        case Equal(name, value):
            return ["equal", name, *_value_json(value)]
        case Compare(name, operator, value):
            return ["compare", name, operator, *_value_json(value)]
        case Member(name, values):
            return ["member", name, [list(_value_json(value)) for value in values]]
        case Exists(name):
            return ["exists", name]
        case Contains(name, value):
            return ["contains", name, *_value_json(value)]
        case Like(name, text):
            return ["like", name, text]
        case Within(name, ranges, element):
            return ["within", name, [list(one) for one in ranges], element]


def _value_json(value: Value) -> tuple[str, Any]:
    return value.kind, value.value


def read_filter(said: object, depth: int = 0) -> Filter:
    """What `filter_json` made.

    Raises:
        DataError: It is nothing of the kind.
    """
    try:
        if depth > MAX_FILTER_DEPTH:
            raise ValueError
        return _filter(said, depth)
    except (ValueError, TypeError, IndexError, KeyError):
        raise DataError(f"a filter can't be read: it is {kind_of(said)}.") from None


def _filter(said: Any, depth: int) -> Filter:
    kind, *rest = said
    if kind in ("and", "or"):
        parts = tuple(read_filter(part, depth + 1) for part in rest)
        return And(parts) if kind == "and" else Or(parts)
    if kind == "not":
        (part,) = rest
        return Not(read_filter(part, depth + 1))
    name = rest[0]
    if not isinstance(name, str):
        raise TypeError
    if kind == "exists":
        return Exists(name)
    if kind == "equal":
        return Equal(name, _value(rest[1:]))
    if kind == "contains":
        return Contains(name, _value(rest[1:]))
    if kind == "compare" and rest[1] in _SIDES:
        return Compare(name, rest[1], _value(rest[2:]))
    if kind == "member":
        return Member(name, tuple(_value(value) for value in rest[1]))
    if kind == "like" and isinstance(rest[1], str):
        return Like(name, rest[1])
    if kind == "within":
        ranges = tuple((_moment(first), _moment(behind)) for first, behind in rest[1])
        return Within(name, ranges, bool(rest[2]))
    raise ValueError


def _value(said: Any) -> Value:
    kind, value = said
    kinds: Mapping[str, tuple[type, ...]] = {
        "number": (int, float),
        "text": (str,),
        "bool": (bool,),
        "null": (str,),
        "date": (int,),
        "list": (str,),
        "object": (str,),
    }
    if type(value) not in kinds[kind]:
        raise TypeError
    return Value(kind, value)


def _moment(said: Any) -> int | None:
    if said is not None and type(said) is not int:
        raise TypeError
    return said


def query_json(query: Query) -> dict[str, Any]:
    """A query."""
    return {
        "text": query.text,
        "phrases": query.phrases,
        "required": query.required,
        "excluded": query.excluded,
        "firm": query.firm,
    }


def read_query(said: object) -> Query:
    """What `query_json` made; what it says of itself stays with who asks."""
    try:
        facts = dict(said)  # type: ignore[call-overload]
        lists = {name: tuple(facts[name]) for name in ("phrases", "required", "excluded")}
        if not all(isinstance(text, str) for texts in (*lists.values(), (facts["text"],)) for text in texts):
            raise TypeError
        return Query(facts["text"], **lists, firm=bool(facts["firm"]))
    except (KeyError, TypeError, ValueError):
        raise DataError(f"a query can't be read: it is {kind_of(said)}.") from None


# -------------------------------------------------------------------------------------------------- documents, records


def document_json(document: Document) -> list[Any]:
    """A document."""
    return [document.id, document.text, document.title, document.metadata]


def made_document(said: Any) -> Document:
    """What `document_json` made; it is checked by whoever stores it."""
    try:
        identity, text, title, metadata = said
        return Document(identity, text, title, dict(metadata))
    except (TypeError, ValueError):
        raise DataError(f"a document can't be read: it is {kind_of(said)}.") from None


def record_json(record: Record) -> list[Any]:
    """A record: its document, and the hash of its content, which tells a vector that was made elsewhere."""
    return [document_json(record.document), record.hash.hex()]


def read_record(said: Any) -> Record:
    """What `record_json` made, checked."""
    try:
        document, digest = said
        content = bytes.fromhex(digest)
        if len(content) != 16:
            raise ValueError
    except (TypeError, ValueError):
        raise DataError(f"a record can't be read: it is {kind_of(said)}.") from None
    checked = Record.of(made_document(document))
    return Record(checked.document, checked.metadata, content)


def entry_json(entry: Entry) -> list[Any]:
    """A record with its passages and vectors."""
    return [
        record_json(entry.record),
        [list(span) for span in entry.spans],
        pack(entry.vectors),
        entry.vectors.shape[1],
    ]


def read_entry(said: Any) -> Entry:
    """What `entry_json` made, checked."""
    try:
        record, spans, vectors, dim = said
        read = read_record(record)
        size, places = len(read.document.text), [Span(*span) for span in spans]
        if not places or any(type(n) is not int for span in places for n in span):
            raise ValueError
        if any(not 0 <= span.start < span.end <= size for span in places):
            raise ValueError
        found = unpack_vectors(vectors, int(dim))
        if len(found) != len(places):
            raise ValueError
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("a document comes with passages that are not in it, or not with a vector for each.") from None
    return Entry(read, places, found)


def known_json(known: Known) -> list[Any]:
    """What is stored of a document."""
    return [known.doc, known.hash.hex(), known.metadata]


def read_known(said: Any) -> Known:
    """What `known_json` made."""
    doc, digest, metadata = said
    return Known(int(doc), bytes.fromhex(digest), str(metadata))


# ---------------------------------------------------------------------------------------------- candidates, passages


def candidates_json(candidates: Candidates) -> list[Any]:
    """Candidates; how they were found as a place in the list of all ways."""
    ways = list(dict.fromkeys(candidates.found))
    places = {way: place for place, way in enumerate(ways)}
    found = [places[way] for way in candidates.found]
    keys, docs, scores = candidates.keys, candidates.docs, candidates.scores
    return [pack(keys), pack(docs), pack(np.asarray(scores, dtype=np.float32)), [list(way) for way in ways], found]


def read_candidates(said: Any) -> Candidates:
    """What `candidates_json` made."""
    keys, docs, scores, ways, found = said
    named = [tuple(map(str, way)) for way in ways]
    return Candidates(
        unpack_keys(keys), unpack(docs, "int64"), unpack(scores, "float32"), [named[place] for place in found]
    )


def passage_json(passage: Passage) -> list[Any]:
    """A passage, without the rest of its document."""
    return [passage.id, passage.title, passage.metadata, passage.text, passage.start, passage.end, passage.size]


# ------------------------------------------------------------------------------------------------------------- origins


def origin_json(origin: Origin) -> list[Any]:
    """Where a document is from."""
    return [origin.source, origin.file, origin.position]


def read_origin(said: Any) -> Origin:
    """What `origin_json` made."""
    try:
        source, file, position = said
        return Origin(int(source), int(file), str(position))
    except (TypeError, ValueError):
        raise DataError(f"an origin can't be read: it is {kind_of(said)}.") from None


def file_json(file: File) -> list[Any]:
    """A file of a source, as it was read last."""
    return [file.number, *stamp_json(file.stamp)]


def read_file_facts(said: Any) -> File:
    """What `file_json` made."""
    number, *stamp = said
    return File(int(number), read_stamp(stamp))


def stamp_json(stamp: Stamp) -> list[Any]:
    """How a file was."""
    return [stamp.size, stamp.mtime, stamp.hash.hex()]


def read_stamp(said: Any) -> Stamp:
    """What `stamp_json` made."""
    try:
        size, mtime, digest = said
        return Stamp(int(size), int(mtime), bytes.fromhex(digest))
    except (TypeError, ValueError):
        raise DataError(f"the stamp of a file can't be read: it is {kind_of(said)}.") from None


def settlement_json(settlement: Settlement) -> dict[str, Any]:
    """What a scan found."""
    given = {identity: origin_json(origin) for batch in settlement.given for identity, origin in batch.items()}
    return {
        "given": given,
        "unread": sorted(settlement.unread),
        "stamps": [[number, *stamp_json(stamp)] for number, stamp in settlement.stamps.items()],
        "released": list(settlement.released),
        "gone": list(settlement.gone),
    }


def read_settlement(said: Mapping[str, Any]) -> Settlement:
    """What `settlement_json` made."""
    try:
        given = {str(identity): read_origin(origin) for identity, origin in said["given"].items()}
        stamps = {int(number): read_stamp(stamp) for number, *stamp in said["stamps"]}
        return Settlement(
            [given],
            set(map(int, said["unread"])),
            stamps,
            list(map(str, said["released"])),
            list(map(int, said["gone"])),
        )
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("what a scan found can't be read.") from None


def read_certificate(said: Any) -> Certificate:
    """What `semsearch.wire.certificate` made.

    Raises:
        DataError: It is nothing of the kind.
    """
    try:
        known = {field.name: said[field.name] for field in fields(Certificate)}
        curve = tuple(Point(*(point[field.name] for field in fields(Point))) for point in said["curve"])
        return Certificate(**{**known, "curve": curve})
    except (KeyError, TypeError):
        raise DataError("that is no certificate of a recall.") from None


def strings(said: object, what: str) -> Sequence[str]:
    """A list of texts.

    Raises:
        DataError: It is none.
    """
    if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
        raise DataError(f"{what} must be a list of texts, and is {kind_of(said)}.")
    return said
