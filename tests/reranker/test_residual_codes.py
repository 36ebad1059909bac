"""Vectors of tokens in two bits: how near they come back, how small they are, and what is no such thing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semsearch.reranker.residual_codes import ResidualCodes, nearest_centroid

DIM = 24


def unit(rng, count, dim=DIM):
    """Vectors around some directions, as tokens of a language lie around those of their words."""
    centres = np.random.default_rng(7).standard_normal((30, dim))
    rows = centres[rng.integers(0, 30, count)] + 0.35 * rng.standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def codes():
    return ResidualCodes.train(unit(np.random.default_rng(0), 3_000))


def test_others_come_back_near_and_as_long_as_they_were(codes):
    texts = [unit(np.random.default_rng(seed), count) for seed, count in ((1, 40), (2, 1), (3, 2_000))]
    contents = [codes.encode(text) for text in texts]
    assert [len(content) for content in contents] == [codes.width * len(text) for text in texts]
    assert codes.width == 2 + 2 + DIM // 4
    for text, read in zip(texts, codes.decode(contents), strict=True):
        assert read.dtype == np.float32
        assert np.linalg.norm(read, axis=1) == pytest.approx(np.ones(len(text)), abs=2e-3)
        assert (read * text).sum(axis=1).mean() > 0.97
    centroids = codes.centroids[nearest_centroid(texts[2], codes.centroids)]
    alone = (centroids * texts[2]).sum(axis=1) / np.linalg.norm(centroids, axis=1)
    error, without = ((1 - (some * texts[2]).sum(axis=1)).mean() for some in (read, texts[2] * alone[:, None]))
    assert error < 0.2 * without  # four levels of a normal distribution leave 0.118 of its variance


@given(st.integers(1, 40), st.integers(1, 11), st.integers(0, 2**32 - 1))
def test_any_vectors_of_any_width_keep_their_shapes_and_their_lengths(count, dim, seed):
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((count, dim)) * rng.choice([0, 0.01, 30], (count, 1))).astype(np.float32)
    codes = ResidualCodes.from_bytes(ResidualCodes.train(vectors).to_bytes())
    parts = [vectors[:3], vectors[:0], vectors]
    found = codes.decode([codes.encode(part) for part in parts])
    assert [part.shape for part in found] == [part.shape for part in parts]
    assert np.linalg.norm(found[2], axis=1) == pytest.approx(np.linalg.norm(vectors, axis=1), rel=2e-3, abs=1e-3)


def test_a_text_is_read_alike_in_any_company(codes):
    contents = [codes.encode(unit(np.random.default_rng(seed), 700)) for seed in range(4)]
    together = codes.decode(contents)
    for content, read in zip(contents, together, strict=True):
        assert (codes.decode([content])[0] == read).all()
    assert codes.decode([]) == []


def test_the_same_sample_gives_the_same_codes(codes):
    again = ResidualCodes.train(unit(np.random.default_rng(0), 3_000))
    assert again.to_bytes() == codes.to_bytes() == ResidualCodes.from_bytes(codes.to_bytes()).to_bytes()


def test_what_is_none_is_told(codes):
    content = codes.encode(unit(np.random.default_rng(1), 5))
    assert codes.fits(content)
    assert codes.fits(b"")
    assert not codes.fits(content[:-1])
    assert not codes.fits(b"\xff" * len(content))  # of centroids that there are not
    whole = codes.to_bytes()
    for other in (b"", whole[:-1], whole[:-4], whole[:-4] + b"\xff\xff\xff\x7f", bytes(24)):
        with pytest.raises(ValueError, match=r"."):
            ResidualCodes.from_bytes(other)
    with pytest.raises(ValueError, match="vectors"):
        ResidualCodes.train(np.empty((0, 4), np.float32))
