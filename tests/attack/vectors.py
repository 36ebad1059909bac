"""Arrays that are no vectors, or hardly: in what is added, asked, and given by encoders."""

import numpy as np

import semsearch
from attack.arena import DIM, VECTORS, documents

FAMILY = "hostile vectors"
SHARE = 12


def arrays(rng, count):
    """Arrays by name; `count` rows where that is not what is wrong."""
    good = rng.standard_normal((count, DIM)).astype("<f4")
    row = good.copy()
    row[-1, rng.integers(DIM)] = rng.choice([np.nan, np.inf, -np.inf, 3.4e38, 1e-45])
    wide = np.zeros((count, DIM * 2), "<f4")
    return {
        "good": good,
        "one odd number": row,
        "huge": np.full((count, DIM), 3.4e38, "<f4"),
        "huge float64": np.full((count, DIM), 1e300),
        "tiny": np.full((count, DIM), 1e-38, "<f4"),
        "denormal": np.full((count, DIM), 1e-45, "<f4"),
        "tiny float64": np.full((count, DIM), 1e-310),
        "huge beside tiny": np.where(np.arange(DIM) % 2, 3e38, 1e-45) * np.ones((count, 1)),
        "zeros": np.zeros((count, DIM), "<f4"),
        "negative zeros": -np.zeros((count, DIM), "<f4"),
        "a row of zeros": np.concatenate([good[:-1], np.zeros((1, DIM), "<f4")]),
        "NaN": np.full((count, DIM), np.nan, "<f4"),
        "signalling NaN": np.full((count, DIM), 0x7F800001, "<u4").view("<f4"),
        "infinity": np.full((count, DIM), np.inf, "<f4"),
        "other dimensions": np.ones((count, DIM + 1), "<f4"),
        "no dimensions": np.ones((count, 0), "<f4"),
        "one dimension": np.ones(count, "<f4"),
        "three dimensions": np.ones((count, DIM, 1), "<f4"),
        "a scalar": np.float32(1),
        "too many rows": np.ones((count + 1, DIM), "<f4"),
        "too few rows": np.ones((max(count - 1, 0), DIM), "<f4"),
        "objects": np.array([[None] * DIM] * count, dtype=object),
        "numbers as objects": good.astype(object),
        "long numbers": np.array([[10**400] * DIM] * count, dtype=object),
        "texts": np.full((count, DIM), "1.0"),
        "bytes": np.full((count, DIM), b"1"),
        "truth": np.ones((count, DIM), bool),
        "complex": np.ones((count, DIM), "<c8") * 1j,
        "dates": np.zeros((count, DIM), "<M8[s]"),
        "a structure": np.zeros(count, dtype=[(f"f{number}", "<f4") for number in range(DIM)]),
        "halves": good.astype("<f2"),
        "whole numbers": np.full((count, DIM), 2**62),
        "big-endian": good.astype(">f4"),
        "negative strides": good[::-1, ::-1],
        "every other": wide[:, ::2] + 1,
        "Fortran order": np.asfortranarray(good),
        "broadcast": np.broadcast_to(np.ones(DIM, "<f4"), (count, DIM)),
        "read-only": frozen(good),
        "unaligned": np.frombuffer(b"\0" + good.tobytes(), "<f4", offset=1).reshape(count, DIM),
        "masked": np.ma.masked_array(good, mask=good > 0),
        "a matrix": np.asmatrix(good),
        "lists": good.tolist(),
        "ragged lists": [[1.0] * DIM] * (count - 1) + [[1.0]],
        "lists of None": [[None] * DIM] * count,
        "a text": "1" * DIM,
        "none": None,
        "a dictionary": {0: [1.0] * DIM},
    }


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def put_in(home, name, seed):
    """In a child: add documents with an array; what was added must be numbers that can be searched."""
    array = arrays(np.random.default_rng(seed), 5)[name]
    with semsearch.open(VECTORS, home=home) as collection:
        try:
            collection.add(documents("x", 5), array)
        finally:
            judged(collection, np.ones(DIM))
    return


def asked(home, name, seed):
    """In a child: ask with an array."""
    array = arrays(np.random.default_rng(seed), 1)[name]
    whole = not isinstance(array, np.ndarray) or array.ndim < 2 or not len(array) or (name != "good" and seed % 2)
    with semsearch.open(VECTORS, home=home) as collection:
        judged(collection, array if whole else array[0])


def judged(collection, question):
    """Hits have scores in order (infinite where float32 ends), and each its own text."""
    collection.load_index()
    hits = collection.search(vector=question, k=60)
    scores = [hit.score for hit in hits]
    assert not np.isnan(scores).any(), f"scores that are no numbers: {scores}"
    assert scores == sorted(scores, reverse=True), "scores that are not in order"
    assert len({hit.id for hit in hits}) == len(hits) == len(collection), f"{len(hits)} hits of {len(collection)}"
    assert all(hit.text.split()[:1] == [hit.id] for hit in hits), "a text of another"


class Encoder:
    """Gives an array whatever it is asked."""

    metric = semsearch.Metric.COSINE
    dim = DIM
    fingerprint = "odd"

    def __init__(self, name, seed):
        self.name, self.seed = name, seed

    def encode_documents(self, texts):
        return arrays(np.random.default_rng(self.seed), len(texts))[self.name]

    encode_queries = encode_documents


def encoded(home, name, seed):
    """In a child: an encoder that gives an array."""
    with semsearch.create("odd", home=home, encoder=Encoder(name, seed)) as collection:
        collection.add(documents("x", 5))
        for hit in collection.search("x1", 5):
            assert np.isfinite(hit.score), f"the score {hit.score}"


def other_metric(home, name, seed):
    """In a child: a collection of another metric, where nothing is made one long."""
    array = arrays(np.random.default_rng(seed), 5)[name]
    with semsearch.create("odd", home=home, encoder=None, dim=DIM, metric=("dot", "l2")[seed % 2]) as collection:
        collection.add(documents("y", 3), np.eye(DIM)[:3])
        try:
            collection.add(documents("x", 5), array)
        finally:
            judged(collection, np.ones(DIM))
            assert not collection.check(deep=True)


WAYS = (put_in, asked, encoded, other_metric)


def attack(case):
    """An array goes in one way, and afterwards every document is there."""
    names = sorted(arrays(np.random.default_rng(0), 5))
    name = names[case.number % len(names)]
    way = WAYS[(case.number // len(names) + case.number) % len(WAYS)]
    case.note(f"{name}: {way.__name__}")
    ended = case.call(way, case.home, name, case.number)
    if name == "good" and ended.code:
        case.problems.append("good vectors were refused")
    case.whole(VECTORS, "v")
