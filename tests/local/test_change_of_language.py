"""Other languages for the words of a collection: one commit, whoever reads, builds or is killed meanwhile."""

import sqlite3
from contextlib import closing
from unittest import mock

import numpy as np
import pytest

import semsearch
from semsearch.local.index import renewal
from semsearch.local.lexical import build, searcher
from semsearch.local.lexical.searcher import postings_of
from semsearch.local.store import terms
from semsearch.search.languages import LANGUAGES
from semsearch.search.query_syntax import parse
from semsearch.types import Document

TEXTS = {"many": "die Häuser der Stadt", "one": "ein Haus am Wald", "none": "running in the woods"}


def add(collection, texts):
    vectors = np.full((len(texts), 2), 0.7, dtype=np.float32)
    collection.add([Document(identity, text) for identity, text in texts.items()], vectors=vectors)


def found(collection, query):
    return sorted(hit.id for hit in collection.search(query, 9, mode="lexical"))


@pytest.fixture
def collection(memory):
    with semsearch.create("texts", encoder=None, dim=2, home=memory, language="en") as made:
        add(made, TEXTS)
        yield made


@pytest.mark.parametrize("way", ["postings", "fresh", "full text"])
def test_every_way_of_finding_goes_by_them(collection, way):
    with (
        mock.patch.object(renewal, "TAIL_ROWS", 0 if way == "postings" else 1000),
        mock.patch.object(searcher, "SPLIT_ROWS", 0 if way == "full text" else 1000),
    ):
        collection.maintain()
        assert found(collection, "Häusern") == []
        assert found(collection, "run") == ["none"]
        collection.change_language("de")
        assert found(collection, "Häusern") == ["many", "one"]
        assert found(collection, '+"ein Haus"') == ["one"]
        assert found(collection, "ein Stadt -Häusern") == []
        assert found(collection, "run") == []
        ways = {way for hit in collection.search("Haus", 9, mode="lexical") for way in hit.found}
        assert ways == {"fulltext" if way == "full text" else "lexical"}
        collection.remove(["many"])
        assert found(collection, "Haus") == ["one"]
        assert collection.check(deep=True) == []


def test_a_reader_keeps_the_words_of_its_commit(collection):
    words = searcher.Lexical(collection.engine.store)
    with collection.engine.store.read() as view:
        with semsearch.open("texts", home=collection.path.parent) as writer:
            writer.change_language("de")
        assert len(words.search(view, parse("run"), 9)[0]) == 1
        assert len(words.search(view, parse("Häusern"), 9)[0]) == 0
    with collection.engine.store.read() as view:
        assert len(words.search(view, parse("run"), 9)[0]) == 0
        assert len(words.search(view, parse("Häusern"), 9)[0]) == 2


def test_an_index_of_words_that_was_built_meanwhile_is_not_published(collection):
    changed = []

    def late(view, first):
        made = postings_of(view, first)
        if not changed:
            changed.append(True)
            collection.engine.set_languages(("de",))
        return made

    with mock.patch.object(build, "postings_of", late):
        collection.engine._lexical_indexing.rebuild()
    with collection.engine.store.read() as view:
        assert view.snapshot.lexical is not None
    assert found(collection, "Häusern") == ["many", "one"]
    assert {way for hit in collection.search("Haus", 9, mode="lexical") for way in hit.found} == {"lexical"}


def test_a_change_that_breaks_off_changes_nothing(collection, monkeypatch):
    def killed(connection):
        terms.empty(connection)
        raise KeyboardInterrupt

    with monkeypatch.context() as held:
        held.setattr(terms, "rebuild", killed)
        with pytest.raises(KeyboardInterrupt):
            collection.change_language("de")
    assert collection.languages == ("en",)
    assert found(collection, "run") == ["none"]
    assert collection.check(deep=True) == []


def test_the_same_stems_cost_nothing(collection, monkeypatch):
    monkeypatch.setattr(terms, "rebuild", lambda connection: pytest.fail("the words were found anew"))
    assert collection.change_language(["en", "ru"]) == ("en", "ru")
    assert collection.languages == ("en", "ru")


@pytest.mark.parametrize("analysis", [3, 2])
def test_a_collection_of_before_stays_as_it_is(collection, memory, analysis):
    """It knew of no languages, and its words are stemmed as their scripts tell; with these nothing is built anew."""
    with collection.engine.store.read() as view:
        before = view.connection.exec_driver_sql("SELECT rowid FROM fulltext('run')").all()
    collection.close()
    with closing(sqlite3.connect(memory / "texts" / "collection.sqlite")) as direct, direct:
        direct.execute("DELETE FROM settings WHERE name = ?", (LANGUAGES,))
        direct.execute("UPDATE state SET analysis = ?", (analysis,))
    rebuilt = []
    with mock.patch.object(terms, "rebuild", side_effect=rebuilt.append, wraps=terms.rebuild):
        opened = semsearch.open("texts", home=memory)
    with opened:
        assert bool(rebuilt) == (analysis == 2)
        assert opened.info()["languages"] == []
        add(opened, {str(number): "Die alten Häuser stehen am Rande des großen Waldes." for number in range(20)})
        assert opened.languages == ()
        if analysis == 3:
            with opened.engine.store.read() as view:
                assert view.connection.exec_driver_sql("SELECT rowid FROM fulltext('run')").all() == before
