"""Several writers at once: at work beside each other, and what is there in the end is what some order of them gives."""

import random
import threading
from contextlib import ExitStack

import numpy as np
import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

import semsearch
from semsearch.errors import DimensionMismatch
from semsearch.postgres import document_table
from semsearch.records import Entry, Record
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document, Span

pytestmark = pytest.mark.postgres
PATIENCE = 60
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'semsearch'"


def opened(url):
    return semsearch.open("notes", home=url, encoder=HashEncoder())


@pytest.fixture
def notes(url):
    with semsearch.create("notes", home=url, encoder=HashEncoder()) as collection:
        collection.add([Document("old", "the oldest note of all", metadata={"kind": "first"})])
        yield collection


class Paused:
    """A thread that writes, and stops when all its rows are written, before they are counted."""

    def __init__(self, monkeypatch, work):
        self._work, self.there, self.goes_on, self.raised = work, threading.Event(), threading.Event(), []
        self._thread = threading.Thread(target=self._run)
        count = document_table.count

        def paused(*given):
            if threading.current_thread() is self._thread and not self.there.is_set():
                self.there.set()
                assert self.goes_on.wait(PATIENCE)
            return count(*given)

        monkeypatch.setattr(document_table, "count", paused)

    def _run(self):
        try:
            self._work()
        except BaseException as error:
            self.raised.append(error)

    def __enter__(self):
        self._thread.start()
        assert self.there.wait(PATIENCE)
        return self

    def __exit__(self, *raised):
        self.goes_on.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def sound(collection):
    assert collection.check(deep=True) == []
    return {document.id: document.text for document in collection}


def test_a_writer_commits_while_another_has_written_all_its_rows(url, notes, monkeypatch):
    """With words that both of them have, and a field that both of them bring along."""
    with opened(url) as other:
        first = Document("a", "a note of words that were never there: zebra", metadata={"colour": "red"})
        with Paused(monkeypatch, lambda: other.add([first])) as paused:
            notes.add([Document("b", "another note of words that were never there: yak")])
            notes.update_metadata(["old"], {"kind": "second"})
            assert notes.remove(["nobody"]) == 0
            assert {*notes.ids()} == {"old", "b"}
            assert [hit.id for hit in notes.search("never there", mode="lexical")] == ["b"]
        assert paused.raised == []
    assert {*sound(notes)} == {"old", "a", "b"}
    assert {hit.id for hit in notes.search("never there", mode="lexical")} == {"a", "b"}
    assert notes.ids({"colour": "red"}) == ["a"]


@pytest.mark.parametrize("theirs", ["the same text", "another text"])
def test_the_later_of_two_that_write_one_new_document_begins_again(server, url, notes, monkeypatch, theirs):
    written = []
    with opened(url) as other, ExitStack() as stack:
        first = Paused(monkeypatch, lambda: other.add([Document("a", "the same text")]))
        with first:
            later = threading.Thread(target=lambda: written.append(notes.add([Document("a", theirs)])))
            stack.callback(later.join, PATIENCE)
            later.start()
            while not server.one(WAITING):  # for what the first one has written
                assert later.is_alive()
        later.join(PATIENCE)
        assert first.raised == []
    (result,) = written
    assert (result.added, result.changed, result.unchanged) == ((0, 0, 1) if theirs == "the same text" else (0, 1, 0))
    assert sound(notes)["a"] == theirs


def test_what_all_documents_depend_on_waits_for_writers(server, url, notes, monkeypatch):
    with opened(url) as other:
        first = Paused(monkeypatch, lambda: other.add([Document("a", "les chevaux courent")]))
        with first:
            later = threading.Thread(target=lambda: notes.change_language("fr"))
            later.start()
            while not server.one(WAITING):
                assert later.is_alive()
        later.join(PATIENCE)
        assert first.raised == []
    assert sound(notes).keys() == {"old", "a"}
    assert [hit.id for hit in notes.search("cheval", mode="lexical")] == ["a"]


def test_two_first_writers_of_other_dimensions(url, monkeypatch):
    def entry(identity, dim):
        return Entry(Record.of(Document(identity, "text")), [Span(0, 4)], np.ones((1, dim), np.float32))

    with semsearch.create("given", home=url, encoder=None, dim=3) as one, semsearch.open("given", home=url) as other:
        with one.engine._writing() as session:
            session.execute("UPDATE state SET dim = NULL")
        with Paused(monkeypatch, lambda: other.engine.put([entry("a", 3)])) as first:
            one.engine.put([entry("b", 4)])
        (raised,) = first.raised
        assert isinstance(raised, DimensionMismatch)
        assert one.ids() == ["b"]


@pytest.mark.slow
def test_whatever_four_of_them_do_to_the_same_documents(url, notes):
    """In any order, so that they collide and lock each other out; each document is as one of them left it."""
    raised, left = [], [{} for _ in range(4)]

    def write(number):
        generator = random.Random(number)
        try:
            with opened(url) as own:
                for turn in range(12):
                    ids = generator.sample(range(12), 5)
                    if generator.random() < 0.3:
                        own.remove([str(one) for one in ids])
                        left[number].update(dict.fromkeys(map(str, ids)))
                        continue
                    texts = {str(one): f"text {one} by {number} in turn {turn} of all" for one in ids}
                    own.add([Document(one, text, metadata={"by": number}) for one, text in texts.items()])
                    own.update_metadata([str(ids[0])], {"turn": turn})
                    left[number].update(texts)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raised == []
    found = sound(notes)
    for one in map(str, range(12)):
        assert found.get(one) in [own[one] for own in left if one in own]
