"""What `benchmarks/store.py`, `lexical.py` and `hybrid.py` hold semsearch against runs on the schema that there is."""

import hybrid
import lexical
import numpy as np
import pytest
import store


def test_rows_by_hand_and_by_semsearch_are_measured(tmp_path):
    rows = store.documents(40)
    vectors = np.random.default_rng(0).standard_normal((40, store.DIM)).astype(np.float32)
    assert store.bare(tmp_path / "bare", rows, vectors) > 0
    assert all(seconds >= 0 for seconds in store.added(tmp_path, rows, vectors))
    assert store.rechecked(tmp_path, rows) > 0


def test_every_way_to_search_by_words_finds_the_question_itself(tmp_path):
    texts = ["how long does bread bake", "which wheel has no spokes", "when are roses pruned"]
    ways, seconds = lexical.ours(texts, tmp_path)
    assert seconds.keys() == ways.keys() == {"semsearch", "SQLite"}
    for search in ways.values():
        assert [search(text)[0] for text in texts] == [0, 1, 2]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_questions_at_once_are_held_against_a_loop(tmp_path, batch):
    texts = [f"question {number} about {word}" for number, word in enumerate(["bread", "wheels", "roses", "salt"] * 5)]
    vectors = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    with hybrid.stored(texts[5:], vectors[5:], tmp_path) as collection:
        line = hybrid.measured(collection, texts[:5], vectors[:5], batch, 1)
    assert (line["batch"], line["same"]) == (batch, 1)
    assert line["x"] == line["one_by_one_ms"] / line["at_once_ms"]
