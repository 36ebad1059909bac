"""What a hit of words and meaning says of each: the true scores, whichever of the two proposed it."""

import numpy as np
import pytest

import semsearch
from semsearch.types import Document


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
