"""What `benchmarks/store.py` and `lexical.py` hold semsearch against runs on the schema that there is."""

import lexical
import numpy as np
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
