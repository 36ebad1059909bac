"""A view that one round trip may answer: the state is taken to be the last one that was seen, until an answer says so.

The first question by a vector is one statement, which sees one state, and comes with the version of that state and with
the documents of the nearest passages. Whatever else is asked begins a transaction, of the same state. Where that is
not the state that was taken for granted, `StateMoved` is raised, and whoever asked begins again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from psycopg.rows import TupleRow

from semsearch.engine import Candidates, Settings, StateMoved
from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.nearest_passages import AtOnce, PassageRow
from semsearch.postgres.passage_filter import PassageFilter
from semsearch.postgres.postgres_view import PostgresView, SparseCount
from semsearch.postgres.state_row import StateRow
from semsearch.search.query_syntax import Query
from semsearch.search.where import Filter
from semsearch.types import Document, Keys, Passage, Vectors

MOST_AT_ONCE = 100  # candidates with which documents come unasked
_REST = b"""
, shown AS MATERIALIZED (
    SELECT key, doc FROM (SELECT key, doc, row_number() OVER (ORDER BY distance) AS row FROM near) AS ordered
    WHERE row <= %(shown)s
)
SELECT 0, version, schema::bigint, analysis, encoding, NULL::bytea, NULL::float8, NULL, NULL, NULL, NULL FROM state
UNION ALL
SELECT 1, key, doc, start, "end", vector_send(vector), distance, NULL, NULL, NULL, NULL FROM near
UNION ALL
SELECT 2, NULL, doc, NULL, NULL, NULL, NULL, id, title, metadata, text FROM documents
WHERE doc = ANY(ARRAY(SELECT shown.doc FROM shown))
"""


class LaterSession:
    """A session that begins when it is first needed, in the place of one that has begun."""

    def __init__(self, begin: Callable[[], AbstractContextManager[DatabaseSession]]) -> None:
        self._begin = begin
        self._stack = ExitStack()
        self.session: DatabaseSession | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.begun(), name)

    def begun(self) -> DatabaseSession:
        """The session."""
        if self.session is None:
            self.session = self._stack.enter_context(self._begin())
        return self.session

    def __enter__(self) -> LaterSession:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)


class PromptView(PostgresView):
    """See `PostgresView`."""

    def __init__(
        self,
        later: LaterSession,
        ask: Callable[[bytes, dict[str, Any]], list[TupleRow]],
        check: Callable[[int, int, int], None],
        state: StateRow,
        settings: Settings,
        index: bytes | None,
        lacking: SparseCount,
    ) -> None:
        """`ask` runs a statement in a transaction of its own; `check` looks at the versions of the state."""
        super().__init__(later, state, settings, index, lacking)  # type: ignore[arg-type]  # it becomes one
        self._later = later
        self._ask = ask
        self._check = check
        self._shown: dict[int, Passage] = {}

    def dense(
        self, queries: Vectors, k: int, *, allowed: PassageFilter | None, exact: bool, grouped: bool
    ) -> list[Candidates]:
        """See `EngineView.dense`."""
        alone = len(queries) == 1 and allowed is None and k <= MOST_AT_ONCE and self._later.session is None
        if alone and self.passages and self.dim:
            several = grouped and self._state.passages != self._state.documents
            asked = self._nearest.at_once(queries[0], k, exact=exact, grouped=several)
            found = asked.found(self._answered(asked, 3 * k if several else k + 5))
            if found is not None:
                return [found]
        self._later.begun()  # what is known of the state holds from here on
        return super().dense(queries, k, allowed=allowed, exact=exact, grouped=grouped)

    def allowed(self, where: Filter | None, query: Query | None = None) -> PassageFilter | None:
        """See `EngineView.allowed`."""
        if where is not None or query is not None:
            self._later.begun()
        return super().allowed(where, query)

    def lexical(self, query: Query, k: int, *, allowed: PassageFilter | None, grouped: bool) -> Candidates:
        """See `EngineView.lexical`."""
        self._later.begun()
        return super().lexical(query, k, allowed=allowed, grouped=grouped)

    def _answered(self, asked: AtOnce, shown: int) -> Sequence[PassageRow]:
        """The rows of the nearest passages; keeps the documents that came with them."""
        rows = self._ask(asked.statement + _REST, {**asked.values, "shown": shown})
        documents: dict[int, Document] = {}
        near: list[TupleRow] = []
        version = None
        for kind, *row in rows:
            if kind == 0:
                version = row[0]
                self._check(row[1], row[2], row[3])
            elif kind == 1:
                near.append(tuple(row))
            else:
                identity, title, metadata, text = row[6:]
                documents[row[1]] = Document(identity, text, title, json.loads(metadata))
        if version != self._state.version:
            raise StateMoved
        for key, doc, start, end, *_ in near:
            if doc in documents:
                self._shown[key] = Passage.of(documents[doc], start, end)
        return [(key, doc, sent, distance) for key, doc, _, _, sent, distance, *_ in near]

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """See `EngineView.passages_of`."""
        own = [self._shown.get(key) for key in keys.tolist()]
        return super().passages_of(keys) if any(passage is None for passage in own) else own
