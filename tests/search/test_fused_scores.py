"""What a hit of words and meaning says of each: the true scores, whichever of the two proposed it."""

import numpy as np
import pytest
from support.fakes import HashEncoder

import semsearch
from semsearch.search import ranking
from semsearch.search.fusion import FUSION_DEPTH
from semsearch.types import Document

WORDS = ["zebra", "stripes", "lion", "river", "grass", "night", "hunt", "water", "tree", "bird", "fish", "rain"]


@pytest.mark.parametrize("group_by", ["document", None])
def test_what_words_alone_proposed_has_its_own_score_by_meaning(tmp_path, group_by):
    texts = [f"filler number {n}" for n in range(300)] + [f"zebra stripes of kind {n}" for n in range(9)]
    vectors = np.random.default_rng(3).standard_normal((len(texts), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    asked = vectors[0]
    with semsearch.create("both", encoder=None, dim=16, home=tmp_path) as both:
        both.add([Document(str(n), text) for n, text in enumerate(texts)], vectors=vectors)
        hits = both.search("zebra", vector=asked, k=12, mode="hybrid", group_by=group_by)
    alone = [hit for hit in hits if "dense" not in hit.ranks]
    assert len({hit.scores["dense"] for hit in alone}) > 2, "several that meaning did not propose"
    for hit in hits:
        assert hit.scores["dense"] == pytest.approx(float(asked @ vectors[int(hit.id)]), abs=1e-6)
        assert ("lexical" in hit.scores) == (int(hit.id) >= 300)


@pytest.mark.parametrize("together", [1, 3, 8_192])
def test_many_questions_are_answered_as_each_alone(tmp_path, monkeypatch, together):
    """However many of them have what words proposed read together, with some among them that rule something out."""
    monkeypatch.setattr(ranking, "VECTORS_TOGETHER", together * FUSION_DEPTH)
    texts = [f"{one} {other}" for one in WORDS for other in WORDS]
    queries = [*WORDS, f'+"{texts[3]}"', f"{WORDS[0]} -{WORDS[1]}", "nowhere", f'"{WORDS[2]} {WORDS[2]}" {WORDS[1]}']
    with semsearch.create("c", encoder=HashEncoder(), home=tmp_path) as collection:
        collection.add([Document(str(number), text) for number, text in enumerate(texts)])
        for group in ("document", None):
            alone = [collection.search(query, 5, mode="hybrid", group_by=group) for query in queries]
            many = collection.search_many(queries, 5, mode="hybrid", group_by=group)
            assert many == alone
            assert [hits.notes for hits in many] == [hits.notes for hits in alone]
            assert any(hits.notes for hits in many), "some rule something out"
