"""Which passages may be found, as a condition in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from semsearch.postgres.allowed_documents import DocumentSet
from semsearch.postgres.connections import DatabaseSession

FEW_DOCUMENTS = 4096  # sent with the query by their numbers
SCANNED_SHARE = 0.1  # of all documents, up to which a scan of the allowed ones finds them sooner than the index


@dataclass(frozen=True)
class PassageFilter:
    """A condition on passages `p`.

    Attributes:
        condition: SQL that names `p.key` and `p.doc`.
        values: Its parameters, by name.
        scanned: So few are allowed that the index is not asked.
    """

    condition: bytes = b"true"
    values: dict[str, Any] = field(default_factory=dict)
    scanned: bool = False

    @classmethod
    def of_documents(cls, session: DatabaseSession, documents: DocumentSet, count: int) -> PassageFilter:
        """The passages of a set of documents, of `count` in all."""
        query, values = _named(documents)
        # a set operation gives each document once; a part alone may give it several times
        several = b"SELECT DISTINCT doc FROM (" + query + b") AS found"
        few = session.execute(several + b" LIMIT %(most)s", {**values, "most": FEW_DOCUMENTS + 1}, binary=True)
        docs = [doc for (doc,) in few]
        if len(docs) <= FEW_DOCUMENTS:
            return cls(b"p.doc = ANY(%(docs)s)", {"docs": docs}, scanned=True)
        row = session.execute(b"SELECT count(*) FROM (" + several + b") AS counted", values).fetchone()
        assert row is not None
        if row[0] <= SCANNED_SHARE * count:
            return cls(b"p.doc IN (" + query + b")", values, scanned=True)
        # as a value, and no condition that could become a join: the index is walked, and each passage looked up
        return cls(b"(p.doc IN (" + query + b")) IS TRUE", values)

    def without_documents(self, docs: Sequence[int]) -> PassageFilter:
        """Of these, those of other documents."""
        values = {**self.values, "excluded": sorted(docs)}
        return PassageFilter(self.condition + b" AND p.doc <> ALL(%(excluded)s)", values, self.scanned)

    def among(self, keys: Sequence[int], number: int) -> PassageFilter:
        """Of these, those of the given keys; `number` tells such conditions apart."""
        name = f"keys{number}"
        condition = self.condition + f" AND p.key = ANY(%({name})s)".encode()
        return PassageFilter(condition, {**self.values, name: sorted(keys)}, scanned=True)


def _named(documents: DocumentSet) -> tuple[bytes, dict[str, Any]]:
    """A query with its parameters by name, to be put beside others."""
    first, *rest = documents.query.split(b"%s")
    query = first
    for number, piece in enumerate(rest):
        query += f"%(filter{number})s".encode() + piece
    return query, {f"filter{number}": value for number, value in enumerate(documents.values)}
