"""What a hit of words and meaning says of each: the true scores, whichever of the two proposed it."""

import numpy as np
import pytest

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


@pytest.mark.parametrize("where", [None, {"odd": True}])
@pytest.mark.parametrize("together", [1, 3, 8_192])
def test_many_questions_are_answered_as_each_alone(tmp_path, monkeypatch, together, where):
    """However many of them have what words proposed read together, with some among them that rule something out."""
    monkeypatch.setattr(ranking, "VECTORS_TOGETHER", together * FUSION_DEPTH)
    texts = [f"{one} {other} {number}" for number in range(5) for one in WORDS for other in WORDS]
    queries = [*WORDS, f'+"{WORDS[3]} {WORDS[4]}"', f"{WORDS[0]} -{WORDS[1]}", "nowhere", f'"{WORDS[2]}" {WORDS[1]}']
    rng = np.random.default_rng(5)
    vectors, asked = (rng.standard_normal((count, 16), dtype=np.float32) for count in (len(texts), len(queries)))
    with semsearch.create("c", encoder=None, dim=16, home=tmp_path) as collection:
        documents = [Document(str(n), text, metadata={"odd": n % 2 == 1}) for n, text in enumerate(texts)]
        collection.add(documents, vectors=vectors)
        for group in ("document", None):
            options = {"mode": "hybrid", "group_by": group, "where": where}
            alone = [
                collection.search(query, 50, vector=one, **options) for query, one in zip(queries, asked, strict=True)
            ]
            many = collection.search_many(queries, 50, vectors=asked, **options)
            assert many == alone
            assert [hits.notes for hits in many] == [hits.notes for hits in alone]
            assert any(hits.notes for hits in many), "some rule something out"
            assert any("dense" not in hit.ranks for hits in many for hit in hits), "words alone proposed some"
            assert where is None or all(int(hit.id) % 2 for hits in many for hit in hits)
