"""Hugging Face's datasets go in as frames do, whatever format they are in, and hits come out as one."""

import numpy as np
import pytest

pytest.importorskip("datasets", reason="datasets is not installed")

import datasets
from support.fakes import HashEncoder

import semsearch
from semsearch.errors import UsageError

VECTORS = np.eye(5, 4, dtype=np.float32) + 0.1
ROWS = {
    "id": [3, 1, 2, 5, 4],
    "text": [f"text {n}" for n in range(5)],
    "year": [1990, None, 2001, 2002, 2003],
    "tags": [["a"], [], ["b", "c"], ["d"], []],
}


@pytest.fixture(scope="module")
def rows():
    return datasets.Dataset.from_dict(ROWS)


def told(collection):
    return [(one.id, one.text, one.metadata["year"], one.metadata["tags"]) for one in collection]


def expected(*places):
    return [(str(ROWS["id"][n]), ROWS["text"][n], ROWS["year"][n], ROWS["tags"][n]) for n in places]


@pytest.mark.parametrize("form", [None, "numpy", "torch", "arrow", "pandas", "polars"])
def test_rows_keep_order_and_columns_in_every_format(tmp_path, rows, form):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as made:
        assert made.add(rows.with_format(form)).added == 5
        assert told(made) == expected(*range(5))
        assert made.add(rows.to_iterable_dataset().with_format(form)).unchanged == 5


def test_a_view_of_some_rows_in_another_order(tmp_path, rows):
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as made:
        some = rows.rename_columns({"text": "body", "id": "key"}).select([4, 0, 2])
        made.add(some, text="body", id="key")
        assert told(made) == expected(4, 0, 2)
        made.add(rows["text"])  # a column of texts
        assert len(made) == 8


def test_vectors_come_and_hits_go_as_a_dataset(tmp_path, rows):
    encoded = rows.add_column("embedding", VECTORS.tolist())
    with semsearch.create("notes", home=tmp_path, encoder=None, dim=4) as made:
        made.add(rows, vectors=encoded.select_columns(["id", "embedding"]))
        assert made.add(rows, vectors=encoded["embedding"]).unchanged == 5
        for form in ("numpy", "torch", "arrow", "polars"):
            assert made.add(rows, vectors=encoded.with_format(form)).unchanged == 5
        hits = made.search(vector=VECTORS[2], k=2)
        found = datasets.Dataset(hits.to_arrow())
        assert found["id"][:] == [hit.id for hit in hits]
        assert found[0]["id"] == "2"
        assert (found[0]["year"], found[0]["tags"]) == (2001, ["b", "c"])
    pairs = semsearch.pairs(encoded.select_columns(["id", "embedding"]).select([4, 0, 1]), limit=1).to_pandas()
    assert set(pairs.loc[0, ["first", "second"]]) <= {3, 1, 4}


def test_several_datasets_are_not_one(tmp_path, rows):
    several = datasets.DatasetDict({"train": rows, "test": rows})
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as made:
        with pytest.raises(UsageError, match=r"give one of them, .*'train', 'test'"):
            made.add(several)
        with pytest.raises(UsageError, match="give one of them"):
            semsearch.pairs(several)
        assert len(made) == 0


def test_a_dataset_larger_than_a_batch(tmp_path):
    many = datasets.Dataset.from_dict({"id": list(range(2500)), "text": [f"text {n}" for n in range(2500)]})
    with semsearch.create("notes", home=tmp_path, encoder=HashEncoder()) as made:
        made.add(many)
        assert [one.id for one in made] == [str(n) for n in range(2500)]
