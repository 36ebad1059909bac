"""Long texts in pieces: a passage costs the pieces that hold it, and the text is the same to the letter."""

import copy
import dataclasses
import logging
import pickle
import sqlite3
import tarfile
import threading
import zlib
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionClosed, CollectionDamaged, DocumentChanged
from semsearch.local.store import schema
from semsearch.local.store.database import driver
from semsearch.local.store.schema import PIECE
from semsearch.records import Entry, Record
from semsearch.types import Document, Span

DIM = 8
SHORT = Document("short", "a short text", metadata={"n": 1})


def vector(number):
    """A direction of its own for each passage."""
    return np.random.default_rng(number).standard_normal(DIM).astype(np.float32)


def put(collection, document, spans):
    """Store a document with passages of the test's choice; `vector(n)` finds the n-th."""
    vectors = np.stack([vector(number) for number in range(len(spans))])
    collection.engine.put([Entry(Record.of(document), [Span(*span) for span in spans], vectors)], again=True)


def search(collection, number, k=1, **options):
    return collection.search(vector=vector(number), k=k, group_by=None, **options)


@pytest.fixture
def collection(tmp_path):
    with semsearch.create("books", encoder=None, dim=DIM, metric="l2", home=tmp_path) as opened:
        yield opened


@pytest.fixture
def found(collection):
    """Characters and bytes of every row that comes out of the collection's database."""
    sizes = []

    def count(_cursor, row):
        sizes.append(sum(len(value) for value in row if isinstance(value, str | bytes)))
        return row

    with collection.engine.store.database.plain() as connection:  # the only one, while there is one thread
        driver(connection).row_factory = count
    return sizes


def direct(collection):
    return closing(sqlite3.connect(Path(collection.location) / "collection.sqlite", isolation_level=None))


def pieces_of(collection):
    """How many pieces each document has."""
    with direct(collection) as connection:
        rows = connection.execute("SELECT id, count(*) FROM pieces JOIN documents USING (doc) GROUP BY doc")
        return dict(rows.fetchall())


# Cost


@pytest.mark.slow
def test_a_search_beside_32_mb_reads_the_pieces_of_its_passages(collection, found):
    text = "".join(f"page {number:7d} " + "of an endless book " * 54 for number in range(32 * 1024))
    assert len(text) > 32 << 20
    spans = [(start, start + 400) for start in range(0, len(text) - 400, 4 * PIECE)]
    put(collection, Document("endless", text), spans)
    search(collection, 0)  # the snapshot is taken once
    for k, number in ((1, 3), (5, 100)):
        found.clear()
        hits = search(collection, number, k)
        assert [hits[0].text, hits[0].passage.size] == [text[slice(*spans[number])], len(text)]
        assert k * PIECE < sum(found) < (k + 1) * PIECE
    found.clear()
    assert hits[0].document.text == text
    assert sum(found) > len(text)
    found.clear()
    assert len(collection.search("page endless", k=3, mode="lexical", group_by=None)) == 3
    found.clear()
    collection.search("page endless", k=3, mode="lexical", group_by=None)
    assert sum(found) < 4 * PIECE


def test_documents_that_are_not_long_cost_the_statements_that_they_did(collection):
    collection.add([SHORT, Document("other", "x" * PIECE)], vectors=np.stack([vector(0), vector(1)]))
    search(collection, 0)
    said = []
    with collection.engine.store.database.plain() as connection:
        driver(connection).set_trace_callback(said.append)
    assert len(search(collection, 0, 2)) == 2
    assert len([statement for statement in said if "documents" in statement]) == 1
    assert not any("pieces" in statement for statement in said)
    said.clear()
    collection.add([Document("third", "another")], vectors=vector(2)[None])
    assert not any("pieces" in statement for statement in said)


# To the letter

ALPHABETS = {
    "ascii": "abcdefg ",
    "astral": "🦊🌍x ",
    "combining": "e\u0301o\u0308 ",
    "lines": "\r\n1 ",
    "hebrew": "שלום ",
}


@pytest.mark.slow
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1, 3 * PIECE + 7])
@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_texts_and_passages_are_as_they_were(collection, tmp_path, alphabet, size):
    letters = ALPHABETS[alphabet]
    documents = []
    for shift in range(2):  # what belongs together lies on both sides of a border once
        text = "w" * (shift + 1) + (letters * (size // len(letters) + 1))[: size - shift - 2] + "z"
        assert len(text) == size
        documents.append(Document(f"book {shift}", text, title="Pages", metadata={"shift": shift}))
    ends = sorted({*range(0, size, PIECE), *range(PIECE - 3, size, PIECE), *range(PIECE + 2, size, PIECE), size})
    spans = [(start, end) for place, start in enumerate(ends) for end in ends[place + 1 :] if end <= size]
    for document in documents:
        put(collection, document, spans)
        with collection.engine.view() as view:
            keys = np.array(view.keys_of([document.id])[document.id])
            passages = view.passages_of(keys)
        assert [passage.text for passage in passages] == [document.text[start:end] for start, end in spans]
        assert {passage.size for passage in passages} == {size}
        assert all(passage.document == document for passage in passages[::7])
        with direct(collection) as connection:
            texts = connection.execute("SELECT text FROM passage_texts WHERE key >= ? ORDER BY key", (int(keys[0]),))
            assert [text for (text,) in texts] == [document.text[start:end] for start, end in spans]
    assert pieces_of(collection) == ({d.id: -(-size // PIECE) for d in documents} if size > PIECE else {})
    assert list(collection.documents()) == documents
    assert collection.get([document.id for document in documents]) == documents
    assert collection.check(deep=True) == []
    with collection.engine.view() as view:
        stored = [passage.text for passages, _ in view.stored() for passage in passages]
    assert stored == [document.text[start:end] for document in documents for start, end in spans]


def test_a_hit_is_equal_to_the_hit_of_the_same_search(collection):
    put(collection, Document("book", "x " * PIECE, metadata={"n": 1}), [(0, 5), (PIECE - 5, PIECE + 5)])
    assert search(collection, 1, 2, context=1) == search(collection, 1, 2, context=1)
    assert len(repr(search(collection, 1))) < 1000


# Changes


def test_from_short_to_long_and_back(collection):
    texts = ["short", "a" * (PIECE + 1), "b" * 3 * PIECE, "c" * PIECE, "d" * (2 * PIECE), "short"]
    for text, count in zip(texts, [0, 2, 3, 0, 2, 0], strict=True):
        document = Document("book", text, metadata={"size": len(text)})
        put(collection, document, [(0, 3), (len(text) - 3, len(text))])
        assert pieces_of(collection) == ({"book": count} if count else {})
        (hit,) = search(collection, 1)
        assert (hit.text, hit.document) == (text[-3:], document)
        assert collection.update_metadata(["book"], {"seen": True}) == 1
        assert search(collection, 0)[0].document == replace(document, metadata={"size": len(text), "seen": True})
        assert collection.ids({"seen": True}) == ["book"]
        assert collection.check(deep=True) == []
    put(collection, Document("book", "e" * (PIECE + 1)), [(0, 3)])
    collection.remove(["book"])
    assert pieces_of(collection) == {}
    assert collection.check(deep=True) == []


def test_what_was_removed_is_erased_from_every_file(collection, tmp_path):
    put(collection, Document("secret", "nothing " * PIECE + "xyzzyplugh"), [(0, 7)])
    put(collection, SHORT, [(0, 7)])
    collection.remove(["secret"])
    assert collection.compact().erased
    assert not any(b"xyzzyplugh" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())


def test_a_backup_holds_them(collection, tmp_path):
    document = Document("book", "🦊 " * PIECE)
    put(collection, document, [(0, 7), (PIECE - 2, PIECE + 2)])
    collection.backup(tmp_path / "backup")
    semsearch.restore(tmp_path / "backup", "again", home=tmp_path)
    with semsearch.open("again", home=tmp_path) as restored:
        assert restored.get(["book"]) == [document]
        assert search(restored, 1)[0].text == document.text[PIECE - 2 : PIECE + 2]
        assert restored.check(deep=True) == []


# A document that is read later

BOOK = Document("book", "first words " * PIECE, title="Book", metadata={"n": 1})


def rewritten(collection):
    put(collection, replace(BOOK, text="second words " * PIECE), [(0, 3)])


def shortened(collection):
    put(collection, replace(BOOK, text="a word"), [(0, 3)])


def retitled(collection):
    put(collection, replace(BOOK, title="Another"), [(0, 3)])


def removed(collection):
    collection.remove(["book"])


@pytest.mark.parametrize("change", [rewritten, shortened, retitled, removed])
def test_a_document_that_is_another_by_now_is_an_error_and_no_other_text(collection, change):
    put(collection, BOOK, [(0, 3), (PIECE, PIECE + 5)])
    (hit,) = search(collection, 1)
    change(collection)
    with pytest.raises(DocumentChanged, match="'book' in collection 'books' was changed or removed since the search"):
        _ = hit.document
    assert hit.text == BOOK.text[PIECE : PIECE + 5]


def relabelled(collection):
    collection.update_metadata(["book"], {"n": 2})


def put_back(collection):
    collection.remove(["book"])
    put(collection, BOOK, [(0, 3)])


@pytest.mark.parametrize("change", [relabelled, put_back, lambda collection: collection.compact()])
def test_a_document_of_the_same_text_is_read_as_it_was_found(collection, change):
    put(collection, BOOK, [(0, 3), (PIECE, PIECE + 5)])
    (hit,) = search(collection, 1, context=1)
    change(collection)
    assert hit.document == hit.context.document == BOOK
    assert hit.metadata == {"n": 1}


def test_a_document_of_a_closed_collection(collection, tmp_path):
    put(collection, BOOK, [(0, 3)])
    put(collection, SHORT, [(0, 7)])
    hits = search(collection, 0, 2)
    collection.close()
    with pytest.raises(CollectionClosed, match="books"):
        _ = next(hit for hit in hits if hit.id == "book").document
    assert next(hit for hit in hits if hit.id == "short").document == SHORT


def test_threads_read_while_another_rewrites(collection):
    texts = [f"{word} " * PIECE for word in ("alpha", "omega")]
    put(collection, replace(BOOK, text=texts[0]), [(PIECE, PIECE + 6)])
    errors, outcomes, done = [], [], threading.Event()

    def read():
        try:
            while not done.is_set() or len(outcomes) < 4:
                (hit,) = search(collection, 0)
                try:
                    assert hit.document.text in texts
                    assert hit.document.text[hit.start : hit.end] == hit.text
                    outcomes.append("read")
                except DocumentChanged:
                    outcomes.append("changed")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(10):
        put(collection, replace(BOOK, text=texts[(number + 1) % 2]), [(PIECE, PIECE + 6)])
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert "read" in outcomes


# Damage

WAYS = {
    "another letter": "UPDATE pieces SET text = 'X' || substr(text, 2) WHERE number = 1 AND doc = {doc}",
    "no UTF-8": "UPDATE pieces SET text = CAST(x'ff' || substr(text, 2) AS TEXT) WHERE number = 1 AND doc = {doc}",
    "shorter": "UPDATE pieces SET text = substr(text, 2) WHERE number = 1 AND doc = {doc}",
    "lost": "DELETE FROM pieces WHERE number = 1 AND doc = {doc}",
    "another checksum": "UPDATE pieces SET crc = crc + 4 WHERE number = 1 AND doc = {doc}",
    "another's": "UPDATE OR REPLACE pieces SET doc = {doc} WHERE number = 1 AND doc != {doc}",
    "another place": "UPDATE OR REPLACE pieces SET number = 1 WHERE number = 2 AND doc = {doc}",
}


@pytest.mark.parametrize("way", WAYS)
def test_damage_in_a_piece_costs_the_hits_in_it(collection, tmp_path, caplog, way):
    alike = replace(BOOK, text="first words " * (PIECE // 3))
    spans = [(0, 5), (9, 14), (PIECE - 5, PIECE), (PIECE - 4, PIECE + 1), (PIECE + 4, PIECE + 9)]
    put(collection, alike, spans)
    put(collection, replace(alike, id="like it"), [(9, 14)])
    put(collection, SHORT, [(0, 5)])
    before = search(collection, 4)[0]
    with direct(collection) as connection:
        (doc,) = connection.execute("SELECT doc FROM documents WHERE id = 'book'").fetchone()
        connection.execute(WAYS[way].format(doc=doc))
    with semsearch.open("books", home=tmp_path) as opened:
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                hits = [hit for hit in search(opened, 4, 10, context=1) if hit.id == "book"]
        assert {(hit.start, hit.end) for hit in hits} == set(spans[:3])
        assert all(hit.text == alike.text[hit.start : hit.end] for hit in hits)
        assert {(hit.context.start, hit.context.end) for hit in hits} == {(0, 14), (0, PIECE), (PIECE - 5, PIECE)}
        told = [record.message for record in caplog.records if "left out" in record.message]
        assert [message.count("document 'book' is damaged in the database") for message in told] == [1]
        for read in (
            lambda: opened.get(["book"]),
            lambda: list(opened.documents()),
            lambda: hits[0].document,
            lambda: opened.export(Path(opened.location) / "out"),
        ):
            with pytest.raises(CollectionDamaged, match="'book'"):
                read()
        assert opened.get(["short"]) == [SHORT]
        problems = [problem.what for problem in opened.check(deep=True)]
        assert any("damaged" in problem and "'book'" in problem for problem in problems)
        opened.repair()
        put(opened, alike, spans)
        assert opened.get(["book"]) == [alike]
        assert search(opened, 4)[0].text == before.text
        if way != "another's":  # the other one lost it
            assert opened.check(deep=True) == []


@pytest.mark.parametrize(
    "harm",
    [
        "text = 'x'",
        "size = size - 1",
        "size = 0",
        "crc = crc & 4294967295",
        "metadata = '{}'",
        "title = title || 'x'",
    ],
)
def test_damage_in_the_row_of_a_long_document_costs_all_of_it(collection, caplog, harm):
    put(collection, BOOK, [(0, 5), (PIECE, PIECE + 5)])
    put(collection, SHORT, [(0, 5)])
    with direct(collection) as connection:
        connection.execute(f"UPDATE documents SET {harm} WHERE id = 'book'")
    with caplog.at_level(logging.WARNING):
        assert [hit.id for hit in search(collection, 1, 10)] == ["short"]
    assert "document 'book'" in caplog.text
    with pytest.raises(CollectionDamaged, match="'book'"):
        collection.get(["book"])
    assert any("'book'" in problem.what for problem in collection.check(deep=True))


# Collections of version 3


def old_collection(folder):
    """Of version 3, where "plain" got a long text; then the long text of "titled", whose checksum is wrong."""
    with tarfile.open(Path(__file__).parents[1] / "golden" / "schema-3.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    long = {}
    with closing(sqlite3.connect(folder / "golden" / "collection.sqlite")) as connection, connection:
        for identity, wrong in (("plain", 0), ("titled", 1)):
            title, text, metadata = connection.execute(
                "SELECT title, text, metadata FROM documents WHERE id = ?", (identity,)
            ).fetchone()
            long[identity] = text + " 🦊\r\n" * PIECE  # its passage lies where it lay
            crc = zlib.crc32(f"{identity}\0{title}\0{long[identity]}\0{metadata}".encode()) ^ wrong
            connection.execute("UPDATE documents SET text = ?, crc = ? WHERE id = ?", (long[identity], crc, identity))
    return long


def test_long_texts_of_version_3_are_put_in_pieces(tmp_path):
    long = old_collection(tmp_path)
    with semsearch.open("golden", home=tmp_path, encoder=HashEncoder(4)) as opened:
        with opened.engine.store.read() as view:
            assert schema.differences(view.connection) == []
        assert pieces_of(opened) == {"plain": 5}
        assert opened.get(["plain"])[0].text == long["plain"]
        hits = {hit.id: hit for hit in opened.search("water boils", k=50)}
        assert hits["plain"].text == "water boils at a hundred degrees"
        assert hits["plain"].passage.size == len(long["plain"])
        assert hits["plain"].document.text == long["plain"]
        assert [hit.id for hit in opened.search("boils", mode="lexical")] == ["plain"]
        assert "titled" not in hits
        with pytest.raises(CollectionDamaged, match="'titled'"):
            opened.get(["titled"])
        assert [problem.what for problem in opened.check(deep=True)] == [
            "1 stored documents are damaged; the first is 'titled'"
        ]
        opened.remove(["titled"])
        assert opened.check(deep=True) == []


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda hit: pickle.loads(pickle.dumps(hit))])
def test_a_hit_of_a_long_document_can_be_copied(collection, copied):
    document = Document("long", "whale song. " * 20_000, metadata={"n": [1]})
    put(collection, document, [(0, 11)])
    (hit,) = search(collection, 0)
    again = copied(hit)
    assert again.passage[:-1] == hit.passage[:-1]
    assert again.document == document
    assert dataclasses.asdict(hit)["passage"][:-1] == hit.passage[:-1]
