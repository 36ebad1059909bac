"""Fusion against the published formulas, written out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semsearch.search.fusion import LEXICAL_FACTOR, balance, fuse
from semsearch.types import Metric


def ranked(entries):
    """Keys and scores, best first."""
    ordered = sorted(entries.items(), key=lambda entry: (-entry[1], entry[0]))
    return np.array([k for k, _ in ordered], np.int64), np.array([s for _, s in ordered], np.float32)


def as_dict(found):
    return dict(zip(found[0].tolist(), found[1].tolist(), strict=True))


def test_a_convex_sum_of_full_lists():
    dense, lexical = ranked({7: 0.9, 3: 0.8, 5: 0.1}), ranked({5: 12.0, 7: 3.0, 9: 2.0})
    found = as_dict(fuse(dense, lexical, weight=0.6, floor=2.0))
    assert found == pytest.approx({7: 0.6 + 0.4 * 0.1, 3: 0.6 * 0.7 / 0.8, 5: 0.4, 9: 0.0})


def test_a_list_by_words_may_hold_all_that_score():
    dense, lexical = ranked({7: 0.9, 3: 0.8, 5: 0.1}), ranked({5: 12.0, 7: 3.0})
    found = as_dict(fuse(dense, lexical, weight=0.5))
    assert found == pytest.approx({7: 0.5 + 0.5 * 3 / 12, 3: 0.5 * 0.7 / 0.8, 5: 0.5})


@pytest.mark.parametrize("scores", [(0.9, 0.8, -0.3), (-0.5, -7.0, -300.0), (250.0, 3.0, 2.0)])
def test_one_list_alone_keeps_its_order(scores):
    """Of any metric: cosines, dot products, minus squared distances."""
    one, empty = ranked(dict(zip((4, 2, 8), scores, strict=True))), ranked({})
    for pair in ((one, empty), (empty, one)) if min(scores) > 0 else ((one, empty),):
        assert fuse(*pair, weight=0.5)[0].tolist() == one[0].tolist()
    assert len(fuse(empty, empty, weight=0.5)[0]) == 0


def test_equals_count_alike():
    found = as_dict(fuse(ranked({1: 0.5, 2: 0.5}), ranked({2: 3.0}), weight=0.5))
    assert found == pytest.approx({2: 1.0, 1: 0.5})


# How much each counts


def scores(*values):
    return np.array(values, np.float32)


@pytest.mark.parametrize(
    ("metric", "dense", "by_meaning"),
    [
        (Metric.COSINE, scores(0.8, 0.5, 0.2), 0.6 / 0.8),  # of the way from the last to the very same text
        (Metric.COSINE, scores(0.95, 0.92, 0.9), 0.5),  # of a model for which all texts are alike
        (Metric.COSINE, scores(0.4, 0.4), 0.0),
        (Metric.COSINE, scores(1.0000001, 0.0), 1.0),
        (Metric.L2, scores(-0.5, -1.0, -2.0), 0.75),
        (Metric.DOT, scores(30, 20, 10), LEXICAL_FACTOR),
        (Metric.COSINE, scores(), 0.0),
    ],
)
def test_meaning_counts_by_how_far_its_best_stands_out(metric, dense, by_meaning):
    found = balance(dense, scores(9, 6, 3), 3.0, metric)
    assert found == pytest.approx((by_meaning / (by_meaning + LEXICAL_FACTOR * 2 / 3), by_meaning, 2 / 3, False))


def test_words_count_by_how_far_their_best_stands_out():
    dense = scores(0.8, 0.5, 0.2)
    for lexical, floor, by_words in (
        (scores(9, 6, 3), 3.0, 2 / 3),
        (scores(9, 9, 9), 9.0, 0.0),  # more texts than were asked for have the word
        (scores(9, 6, 3), 0.0, 1.0),  # all others have none of the words
        (scores(), 0.0, 0.0),
    ):
        found = balance(dense, lexical, floor)
        assert found == pytest.approx((0.75 / (0.75 + LEXICAL_FACTOR * by_words), 0.75, by_words, False))
    assert balance(scores(), scores()) == (0.5, 0.0, 0.0, False)
    assert balance(scores(0.4, 0.4), scores(9, 9), 9.0) == (0.5, 0.0, 0.0, False)  # neither tells anything apart


entries = st.dictionaries(st.integers(0, 30), st.floats(2**-10, 100, width=32), max_size=20)


@given(
    dense=entries,
    lexical=entries,
    weight=st.floats(0, 1),
    full=st.booleans(),
)
def test_all_of_both_in_a_fair_order(dense, lexical, weight, full):
    floor = min(lexical.values(), default=0.0) if full else 0.0
    keys, scores = fuse(ranked(dense), ranked(lexical), weight=weight, floor=floor)
    assert sorted(keys.tolist()) == sorted({*dense, *lexical})
    assert (np.diff(scores) <= 0).all()
    assert ((scores >= 0) & (scores <= 1 + 1e-6)).all()
    found = as_dict((keys, scores))
    for one in dense:  # better in both is never worse
        for other in dense:
            if dense[one] > dense[other] and lexical.get(one, 0) > lexical.get(other, 0):
                assert found[one] >= found[other]
