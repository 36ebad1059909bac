"""A network that passes nothing on: a sentence after a bounded time, and nothing half."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from support.stalling import StallingProxy

import semsearch
from semsearch.errors import EngineUnreachable
from semsearch.postgres import connections, document_table, watched_session
from semsearch.postgres.database_address import DatabaseAddress
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document

pytestmark = pytest.mark.postgres
NOTES = [Document(str(number), f"note number {number}") for number in range(5)]
NEW = [Document("new", "a new note"), Document("0", "another text")]


@pytest.fixture
def proxy(server, monkeypatch):
    monkeypatch.setattr(watched_session, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(connections, "RECONNECT_SECONDS", 0.3)
    (socket,) = server.data.glob(".s.PGSQL.*[0-9]")
    made = StallingProxy(socket)
    yield made
    made.close()


@pytest.fixture
def through(proxy, url):
    """The address of the home through the proxy; libpq waits no less than two seconds for a connection."""
    schema = DatabaseAddress(url).schema
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/semsearch?schema={schema}&connect_timeout=2"


ASKED = {
    "search": lambda collection: collection.search("note"),
    "add": lambda collection: collection.add(NEW),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_begins_while_it_stalls_ends_with_a_sentence(proxy, through, asked):
    with semsearch.create("notes", home=through, encoder=HashEncoder()) as notes:
        notes.add(NOTES)
        proxy.stall()
        with pytest.raises(EngineUnreachable, match=r"can't be reached, or went away|nothing was heard") as told:
            ASKED[asked](notes)
        assert "\n" not in str(told.value)
        proxy.cut()
        assert {document.id: document.text for document in notes} == {note.id: note.text for note in NOTES}
        assert notes.add(NEW).added == 1


def test_a_commit_that_stalls_half_way_is_whole_or_not_there(proxy, through, url, monkeypatch):
    """The rows are written, and the locks held, when the network stalls: they are free once the server hears of it."""
    count = document_table.count

    def stalls(*given):
        proxy.stall()
        return count(*given)

    with (
        semsearch.create("notes", home=through, encoder=HashEncoder()) as notes,
        semsearch.open("notes", home=url, encoder=HashEncoder()) as other,
    ):
        notes.add(NOTES)
        monkeypatch.setattr(document_table, "count", stalls)
        with pytest.raises(EngineUnreachable):
            notes.add(NEW)
        monkeypatch.setattr(document_table, "count", count)
        assert {*other.ids()} == {note.id for note in NOTES}
        proxy.cut()
        assert other.add([Document("new", "by another"), Document("0", "by another, too")]).added == 1
        assert other.check(deep=True) == []


def test_a_home_that_stalls(proxy, through):
    proxy.stall()
    with pytest.raises(EngineUnreachable):
        semsearch.list_collections(home=through)


def test_a_statement_that_takes_long_is_waited_for(proxy, through, monkeypatch):
    asked, often = [], threading.Event()
    is_at_work = connections._is_at_work

    def noted(*given):
        asked.append(is_at_work(*given))
        if len(asked) == 3:
            often.set()
        return asked[-1]

    # whatever else the machine does, a server that is there has heard a statement by then
    monkeypatch.setattr(watched_session, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(connections, "RECONNECT_SECONDS", 30.0)
    monkeypatch.setattr(connections, "_is_at_work", noted)
    home = through.replace("connect_timeout=2", "connect_timeout=30")
    with semsearch.create("notes", home=home, encoder=HashEncoder()) as notes:
        with ThreadPoolExecutor(1) as pool:
            with notes.engine.hold():  # for a lock, which is no silence
                waiting = pool.submit(notes.add, NOTES)
                assert often.wait(60)
            assert waiting.result(60).added == 5
        assert all(asked)
        assert len(notes) == 5
