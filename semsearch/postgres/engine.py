"""The engine on PostgreSQL: a schema a collection, pgvector for meaning, postings of our own for words."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, replace
from functools import partial
from itertools import islice
from typing import Any

from psycopg.rows import TupleRow

from semsearch import versions
from semsearch.engine import (
    SPARSE,
    Capabilities,
    Compacted,
    Encode,
    IndexSpec,
    Origin,
    Problem,
    Settings,
    StateMoved,
    Written,
    fingerprint,
)
from semsearch.errors import CollectionError, CollectionLocked, ModelMismatch
from semsearch.postgres import (
    document_table,
    forward_steps,
    graph,
    integrity,
    model_change,
    sparse_table,
    tables,
    word_rows,
)
from semsearch.postgres.connections import DatabaseConnections, DatabaseSession, one
from semsearch.postgres.origins import PostgresOrigins
from semsearch.postgres.postgres_view import PostgresView, Remembered
from semsearch.postgres.prompt_view import LaterSession, PromptView
from semsearch.postgres.state_row import (
    READ_STATE,
    StateRow,
    check_words,
    put_setting,
    read_settings,
    read_state,
)
from semsearch.records import Entry, Known, Record
from semsearch.search.document_words import CountedWords
from semsearch.search.languages import LANGUAGES, Languages, languages_of, same_stems, to_be_found
from semsearch.search.recall import Certificate, Synthesis
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Keys, Metadata, Metric, Vectors

log = logging.getLogger("semsearch")

_WHO_WATCHES = b"""
SELECT a.pid, host(a.client_addr) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objid::bigint = %s AND l.classid::bigint = %s
"""
RELABELLED_DOCUMENTS = 4096  # documents of a commit of metadata
NUMBERED_WORDS = 200_000  # whose numbers are known to be there
RECERTIFIED_SHARE = 0.1  # of passages, above which a recall is certified again


class PostgresEngine:
    """See `semsearch.engine.Engine`; it is most of what an engine may be besides, too, down to `Watchable`."""

    capabilities = Capabilities(
        "postgresql",
        scored=True,
        sparse=True,
        facets=True,
        tools="PostgreSQL's own tools: pg_dump and pg_restore, or pg_basebackup",
    )

    def __init__(self, name: str, location: str, schema: str, connections: DatabaseConnections) -> None:
        """`schema` is the collection's own."""
        self.name = name
        self.location = location
        self._schema = schema
        self._connections = connections
        self._known: tuple[int, Settings] | None = None  # the settings of a version
        self._latest: tuple[StateRow, Settings] | None = None  # the state that was seen last
        self._remembered = Remembered()
        self._numbered: frozenset[str] = frozenset()  # words that have a number, of those that were written here
        self.origins = PostgresOrigins(self._session, self._writing)
        try:
            settings = self.settings
        except BaseException:
            connections.close()
            raise
        turn = uuid.UUID(str(settings["uuid"])).int >> 66
        self._turn, self._building = 2 * turn, 2 * turn + 1  # of writers, and of who builds or encodes anew

    # Transactions

    @contextmanager
    def _reading(self) -> Iterator[tuple[DatabaseSession, StateRow, Settings]]:
        known = self._known
        walk = graph.walk({} if known is None else known[1])
        with self._connections.reading(walk + b"; " + READ_STATE) as (session, row):
            state = StateRow(*row)
            self._check_versions(state)
            if known is None or known[0] != state.version:
                known = (state.version, read_settings(session))
                newest = self._known
                if newest is None or newest[0] < state.version:
                    self._known = known
                if graph.walk(known[1]) != walk:
                    session.execute(graph.walk(known[1]))
            self._latest = state, known[1]
            yield session, state, known[1]

    @contextmanager
    def prompt_view(self) -> Iterator[PostgresView]:
        """See `Prompt.prompt_view`."""
        known = self._latest
        if known is None or known[0].analysis != versions.ANALYSIS:  # which may be brought forward by now
            with self._view() as view:
                yield view
            return
        state, settings = known
        walk = graph.walk(settings, of="session")

        def check(version: int, schema: int, analysis: int, encoding: int) -> None:
            self._check_versions(state._replace(schema=schema, analysis=analysis, encoding=encoding))
            if version != state.version:
                raise StateMoved

        @contextmanager
        def begin() -> Iterator[DatabaseSession]:
            with self._reading() as (session, now, _):
                if now.version != state.version:
                    raise StateMoved
                yield session

        def ask(statement: bytes, values: Mapping[str, Any] | Sequence[Any]) -> list[TupleRow]:
            return self._connections.at_once(walk, statement, values)

        try:
            with LaterSession(begin, ask, check) as later:
                yield PromptView(later, state, settings, self._over(state, settings), self._remembered)
        except StateMoved:
            self._latest = None
            raise

    def _over(self, state: StateRow, settings: Settings) -> bytes | None:
        return graph.built_over(Metric(settings["metric"]), state.dim or 0) if settings.get(graph.GRAPH) else None

    @contextmanager
    def _session(self) -> Iterator[DatabaseSession]:
        with self._reading() as (session, _, _):
            yield session

    @contextmanager
    def _writing(self, *, shared: bool = False, older: bool = False) -> Iterator[DatabaseSession]:
        """`shared`: beside others who write documents; `older`: also to what is to be brought forward."""
        with self._connections.writing(self._turn, shared=shared) as session:
            state = read_state(session)
            self._check_versions(state)
            if not older and state.schema < tables.POSTGRES_SCHEMA:
                raise CollectionError(self._behind(state))
            yield session

    def _check_versions(self, state: StateRow) -> None:
        """Refuse what a newer semsearch made: this one would read or write it wrongly."""
        for what, theirs, ours in (
            ("schema", state.schema, tables.POSTGRES_SCHEMA),
            ("analysis of words", state.analysis, versions.ANALYSIS),
            ("encoding", state.encoding, versions.ENCODING),
        ):
            if theirs > ours:
                raise CollectionError(
                    f"collection '{self.name}' was made, or brought forward, by a newer semsearch: its {what} is "
                    f"{theirs}, and this semsearch knows {ours}. Update semsearch here; nothing was changed."
                )

        if state.schema < forward_steps.OLDEST_READ:
            raise CollectionError(self._behind(state))

    def _behind(self, state: StateRow) -> str:
        return (
            f"collection '{self.name}' was made by an older semsearch: its schema is {state.schema}, and this one "
            f"writes {tables.POSTGRES_SCHEMA}. 'semsearch migrate {self.name}' brings it forward, and older versions "
            "can't use it from then on; nothing was changed."
        )

    # Reading

    @property
    def settings(self) -> Settings:
        """See `Engine.settings`."""
        with self._reading() as (_, _, settings):
            return settings

    @property
    def versions(self) -> Mapping[str, int]:
        """See `Engine.versions`."""
        with self._reading() as (_, state, _):
            return {"schema": state.schema, "analysis": state.analysis, "encoding": state.encoding}

    def check_open(self) -> None:
        """See `Engine.check_open`."""
        self._connections.check_open()

    def view(self) -> AbstractContextManager[PostgresView]:
        """See `Engine.view`."""
        return self._view()

    @contextmanager
    def _view(self) -> Iterator[PostgresView]:
        with self._viewed() as (_, view):
            yield view

    @contextmanager
    def _viewed(self) -> Iterator[tuple[DatabaseSession, PostgresView]]:
        with self._reading() as (session, state, settings):
            yield session, PostgresView(session, state, settings, self._over(state, settings), self._remembered)

    def counts(self) -> tuple[int, int]:
        """See `Engine.counts`."""
        with self._reading() as (_, state, _):
            return state.documents, state.passages

    def bytes(self) -> int:
        """See `Engine.bytes`."""
        statement = b"SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND "
        with self._session() as session:
            return int(one(session, statement + b"relnamespace = %s::regnamespace", (self._schema,)))

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """See `Engine.known`."""
        with self._session() as session:
            return document_table.known(session, ids)

    # Writing

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record] = (),
        *,
        model: str | None = None,
        again: bool = False,
        origin: Callable[[str], Origin] | None = None,
    ) -> Written:
        """See `Engine.put`."""
        return self._connections.repeated(lambda: self._put(entries, metadata_only, model, again, origin))

    def _put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record],
        model: str | None,
        again: bool,
        origin: Callable[[str], Origin] | None,
    ) -> Written:
        languages = languages_of(self.settings)
        count = document_table.counter(languages)
        words = {id(entry): count(entry) for entry in entries}
        self._number_words(words.values())
        with self._writing(shared=True) as session:
            settings = read_settings(session)
            check_words(read_state(session), settings)
            if model is not None and model != fingerprint(settings):
                raise ModelMismatch(
                    f"collection '{self.name}' was encoded anew with another model meanwhile; run the same command "
                    "again."
                )
            if languages_of(settings) != languages:  # they were changed just now
                count = document_table.counter(languages_of(settings))
                words = {id(entry): count(entry) for entry in entries}
            return document_table.put(
                session, self.name, entries, metadata_only, again, origin, lambda entry: words[id(entry)]
            )

    def _number_words(self, counted: Iterable[CountedWords]) -> None:
        """Give new words their numbers, in a transaction of its own: other writers meet the same new words."""
        new = word_rows.words_in(counted) - self._numbered
        if new:
            with self._writing(shared=True) as session:
                session.execute(b"SET LOCAL synchronous_commit = off")  # what needs them is committed later
                word_rows.numbers(session, new)
            if len(self._numbered) > NUMBERED_WORDS:
                self._numbered = frozenset()
            self._numbered |= new

    def remove(self, ids: Sequence[str]) -> int:
        """See `Engine.remove`."""

        def work() -> int:
            with self._writing(shared=True) as session:
                return document_table.remove(session, ids)

        return self._connections.repeated(work, lost=False)

    def update_metadata(self, ids: Iterable[str], change: Callable[[Metadata], Metadata]) -> int:
        """See `Engine.update_metadata`."""
        pending, found = iter(dict.fromkeys(ids)), 0
        while batch := list(islice(pending, RELABELLED_DOCUMENTS)):
            found += self._connections.repeated(partial(self._relabel, batch, change), lost=False)
        return found

    def _relabel(self, ids: Sequence[str], change: Callable[[Metadata], Metadata]) -> int:
        with self._writing(shared=True) as session:
            old = document_table.known(session, ids, locked=True)
            stored = document_table.documents_of(session, b"digest = ANY(%s)", (document_table.digests(old),))
            changed = []
            for doc, document in stored:
                record = Record.of(replace(document, metadata=change(document.metadata)))
                if record.metadata != old[document.id].metadata:
                    changed.append((record, doc))
            if changed:
                document_table.change_metadata(session, changed)
                document_table.count(session, document_table.CountChange())
            return len(stored)

    def set(self, name: str, value: Any) -> None:
        """See `Engine.set`."""
        with self._writing() as session:
            document_table.count(session, document_table.CountChange())
            put_setting(session, name, value)

    def set_languages(self, languages: Languages, *, found: bool = False) -> bool:
        """See `Engine.set_languages`."""
        with self._writing() as session:
            settings = read_settings(session)
            if found and not to_be_found(settings):
                return False
            document_table.count(session, document_table.CountChange())
            put_setting(session, LANGUAGES, list(languages))
            if not same_stems(languages, languages_of(settings)):
                word_rows.rebuild(session, languages)
            return True

    def begin_sparse(self, described: Settings) -> None:
        """See `semsearch.engine.SparseStore`."""
        with self._writing() as session:
            sparse_table.begin(session, described)

    def put_sparse(self, keys: Keys, vectors: SparseVectors, model: str) -> int:
        """See `semsearch.engine.SparseStore`."""

        def work() -> int:
            with self._writing(shared=True) as session:
                described = read_settings(session).get(SPARSE)
                if described is None or described["fingerprint"] != model:
                    raise ModelMismatch(
                        f"collection '{self.name}' got another sparse model meanwhile, or has none any more; run the "
                        "same command again."
                    )
                return sparse_table.write(session, keys, vectors)

        return self._connections.repeated(work)

    def end_sparse(self) -> None:
        """See `semsearch.engine.SparseStore`."""
        with self._writing() as session:
            sparse_table.end(session)

    def migrate(self) -> list[str]:
        """See `Migrated.migrate`."""
        return forward_steps.bring_forward(partial(self._writing, older=True))

    def hold(self) -> AbstractContextManager[None]:
        """See `Engine.hold`."""
        return self._connections.holding(self._turn)

    @contextmanager
    def keep_watch(self) -> Iterator[None]:
        """See `Watchable`; it ends with the connection, too."""
        watch = -self._turn - 1  # a number that no turn has
        with self._connections.trying(watch) as session:
            if session is None:
                with self._session() as other:
                    row = other.execute(_WHO_WATCHES, (watch & 0xFFFFFFFF, (watch >> 32) & 0xFFFFFFFF)).fetchone()
                who = "" if row is None else f" (process {row[0]} of the server, from {row[1] or 'its own machine'})"
                raise CollectionLocked(
                    f"collection '{self.name}' is watched by another process already{who}, and one is enough: end that "
                    "one first, or leave this collection to it."
                )
            yield

    def close(self) -> None:
        """See `Engine.close`."""
        self._connections.close()

    # Index

    def rebuild(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate | None:
        """See `Indexed.rebuild`."""
        with self._connections.trying(self._building) as session:
            if session is None:
                raise CollectionLocked(f"another process builds the index of collection '{self.name}': try again.")
            with self._reading() as (_, state, settings):
                metric, dim = Metric(settings["metric"]), state.dim or 0
            if graph.wanted(spec, state.passages, metric, dim):
                self.set(graph.GRAPH, graph.build(session, metric, dim, spec.options))
                return self._certified(spec, queries) if spec.recall is not None else None
            self.set(graph.GRAPH, None)
            graph.drop(session, graph.graphs(session))
            if spec.recall is None or spec.backend == "auto" or not state.passages:
                return None
            return graph.certified(self._viewed, spec, queries, exact=True)

    def tune(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate:
        """See `Indexed.tune`."""
        if self.settings.get(graph.GRAPH) is None:
            return graph.certified(self._viewed, spec, queries, exact=True)
        return self._certified(spec, queries)

    def _certified(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate:
        certificate = graph.certified(self._viewed, spec, queries, exact=False)
        kept = dict(self.settings[graph.GRAPH] or {})
        kept |= {"ef": certificate.value, "contract": graph.contract(certificate, self.counts()[1])}
        self.set(graph.GRAPH, kept)
        return certificate

    def kept_queries(self) -> list[str]:
        """See `Indexed.kept_queries`."""
        with self._session() as session:
            return [question for (question,) in session.execute(b"SELECT question FROM questions")]

    def keep_queries(self, queries: Sequence[str]) -> None:
        """See `Indexed.keep_queries`."""
        with self._writing() as session:
            document_table.count(session, document_table.CountChange())
            session.execute(b"DELETE FROM questions")
            session.execute(b"INSERT INTO questions SELECT * FROM unnest(%s::text[])", (list(queries),))

    def load_index(self) -> None:
        """See `Indexed.load_index`; the server keeps it."""

    def index_info(self) -> dict[str, Any]:
        """See `Indexed.index_info`."""
        with self._reading() as (_, state, settings):
            there, spec = settings.get(graph.GRAPH), IndexSpec.of(settings)
        why = "as asked for"
        if spec.backend == "auto":
            why = f"PostgreSQL scans up to {graph.INDEXED_PASSAGES:,} passages soon enough, and walks a graph of more."
        params = {name: there[name] for name in ("m", "ef_construction", "ef")} if there else {}
        rows = state.passages if there else 0
        return {
            "wanted": asdict(spec),
            "why": why,
            "backend": "hnsw" if there else "exact",
            "params": params,
            "state": "ready" if there else "none",
            "rows": rows,
            "fresh": 0,
            "removed": 0,
            "contract": there.get("contract") if there else None,
            "words": {"state": "ready", "rows": state.passages, "fresh": 0},
            **self._sparse_info(),
        }

    def _sparse_info(self) -> dict[str, Any]:
        with self._view() as view:
            if view.settings.get(SPARSE) is None:
                return {}
            lacking = view.lacking_sparse
            return {"sparse": {"state": "ready", "rows": view.passages - lacking, "fresh": 0, "lacking": lacking}}

    # Maintenance

    def maintain(self, queries: Callable[[], Vectors | Synthesis | None]) -> None:
        """See `Maintained.maintain`."""
        with self._reading() as (session, state, settings):
            metric, spec, there = Metric(settings["metric"]), IndexSpec.of(settings), settings.get(graph.GRAPH)
            stale = integrity.statistics_are_stale(session, state.passages)
        if stale:
            with self._connections.session() as session:
                integrity.analyze(session)
        certificate = None
        if there is None:
            if graph.wanted(spec, state.passages, metric, state.dim or 0):
                try:
                    certificate = self.rebuild(spec, queries() if spec.recall is not None else None)
                except CollectionLocked:  # another process builds it already
                    return
        elif spec.recall is not None:
            measured = (there.get("contract") or {}).get("passages", 0)
            if abs(state.passages - measured) > RECERTIFIED_SHARE * measured:
                certificate = self._certified(spec, queries())
        if certificate is not None and not certificate.met:  # nobody asked for it now, so nobody looks at it
            log.warning("the index of collection '%s': %s", self.name, certificate.summary)

    def check(self, *, deep: bool = False) -> list[Problem]:
        """See `Maintained.check`."""
        with self._reading() as (session, state, settings):
            return list(integrity.problems(session, self.name, state, settings, deep))

    def repair(self, encode: Encode | None, queries: Callable[[], Vectors | Synthesis | None]) -> list[str]:
        """See `Maintained.repair`."""
        with self._writing() as session:
            done = integrity.mended(session, self.name, read_state(session), read_settings(session), encode)
        walked = self.settings.get(graph.GRAPH) is not None
        with self._session() as session:
            broken = graph.is_half(session) or (walked and not graph.graphs(session))
        if broken:
            self.rebuild(IndexSpec.of(self.settings), queries())
            again = self.settings.get(graph.GRAPH) is not None
            done.append("built the index anew" if again else "took away the half of a graph")
        return done

    def compact(self) -> Compacted:
        """See `Maintained.compact`: VACUUM, which gives room back to the collection itself."""
        before = self.bytes()
        with self._connections.session() as session:
            rows, erased = integrity.vacuumed(session)
        return Compacted(rows, before, self.bytes(), erased)

    def reencode(
        self, target: Settings, dim: int, encode: Encode, progress: Callable[[int], None] | None = None
    ) -> int:
        """See `Maintained.reencode`."""
        with self._connections.trying(self._building) as session:
            if session is None:
                raise CollectionLocked(
                    f"another process encodes collection '{self.name}' anew, or builds its index: try again."
                )
            return model_change.reencode(session, self._writing, dict(target), dim, encode, progress)


def first_rows(session: DatabaseSession, settings: Settings, dim: int | None) -> None:
    """What a new collection begins with, in tables that are there and empty."""
    session.execute(
        b"INSERT INTO state (version, schema, analysis, encoding, dim, documents, passages, words, whole_words, "
        b"longest) VALUES (0, %s, %s, %s, %s, 0, 0, 0, 0, 0)",
        (tables.POSTGRES_SCHEMA, versions.ANALYSIS, versions.ENCODING, dim),
    )
    for name, value in {**settings, "uuid": str(uuid.uuid4()), graph.GRAPH: None}.items():
        session.execute(b"INSERT INTO settings VALUES (%s, %s)", (name, json.dumps(value)))
