"""What a database's errors are told as, and that many readers at once take turns."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import (
    CollectionClosed,
    CollectionDamaged,
    CollectionError,
    CollectionLocked,
    DataError,
    ReadOnly,
    StorageError,
)
from semsearch.local.store import database
from semsearch.local.store.database import Database, driver
from semsearch.local.store.database_errors import Undecodable, decoding
from semsearch.types import Document

DOCUMENTS = [Document(str(number), f"film {number} word{number % 3}") for number in range(60)]


@pytest.fixture
def collection(tmp_path):
    with semsearch.create("films", encoder=HashEncoder(8), home=tmp_path) as made:
        made.add(DOCUMENTS)
        yield made


@pytest.fixture
def opened(tmp_path):
    """A database with a table of one row."""
    (tmp_path / "films").mkdir()
    made = Database(tmp_path / "films" / "collection.sqlite", mode="rwc")
    with made.write() as connection:
        connection.exec_driver_sql("CREATE TABLE numbers (n INTEGER) STRICT")
        connection.exec_driver_sql("INSERT INTO numbers VALUES (1)")
    yield made
    made.close()


def error_of(code):
    error = sqlite3.OperationalError("it said so")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (error_of(sqlite3.SQLITE_BUSY), CollectionLocked, "'films' is being written by another process"),
        (error_of(sqlite3.SQLITE_BUSY_SNAPSHOT), CollectionLocked, "another process"),
        (error_of(sqlite3.SQLITE_LOCKED), CollectionLocked, "another process"),
        (error_of(sqlite3.SQLITE_CORRUPT), CollectionDamaged, "damaged (it said so). Restore it from a backup"),
        (error_of(sqlite3.SQLITE_CORRUPT_INDEX), CollectionDamaged, "damaged (it said so)"),
        (error_of(sqlite3.SQLITE_NOTADB), CollectionDamaged, "damaged (it said so)"),
        (error_of(sqlite3.SQLITE_FULL), StorageError, "is full. Free some space"),
        (
            error_of(sqlite3.SQLITE_IOERR_SHMSIZE),
            StorageError,
            "is full. Free some space",
        ),  # not a byte is left to read
        (error_of(sqlite3.SQLITE_READONLY), ReadOnly, "can't be written: check permissions"),
        (error_of(sqlite3.SQLITE_CANTOPEN), CollectionError, "can't be opened (it said so)"),
        (error_of(sqlite3.SQLITE_IOERR_READ), StorageError, "failed (it said so): check the disk"),
        (error_of(sqlite3.SQLITE_INTERRUPT), CollectionClosed, "'films' was closed meanwhile: open it again"),
        (error_of(sqlite3.SQLITE_ERROR), CollectionDamaged, "could not be used: it said so"),
        (Undecodable("a list"), CollectionDamaged, "could not be used: a list. Look it over with 'semsearch check"),
        (PoolTimeout(), CollectionLocked, "too many threads use collection 'films' at once"),
    ],
)
@pytest.mark.parametrize("within", ["read", "write", "plain"])
def test_an_error_of_the_database_is_told_with_what_to_do(opened, error, kind, says, within):
    with pytest.raises(semsearch.errors.SemsearchError) as caught, getattr(opened, within)():
        raise error
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert caught.value.__cause__ is error


def test_errors_that_sqlalchemy_wraps_are_told_too(opened):
    with pytest.raises(CollectionDamaged, match="no such table: letters"), opened.read() as connection:
        connection.exec_driver_sql("SELECT * FROM letters")


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError, OSError])
def test_values_that_no_sound_database_holds_are_damage_only_while_they_are_decoded(opened, error):
    with pytest.raises(error) as caught, opened.read():
        raise error("of somebody else")
    assert caught.value.__cause__ is None
    if error is not OSError:
        told, said = (CollectionDamaged, f"{error.__name__}: .*of a row")
        if error is MemoryError:
            told, said = (StorageError, "not enough memory to read collection .*of a row.*semsearch check")
        with pytest.raises(told, match=said), opened.read(), decoding():
            raise error("of a row")


@pytest.mark.parametrize("harm", ["DELETE FROM state", "INSERT INTO state SELECT * FROM state"])
def test_a_state_that_is_lost_or_doubled_is_damage_whatever_is_asked(collection, harm):
    with collection.engine.store.database.write() as connection:
        connection.exec_driver_sql(harm)
    for ask in (
        lambda: collection.search("word1"),
        lambda: collection.add([Document("new", "a new film")]),
        lambda: collection.remove(["1"]),
        lambda: collection.update_metadata(["1"], {"year": 2000}),
        lambda: collection.info(),
    ):
        with pytest.raises(CollectionDamaged, match="backup"):
            ask()


def test_sentences_of_ours_pass_through(opened):
    with pytest.raises(DataError, match=r"^mine$"), opened.read(), decoding():
        raise DataError("mine")


class Failing(HashEncoder):
    error = None

    def encode_queries(self, texts):
        if self.error is not None:
            raise self.error
        return super().encode_queries(texts)

    def score(self, query, texts):
        raise self.error


@pytest.mark.parametrize("error", [kind("theirs") for kind in (ValueError, KeyError, TypeError, MemoryError)])
@pytest.mark.parametrize("who", ["encoder", "reranker"])
def test_what_an_encoder_or_reranker_raises_is_theirs(tmp_path, monkeypatch, error, who):
    said = []
    prepare = Database._prepare

    def traced(self, connection):
        prepare(self, connection)
        connection.set_trace_callback(said.append)

    monkeypatch.setattr(Database, "_prepare", traced)
    failing = Failing(8)
    with semsearch.create("films", encoder=failing, home=tmp_path) as collection:
        collection.add(DOCUMENTS)
        failing.error = error
        how = {} if who == "encoder" else {"mode": "lexical", "rerank": failing}
        with pytest.raises(type(error)) as caught:
            collection.search("word1", **how)
        assert caught.value is error
    assert any("SELECT" in statement for statement in said)
    assert not any("integrity_check" in statement or "foreign_key_check" in statement for statement in said)


# Turns


@pytest.mark.slow
def test_a_hundred_threads_searching_at_once_are_all_answered(collection):
    """All of them hold a connection before any goes on, as far as there are turns."""
    together = threading.Barrier(database.CONNECTED_THREADS)
    came = iter(range(1000))

    def search(number):
        with collection.engine.store.read():
            if next(came) < database.CONNECTED_THREADS:
                together.wait(60)
            text = DOCUMENTS[number % 60].text
            return [hit.document.id for hit in collection.search(text, 1)]  # one more connection

    with ThreadPoolExecutor(100) as pool:
        found = list(pool.map(search, range(100)))
    assert found == [[str(number % 60)] for number in range(100)]


def test_who_waits_too_long_is_told(collection, monkeypatch):
    monkeypatch.setattr(database, "TURN_SECONDS", 0.01)
    release, ready = threading.Event(), threading.Barrier(database.CONNECTED_THREADS + 1)

    def hold():
        with collection.engine.store.read():
            ready.wait(60)
            release.wait(60)

    with ThreadPoolExecutor(database.CONNECTED_THREADS) as pool:
        holding = [pool.submit(hold) for _ in range(database.CONNECTED_THREADS)]
        ready.wait(60)
        with pytest.raises(CollectionLocked, match="too many threads use collection 'films' at once"):
            collection.search("word1")
        release.set()
        assert [one.result() for one in holding] == [None] * database.CONNECTED_THREADS
    assert len(collection.search("word1", 3)) == 3


def test_iterators_that_were_left_open_end_in_a_sentence(collection):
    collection.engine.store.database.engine.pool._timeout = 3600  # who holds all of them need not wait
    left = []
    for _ in range(database.CONNECTIONS):
        left.append(collection.documents())
        next(left[-1])
    with pytest.raises(CollectionLocked, match=r"iterators over it were left open: read them to their end"):
        next(collection.documents())
    left.pop().close()
    assert len(collection.search("word1", 3)) == 3


def test_an_iterator_that_another_thread_ends_gives_its_turn_back(collection):
    held = collection.engine.store.database.turns._held
    iterator = collection.documents()
    next(iterator)
    assert sum(held.values()) == 1
    thread = threading.Thread(target=iterator.close)
    thread.start()
    thread.join()
    assert held == {}


def test_a_connection_that_was_given_back_is_taken_again_as_new(opened):
    with opened.read() as first:
        first.execute(text("SELECT n FROM numbers")).all()  # begins what SQLAlchemy takes for a transaction
    with opened.write() as second:
        assert second is first
        second.execute(text("UPDATE numbers SET n = 2"))
    with opened.read() as third:
        assert third is first
        assert third.execute(text("SELECT n FROM numbers")).scalar_one() == 2


def test_of_the_connections_that_nobody_holds_few_are_kept(opened):
    sessions = [opened.read() for _ in range(database.READY_CONNECTIONS + 3)]
    held = [session.__enter__() for session in sessions]
    directs = [driver(connection) for connection in held]
    for session in sessions:
        session.__exit__(None, None, None)
    assert len(opened.ready) == database.READY_CONNECTIONS
    opened.close()
    assert not opened.ready
    for direct in directs:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            direct.execute("SELECT 1")


# Closing


def test_a_closed_database_answers_nothing_and_leaves_no_connection(opened):
    with opened.read() as one:
        direct = driver(one)
        opened.close()
        for within in ("read", "write", "plain"):
            with pytest.raises(CollectionClosed, match="collection 'films' is closed"), getattr(opened, within)():
                pass
        assert direct.execute("SELECT n FROM numbers").fetchall() == [(1,)]  # what is under way may end
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        direct.execute("SELECT 1")


def test_a_mistake_of_ours_at_the_end_of_a_transaction_is_not_swallowed(collection):
    mistake = sqlite3.ProgrammingError("a mistake")
    with (
        mock.patch.object(database._Session, "_end", side_effect=mistake),
        pytest.raises(sqlite3.ProgrammingError, match="a mistake"),
        collection.engine.store.database.read(),
    ):
        pass
