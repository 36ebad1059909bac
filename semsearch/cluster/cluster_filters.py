"""Filters as clauses of the query language, and the catalog of the fields that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, assert_never

import orjson

from semsearch.cluster.cluster_connection import ClusterConnection
from semsearch.cluster.dialects import Clause
from semsearch.cluster.metadata_tokens import CUT, LETTER_KINDS, bound, decoded, encoded, prefix, taken_apart
from semsearch.search.fields import VALUED, Kind, composed, fields_of, folded, in_text
from semsearch.search.where import (
    And,
    Compare,
    Contains,
    Equal,
    Exists,
    Filter,
    Like,
    Member,
    Not,
    Or,
    Within,
)

IS_DOCUMENT: Clause = {"term": {"kind": "doc"}}
NO_DOCUMENTS: Clause = {"bool": {"must_not": [{"match_all": {}}]}}
MOST_TERMS = 60_000  # of a clause; servers take 65,536
FIELDS_LISTED = 200
PAGE_TERMS = 5000
_RANGES = {"$gt": "gt", "$gte": "gte", "$lt": "lt", "$lte": "lte"}
_REGEX_SIGNS = re.compile(r'([.?+*|{}\[\]()"\\#@&<>~^$-])')


@dataclass(frozen=True)
class DocumentFilter:
    """What may be found.

    Attributes:
        clauses: All of which a document passes.
        keys: The passages that may be found; None where all of a document may.
    """

    clauses: tuple[Clause, ...] = ()
    keys: frozenset[int] | None = None

    @cached_property
    def clause(self) -> Clause:
        """As one. That of the kind keeps what is nested out: else a filter lets passages through by themselves."""
        return {"bool": {"filter": [IS_DOCUMENT, *self.clauses]}}

    def among(self, keys: frozenset[int]) -> DocumentFilter:
        """Of these, those of the given keys."""
        return DocumentFilter(self.clauses, keys if self.keys is None else self.keys & keys)

    def without(self, clause: Clause) -> DocumentFilter:
        """Of these, documents that a clause does not let through."""
        return DocumentFilter((*self.clauses, negated(clause)), self.keys)


UNFILTERED = DocumentFilter()


def any_of(clauses: Sequence[Clause]) -> Clause:
    """What one of several clauses lets through."""
    if not clauses:
        return NO_DOCUMENTS
    return clauses[0] if len(clauses) == 1 else {"bool": {"should": list(clauses), "minimum_should_match": 1}}


def negated(clause: Clause) -> Clause:
    """What a clause does not let through."""
    return {"bool": {"filter": [IS_DOCUMENT], "must_not": [clause]}}


def terms(field: str, values: Sequence[Any]) -> Clause:
    """What has one of many values, in clauses that servers take."""
    parts = [{"terms": {field: list(values[at : at + MOST_TERMS])}} for at in range(0, len(values), MOST_TERMS)]
    return any_of(parts)


class FilterCompiler:
    """Filters on the documents of one index, as clauses."""

    def __init__(self, connection: ClusterConnection, index: str) -> None:
        self._connection = connection
        self._index = index

    def clause(self, where: Filter) -> Clause:
        """What lets through what `where` does."""
        match where:
            case And(parts):
                return {"bool": {"filter": [IS_DOCUMENT, *map(self.clause, parts)]}}
            case Or(parts):
                return any_of([self.clause(part) for part in parts])
            case Not(part):
                return negated(self.clause(part))
            case Exists(name):
                return terms("kinds", [prefix(name, False, kind) for kind in LETTER_KINDS.values()])
            case Equal(name, sought):
                return _term(name, False, sought.kind, sought.value)
            case Contains(name, sought):
                return _term(name, True, sought.kind, sought.value)
            case Member(name, several):
                return terms("kv", [prefix(name, False, one.kind) + encoded(one.kind, one.value) for one in several])
            case Compare(name, size, sought):
                begins = prefix(name, False, sought.kind)
                limits = {_RANGES[size]: begins + bound(sought.kind, sought.value)}
                return _range(begins, limits)
            case Within(name, ranges, element):
                begins = prefix(name, element, "date")
                return any_of([_range(begins, _limits(begins, *own)) for own in ranges])
            case Like(name, text):
                return self._like(name, text)
        assert_never(where)

    def _like(self, name: str, text: str) -> Clause:
        """By folding in the client: each distinct value of the field is looked at once."""
        begins = prefix(name, False, "text")
        alike = []
        for token in distinct(self._connection, self._index, begins):
            value = token[len(begins) :]
            if CUT in value and text not in folded(value.partition(CUT)[0]):
                value = self._whole(token, name)
            if text in folded(value):
                alike.append(token)
        return terms("kv", alike)

    def counts(self, name: str, among: Clause) -> dict[tuple[Kind, str | float | bool], int]:
        """The values of a field, those of lists too, and how many of the documents that a clause allows have each."""
        found: dict[tuple[Kind, str | float | bool], int] = {}
        for kind in VALUED:
            several = [prefix(composed(name), element, kind) for element in (False, True)]
            known: dict[str, int] = {}
            for begins in several:
                for token, count in counted(self._connection, self._index, begins, among):
                    value = token[len(begins) :]
                    if value in known:  # some may have it in both ways, and count once
                        either = any_of([{"term": {"kv": one + value}} for one in several])
                        count = self._count({"bool": {"filter": [among, either]}})
                    known[value] = count
                    own = decoded(kind, value)
                    found[kind, self._whole(token, name) if own is None else own] = count
        return found

    def _count(self, among: Clause) -> int:
        body = {"size": 0, "track_total_hits": True, "query": among}
        return int(self._connection.search(self._index, body)["hits"]["total"]["value"])

    def _whole(self, token: str, name: str) -> str:
        """A long text, of a document that has it."""
        begins = token[: -len(taken_apart(token)[3])]
        body = {
            "size": 1,
            "query": {"bool": {"filter": [IS_DOCUMENT, {"term": {"kv": token}}]}},
            "_source": ["metadata"],
        }
        for hit in self._connection.search(self._index, body)["hits"]["hits"]:
            for own, _, kind, value in fields_of(orjson.loads(hit["_source"]["metadata"])):
                if (own, kind) == (composed(name), "text") and begins + encoded(kind, value) == token:
                    return str(value)
        return ""


def _term(name: str, element: bool, kind: Kind, value: Any) -> Clause:
    return {"term": {"kv": prefix(name, element, kind) + encoded(kind, value)}}


def _limits(begins: str, first: int | None, behind: int | None) -> dict[str, str]:
    limits = {} if first is None else {"gte": begins + encoded("date", first)}
    return limits if behind is None else {**limits, "lt": begins + encoded("date", behind)}


def _range(begins: str, limits: dict[str, str]) -> Clause:
    """Within the terms of one field and type; behind a prefix nothing comes but what begins with it and more."""
    own = dict(limits)
    if not {"gt", "gte"} & own.keys():
        own["gte"] = begins
    if not {"lt", "lte"} & own.keys():
        own["lt"] = begins[:-1] + chr(ord(begins[-1]) + 1)
    return {"range": {"kv": own}}


def distinct(connection: ClusterConnection, index: str, begins: str) -> Iterator[str]:
    """All terms of documents that begin so, in their order."""
    return (token for token, _ in counted(connection, index, begins, IS_DOCUMENT))


def counted(connection: ClusterConnection, index: str, begins: str, among: Clause) -> Iterator[tuple[str, int]]:
    """All terms that begin so of the documents that a clause allows, in their order, and how many have each."""
    within = {"bool": {"filter": [among, {"prefix": {"kv": begins}}]}}
    after = begins  # a document has several terms: those before the first are passed over
    while True:
        composite = {"size": PAGE_TERMS, "sources": [{"token": {"terms": {"field": "kv"}}}], "after": {"token": after}}
        aggregations = {"own": {"composite": composite}, "empty": {"filter": {"term": {"kv": begins}}}}
        found = connection.search(index, {"size": 0, "query": within, "aggs": aggregations})["aggregations"]
        if after == begins and found["empty"]["doc_count"]:
            yield begins, int(found["empty"]["doc_count"])
        buckets = found["own"]["buckets"]
        for bucket in buckets:
            if not bucket["key"]["token"].startswith(begins):
                return
            yield bucket["key"]["token"], int(bucket["doc_count"])
        if len(buckets) < PAGE_TERMS:
            return
        after = buckets[-1]["key"]["token"]


class IndexFields:
    """The catalog of the fields of one index: a `semsearch.search.where.FieldCatalog`."""

    def __init__(self, connection: ClusterConnection, index: str) -> None:
        self._connection = connection
        self._index = index

    def names(self) -> Sequence[str]:
        """See `FieldCatalog.names`."""
        tokens = self._terms({"field": "kinds", "size": 10 * FIELDS_LISTED, "order": {"_key": "asc"}})
        return sorted({taken_apart(token)[0] for token in tokens})[:FIELDS_LISTED]

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        """See `FieldCatalog.types`."""
        wanted = {prefix(composed(name), element, kind): kind for kind in LETTER_KINDS.values()}
        return frozenset(wanted[token] for token in self._terms({"field": "kinds", "include": list(wanted)}))

    def values(self, name: str, begins: str, most: int) -> Sequence[str | float | bool]:
        """See `FieldCatalog.values`."""
        found: list[str | float | bool] = []
        for kind in VALUED:
            own: set[str | float | bool] = set()
            for element in (False, True):
                start = prefix(name, element, kind) + (begins if kind == "text" else "")
                size = most if kind == "text" else 10 * FIELDS_LISTED
                pattern = _REGEX_SIGNS.sub(r"\\\1", start) + "(.|\n)*"
                tokens = self._terms({"field": "kv", "include": pattern, "size": size, "order": {"_key": "asc"}})
                values = [decoded(kind, taken_apart(token)[3]) for token in tokens]
                own.update(
                    [value for value in values if value is not None and in_text(value).startswith(begins)][:most]
                )
            found += sorted(own)[:most]
        return found

    def _terms(self, asked: Clause) -> list[str]:
        body = {"size": 0, "query": IS_DOCUMENT, "aggs": {"own": {"terms": asked}}}
        said = self._connection.search(self._index, body)
        return [bucket["key"] for bucket in said["aggregations"]["own"]["buckets"]]
