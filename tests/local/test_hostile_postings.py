"""Postings with right digests whose arrays lead elsewhere: refused in a sentence, and SQLite's full text answers."""

import numpy as np
import pytest
from support.fakes import HashEncoder
from support.forgery import forge, publish

import semsearch
from semsearch.errors import DataError
from semsearch.local.index import renewal
from semsearch.local.lexical.postings import Postings
from semsearch.types import Document

COUNT = 40
TEXTS = [f"word{n} common word{n % 7} text" for n in range(COUNT)]


def saved(folder):
    folder.mkdir()
    Postings.made(((n, "title", text) for n, text in enumerate(TEXTS)), COUNT).save(folder)
    return folder


def set_at(place, value):
    def change(array):
        array[place] = value
        return array

    return change


CHANGES = {
    "a passage beyond the passages": ("rows", set_at(3, COUNT)),
    "a negative passage": ("rows", set_at(-1, -1)),
    "a word that ends beyond the letters": ("ends", set_at(-1, 1 << 40)),
    "a word that ends before it begins": ("ends", set_at(4, 1 << 40)),
    "a word that begins before the letters": ("ends", set_at(0, -8)),
    "pairs beyond the pairs": ("starts", set_at(-1, 1 << 40)),
    "pairs that run backwards": ("starts", set_at(5, 0)),
    "fewer words than places": ("starts", lambda array: array[:-1]),
    "fewer counts": ("texts", lambda array: array[:-1]),
    "no place at all": ("ends", lambda array: array[:0]),
    "numbers of another kind": ("rows", lambda array: array.astype(np.float32)),
    "wider numbers": ("lengths", lambda array: array.astype(np.uint64)),
    "another shape": ("lengths", lambda array: array.reshape(-1, 4)),
    "one more dimension": ("letters", lambda array: array[:, None]),
    "no dimension": ("rows", lambda array: array[0]),
    "texts": ("letters", lambda array: array.astype("U")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_arrays_that_do_not_belong_together(tmp_path, what):
    folder = saved(tmp_path / "words")
    name, change = CHANGES[what]
    np.save(folder / f"{name}.npy", change(np.load(folder / f"{name}.npy")))
    with pytest.raises(DataError, match=r"\.$"):
        Postings.load(folder)


@pytest.mark.parametrize("shape", ["(1 << 60,)", "(1099511627776,)", "(-1,)", "(True,)", "(2, 2.0)", "((2,),)", "7"])
@pytest.mark.parametrize(
    "descr", ["'<i4'", "'|O'", "'<i4,<i4'", "'V8'", "[('a', '<i4')]", "('<i4', (1 << 30,))", "'|S0'"]
)
def test_headers_that_promise_too_much(tmp_path, shape, descr):
    folder = saved(tmp_path / "words")
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    (folder / "rows.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(DataError, match=r"\.$"):
        Postings.load(folder)


@pytest.mark.parametrize(
    "header", ["(" * 9000, "-" * 9000, "[" * 9000, "{'shape': " * 900, "\0" * 100, "9" * 9000, "'" * 50]
)
def test_headers_that_are_none(tmp_path, header):
    folder = saved(tmp_path / "words")
    (folder / "rows.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(DataError, match=r"\.$"):
        Postings.load(folder)


def test_words_in_disorder_are_not_taken_over(monkeypatch):
    """A vocabulary with a word twice is whole as far as it is searched; what is built on it is built from the texts."""
    monkeypatch.setattr(renewal, "TAIL_ROWS", 0)
    with semsearch.create("c", encoder=HashEncoder()) as collection:
        collection.add([Document(str(n), text) for n, text in enumerate(TEXTS)])
        folder = collection.engine.store.folder
    (words,) = (folder / "indexes").glob("lexical-*")
    letters = np.load(words / "letters.npy")
    letters[:] = ord("a")
    np.save(words / "letters.npy", letters)
    forge(words)
    publish(folder)
    with semsearch.open("c", encoder=HashEncoder()) as collection:
        collection.search("common", mode="lexical")
        collection.add([Document("new", "common novelty")])
        (hit,) = collection.search("novelty", mode="lexical")
        assert hit.id == "new"
        assert len(collection.search("common", k=99, mode="lexical")) == COUNT + 1


def test_a_collection_with_such_postings_answers(monkeypatch, caplog):
    monkeypatch.setattr(renewal, "TAIL_ROWS", 0)
    with semsearch.create("c", encoder=HashEncoder()) as collection:
        collection.add([Document(str(n), text) for n, text in enumerate(TEXTS)])
        folder = collection.engine.store.folder
    (words,) = (folder / "indexes").glob("lexical-*")
    np.save(words / "rows.npy", np.load(words / "rows.npy") - COUNT)
    forge(words)
    publish(folder)
    with semsearch.open("c", encoder=HashEncoder()) as collection:
        (hit, *_) = collection.search("word31", mode="lexical")
        assert hit.id == "31"
        assert "in a passage that is not there" in caplog.text
