"""A view that one round trip may answer: the state is taken to be the last one that was seen, until an answer says so.

The first question, by a vector or by words, is one statement, which sees one state, and comes with the version of that
state and with the documents that are found. Whatever else is asked comes with the version, too: so all of it is of one
state, without a transaction. What is more than a statement begins one, of the same state. Where that is not the state
that was taken for granted, `StateMoved` is raised, and whoever asked begins again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, TypeAlias

from psycopg.rows import TupleRow

from semsearch.engine import Candidates, Settings, StateMoved
from semsearch.postgres.connections import DatabaseSession
from semsearch.postgres.nearest_passages import AtOnce, PassageRow
from semsearch.postgres.passage_filter import PassageFilter
from semsearch.postgres.postgres_view import PostgresView, Remembered
from semsearch.postgres.state_row import StateRow, check_words
from semsearch.postgres.word_search import NOTHING
from semsearch.search.query_syntax import Query
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


# Whatever is selected, with the state that it is of, which comes alone where nothing is.
_HELD = b"""
SELECT s.version, s.schema, s.analysis, s.encoding, given.* FROM state AS s
LEFT JOIN (SELECT true AS there, one.* FROM (%b) AS one) AS given ON true
"""

Statements: TypeAlias = Callable[[bytes, Mapping[str, Any] | Sequence[Any]], list[TupleRow]]


class HeldRows:
    """The rows of a statement, as a cursor gives them."""

    def __init__(self, rows: list[TupleRow]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[TupleRow]:
        return iter(self._rows)

    def fetchall(self) -> list[TupleRow]:
        """All of them."""
        return self._rows

    def fetchone(self) -> TupleRow | None:
        """The first one."""
        return self._rows[0] if self._rows else None


class LaterSession:
    """What runs each statement by itself, of one state; a session takes its place where more than that is needed."""

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[DatabaseSession]],
        ask: Statements,
        check: Callable[[int, int, int, int], None],
    ) -> None:
        """`ask` runs a statement in a transaction of its own; `check` looks at the versions of the state."""
        self._begin = begin
        self._stack = ExitStack()
        self.ask = ask
        self.check = check
        self.session: DatabaseSession | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.begun(), name)

    def begun(self) -> DatabaseSession:
        """The session."""
        if self.session is None:
            self.session = self._stack.enter_context(self._begin())
        return self.session

    def execute(self, statement: bytes | str, values: Any = (), *, binary: bool = True) -> Any:
        """What `statement`, which selects, gives: a cursor, or what is read as one."""
        if self.session is not None:
            return self.session.execute(statement, values, binary=binary)
        selects = statement.encode() if isinstance(statement, str) else statement
        rows = self.ask(_HELD % selects, values)
        if not rows:
            raise StateMoved  # there is no state: whoever begins says so
        self.check(*rows[0][:4])
        return HeldRows([row[5:] for row in rows if row[4]])

    def __enter__(self) -> LaterSession:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)


class PromptView(PostgresView):
    """See `PostgresView`."""

    def __init__(
        self,
        later: LaterSession,
        state: StateRow,
        settings: Settings,
        index: bytes | None,
        remembered: Remembered,
    ) -> None:
        """`later` runs what is asked; the rest is what is taken for granted."""
        super().__init__(later, state, settings, index, remembered)  # type: ignore[arg-type]  # it becomes one
        self._later = later
        self._shown: dict[int, Passage] = {}

    def dense(
        self, queries: Vectors, k: int, *, allowed: PassageFilter | None, exact: bool, grouped: bool
    ) -> list[Candidates]:
        """See `EngineView.dense`."""
        if len(queries) == 1 and k <= MOST_AT_ONCE and self._later.session is None and self.passages and self.dim:
            several = grouped and self._state.passages != self._state.documents
            asked = self._nearest.at_once(queries[0], k, allowed, exact=exact, grouped=several)
            found = asked.found(self._answered(asked, 3 * k if several else k + 5))
            if found is not None:
                return [found]
        self._later.begun()  # what is known of the state holds from here on
        return super().dense(queries, k, allowed=allowed, exact=exact, grouped=grouped)

    def lexical(self, query: Query, k: int, *, allowed: PassageFilter | None, grouped: bool) -> Candidates:
        """See `EngineView.lexical`."""
        if k > MOST_AT_ONCE or query.phrases or not query.plain or self._later.session is not None:
            return super().lexical(query, k, allowed=allowed, grouped=grouped)
        check_words(self._state, self.settings)
        asked = self._words.at_once(query, k, allowed, grouped=grouped)
        found = None if asked is None else asked.found(self._answered(asked, k))
        return NOTHING if found is None else found

    def _answered(self, asked: AtOnce, shown: int) -> Sequence[PassageRow]:
        """The rows of what is found; keeps the documents that came with them."""
        rows = self._later.ask(asked.statement + _REST, {**asked.values, "shown": shown})
        documents: dict[int, Document] = {}
        near: list[TupleRow] = []
        for kind, *row in rows:
            if kind == 0:
                self._later.check(*row[:4])
            elif kind == 1:
                near.append(tuple(row))
            else:
                identity, title, metadata, text = row[6:]
                documents[row[1]] = Document(identity, text, title, json.loads(metadata))
        for key, doc, start, end, *_ in near:
            if doc in documents:
                self._shown[key] = Passage.of(documents[doc], start, end)
        return [(key, doc, sent, distance) for key, doc, _, _, sent, distance, *_ in near]

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """See `EngineView.passages_of`."""
        own = [self._shown.get(key) for key in keys.tolist()]
        return super().passages_of(keys) if any(passage is None for passage in own) else own
