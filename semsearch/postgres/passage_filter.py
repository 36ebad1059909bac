"""Which passages may be found, as a condition in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
        documents: What follows from it for documents alone: SQL that names `p.doc`.
        most: It allows no more documents than so many; None where nobody knows.
    """

    condition: bytes = b"true"
    values: dict[str, Any] = field(default_factory=dict)
    scanned: bool = False
    documents: bytes = b"true"
    most: int | None = None

    @classmethod
    def of_documents(cls, session: DatabaseSession, documents: DocumentSet, count: int) -> PassageFilter:
        """The passages of a set of documents, of `count` in all."""
        query, values = _named(documents)
        # a set operation gives each document once; a part alone may give it several times
        several = b"SELECT DISTINCT doc FROM (" + query + b") AS found"
        few = session.execute(several + b" LIMIT %(most)s", {**values, "most": FEW_DOCUMENTS + 1}, binary=True)
        docs = [doc for (doc,) in few]
        if len(docs) <= FEW_DOCUMENTS:
            return cls._of(b"p.doc = ANY(%(docs)s)", {"docs": docs}, len(docs), scanned=True)
        row = session.execute(b"SELECT count(*) FROM (" + several + b") AS counted", values).fetchone()
        assert row is not None
        if row[0] <= SCANNED_SHARE * count:
            return cls._of(b"p.doc IN (" + query + b")", values, row[0], scanned=True)
        # as a value, and no condition that could become a join: the index is walked, and each passage looked up
        return cls._of(b"(p.doc IN (" + query + b")) IS TRUE", values, row[0], scanned=False)

    @classmethod
    def _of(cls, condition: bytes, values: dict[str, Any], most: int, *, scanned: bool) -> PassageFilter:
        return cls(condition, values, scanned, condition, most)

    def without_documents(self, docs: Sequence[int]) -> PassageFilter:
        """Of these, those of other documents."""
        others = b" AND p.doc <> ALL(%(excluded)s)"
        return replace(
            self,
            condition=self.condition + others,
            documents=self.documents + others,
            values={**self.values, "excluded": sorted(docs)},
        )

    def among(self, held: Mapping[int, int], number: int) -> PassageFilter:
        """Of these, those of the given keys, each with its document; `number` tells such conditions apart."""
        docs = sorted(set(held.values()))
        documents = f" AND p.doc = ANY(%(keys{number}_docs)s)".encode()
        return PassageFilter(
            self.condition + documents + f" AND p.key = ANY(%(keys{number})s)".encode(),
            {**self.values, f"keys{number}": sorted(held), f"keys{number}_docs": docs},
            scanned=True,
            documents=self.documents + documents,
            most=len(docs) if self.most is None else min(self.most, len(docs)),
        )

    def both(self, other: PassageFilter) -> PassageFilter:
        """Passages that another one allows, too, where each was made for itself."""
        least = [most for most in (self.most, other.most) if most is not None]
        return PassageFilter(
            self.condition + b" AND " + other.condition.replace(b"keys", b"other_keys"),
            self.values | {name.replace("keys", "other_keys"): value for name, value in other.values.items()},
            self.scanned or other.scanned,
            self.documents + b" AND " + other.documents.replace(b"keys", b"other_keys"),
            min(least, default=None),
        )


def _named(documents: DocumentSet) -> tuple[bytes, dict[str, Any]]:
    """A query with its parameters by name, to be put beside others."""
    first, *rest = documents.query.split(b"%s")
    query = first
    for number, piece in enumerate(rest):
        query += f"%(filter{number})s".encode() + piece
    return query, {f"filter{number}": value for number, value in enumerate(documents.values)}
