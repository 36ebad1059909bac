"""What can go wrong with a database becomes one sentence, and nothing is half done. No password is ever shown."""

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

import psycopg
from support.command_line import run

import semsearch
from semsearch.errors import (
    CollectionError,
    CollectionLocked,
    EngineUnreachable,
    ReadOnly,
    StorageError,
    UsageError,
)
from semsearch.postgres import connections, graph, home
from semsearch.postgres.allowed_documents import documents_allowed
from semsearch.postgres.database_address import DatabaseAddress
from semsearch.postgres.watched_session import WatchedSession
from semsearch.search.where_mapping import parse
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document, Metric

pytestmark = pytest.mark.postgres
SECRET = "hunter2"
END_ALL = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'semsearch'"
CATS = [Document(f"c{number}", f"cat number {number}") for number in range(5)]


@pytest.fixture
def cats(url):
    with semsearch.create("cats", home=url, encoder=HashEncoder()) as collection:
        collection.add(CATS)
        yield collection


def opened(url):
    return semsearch.open("cats", home=url, encoder=HashEncoder())


# -------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("postgresql://me:hunter2@db:5433/search", "postgresql://me@db:5433/search"),
        ("postgres://me@a,b:6000/search?password=hunter2", "postgresql://me@a,b:6000/search"),
        ("postgresql://db/search?schema=other&user=me", "postgresql://me@db/search?schema=other"),
        ("postgresql://a%40b:hunter2@db/x%2Fy", "postgresql://a%40b@db/x%2Fy"),
    ],
)
def test_an_address_is_shown_without_its_password(url, location):
    assert DatabaseAddress(url).location == location


@pytest.mark.parametrize(
    "url",
    ["postgresql://db/x?password=1&hunter2", "postgresql://a:hunter2@["],
)
def test_an_address_that_can_not_be_read_is_not_repeated(url):
    with pytest.raises(UsageError, match="can't be read") as told:
        DatabaseAddress(url)
    assert SECRET not in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("nonsense=1", "no parameter 'nonsense', which"),
        ("a=1&schema=b&sslmod=x", "'a'"),
        ("sslmod=x", "mean 'sslmode'"),
    ],
)
def test_a_parameter_that_libpq_does_not_know_is_named(query, said):
    with pytest.raises(UsageError, match=said) as told:
        DatabaseAddress(f"postgresql://me:{SECRET}@db/x?{query}")
    assert SECRET not in str(told.value)


@pytest.mark.parametrize("schema", ["pg_x", "pg_catalog", "information_schema"])
def test_a_schema_of_the_server_is_none_for_a_home(schema):
    with pytest.raises(UsageError, match=r"is the server's own.*name another, or leave \?schema= out"):
        DatabaseAddress(f"postgresql://db/x?schema={schema}")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmode=bogus", 'invalid sslmode value: "bogus"'),
        ("target_session_attrs=x", 'invalid target_session_attrs value: "x"'),
        ("port=abc", '"abc" for connection option "port"'),
        ("connect_timeout=abc", "connect_timeout"),
        ("options=-cfoo=bar", 'unrecognized configuration parameter "foo"'),
        ("options=-cwork_mem=much", 'invalid value for parameter "work_mem"'),
    ],
)
def test_a_parameter_with_a_wrong_value_is_no_server_that_can_not_be_reached(url, query, said):
    with pytest.raises(UsageError, match=f"can't be used .*{said}.*behind the '\\?' of the URL"):
        semsearch.list_collections(home=f"{url}&{query}")


def test_a_list_of_collections_is_in_no_schema_of_one(cats, url):
    """With which it, and all that it lists, would be dropped."""
    inner = DatabaseAddress(url).schema + "_1"
    place = url.replace(f"schema={DatabaseAddress(url).schema}", f"schema={inner}")
    assert semsearch.list_collections(home=place) == []
    with pytest.raises(UsageError, match=f"the schema '{inner}' is a collection's own.*name another behind .schema="):
        semsearch.create("within", home=place, encoder=HashEncoder())
    semsearch.drop("cats", home=url)
    semsearch.create("outer", home=place, encoder=HashEncoder()).close()  # it is nobody's now
    assert semsearch.list_collections(home=place) == ["outer"]


def test_a_home_passes_over_a_schema_that_is_there(url, server):
    with server.connect("semsearch") as connection:
        connection.execute(f"CREATE SCHEMA {DatabaseAddress(url).schema}_1")
    semsearch.create("cats", home=url, encoder=HashEncoder()).close()
    assert semsearch.list_collections(home=url) == ["cats"]


@pytest.mark.parametrize("schema", ["A", "x; DROP TABLE y", "", 'a"b', "x" * 41])
def test_a_schema_of_a_home_is_a_plain_name(schema):
    with pytest.raises(UsageError, match="schema"):
        DatabaseAddress(f"postgresql://db/x?schema={schema}")


@pytest.mark.parametrize("outward", [True, False], ids=["to the database", "from it"])
def test_an_interrupt_in_any_statement_ends_the_command(cats, url, tmp_path, monkeypatch, outward):
    """Ctrl-C comes while a statement is waited for: that its connection is of no use then is no lost server."""
    heard, asked, broken = WatchedSession._heard, itertools.count(), []

    def interrupted(session, gen):
        if threading.current_thread() is not threading.main_thread() or next(asked) != at or broken:
            return (yield from heard(session, gen))
        try:
            wanted = next(gen)
        except StopIteration as ended:
            return ended.value
        broken.append(at)
        yield wanted
        raise KeyboardInterrupt

    with semsearch.create("kept", home=tmp_path / "home", encoder=HashEncoder()) as kept:
        kept.add(CATS)
    monkeypatch.setattr(WatchedSession, "_heard", interrupted)
    ends = []
    for at in range(0, 1000, 5 if outward else 1):
        asked = itertools.count()
        broken.clear()
        if outward:
            ended = run("copy", "kept", "--to", url, "--as", f"copy{at}", "--home", tmp_path / "home")
        else:
            ended = run("copy", "cats", "--to", tmp_path / f"copy{at}", "--home", url)
        if not broken and next(asked) <= at:
            break
        if broken:
            ends.append((ended.code, ended.err.splitlines()[-1]))
    assert len(ends) > 10
    assert set(ends) == {(130, "interrupted")}
    assert ended.code == 0, "nobody interrupted the last one"


def test_a_server_that_is_not_there(tmp_path):
    url = f"postgresql://me:{SECRET}@/search?host={tmp_path}"
    with pytest.raises(EngineUnreachable, match="can't be reached") as told:
        semsearch.list_collections(home=url)
    assert SECRET not in str(told.value)


def test_a_database_that_is_not_there(server):
    with pytest.raises(UsageError, match="have the database made first"):
        semsearch.list_collections(home=server.url("nowhere"))


def test_a_role_that_is_not_there(server):
    with pytest.raises(UsageError, match=r'role "stranger" does not exist.*have this one made \(createuser\)'):
        semsearch.list_collections(home=server.url(user="stranger"))


def test_a_role_that_is_not_let_in(server):
    with pytest.raises((EngineUnreachable, UsageError), match=r"does not exist|let you in") as told:
        semsearch.list_collections(home=server.url(user=f"nobody:{SECRET}"))
    assert SECRET not in str(told.value)


def test_a_name_of_a_collection_never_becomes_sql(url):
    names = ["collections", "select", "public", "Drop.Table", "ü_1"]
    for name in names:
        semsearch.create(name, home=url, encoder=HashEncoder()).close()
    assert semsearch.list_collections(home=url) == sorted(names)
    for name in names:
        semsearch.drop(name, home=url)


# -------------------------------------------------------------------- rights, versions


@pytest.fixture
def plain(server):
    """A role without rights, and a database without pgvector."""
    with server.connect() as connection:
        connection.execute("CREATE ROLE plain LOGIN")
        connection.execute("CREATE DATABASE bare")
    yield server
    with server.connect() as connection:
        connection.execute("DROP DATABASE bare WITH (FORCE)")
        connection.execute("DROP ROLE plain")


def test_a_role_that_may_not_make_extensions_is_told_what_its_administrator_runs(plain):
    url = plain.url("bare", user="plain")
    with pytest.raises(UsageError, match="administrator run there, once: CREATE EXTENSION vector;"):
        semsearch.create("notes", home=url, encoder=HashEncoder())
    with plain.connect("bare") as connection:
        connection.execute("CREATE EXTENSION vector")
    with pytest.raises(StorageError, match="GRANT CREATE ON DATABASE"):
        semsearch.create("notes", home=url, encoder=HashEncoder())
    with plain.connect("bare") as connection:
        connection.execute("GRANT CREATE ON DATABASE bare TO plain")
    with semsearch.create("notes", home=url, encoder=HashEncoder()) as notes:
        notes.add(CATS)
        assert len(notes.search("cat")) == 5


def test_a_role_that_may_only_read_reads(plain, url, cats):
    with plain.connect("semsearch") as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ %s", (r"^t\d+",)).fetchall()
        for (schema,) in rows:
            connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO plain")
            connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO plain")
    with semsearch.open("cats", home=url.replace("postgres@", "plain@"), encoder=HashEncoder()) as reader:
        assert len(reader.search("cat", mode="hybrid")) == 5
        with pytest.raises(StorageError, match="no right"):
            reader.remove(["c0"])
    with plain.connect("semsearch") as connection:
        connection.execute("DROP OWNED BY plain")


def test_a_pgvector_that_is_too_old(url, monkeypatch):
    monkeypatch.setattr(home, "LEAST_PGVECTOR", (9, 0, 0))
    with pytest.raises(UsageError, match=r"semsearch needs 9.0.0 or newer.*ALTER EXTENSION vector UPDATE"):
        semsearch.create("notes", home=url, encoder=HashEncoder())
    assert semsearch.list_collections(home=url) == []


@pytest.mark.parametrize("column", ["schema", "analysis", "encoding"])
def test_what_a_newer_semsearch_made_is_neither_read_nor_written(server, url, cats, column):
    schema = cats.engine._schema
    with server.connect("semsearch") as connection:
        connection.execute(f"UPDATE {schema}.state SET {column} = {column} + 1")
    for ask in (lambda: cats.add(CATS), lambda: cats.search("cat"), lambda: opened(url)):
        with pytest.raises(CollectionError, match="newer semsearch"):
            ask()


# -------------------------------------------------------------------- the server, while it is used


def test_a_dropped_connection_is_made_anew(server, cats):
    assert len(cats.search("cat")) == 5
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'semsearch'"
        )
    assert len(cats.search("cat")) == 5
    with server.connect() as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'semsearch'"
        )
    assert cats.add([Document("x", "one more")]).added == 1


def test_a_connection_that_is_dropped_in_a_transaction_leaves_nothing_half(server, url, cats):
    def interrupted():
        with cats.engine._writing() as session:
            session.execute("DELETE FROM documents")
            with server.connect() as connection:
                connection.execute(END_ALL)
            session.execute("SELECT 1")

    with pytest.raises(EngineUnreachable, match="the same command again does it once"):
        interrupted()
    assert len(cats) == 5
    assert cats.check(deep=True) == []


def test_a_statement_that_takes_too_long(url, cats):
    slow = url + "&options=-c%20statement_timeout%3D50"
    with semsearch.open("cats", home=slow, encoder=HashEncoder()) as collection:
        with pytest.raises(StorageError, match="statement_timeout"), collection.engine._session() as session:
            session.execute("SELECT pg_sleep(30)")
        assert len(collection.search("cat")) == 5


def test_a_table_that_somebody_else_has_locked(server, url, cats, monkeypatch):
    monkeypatch.setattr(connections, "LOCK_TIMEOUT", "100ms")
    with opened(url) as other, cats.engine.hold():
        with pytest.raises(CollectionLocked, match="keeps writing"):
            other.add([Document("x", "more")])
        assert len(other.search("cat")) == 5, "readers wait for nobody"
    with opened(url) as other:
        assert other.add([Document("x", "more")]).added == 1


def test_a_server_that_takes_no_writes(url, cats):
    standby = url + "&options=-c%20default_transaction_read_only%3Don"
    with semsearch.open("cats", home=standby, encoder=HashEncoder()) as reader:
        assert len(reader.search("cat", mode="hybrid")) == 5
        with pytest.raises(ReadOnly, match="target_session_attrs=read-write"):
            reader.add([Document("x", "more")])


def test_a_collection_that_is_dropped_while_it_is_open(url, cats):
    cats.search("cat")
    semsearch.drop("cats", home=url)
    for ask in (lambda: cats.search("cat"), lambda: cats.add(CATS)):
        with pytest.raises(CollectionError, match="dropped"):
            ask()


def test_a_forked_child_has_connections_of_its_own(cats):
    assert len(cats.search("cat")) == 5
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if len(cats.search("cat")) == 5 else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(cats.search("cat")) == 5


def test_more_threads_than_connections_take_turns(cats):
    found = []
    threads = [threading.Thread(target=lambda: found.append(len(cats.search("cat")))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5] * 40


# -------------------------------------------------------------------- exactness


def test_exact_stays_exact_however_often_it_is_asked(url):
    """psycopg prepares what it has seen five times: by a plan of the index it would be another answer."""
    generator = np.random.default_rng(3)
    vectors = generator.standard_normal((3000, 24)).astype(np.float32)
    with semsearch.create("many", home=url, encoder=None, dim=24) as collection:
        collection.add([Document(str(number), f"text {number}") for number in range(3000)], vectors=vectors)
        collection.reindex("hnsw", {"ef": 10, "M": 4, "ef_construction": 8})
        assert collection.info()["index"]["params"] == {"m": 4, "ef_construction": 8, "ef": 10}
        kept = dict(zip(*collection.arrays(), strict=True)) if False else collection.arrays()
        unit = kept[1]
        for query in generator.standard_normal((12, 24)).astype(np.float32):
            hits = collection.search(vector=query, k=10, exact=True)
            scores = (unit.astype(np.float64) @ (query / np.linalg.norm(query))).astype(np.float32)
            assert [hit.key for hit in hits] == kept[0][np.argsort(-scores)[:10]].tolist()
            assert {hit.found for hit in hits} == {("exact",)}
            assert {hit.found for hit in collection.search(vector=query, k=10)} == {("index",)}


@pytest.mark.parametrize("metric", list(Metric))
def test_streamed_and_scanned_are_the_same(url, metric):
    generator = np.random.default_rng(4)
    vectors = generator.standard_normal((700, 8)).astype(np.float32)
    vectors[300:340] = vectors[299]
    queries = np.concatenate([vectors[[299]], generator.standard_normal((20, 8)).astype(np.float32)])
    with semsearch.create("many", home=url, encoder=None, dim=8, metric=metric) as collection:
        collection.add(
            [Document(str(number), f"text {number}", metadata={"n": number}) for number in range(700)], vectors=vectors
        )
        for where in (None, {"n": {"$gte": 200}}):
            many = collection.search_many(vectors=queries, k=30, exact=True, where=where)
            assert many == [collection.search(vector=query, k=30, exact=True, where=where) for query in queries]


def test_a_graph_is_built_in_memory_where_nobody_said_how_much_it_may_take(url, server, caplog, monkeypatch):
    """Else what does not fit is put in row by row: 60,000 rows took minutes."""
    generator = np.random.default_rng(2)
    fits = [Document(str(number), f"text {number}") for number in range(1500)]
    with semsearch.create("many", home=url, encoder=None, dim=256) as collection:
        collection.add(fits, vectors=generator.standard_normal((1500, 256)).astype(np.float32))
    for told in (False, True):
        home = url + ("&options=-c%20maintenance_work_mem=1MB" if told else "")
        with semsearch.open("many", home=home) as collection:
            if not told:  # as small as the server's own is to a million rows
                monkeypatch.setattr(graph, "_MEMORY", graph._MEMORY.replace(b"source <> 'default'", b"false"))
                with collection.engine._connections.session() as session:
                    session.execute("SELECT set_config('maintenance_work_mem', '1MB', false)")
            collection.reindex("hnsw", {"M": 4, "ef_construction": 8})
            monkeypatch.undo()
        assert ("does not fit into the memory" in caplog.text) == told


@pytest.mark.parametrize("walked", [False, True])
def test_the_half_of_a_graph_is_told_and_taken_away(cats, walked):
    if walked:
        cats.reindex("hnsw")
    with cats.engine._connections.session() as session:
        with pytest.raises(psycopg.errors.UniqueViolation):
            session.execute("CREATE UNIQUE INDEX CONCURRENTLY graph_7 ON passages ((1))")
        assert "graph_7" in graph.graphs(session)
    (problem,) = cats.check()
    assert (problem.part, problem.fix) == ("index", "semsearch repair cats")
    assert cats.repair() == ["built the index anew" if walked else "took away the half of a graph"]
    assert cats.check(deep=True) == []
    assert cats.info()["index"]["backend"] == ("hnsw" if walked else "exact")


def test_a_graph_that_is_being_built_is_no_half_of_one(server, cats):
    under_way = "SELECT count(*) FROM pg_stat_progress_create_index"
    with cats.engine._connections.session() as session:
        place = session.execute("SELECT current_schema()").fetchone()[0]
    with ThreadPoolExecutor(1) as threads, server.connect("semsearch") as holder:
        holder.execute("BEGIN")
        holder.execute(f'LOCK TABLE "{place}".passages IN ROW EXCLUSIVE MODE')  # as a writer does, whom it waits for
        built = threads.submit(cats.reindex, "hnsw")
        while not built.done() and server.one(under_way, "semsearch") == 0:
            pass
        assert not built.done()
        assert cats.check() == []
        holder.execute("ROLLBACK")
        built.result(60)
    assert cats.check(deep=True) == []
    assert cats.info()["index"]["backend"] == "hnsw"


def test_a_vector_that_a_half_can_not_hold_is_kept(url):
    with semsearch.create("long", home=url, encoder=None, dim=4, metric="dot") as collection:
        collection.add([Document(str(n), f"text {n}") for n in range(50)], vectors=np.eye(50, 4) + 1)
        collection.reindex("hnsw")
        collection.add([Document("far", "far away")], vectors=np.full((1, 4), 1e6))
        assert collection.search(vector=np.ones(4), k=1)[0].id == "far"


def test_what_a_filter_leaves_out_is_not_looked_through_for_each_document(url):
    documents = [Document(str(n), f"text {n}", metadata={"n": n, "odd": bool(n % 2)}) for n in range(2000)]
    with semsearch.create("many", home=url, encoder=HashEncoder()) as collection:
        collection.add(documents)
        where = {"$and": [{"odd": {"$ne": True}}, {"n": {"$nin": list(range(100))}}, {"n": {"$not": {"$lt": 500}}}]}
        assert collection.count(where) == 750
        with collection.engine._viewed() as (session, view):
            allowed = documents_allowed(session, parse(where, view.fields()))
            rows = session.execute(b"EXPLAIN " + allowed.query, allowed.values).fetchall()
    plan = "\n".join(line for (line,) in rows)
    assert "HashSetOp Except" in plan or "SetOp Except" in plan
    assert "SubPlan" not in plan


@pytest.mark.parametrize("odd", ["'; DROP TABLE documents; --", "a%s", "%(x)s", "\\", '"', "x" * 5000])
def test_nothing_of_a_filter_becomes_sql(url, odd):
    with semsearch.create("odd", home=url, encoder=HashEncoder()) as collection:
        collection.add([Document("d", "text", metadata={odd: odd, "n": 1}), Document("e", "text", metadata={"n": 2})])
        assert collection.ids({odd: odd}) == ["d"]
        assert collection.ids({odd: {"$ne": odd}}) == ["e"]
        assert collection.ids({odd: {"$gte": odd}}) == ["d"]
        assert collection.ids({odd: {"$lt": odd}}) == []
        assert collection.get([odd, "a\0b", "\ud800"]) == [None, None, None]
        assert collection.remove([odd]) == 0
        assert len(collection) == 2


def test_a_killed_server_loses_nothing_that_was_acknowledged(tmp_path):
    """And the collection that is open finds the server again when it is back."""
    from support.postgres import postgres

    with postgres({"max_connections": "20"}) as own:  # fsync stays on
        url = own.url()
        with semsearch.create("cats", home=url, encoder=HashEncoder()) as collection:
            collection.add(CATS)
            own.kill()
            own.start()
            assert {*collection.ids()} == {document.id for document in CATS}
            assert collection.check(deep=True) == []
            assert collection.add(CATS).unchanged == 5


def test_words_are_counted_before_the_writers_turn(url, cats, monkeypatch):
    """So that several writers are at work beside each other, and the turn is short."""
    from semsearch.postgres import document_table

    counted = threading.Event()
    counter = document_table.counter

    def noted(languages):
        own = counter(languages)

        def count(entry):
            words = own(entry)
            counted.set()
            return words

        return count

    monkeypatch.setattr(document_table, "counter", noted)
    with opened(url) as other:
        with cats.engine.hold():
            writer = threading.Thread(target=other.add, args=([Document("x", "more of a cat")],))
            writer.start()
            assert counted.wait(60)
            assert len(cats) == 5
        writer.join(60)
    assert len(cats) == 6
    assert cats.search("more", mode="lexical")[0].id == "x"
    assert cats.check(deep=True) == []
