"""The graph of neighbours that pgvector walks: built beside readers and writers, set to a recall, certified.

It is built over halves of the numbers where vectors are of unit length, which takes half the room and finds as much,
since whatever it proposes is scored by the stored vectors. Of vectors of any length it takes them as they are: a number
that a half can't hold would make every later write fail.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict
from typing import Any

import psycopg

from semsearch.engine import IndexSpec
from semsearch.errors import UsageError
from semsearch.postgres.connections import DatabaseSession, one
from semsearch.postgres.nearest_passages import MOST_EF
from semsearch.postgres.postgres_view import PostgresView
from semsearch.search import engine_recall
from semsearch.search.recall import Certificate, Synthesis
from semsearch.types import Metric, Vectors

log = logging.getLogger("semsearch")

GRAPH = "graph"  # the setting that tells of it; None where searches are exact
EF = 100  # candidates that a walk keeps, where nobody chose
LADDER = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1000)
INDEXED_PASSAGES = 20_000  # scanned in some 25 ms
HALVED_COMPONENTS, WHOLE_COMPONENTS = 4000, 2000  # that pgvector makes a graph of
BLOCK_BYTES = 64 << 20  # that a build takes, however small the graph
LEAST_BUILD_BYTES = 512 << 20  # of memory, that a build may take
_MEMORY = b"""
SELECT (SELECT passages FROM state), pg_size_bytes(current_setting('shared_buffers')), source <> 'default'
FROM pg_settings WHERE name = 'maintenance_work_mem'
"""
_OPTIONS = {"M": ("m", 16), "ef_construction": ("ef_construction", 100)}
_CLASSES = {Metric.COSINE: "halfvec_ip_ops", Metric.DOT: "vector_ip_ops", Metric.L2: "vector_l2_ops"}


def built_over(metric: Metric, dim: int) -> bytes | None:
    """The expression that a graph is built over; None where pgvector makes none of so many components."""
    if metric == Metric.COSINE:
        return f"vector::halfvec({dim})".encode() if 0 < dim <= HALVED_COMPONENTS else None
    return f"vector::vector({dim})".encode() if 0 < dim <= WHOLE_COMPONENTS else None


def wanted(spec: IndexSpec, passages: int, metric: Metric, dim: int) -> bool:
    """Whether a collection is to have a graph.

    Raises:
        UsageError: The index that was asked for is none of this engine's.
    """
    if spec.backend not in ("auto", "exact", "hnsw"):
        raise UsageError(
            f"PostgreSQL has the indexes 'hnsw' and 'exact', and 'auto' chooses; '{spec.backend}' is one of folders."
        )
    possible = built_over(metric, dim) is not None
    if spec.backend == "hnsw" and passages and not possible:
        raise UsageError(f"pgvector makes no graph of vectors of {dim} components compared by {metric}.")
    return (
        passages > 0
        and possible
        and (spec.backend == "hnsw" or (spec.backend == "auto" and passages >= INDEXED_PASSAGES))
    )


def build(session: DatabaseSession, metric: Metric, dim: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Build a graph beside the present one, then drop that; what the setting says of it.

    Readers and writers go on meanwhile. What an interruption leaves is taken away by the next one.
    """
    over = built_over(metric, dim)
    assert over is not None
    unknown = sorted(set(options) - set(_OPTIONS) - {"ef"})
    if unknown:
        raise UsageError(f"PostgreSQL's hnsw has no option {', '.join(unknown)}: there are M, ef_construction and ef.")
    chosen = {own: int(options.get(name, usual)) for name, (own, usual) in _OPTIONS.items()}
    before = graphs(session)
    number = 1 + max((int(name.rpartition("_")[2]) for name in before), default=0)
    parameters = ", ".join(f"{name} = {value}" for name, value in chosen.items())
    statement = (
        f"CREATE INDEX CONCURRENTLY graph_{number} ON passages USING hnsw (({over.decode()}) {_CLASSES[metric]}) "
        f"WITH ({parameters})"
    ).encode()
    with _roomy(session, _bytes_of_node(dim, metric, chosen["m"])):
        try:
            session.execute(statement)
        except (psycopg.errors.InsufficientResources, psycopg.errors.DiskFull):  # no memory for several processes
            session.execute(f"DROP INDEX IF EXISTS graph_{number}".encode())
            session.execute(b"SELECT set_config('max_parallel_maintenance_workers', '0', false)")
            try:
                session.execute(statement)
            except psycopg.Error:
                with suppress(psycopg.Error):  # else `repair` takes it away
                    drop(session, [f"graph_{number}"])
                raise
    drop(session, before)
    session.execute(b"ANALYZE passages")
    return {"ef": int(options.get("ef", EF)), **chosen, "contract": None}


@contextmanager
def _roomy(session: DatabaseSession, node: int) -> Iterator[None]:
    """Let a graph of nodes of so many bytes be built in memory, where nobody said how much may be taken.

    Once it does not fit any more, each further row is put into the index on disk by itself, many times as slow.
    """
    named = (
        "SELECT array_agg(set_config(name, before, false)) FROM unnest(%s::text[], %s::text[]) AS given (name, before)"
    )
    passages, shared, told = session.execute(_MEMORY).fetchone() or (0, 0, True)
    wanted = 0 if told else min(BLOCK_BYTES + passages * node, max(2 * shared, LEAST_BUILD_BYTES)) >> 10
    given = {"lock_timeout": "0"}  # it waits for those who are reading now
    if wanted > one(session, b"SELECT setting::bigint FROM pg_settings WHERE name = 'maintenance_work_mem'"):
        given["maintenance_work_mem"] = f"{wanted}kB"
    usual = [one(session, b"SELECT current_setting(%s)", (name,)) for name in given]
    session.execute(named, (list(given), list(given.values())))
    session.add_notice_handler(_too_large)
    try:
        yield
    finally:
        session.remove_notice_handler(_too_large)
        if not session.closed:
            session.execute(named, (list(given), usual))


def _too_large(said: psycopg.errors.Diagnostic) -> None:
    if "no longer fits" in (said.message_primary or ""):
        log.warning(
            "the graph does not fit into the memory that may be taken for building it, and the rest takes many times "
            "as long: give the role more maintenance_work_mem, or in the URL: ?options=-c%%20maintenance_work_mem=8GB."
        )


def _bytes_of_node(dim: int, metric: Metric, m: int) -> int:
    """What a vector takes in memory, about, with its neighbours: by pgvector's structures, and a fifth more."""
    return int(1.2 * (dim * (2 if metric == Metric.COSINE else 4) + 16 * (2 * m + 2) + 250))


def graphs(session: DatabaseSession) -> list[str]:
    """The names of all graphs that there are, whole or not."""
    rows = session.execute(
        b"SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
        b"WHERE i.indrelid = 'passages'::regclass AND c.relname LIKE 'graph\\_%'"
    )
    return [name for (name,) in rows]


def drop(session: DatabaseSession, names: list[str]) -> None:
    """Take graphs away."""
    for name in names:
        session.execute(f"DROP INDEX IF EXISTS {name}".encode())


def is_half(session: DatabaseSession) -> bool:
    """Whether there is what an interrupted build left, and nobody builds it now."""
    under_way = b"SELECT count(*) FROM pg_stat_progress_create_index WHERE relid = 'passages'::regclass"
    return bool(graphs(session)) and not is_whole(session) and not one(session, under_way)


def is_whole(session: DatabaseSession) -> bool:
    """Whether there is a graph, and no half of one."""
    statement = b"SELECT bool_and(indisvalid) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid "
    statement += b"WHERE i.indrelid = 'passages'::regclass AND c.relname LIKE 'graph\\_%'"
    return bool(one(session, statement))


def certified(
    viewed: Callable[[], AbstractContextManager[tuple[DatabaseSession, PostgresView]]],
    spec: IndexSpec,
    queries: Vectors | Synthesis | None,
    *,
    exact: bool,
) -> Certificate:
    """The recall of the present graph, its knob set on one half of the queries; `exact`: there is none."""
    with viewed() as (session, view):

        def set_ef(value: int) -> None:
            session.execute(b"SELECT set_config('hnsw.ef_search', %s, true)", (str(value),))

        return engine_recall.certified(view, set_ef, "ef", LADDER, spec, queries, exact=exact)


def contract(certificate: Certificate, passages: int) -> dict[str, Any]:
    """What is kept of a certificate, with the size of the collection that it was measured in."""
    return {**asdict(certificate), "passages": passages}


def walk(settings: Mapping[str, Any], *, of: str = "transaction") -> bytes:
    """The statement that has searches, `of` a transaction or a session, walk the graph as the settings say.

    Whatever the planner thinks of: a recall that was measured on a scan would not be that of the graph, which the same
    search takes when the collection has grown.
    """
    graph = settings.get(GRAPH)
    value = graph.get("ef", EF) if isinstance(graph, dict) else EF
    ef, sort = min(max(int(value), 1), MOST_EF), "off" if graph else "on"
    local = "true" if of == "transaction" else "false"
    return (
        f"SELECT set_config('hnsw.ef_search', '{ef}', {local}), set_config('enable_sort', '{sort}', {local})".encode()
    )
