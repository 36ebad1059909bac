"""The recall contract: its statistics against their definitions, its outcome on indexes good and bad, and on questions.

The last is the proof that counts: graphs lose recall on queries unlike their data, so a certificate is held against
real questions that had no part in it.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from support.backends import APPROXIMATE

from semsearch import load_encoder
from semsearch.errors import UsageError
from semsearch.plugins import index_backend
from semsearch.search.recall import (
    NOT_STORED,
    binomial_tail,
    certify,
    draw_sample,
    lower_bound,
    tie_safe_recall,
    without_own,
)
from semsearch.search.truth import Truth
from semsearch.testing import make_keys, make_vectors
from semsearch.types import Metric, Neighbors
from semsearch.vectors import brute_force

LADDER = [1, 4, 10, 30, 100, 300]


class Forgetful:
    """Exact search that loses each neighbour with a chance of one in `1 + care`."""

    def __init__(self, keys, vectors, metric=Metric.COSINE, top=1000):
        self.truth = Truth(keys, vectors, metric)
        self._top = top

    def found(self, queries, k, care):
        found = self.truth.neighbors(queries, 2 * k)
        lost = np.random.default_rng(0).random(found.keys.shape) < 1 / (1 + min(care, self._top))
        order = np.argsort(lost, axis=1, kind="stable")[:, :k]
        return Neighbors(np.take_along_axis(found.keys, order, 1), np.take_along_axis(found.scores, order, 1))

    def certify(self, target, queries=None):
        truth = self.truth
        queries = truth.synthetic if queries is None else queries
        return certify(self.found, truth.neighbors, truth.scores_of, queries, target=target, knob="care", ladder=LADDER)


def sampled(keys, vectors, metric, k, queries=None, count=2000):
    truth = Truth(keys, vectors, metric)
    return draw_sample(truth.neighbors, k, truth.synthetic if queries is None else queries, count=count)


@pytest.fixture(scope="module")
def stored():
    return make_keys(3000), make_vectors(Metric.COSINE, 3000, 16)


# ---------------------------------------------------------------------- statistics


def test_the_tail_is_a_sum_of_binomial_terms():
    for n, x, p in ((10, 7, 0.5), (30, 30, 0.9), (5, 0, 0.3), (12, 1, 0.01)):
        expected = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(x, n + 1))
        assert binomial_tail(x, n, p) == pytest.approx(expected, rel=1e-12)


def test_the_bound_of_clopper_and_pearson():
    assert lower_bound(10, 10) == pytest.approx(0.05 ** (1 / 10))  # all succeeded: p**n = 0.05
    assert lower_bound(8, 10) == pytest.approx(0.4931, abs=5e-5)  # as tables have it
    assert lower_bound(0, 10) == 0
    assert lower_bound(950, 1000) == pytest.approx(0.93712, abs=5e-4)
    assert binomial_tail(93, 100, lower_bound(93, 100)) == pytest.approx(0.05)
    assert lower_bound(1.0 - 1e-12, 1) == pytest.approx(0.05)  # a sum of shares that rounding left a hair short


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["all or nothing", "shares"])
def test_the_bound_covers_the_truth_as_often_as_it_says(shape):
    """2,000 experiments of 200 queries with a true recall of 0.95: at most 5 % of the bounds may be above it."""
    rng = np.random.default_rng(1)
    if shape == "all or nothing":
        recalls = (rng.random((2000, 200)) < 0.95).astype(float)
    else:  # of ten neighbours each
        recalls = rng.binomial(10, rng.beta(9.5, 0.5, (2000, 200))) / 10
    wrong = np.mean([lower_bound(total, 200) > 0.95 for total in recalls.sum(axis=1)])
    assert wrong <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    if shape == "all or nothing":
        assert wrong > 0.01, "a bound that is never wrong says nothing"


def test_ties_count_whichever_of_equals_is_returned():
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], dtype=np.float32)
    keys, query = np.array([10, 20, 30, 40]), np.array([[1, 0]], dtype=np.float32)
    truth = brute_force(keys, vectors, query, 2, Metric.DOT)
    assert truth.keys.tolist() == [[10, 20]]
    scores_of = Truth(keys, vectors, Metric.DOT).scores_of

    def recall(*found):
        scores = np.zeros((1, len(found)), dtype=np.float32)
        return tie_safe_recall(Neighbors(np.array([found]), scores), truth, query, scores_of)[0]

    assert recall(10, 20) == recall(30, 20) == recall(20, 30) == 1
    assert recall(30, 40) == recall(10, -1) == 0.5
    assert recall(10, 10) == 0.5, "a key counts once"
    assert recall(-1, -1) == 0


def test_a_query_that_is_stored_does_not_count_as_found(stored):
    keys, vectors = stored
    sample = sampled(keys, vectors, Metric.COSINE, 5)
    assert sample.truth.keys.shape == (4000, 5)
    assert not (sample.truth.keys == sample.own[:, None]).any()
    found = Neighbors(np.array([[7, 1, 2], [1, 2, 3]]), np.zeros((2, 3), dtype=np.float32))
    assert without_own(found, np.array([7, 9])).keys.tolist() == [[1, 2], [1, 2]]
    short = Neighbors(np.array([[4, -1, -1], [4, 5, -1]]), np.zeros((2, 3), dtype=np.float32))
    assert without_own(short, np.array([NOT_STORED, 4])).keys.tolist() == [[4, -1], [5, -1]]


@pytest.mark.parametrize("metric", list(Metric))
def test_half_of_the_synthetic_queries_lie_between_stored_vectors(metric):
    keys, vectors = make_keys(300), make_vectors(metric, 300, 16)
    sample = sampled(keys, vectors, metric, 5, count=100)
    between_them = sample.own == NOT_STORED
    assert len(between_them) == 200
    assert (between_them[::2] != between_them[1::2]).all(), "by turns, so that any part has both"
    row = {int(key): i for i, key in enumerate(keys)}
    assert (sample.queries[~between_them] == vectors[[row[int(key)] for key in sample.own[~between_them]]]).all()
    between = sample.queries[between_them]
    assert (np.abs(between[:, None] - vectors[None]).max(axis=2) > 1e-6).all(), "none is stored"
    if metric is Metric.COSINE:
        assert np.linalg.norm(between, axis=1) == pytest.approx(1, abs=1e-5)
    else:
        lengths = np.linalg.norm(vectors, axis=1)
        assert lengths.min() * 0.999 <= np.linalg.norm(between, axis=1).min()
        assert np.linalg.norm(between, axis=1).max() <= lengths.max() * 1.001
    expected = brute_force(keys, vectors, between, 5, metric)
    assert (sample.truth.keys[between_them] == expected.keys).all()
    again = sampled(keys, vectors, metric, 5, count=100)
    assert (again.queries == sample.queries).all()


def test_the_kind_that_fares_worse_is_what_counts(stored):
    sample = sampled(*stored, Metric.COSINE, 5, count=50)
    between_them = sample.own == NOT_STORED
    assert sample.weakest(np.where(between_them, 0.6, 0.9)) == ("points between stored vectors", pytest.approx(0.6), 50)
    assert sample.weakest(np.where(between_them, 0.9, 0.6)) == ("stored vectors", pytest.approx(0.6), 50)
    given = sampled(*stored, Metric.COSINE, 5, queries=stored[1][:40])
    assert given.weakest(np.linspace(0, 1, 40)) == ("queries", pytest.approx(0.5), 40)


@pytest.mark.slow
def test_a_high_target_looks_at_more_queries(stored):
    certificate = Forgetful(*stored).certify(0.995)
    assert certificate.queries == 1500, "1,794 in a half, if there were so many vectors"
    assert "too few" not in certificate.summary


# ---------------------------------------------------------------------- outcome


@pytest.mark.slow
def test_the_cheapest_setting_that_keeps_the_recall_is_taken(stored):
    keys, vectors = stored
    index = Forgetful(keys, vectors, Metric.COSINE)
    certificate = index.certify(0.9)
    assert certificate.met
    assert certificate.value == 30, "10 loses a tenth of each and more with luck, 30 a thirtieth"
    assert certificate.certified >= 0.9
    assert certificate.recall == pytest.approx(1 - 1 / 31, abs=0.02)
    assert certificate.source == "synthetic"
    assert certificate.queries == 1000
    assert [point.value for point in certificate.curve] == [1, 4, 10, 30]
    assert all(point.p50 <= point.p99 and point.qps > 0 for point in certificate.curve)
    recalls = [point.recall for point in certificate.curve]
    assert recalls == sorted(recalls)


@pytest.mark.slow
def test_a_recall_out_of_reach_is_said_with_a_way_on(stored):
    keys, vectors = stored
    index = Forgetful(keys, vectors, Metric.COSINE, top=10)
    certificate = index.certify(0.99)
    assert not certificate.met
    assert "misses 0.99" in certificate.summary
    assert "exact" in certificate.summary
    assert len(certificate.curve) == 6
    assert certificate.value == 10, "the cheapest of the best"


@pytest.mark.slow
def test_too_few_queries_say_how_many_are_needed(stored):
    keys, vectors = stored
    certificate = Forgetful(keys, vectors).certify(0.999, queries=vectors[:100])
    assert not certificate.met
    assert certificate.source == "queries"
    assert certificate.queries == 50
    assert "too few queries" in certificate.summary
    assert str(2 * 2995) in certificate.summary  # 0.999 ** 2995 < 0.05


@pytest.mark.slow
def test_few_queries_that_plainly_miss_are_not_too_few(stored):
    hopeless = Forgetful(*stored, Metric.COSINE, top=1)
    certificate = hopeless.certify(0.999, queries=stored[1][:100])
    assert "which misses 0.999" in certificate.summary


def test_exact_search_keeps_every_recall_by_proof(stored):
    truth = Truth(*stored, Metric.COSINE)
    asked = []

    def found(queries, k, value):
        asked.append(value)
        return truth.neighbors(queries, k)

    def outcome(proven):
        return certify(found, truth.neighbors, truth.scores_of, stored[1][:20], target=1.0, proven=proven)

    assert outcome(True).met
    assert outcome(True).knob is None
    assert outcome(True).recall == 1
    assert not outcome(False).met, "ten queries prove nothing of an index that may miss"
    assert set(asked) == {None}, "there is no knob to turn"


@pytest.mark.parametrize("target", [0, -0.1, 1.1])
def test_a_recall_that_is_none(stored, target):
    with pytest.raises(UsageError, match="recall"):
        Forgetful(*stored).certify(target)


def test_one_query_is_too_few(stored):
    with pytest.raises(UsageError, match="at least two"):
        Forgetful(*stored).certify(0.9, queries=stored[1][:1])


def test_nothing_and_next_to_nothing_to_measure_on(stored):
    keys, vectors = stored
    with pytest.raises(UsageError, match="without any vector"):
        Forgetful(keys[:0], vectors[:0]).certify(0.9)
    one = Forgetful(keys[:1], vectors[:1]).certify(0.9)
    assert not one.met
    assert "too few" in one.summary


def test_synthetic_queries_of_vectors_that_cancel_out_or_are_zero_are_numbers():
    vectors = np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [1e12, 0.0]], dtype=np.float32)
    sample = sampled(np.arange(4), vectors, Metric.DOT, 2)
    assert np.isfinite(sample.queries).all()


def test_any_engine_gets_a_certificate(stored):
    """One that shows neither an index nor its vectors: answers, true answers and scores, a batch at a time."""
    keys, vectors = stored
    asked = []

    class Elsewhere:
        def found(self, queries, k, width):
            asked.append(width)
            found = brute_force(keys, vectors, queries, k, Metric.COSINE)
            return found if width else Neighbors(np.full_like(found.keys, -1), found.scores)

        def truth(self, queries, k):
            return brute_force(keys, vectors, queries, k, Metric.COSINE)

        def scores_of(self, queries, found):
            raise AssertionError("nothing was found that isn't true")

    engine = Elsewhere()
    certificate = certify(
        engine.found, engine.truth, engine.scores_of, vectors[:200], target=0.9, k=3, knob="width", ladder=[0, 1, 2]
    )
    assert (certificate.knob, certificate.value, certificate.k) == ("width", 1, 3)
    assert (certificate.recall, certificate.queries, certificate.met) == (1, 100, True)
    assert [(point.value, point.recall) for point in certificate.curve] == [(0, 0), (1, 1)]
    assert certificate.summary.startswith("width=1: recall@3 1.0000 on 100 queries")
    assert 2 not in asked, "what is enough is turned no further"


# ---------------------------------------------------------------------- real questions


@pytest.fixture(scope="module")
def questions_and_statements(data, minilm):
    """Titles of medical and scientific papers, and real questions that people asked about anything."""
    encoder = load_encoder(str(minilm))
    titles = []
    for name in ("scifact", "nfcorpus"):
        with (data / name / "corpus.jsonl").open(encoding="utf-8") as lines:
            titles += [json.loads(line)["title"] for line in lines]
    with (data / "quora-pairs.tsv").open(encoding="utf-8") as lines:
        next(lines)
        questions = sorted({line.split("\t")[0] for line in lines})
    chosen = [questions[i] for i in np.random.default_rng(0).permutation(len(questions))[:3000]]
    return encoder.encode_queries(chosen), encoder.encode_documents(sorted(set(titles)))


@pytest.mark.real
@pytest.mark.parametrize("backend", APPROXIMATE)
def test_the_contract_holds_on_real_questions(questions_and_statements, backend):
    pytest.importorskip(index_backend(backend).library.module)
    options = {"hnsw": {"M": 6, "ef_construction": 40}, "annoy": {"trees": 30}}.get(backend, {})  # not perfect at once
    questions, statements = questions_and_statements
    keys = np.arange(len(statements)) * 3
    kind = index_backend(backend)
    params = kind.Params.parse(options, f"index '{backend}'")
    index = kind.build(keys, statements, Metric.COSINE, params)
    truth = Truth(keys, statements, Metric.COSINE)

    def at(queries, k, value):
        index.tune(replace(params, **{kind.knob.option: value}))
        return index.search(queries, k)

    certificate = certify(
        at,
        truth.neighbors,
        truth.scores_of,
        questions[:2000],
        target=0.95,
        knob=kind.knob.option,
        ladder=kind.knob.ladder(len(keys)),
    )
    assert certificate.met, certificate.summary
    unseen = questions[2000:]
    found = at(unseen, 10, certificate.value)
    recall = tie_safe_recall(found, truth.neighbors(unseen, 10), unseen, truth.scores_of).mean()
    assert recall >= 0.94, f"{recall:.4f} on 1,000 questions that had no part in '{certificate.summary}'"
