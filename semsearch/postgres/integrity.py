"""What can be wrong with a collection though each commit was whole: counts, words, the graph; and what mends it.

That pages are what was written is for the server to see: data checksums, which PostgreSQL 18 turns on by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from semsearch import versions
from semsearch.engine import SPARSE, Encode, Problem, Settings
from semsearch.postgres import document_table, graph, sparse_table, word_rows
from semsearch.postgres.connections import DatabaseSession, one
from semsearch.postgres.nearest_passages import stream
from semsearch.postgres.state_row import StateRow, put_setting
from semsearch.records import Record
from semsearch.search.document_words import Worded
from semsearch.search.fields import fields_of
from semsearch.search.languages import languages_of
from semsearch.types import Metric, Vectors
from semsearch.vectors import normalise

STALE_SHARE = 0.2  # of rows, by which the planner's statistics may be off
NAMED_DOCUMENTS = 3
CARED_TABLES = (
    "documents",
    "passages",
    "postings",
    "terms",
    "fields",
    "field_names",
    "origins",
    "settings",
    "state",
    "reencoded",
)
_COUNTS = b"""
SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM passages),
    (SELECT coalesce(sum(words), 0) FROM passages), (SELECT coalesce(sum(words), 0) FROM documents)
"""
_WITHOUT_PASSAGES = b"SELECT id FROM documents AS d WHERE NOT EXISTS (SELECT FROM passages WHERE passages.doc = d.doc)"
_OF_DIM = b"SELECT count(*) FROM passages WHERE vector_dims(vector) <> %s"
_WRONG_FREQUENCIES = b"""
SELECT count(*) FROM terms FULL JOIN (SELECT term, count(DISTINCT doc) AS documents FROM postings GROUP BY term) AS own
    USING (term) WHERE coalesce(terms.documents, -1) <> coalesce(own.documents, 0)
"""


def problems(session: DatabaseSession, name: str, state: StateRow, settings: Settings, deep: bool) -> Iterator[Problem]:
    """See `semsearch.engine.Maintained.check`."""
    fix = f"semsearch repair {name}"
    if state.analysis != versions.ANALYSIS:
        what = f"an older semsearch made them (analysis {state.analysis})"
        yield Problem("words", what, f"semsearch migrate {name}")
    counted = session.execute(_COUNTS).fetchone()
    if counted != (state.documents, state.passages, state.words, state.whole_words):
        yield Problem("database", f"the counts are off: there are {counted}", fix)
    if lost := [identity for (identity,) in session.execute(_WITHOUT_PASSAGES)]:
        yield Problem("documents", f"{_named(lost)} has no passage, so that nothing finds it", fix)
    if state.dim is not None and (count := one(session, _OF_DIM, (state.dim,))):
        yield Problem("vectors", f"{count} have other components than {state.dim}", fix)
    if graph.is_half(session):
        yield Problem("index", "the building of a graph was interrupted, and its half slows writers", fix)
    elif settings.get(graph.GRAPH) is not None and not graph.graphs(session):
        yield Problem("index", "the graph is missing: searches scan", fix)
    yield from _sparse(session, state, settings, fix)
    if deep and state.analysis == versions.ANALYSIS:
        yield from _content(session, name, state, settings)


def _sparse(session: DatabaseSession, state: StateRow, settings: Settings, fix: str) -> Iterator[Problem]:
    if settings.get(SPARSE) is None:
        return
    if not sparse_table.is_there(session):
        yield Problem("sparse vectors", "their table is missing", fix)
    elif lacking := state.passages - sparse_table.number_of_vectors(session):
        yield Problem("sparse vectors", f"{lacking:,} passages have no sparse vector yet", fix)


def _content(session: DatabaseSession, name: str, state: StateRow, settings: Settings) -> Iterator[Problem]:
    fix = f"semsearch repair {name}"
    if count := one(session, _WRONG_FREQUENCIES):
        yield Problem("words", f"{count} terms are said to be in more or fewer documents than they are", fix)
    if wrong := [document_id for document_id in _with_other_words(session, settings)]:
        yield Problem("words", f"those of {_named(wrong)} are not those of the text", fix)
    if wrong := list(_with_other_content(session)):
        yield Problem("documents", f"{_named(wrong)} is not what was stored", "index the source anew")
    if wrong := list(_with_other_fields(session)):
        yield Problem("documents", f"the fields of {_named(wrong)} are not those of the metadata", fix)
    if settings["metric"] == Metric.COSINE and state.passages:
        far = sum(int(np.count_nonzero(_off(vectors))) for _, vectors in stream(session, state.dim or 0))
        if far:
            yield Problem("vectors", f"{far} are not of unit length", fix)


def _off(vectors: Vectors) -> NDArray[np.bool_]:
    off: NDArray[np.bool_] = (normalise(vectors) != vectors).any(axis=1)
    return off


def _with_other_words(session: DatabaseSession, settings: Settings) -> Iterator[str]:
    languages = languages_of(settings)
    for batch in word_rows.texts(session):
        docs = [doc for doc, *_ in batch]
        rows = session.execute(
            b"SELECT key, word, titles, texts FROM postings JOIN terms USING (term) WHERE doc = ANY(%s)", (docs,)
        )
        there = {(key, word, titles, texts) for key, word, titles, texts in rows}
        for doc, title, text, *places in batch:
            own = Worded.of(doc, title, ((key, text[a:b]) for key, a, b in zip(*places, strict=True)), languages)
            wanted = {
                (key, word, own.title[word], words[word])
                for key, words in own.passages
                for word in own.title.keys() | words.keys()
            }
            keys = {key for key, _ in own.passages}
            if wanted != {row for row in there if row[0] in keys}:
                yield str(one(session, b"SELECT id FROM documents WHERE doc = %s", (doc,)))


def _with_other_content(session: DatabaseSession) -> Iterator[str]:
    """Documents whose hash is not that of title and text; of those with a given vector that can't be told."""
    last = 0
    given = one(session, b"SELECT value FROM settings WHERE name = 'encoder'") == "null"
    while found := document_table.documents_of(session, b"doc > %s ORDER BY doc LIMIT 1000", (last,)):
        last = found[-1][0]
        stored = document_table.known(session, [document.id for _, document in found])
        if not given:
            yield from (
                document.id
                for _, document in found
                if Record.of(document, checked=True).hash != stored[document.id].hash
            )


def _with_other_fields(session: DatabaseSession) -> Iterator[str]:
    last = 0
    while found := document_table.documents_of(session, b"doc > %s ORDER BY doc LIMIT 1000", (last,)):
        last = found[-1][0]
        rows = session.execute(
            b"SELECT doc, count(*) FROM fields WHERE doc = ANY(%s) GROUP BY doc", ([doc for doc, _ in found],)
        )
        counts: dict[int, int] = dict(rows.fetchall())
        for doc, document in found:
            if len({*fields_of(document.metadata)}) != counts.get(doc, 0):
                yield document.id


def _named(ids: list[str]) -> str:
    names = ", ".join(f"document {identity!r:.60}" for identity in ids[:NAMED_DOCUMENTS])
    return names + (f" and {len(ids) - NAMED_DOCUMENTS} more" if len(ids) > NAMED_DOCUMENTS else "")


def mended(
    session: DatabaseSession, name: str, state: StateRow, settings: Settings, encode: Encode | None
) -> list[str]:
    """Mend what `problems` finds, but for the graph, in one transaction; what was done, in sentences."""
    found = {problem.part for problem in problems(session, name, state, settings, True)}
    done: list[str] = []
    if "documents" in found or "vectors" in found:
        ids = [identity for (identity,) in session.execute(_WITHOUT_PASSAGES)]
        if state.dim is not None:
            rows = session.execute(
                b"SELECT DISTINCT id FROM documents JOIN passages USING (doc) WHERE vector_dims(vector) <> %s",
                (state.dim,),
            )
            ids += [identity for (identity,) in rows]
        stored = [document for _, document in document_table.documents_of(session, b"true", ())]
        if ids and encode is not None:
            records = [Record.of(document) for document in stored if document.id in set(ids)]
            languages = languages_of(settings)
            document_table.put(session, name, encode(records), (), True, None, document_table.counter(languages))
            done.append(f"encoded {len(records)} documents again")
        wrong = set(_with_other_fields(session))
        if wrong:
            old = document_table.known(session, list(wrong))
            document_table.change_metadata(
                session, [(Record.of(document), old[document.id].doc) for document in stored if document.id in wrong]
            )
            done.append(f"made the fields of {len(wrong)} documents anew")
    if "words" in found and state.analysis == versions.ANALYSIS:
        word_rows.rebuild(session, languages_of(settings))
        done.append("made the words anew")
    if "sparse vectors" in found and not sparse_table.is_there(session):
        sparse_table.begin(session, settings[SPARSE])
        done.append("made the table of sparse vectors anew, which are all encoded again")
    if "database" in found:
        word_rows.recount(session)
        done.append("counted anew")
    if "index" in found and not graph.graphs(session):
        put_setting(session, graph.GRAPH, settings[graph.GRAPH])
    if done:
        session.execute(b"UPDATE state SET version = version + 1")
    return done


def statistics_are_stale(session: DatabaseSession, passages: int) -> bool:
    """Whether the planner thinks of another number of rows than there are."""
    planned = one(session, b"SELECT reltuples FROM pg_class WHERE oid = 'passages'::regclass")
    return abs(float(planned) - passages) > STALE_SHARE * passages + 100


def analyze(session: DatabaseSession) -> None:
    """Have the planner look at the tables."""
    session.execute(b"ANALYZE " + _cared_tables(session))


def _cared_tables(session: DatabaseSession) -> bytes:
    return ", ".join([*CARED_TABLES, *(["sparse_vectors"] if sparse_table.is_there(session) else [])]).encode()


def vacuumed(session: DatabaseSession) -> tuple[int, bool]:
    """Take dead rows away; how many passages those were, and whether no reader kept any."""
    dead = one(
        session, b"SELECT coalesce(sum(n_dead_tup), 0) FROM pg_stat_user_tables WHERE relid = 'passages'::regclass"
    )
    older = one(
        session,
        b"SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_xmin IS NOT NULL "
        b"AND datname = current_database()",
    )
    session.execute(b"VACUUM (ANALYZE) " + _cared_tables(session))
    return int(dead), not older
