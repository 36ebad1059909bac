"""The indexes of a cluster that are semsearch's: their names, their mappings, and what a document in them is."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

from semsearch.cluster.coded_words import HOLE, SEAM, coded_text, packed_codes
from semsearch.cluster.dialects import Clause, ClusterDialect
from semsearch.cluster.metadata_tokens import field_tokens
from semsearch.engine import IndexSpec, Origin
from semsearch.records import Entry, Record
from semsearch.search.document_words import Worded
from semsearch.search.languages import Languages
from semsearch.search.term_weights import TITLE
from semsearch.types import Metric

CLUSTER_SCHEMA = 2  # of all that is kept in a cluster
COUNTED = ("uneven", "words_of_passages", "words_of_whole", "words_indexed", "of_shortest", "of_whole")
GRAPH_OPTIONS = {"M": ("m", 16), "ef_construction": ("ef_construction", 100)}
MOST_PASSAGES = 10_000  # of a document, as many as a server takes by default
_ANALYSIS = {"analyzer": {"coded": {"type": "standard", "max_token_length": 255, "stopwords": [HOLE]}}}
_PLAIN_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
LONGEST_INDEX_NAME = 120


def index_name(name: str) -> str:
    """A collection's name as a part of an index's: small letters, digits and signs stay, others become `.` and hex.

    Two names never share one: behind a `.` there are two digits of hex, or another `.` and a digest.
    """
    text = "".join(sign if sign in _PLAIN_SIGNS else "".join(f".{byte:02x}" for byte in sign.encode()) for sign in name)
    if len(text) <= LONGEST_INDEX_NAME:
        return text
    return text[:40] + ".." + blake2b(name.encode(), digest_size=16).hexdigest()


def new_index(prefix: str, name: str) -> tuple[str, str]:
    """The name of an index for a collection's documents that no index ever had, and of the alias to write through."""
    number = secrets.token_hex(6)
    place = f"{prefix}-{index_name(name)}"
    return f"{place}.g{number}", f"{place}.w{number}"


def writing_alias(index: str) -> str:
    """The alias that an index of documents is written through, so that no write ever makes one."""
    place, _, number = index.rpartition(".g")
    return f"{place}.w{number}"


def document_index(
    dialect: ClusterDialect, alias: str, meta: Mapping[str, Any], shards: int | None, replicas: int | None
) -> Clause:
    """What makes an index of documents; vectors are mapped once their length is known."""
    settings: Clause = {
        "refresh_interval": "10s",
        "mapping": {"nested_objects": {"limit": MOST_PASSAGES}},
        "similarity": {"words": {"type": "BM25", "k1": 1.2, "b": 0.6}},
        "analysis": _ANALYSIS,
        **dialect.index_settings(),
    }
    settings |= {"number_of_shards": shards} if shards else {}
    settings |= {"number_of_replicas": replicas} if replicas is not None else {}
    keyword, long, double = {"type": "keyword"}, {"type": "long"}, {"type": "double"}
    properties = {
        "kind": keyword,
        "num": long,
        "rev": long,
        "first": long,
        "keys": long,
        "passages": {"type": "integer"},
        "words_of_passages": long,
        "words_of_whole": long,
        "words_indexed": long,
        "of_shortest": double,
        "of_whole": double,
        "longest": double,
        "kv": keyword,
        "kinds": keyword,
        "given": keyword,
        "uneven": {"type": "boolean"},
        "words": {"type": "text", "analyzer": "coded", "similarity": "words"},
        "codes": {"type": "binary", "doc_values": True},  # read in a tenth of the time that a source with vectors takes
        "p": {"type": "nested", "dynamic": False},
    }
    kept = {"excludes": list(dialect.left_out)}
    mappings = {"_meta": {"semsearch": dict(meta)}, "dynamic": False, "_source": kept, "properties": properties}
    return {"settings": {"index": settings}, "mappings": mappings, "aliases": {alias: {}}}


def graph_options(dialect: ClusterDialect, spec: IndexSpec) -> dict[str, int] | None:
    """Those of the graph that a server is to build; None where it can do without one and none is needed."""
    if spec.backend == "exact" and dialect.flat:
        return None
    return {name: int(spec.options[name]) for name in GRAPH_OPTIONS if name in spec.options}


def vector_mapping(dialect: ClusterDialect, dim: int, metric: Metric, graph: Mapping[str, Any] | None) -> Clause:
    """What maps the vectors of an index, with a graph of such options, or none."""
    options = {own: int((graph or {}).get(name, usual)) for name, (own, usual) in GRAPH_OPTIONS.items()}
    field = dialect.vector_field(dim, metric, None if graph is None else options)
    return {"properties": {"p": {"type": "nested", "dynamic": False, "properties": {"v": field}}}}


def home_index(alias: str) -> Clause:
    """What makes the index that lists the collections, and keeps of each what is not its documents."""
    keyword = {"type": "keyword"}
    properties = {"kind": keyword, "collection": keyword, "source": {"type": "long"}, "number": {"type": "long"}}
    return {
        "settings": {"index": {"number_of_shards": 1}},
        "mappings": {"_meta": {"semsearch": {"home": alias}}, "dynamic": False, "properties": properties},
        "aliases": {alias: {}},
    }


def identity_of(document: str) -> str:
    """The `_id` of a document, which takes ids of any text and length."""
    return blake2b(document.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def revision() -> int:
    """What tells one writing of a document from every other."""
    return secrets.randbits(40)


def source_of(
    entry: Entry, num: int, keys: Sequence[int], origins: Sequence[Any], languages: Languages
) -> dict[str, Any]:
    """A document as it is kept, without its revision."""
    record, spans = entry.record, entry.spans
    lengths = np.sqrt(np.einsum("nd,nd->n", entry.vectors, entry.vectors, dtype=np.float64))
    vectors = np.ascontiguousarray(entry.vectors, dtype=np.float32)
    return {
        "kind": "doc",
        "id": record.document.id,
        "num": num,
        "hash": record.hash.hex(),
        "title": record.document.title,
        "text": record.document.text,
        "keys": list(keys),
        "first": keys[0],
        "passages": len(spans),
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
        "longest": float(lengths.max(initial=0)),
        "p": [{"v": vector} for vector in vectors],
        **metadata_source(record),
        **word_source(record.document.title, record.document.text, spans, languages),
        **origin_source(origins),
    }


def metadata_source(record: Record) -> dict[str, Any]:
    """What of a document its metadata decides."""
    values, kinds = field_tokens(record.document.metadata)
    return {"metadata": record.metadata, "kv": values, "kinds": kinds}


def word_source(title: str, text: str, spans: Sequence[tuple[int, int]], languages: Languages) -> dict[str, Any]:
    """What of a document its words are: their codes, how many, and how uneven passages are, which bounds scores."""
    texts = [text[start:end] for start, end in spans]
    counted = Worded.of(0, title, enumerate(texts), languages)
    codes = coded_text(title, texts, languages)
    # spans that overlap, or part what the whole text joins: then a phrase may stand in no way side by side in the codes
    uneven = len(texts) > 1 and codes.replace(SEAM, " ") != coded_text(title, [text], languages)
    whole = counted.whole_words
    indexed = whole + (TITLE - 1) * counted.title.total()
    return {
        "words": codes,
        "codes": packed_codes(codes),
        "uneven": uneven,
        "words_of_passages": sum(counted.words),
        "words_of_whole": whole,
        "words_indexed": indexed,
        "of_shortest": indexed / min(filter(None, counted.words), default=1) if indexed else 1.0,
        "of_whole": indexed / whole if whole else 1.0,
    }


def word_codes(title: str, text: str, spans: Iterable[tuple[int, int]], languages: Languages) -> dict[str, Any]:
    """What every change of a document has to repeat: a source without them is what the server keeps."""
    codes = coded_text(title, (text[start:end] for start, end in spans), languages)
    return {"words": codes, "codes": packed_codes(codes)}


def origin_source(origins: Sequence[Any]) -> dict[str, Any]:
    """What of a document tells which files of which sources gave it: lists of source, file and position."""
    kept = sorted(origins)
    return {
        "origins": kept,
        "given": sorted({f"s{source}" for source, _, _ in kept} | {f"f{file}" for _, file, _ in kept}),
    }


def with_origin(origins: Sequence[Any], origin: Callable[[], Origin] | None) -> list[Any]:
    """The origins of a document with one more, in place of that of the same source."""
    if origin is None:
        return list(origins)
    new = origin()
    return [*(own for own in origins if own[0] != new.source), [new.source, new.file, new.position]]
