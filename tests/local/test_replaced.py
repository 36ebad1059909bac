"""A collection that was dropped, or replaced by another of its name, while somebody had it open: nothing is written."""

import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import CollectionNotFound
from semsearch.types import Document

DIM = 8

WRITING = {
    "add": lambda collection: collection.add([Document("lost", "precious")]),
    "remove": lambda collection: collection.remove(["old1"]),
    "update_metadata": lambda collection: collection.update_metadata(["old1"], {"n": 1}),
    "compact": lambda collection: collection.compact(),
    "reindex": lambda collection: collection.reindex("exact"),
    "repair": lambda collection: collection.repair(),
}


def films(home, name, count):
    """A collection 'films' of `count` documents."""
    collection = semsearch.create("films", encoder=HashEncoder(DIM), home=home)
    collection.add([Document(f"{name}{number}", f"{name} film {number}") for number in range(count)])
    return collection


@pytest.mark.parametrize("new", [None, 3, 10])
@pytest.mark.parametrize("write", WRITING)
def test_nothing_is_written(tmp_path, write, new):
    with films(tmp_path, "old", 5) as old:
        old.remove(["old0"])
        semsearch.drop("films", home=tmp_path)
        if new is not None:
            films(tmp_path, "new", new).close()
        with pytest.raises(
            CollectionNotFound, match=r"dropped, or replaced.*Open it again with semsearch.open\('films'\)"
        ):
            WRITING[write](old)
    if new is None:
        assert semsearch.list_collections(home=tmp_path) == []
        return
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as collection:
        assert collection.check(deep=True) == []
        assert len(collection) == new
        assert collection.search("new film 1", k=1)[0].document.id == "new1"


def test_a_reader_is_told_rather_than_that_it_is_damaged(tmp_path):
    films(tmp_path, "old", 5).close()
    with semsearch.open("films", encoder=HashEncoder(DIM), home=tmp_path) as old:
        semsearch.drop("films", home=tmp_path)
        films(tmp_path, "new", 1).close()
        with pytest.raises(CollectionNotFound, match="dropped, or replaced"):
            old.search("film")
