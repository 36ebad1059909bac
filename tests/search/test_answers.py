"""What answers tell beyond their order: percentiles, explanations, neighbours, variety, likeness."""

import gc
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import tiny
from support.fakes import HashEncoder

import semsearch
from semsearch import Document, wire
from semsearch.errors import UsageError
from semsearch.search.calibration import LEVELS, TAIL, Calibration, fit
from semsearch.search.fusion import LEXICAL_FACTOR, balance, fuse
from semsearch.search.mmr import marginal_relevance
from semsearch.types import Metric
from semsearch.validation import is_empty

SUBJECTS = "flour yeast dough oven crust loaf wheel chain pedal saddle brake gear wave tide salt reef current whale"
WORDS = SUBJECTS.split()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A transformer of sixteen components that pools by the mean."""
    return tiny.bert(tmp_path_factory.mktemp("models") / "mean")


@pytest.fixture
def collection(tmp_path):
    with semsearch.create("answers", home=tmp_path, encoder=HashEncoder(32), index="exact") as made:
        made.add(documents(200))
        yield made


def documents(count, seed=0):
    generator = np.random.default_rng(seed)
    return [Document(f"d{i}", " ".join(generator.choice(WORDS, 6)), metadata={"odd": i % 2 == 1}) for i in range(count)]


# ------------------------------------------------------------------------------------------------------------ diversity


def near_duplicates(unit):
    """The cosines `(n, n)` that are nine tenths of the way from what is least like the best to the same, else 0."""
    cosines = unit @ unit.T
    least = cosines[0].min()
    return np.where(cosines >= least + 0.9 * (1 - least), cosines, 0.0)


@given(st.integers(0, 2**31), st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.floats(0, 2))
def test_marginal_relevance_is_what_its_definition_says(seed, count, k, relevance, spread):
    generator = np.random.default_rng(seed)
    gain = generator.random(count)
    few = generator.standard_normal((3, 4))  # about which all others lie
    vectors = few[generator.integers(3, size=count)] + spread * generator.standard_normal((count, 4))
    vectors = vectors.astype(np.float32)
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    redundant = near_duplicates(unit)
    chosen = marginal_relevance(gain, vectors, k, relevance).tolist()
    assert len(set(chosen)) == len(chosen) == min(k, count)
    for step, one in enumerate(chosen):

        def value(at, before=chosen[:step]):
            return relevance * gain[at] - (1 - relevance) * max([0.0, *(redundant[at, other] for other in before)])

        assert value(one) >= max(value(at) for at in range(count) if at not in chosen[:step]) - 1e-9


@given(st.integers(0, 2**31), st.integers(2, 30), st.floats(0, 1), st.floats(0.01, 2))
def test_what_is_no_duplicate_of_a_better_hit_is_never_displaced(seed, count, relevance, spread):
    """A hit of 0.224 stood above one of 0.342 that was like it and no duplicate."""
    generator = np.random.default_rng(seed)
    gain = np.sort(generator.random(count))[::-1]
    few = generator.standard_normal((4, 4))
    vectors = few[generator.integers(4, size=count)] + spread * generator.standard_normal((count, 4))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    redundant = np.tril(near_duplicates(unit), -1) > 0
    place = np.argsort(marginal_relevance(gain, vectors.astype(np.float32), count, relevance))
    for one in np.flatnonzero(~redundant.any(axis=1)):
        assert (place[one] < place[one + 1 :]).all()


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_without_duplicates_the_order_is_that_of_the_scores(shared):
    """Whatever lambda; of models for which every two texts are alike, too."""
    generator = np.random.default_rng(0)
    own = generator.standard_normal((40, 16))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    vectors = np.concatenate([np.sqrt(1 - shared) * own, np.full((40, 1), np.sqrt(shared))], axis=1).astype(np.float32)
    gain = np.linspace(0.342, 0.1, 40)
    for relevance in (0.0, 0.3, 0.5, 1.0):
        assert marginal_relevance(gain, vectors, 40, relevance).tolist() == list(range(40))
    vectors[1] = vectors[0] + 0.02 * vectors[1]
    assert marginal_relevance(gain, vectors, 40, 0.5).tolist() == [0, *range(2, 40), 1]


def test_near_duplicates_make_room(tmp_path):
    with semsearch.create("twins", home=tmp_path, encoder=HashEncoder(32)) as made:
        made.add([Document(f"same{i}", "flour yeast dough") for i in range(5)])
        made.add([Document("other", "flour wave tide"), Document("third", "flour gear saddle")])
        assert {hit.document.id for hit in made.search("flour yeast", 3)} < {f"same{i}" for i in range(5)}
        varied = made.search("flour yeast", 3, mmr_lambda=0.5)
        assert {hit.document.id for hit in varied} == {"same0", "other", "third"}
        assert [hit.rank for hit in varied] == [1, 2, 3]
        plain = made.search("flour yeast", 7)
        assert [hit.document.id for hit in made.search("flour yeast", 7, mmr_lambda=1.0)] == [
            h.document.id for h in plain
        ]


# ---------------------------------------------------------------------------------------------------------- calibration


def test_a_percentile_is_the_share_of_random_pairs_below(collection):
    calibration = Calibration.of(collection.engine.store.settings)
    everything = np.array([encoded(collection, document.text) for document in collection.documents()])
    scores = (everything @ everything.T)[~np.eye(len(everything), dtype=bool)]
    for hit in collection.search("flour yeast dough", 50):
        assert hit.percentile == pytest.approx((scores < hit.score).mean(), abs=0.03)
    beyond = calibration.percentile(np.linspace(calibration.scores[-1], calibration.scores[-1] + 0.2, 50))
    assert (np.diff(beyond) > 0).all()
    assert beyond[0] == pytest.approx(1 - TAIL)
    assert beyond[-1] < 1


def encoded(collection, text):
    return collection.encoder.encode_queries([text])[0]


@settings(max_examples=50)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=30))
def test_percentiles_rise_with_scores(scores):
    calibration = Calibration("m", 100, 1000, tuple(np.linspace(-1, 1, len(LEVELS)).tolist()), 0.05)
    ordered = calibration.percentile(sorted(scores))
    assert (np.diff(ordered) >= 0).all()
    assert ((ordered >= 0) & (ordered <= 1)).all()


class Narrow:
    """As models of the E5 kind: every two texts are alike, cosines live between 0.85 and 1."""

    metric, dim, fingerprint = Metric.COSINE, 33, "narrow"

    def encode_documents(self, texts):
        vectors = HashEncoder(32).encode_queries(texts)
        shared = np.full((len(vectors), 1), np.sqrt(0.9), dtype=np.float32)
        return np.concatenate([np.sqrt(0.1) * vectors, shared], axis=1).astype(np.float32)

    encode_queries = encode_documents


def test_where_all_cosines_are_high_a_percentile_still_tells_good_from_bad(tmp_path):
    with semsearch.create("narrow", home=tmp_path, encoder=Narrow()) as made:
        made.add(documents(300))
        good = made.search(documents(300)[7].text, 1)[0]
        nonsense = made.search("quartz zither xylophone", 1)[0]
        assert min(good.score, nonsense.score) > 0.85  # a minimum for cosines would keep both
        assert good.percentile > 0.999 > nonsense.percentile
        assert made.search("quartz zither xylophone", 5, min_score=0.7)
        assert not made.search("quartz zither xylophone", 5, min_percentile=0.999)
        assert made.search(documents(300)[7].text, 5, min_percentile=0.999)


def test_a_minimum_may_leave_nothing(collection):
    assert collection.search("flour", 5, min_score=0.99) == []
    assert collection.search("flour", 5, min_probability=0.5) == []  # not calibrated on judgements: none can be told
    hits = collection.search("flour yeast", 50)
    middle = hits[25].percentile
    kept = collection.search("flour yeast", 50, min_percentile=middle)
    assert hits[0].percentile > middle > hits[-1].percentile
    assert [hit.document.id for hit in kept] == [hit.document.id for hit in hits if hit.percentile >= middle]


def test_judgements_give_a_probability(collection):
    texts = {document.id: document.text for document in collection.documents()}
    queries = [" ".join(pair) for pair in pairwise(WORDS)]
    judgements = {
        query: {key: int(set(query.split()) <= set(text.split())) for key, text in texts.items()} for query in queries
    }
    calibration = collection.calibrate(judgements)
    assert calibration.judged == 10 * len(queries)
    hits = [hit for found in collection.search_many(queries, 10) for hit in found]
    truth = np.array(
        [set(q.split()) <= set(hit.document.text.split()) for q, hit in zip(np.repeat(queries, 10), hits, strict=True)]
    )
    said = np.array([hit.probability for hit in hits])
    assert said.mean() == pytest.approx(truth.mean(), abs=0.05)
    assert said[truth].mean() > said[~truth].mean()
    collection.add([Document("new", "flour")])
    assert collection.calibrate().judged == calibration.judged  # measuring anew keeps the curve
    with pytest.raises(UsageError, match="all not relevant"):
        collection.calibrate({"flour": {"nothing": 1}})


def test_the_curve_of_probability_is_the_likeliest():
    generator = np.random.default_rng(3)
    scores = generator.normal(0.5, 0.2, 4000)
    relevant = generator.random(4000) < 1 / (1 + np.exp(-(9 * scores - 5)))
    slope, intercept = fit(scores, relevant)
    assert slope == pytest.approx(9, abs=0.6)
    assert intercept == pytest.approx(-5, abs=0.4)
    perfect, _ = fit([0.1, 0.2, 0.8, 0.9], [False, False, True, True])
    assert np.isfinite(perfect)
    assert perfect > 0


def test_calibration_is_done_when_a_collection_doubled(tmp_path):
    with semsearch.create("growing", home=tmp_path, encoder=HashEncoder(32)) as made:
        made.add(documents(10))
        assert made.info()["calibration"] is None
        assert made.search("flour", 1)[0].percentile is None
        made.add(documents(40))
        first = Calibration.of(made.engine.store.settings)
        assert first.passages == 40
        made.add(documents(60))
        assert Calibration.of(made.engine.store.settings) == first
        made.add(documents(90))
        assert Calibration.of(made.engine.store.settings).passages == 90
        made.reencode(HashEncoder(32, salt=5))
        assert Calibration.of(made.engine.store.settings).model == "hash-32-5"


def test_removing_opens_no_model_to_calibrate(tmp_path):
    with semsearch.create("own", home=tmp_path, encoder=HashEncoder(32)) as made:
        made.add(documents(40))
        made.engine.store.set("calibration", None)
    with semsearch.open("own", home=tmp_path) as made:  # without the object that encodes
        assert made.remove(["d1"]) == 1
        assert Calibration.of(made.engine.store.settings) is None
    with semsearch.open("own", home=tmp_path, encoder=HashEncoder(32)) as made:
        made.add(documents(41)[40:])
        assert Calibration.of(made.engine.store.settings).passages == 40


# ------------------------------------------------------------------------------------------------- likeness, neighbours


def test_similar_finds_the_like_and_not_the_given(collection):
    hits = collection.similar(["d3"], 5)
    assert "d3" not in {hit.document.id for hit in hits}
    vector = encoded(collection, collection.get(["d3"])[0].text)
    expected = [hit.document.id for hit in collection.search(vector=vector, k=6) if hit.document.id != "d3"][:5]
    assert [hit.document.id for hit in hits] == expected
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]


def test_examples_and_counterexamples_make_one_vector(collection):
    like, unlike = (encoded(collection, text) for text in ("flour yeast", "wave tide"))
    mixed = like - 0.5 * unlike
    expected = [hit.document.id for hit in collection.search(vector=mixed, k=5)]
    found = collection.similar(queries=["flour yeast"], against=["wave tide"], k=5)
    assert [hit.document.id for hit in found] == expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "no example"),
        ({"ids": ["nowhere"]}, "no document 'nowhere'"),
        ({"ids": "d3"}, "come in lists"),
        ({"ids": ["d3"], "mode": "hybrid"}, "reads the words"),
    ],
)
def test_likeness_that_can_not_be(collection, arguments, said):
    with pytest.raises(UsageError, match=said):
        collection.similar(**arguments)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "psychic"}, "mode must be one of"),
        ({"group_by": "author"}, "group_by must be"),
        ({"mmr_lambda": 2}, "mmr_lambda must be between"),
        ({"mode": "hybrid", "dense_weight": 1.5}, "dense_weight must be between"),
        ({"dense_weight": 0.5}, "needs the mode 'hybrid', not 'dense'"),
        ({"alpha": 0.5}, r"no option 'alpha'\. Did you mean 'dense_weight'\?"),
        ({"candidates": 0}, "candidates must be"),
        ({"context": -1}, "context must be"),
        ({"rerank": 3.5}, "rerank takes"),
        ({"colour": "red"}, r"no option 'colour'\. There are candidates, context, dense_weight, exact,"),
        ({"limit": 3}, r"no option 'limit'\. Did you mean 'k'\?"),
        ({"filter": {}}, r"no option 'filter'\. Did you mean 'where'\?"),
        ({"diverse": 0.5}, r"no option 'diverse'\. Did you mean 'mmr_lambda'\?"),
        ({"expalin": True}, r"no option 'expalin'\. Did you mean 'explain'\?"),
    ],
)
def test_a_request_that_can_not_be(collection, options, said):
    with pytest.raises(UsageError, match=said):
        collection.search("flour", 3, **options)


class Longest:
    """A reranker that prefers long texts."""

    def score(self, query, texts):
        return np.array([float(len(text)) for text in texts], dtype=np.float32)


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
def test_what_is_excluded_is_not_asked_of_a_reranker(collection, mode):
    asked = []

    class Recording:
        def score(self, query, texts):
            asked.append(query)
            return [0.0] * len(texts)

    collection.search('+"flour" yeast -wave', 3, mode=mode, rerank=Recording())
    assert asked == ["flour yeast"]
    collection.search("flour -wave", 3, mode="dense", rerank=Recording())
    assert asked[1:] == ["flour -wave"], "that is a text like any other"


def test_a_reranker_has_the_last_word_over_the_candidates(collection):
    plain = collection.search("flour yeast", 20)
    hits = collection.search("flour yeast", 5, rerank=Longest(), candidates=20)
    expected = sorted(plain, key=lambda hit: -len(hit.document.text))[:5]
    assert [hit.document.id for hit in hits] == [hit.document.id for hit in expected]
    for rank, hit in enumerate(hits, start=1):
        before = next(one for one in plain if one.document.id == hit.document.id)
        assert (hit.rank, hit.score, hit.scores["rerank"]) == (rank, len(hit.document.text), len(hit.document.text))
        assert (hit.scores["dense"], hit.ranks["dense"]) == (before.score, before.rank)


# ---------------------------------------------------------------------------------------------------------------- modes


def test_each_mode_is_what_its_parts_say(collection):
    query = "flour dough tide"
    dense = collection.search(query, 100)
    by_words = {hit.document.id: hit for hit in collection.search(query, 200, mode="lexical")}
    words = set(by_words)
    lexical = list(by_words.values())
    for document in collection.documents():
        assert (document.id in words) == bool(set(query.split()) & set(document.text.split()))
    scores = [hit.score for hit in lexical]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0
    by_meaning = {hit.document.id: hit for hit in dense}
    keys = {hit.document.id: hit.key for hit in (*dense, *lexical)}
    names = {key: name for name, key in keys.items()}
    everything = {hit.document.id: hit for hit in collection.search(query, 200)}
    others = [everything[hit.document.id] for hit in lexical[:100] if hit.document.id not in by_meaning]
    meant = _list(sorted([*dense, *others], key=lambda hit: -hit.score))
    worded = _list([hit for hit in lexical if hit.document.id in by_meaning or hit.rank <= 100])
    weighed = balance(meant[1], worded[1])
    expected, fused = fuse(meant, worded, weight=weighed.weight)
    found = collection.search(query, 20, mode="hybrid")
    assert {hit.balance for hit in found} == {weighed}
    assert {hit.balance for hit in (*dense, *lexical)} == {None}
    assert [hit.document.id for hit in found] == [names[key] for key in expected[:20].tolist()]
    np.testing.assert_allclose([hit.score for hit in found], fused[:20])
    for hit in found:
        name = hit.document.id
        assert ("dense" in hit.ranks, "lexical" in hit.ranks) == (name in by_meaning, name in by_words)
        assert hit.scores["dense"] == pytest.approx(
            float(encoded(collection, query) @ encoded(collection, hit.text)), abs=1e-5
        )
        if name in by_words:
            assert (hit.scores["lexical"], hit.ranks["lexical"]) == (by_words[name].score, by_words[name].rank)
        assert ("lexical" in hit.found) == (name in by_words)
        assert hit.percentile is not None


def _list(hits):
    return np.array([hit.key for hit in hits]), np.array([hit.score for hit in hits], dtype=np.float32)


def test_a_filter_holds_in_every_mode(collection):
    for mode in ("dense", "lexical", "hybrid"):
        hits = collection.search("flour yeast", 10, mode=mode, where={"odd": True})
        assert hits
        assert all(hit.document.metadata["odd"] for hit in hits)


def test_phrases_and_exclusions_hold_in_both_parts(collection):
    phrase = " ".join(collection.get(["d5"])[0].text.split()[2:4])
    for mode in ("lexical", "hybrid"):
        hits = collection.search(f'"{phrase}"', 100, mode=mode)
        assert "d5" in {hit.document.id for hit in hits}
        assert all(phrase in hit.text for hit in hits)
        without = collection.search("flour -yeast", 100, mode=mode)
        assert without
        assert not any("yeast" in hit.text for hit in without)


def test_a_lexical_search_opens_no_model(tmp_path):
    class Closed(HashEncoder):
        def encode_queries(self, texts):
            raise AssertionError("a lexical search encodes nothing")

        def encode_documents(self, texts):
            return HashEncoder(16).encode_documents(texts)

    with semsearch.create("words", home=tmp_path, encoder=Closed(16)) as made:
        made.add(documents(20))
        assert made.search("flour", 3, mode="lexical")


def test_a_query_without_any_known_word(collection):
    assert collection.search("xyzzy", 5, mode="lexical") == []
    assert len(collection.search("xyzzy", 5, mode="hybrid")) == 5


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.text(st.characters(codec="utf-8"), max_size=40).filter(lambda text: not is_empty(text)),
    mode=st.sampled_from(["lexical", "hybrid"]),
)
def test_any_text_is_a_query(collection, text, mode):
    for hit in collection.search(text, 3, mode=mode):
        assert hit.document.id.startswith("d")


MANY_LETTERS = "".join(chr(0x4E00 + number) for number in range(10_002))
MANY_WORDS = " ".join(f"w{number}" for number in range(10_001))
TOO_LONG = {
    "characters": ("a" * 1_000_001, "a query has 1,000,001 characters; at most 1,000,000 are read"),
    "words": (MANY_WORDS, "a query has 10,001 words; at most 10,000 are looked up"),
    "words without blanks": (MANY_WORDS.replace(" ", "."), "a query has 10,001 words"),
    "letters": (MANY_LETTERS, "a query has 10,001 words"),
    "a phrase of letters": (f'"{MANY_LETTERS}"', "a query has 10,001 words"),
    "an exclusion of letters": (f"flour -{MANY_LETTERS}", "a query has 10,002 words"),
    "a phrase": (f'"{MANY_WORDS}"', "a query has 10,001 words"),
    "phrases": ('"a" ' * 101, r"a query has 101 phrases .* and exclusions .*; at most 100 are looked up"),
    "phrases in prose": ("who said it? " + '"a" ' * 101, "a query has 101 phrases"),
    "both": ("a " + '"a" ' * 60 + "-bad " * 41, "a query has 101 phrases"),
    "exclusions": ("a " + "-bad " * 101, "a query has 101 phrases"),
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("kind", TOO_LONG)
def test_a_query_has_limits(collection, kind, mode):
    query, said = TOO_LONG[kind]
    if mode == "dense" and kind != "characters":  # no word is looked up
        assert collection.search(query, 3)
        return
    with pytest.raises(UsageError, match=said) as caught:
        collection.search_many(["flour", query], 3, mode=mode)
    assert len(str(caught.value)) < 300


@pytest.mark.slow
def test_the_longest_queries_are_answered(collection):
    assert collection.search("flour " * 166_666, 3)
    letters = MANY_LETTERS[:9_000]
    for query in (
        f"flour {letters}",
        f'flour "{letters}" and more of it all',
        f"flour -{letters}",
        "flour " * 10_000,
        "flour " + '"flour" ' * 99,
        "flour " + "-xyzzy " * 99,
        '"…" ' * 500 + "flour",
        f"flour {'-' * 100_000}",
    ):
        assert collection.search(query, 3, mode="lexical"), query[:20]
    with pytest.raises(UsageError, match="1,000,001 characters"):
        collection.similar(queries=["a" * 1_000_001])


@pytest.mark.parametrize("mode", ["lexical", "hybrid"])
@pytest.mark.parametrize(
    "text", ["flour\0dough", "\0 x", "flour\ud800", '"flour\0 dough" x', '-"\0" flour', '"\ud800" flour']
)
def test_what_is_no_letter_is_none_in_a_query(collection, text, mode):
    assert isinstance(collection.search(text, 3, mode=mode), list)


# --------------------------------------------------------------------------------------------------------- explanations


def test_an_encoder_that_shows_no_tokens_is_told_apart(collection):
    explanation = collection.search("flour", 1, explain=True)[0].explanation
    assert explanation.parts is None
    assert "HashEncoder" in explanation.why
    assert explanation.way == "proposed by the index and scored exactly"


def test_a_fused_hit_says_what_meaning_and_words_count(collection):
    """The first of all: its ranks, and shares that its contrasts tell."""
    (hit,) = collection.search("flour dough tide", 1, mode="hybrid", explain=True)
    weight, by_meaning, by_words, asked = hit.balance
    assert not asked
    assert weight == pytest.approx(by_meaning / (by_meaning + LEXICAL_FACTOR * by_words))
    assert hit.explanation.way.endswith(
        f"; meaning counts {weight:.0%} and words {1 - weight:.0%}, as the best by meaning stands out by "
        f"{by_meaning:.2f} and the best by words by {by_words:.2f}"
    )
    told = json.loads(wire.dumps(wire.hit(hit)))["explanation"]["balance"]
    assert told == pytest.approx({"weight": weight, "dense": by_meaning, "lexical": by_words, "asked": False})
    (hit,) = collection.search("flour dough tide", 1, mode="hybrid", dense_weight=0.25, explain=True)
    assert hit.balance == (0.25, by_meaning, by_words, True)
    assert hit.explanation.way.endswith("; meaning counts 25% and words 75%, as was asked")


def test_the_weight_of_meaning_may_be_asked_for(collection):
    query = "flour dough tide"
    for weight, mode in ((0.0, "lexical"), (1.0, "dense")):
        found = collection.search(query, 20, mode="hybrid", dense_weight=weight)
        assert [hit.id for hit in found] == [hit.id for hit in collection.search(query, 20, mode=mode)]


def test_parts_add_up_to_the_cosine(tmp_path, model):
    with semsearch.create("split", home=tmp_path, encoder=str(model)) as made:
        made.add(
            [
                Document("a", "the cat sat on the mat. " * 30, title="cats, dogs"),
                Document("b", "water boils at sea level", title=""),
            ]
        )
        exact = semsearch.load_encoder(str(model), dtype="float32")
        for query in ("cat", "why does water boil"):
            for hit in made.search(query, 4, explain=True, group_by=None):
                explanation = hit.explanation
                assert sum(part.weight for part in explanation.parts) == pytest.approx(explanation.cosine, abs=1e-5)
                title = f"{hit.document.title} " if hit.document.title else ""
                pair = exact.encode_queries([query])[0] @ exact.encode_documents([title + hit.text])[0]
                assert explanation.cosine == pytest.approx(float(pair), abs=1e-5)
                assert explanation.difference == pytest.approx(hit.score - explanation.cosine)
                for part in explanation.parts:
                    whole = hit.document.title if part.field == "title" else hit.document.text
                    assert 0 <= part.start <= part.end <= len(whole)
                    if part.field == "text":
                        assert hit.start <= part.start < part.end <= hit.end
                assert {part.field for part in explanation.parts} >= {"special", "text"}


def test_a_model_that_pools_otherwise_is_told_apart(tmp_path):
    folder = tiny.bert(tmp_path / "cls")
    tiny.pooling(folder / "1_Pooling", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
    tiny.modules_json(folder, ("", f"{tiny.OLD}Transformer"), ("1_Pooling", f"{tiny.OLD}Pooling"))
    with semsearch.create("cls", home=tmp_path / "home", encoder=str(folder)) as made:
        made.add([Document("a", "the cat sat on the mat.")])
        explanation = made.search("cat", 1, explain=True)[0].explanation
        assert explanation.parts is None
        assert "pools by cls" in explanation.why


def test_neighbours_of_a_passage_are_its_documents(tmp_path, model):
    text = " ".join(f"Sentence number {i} is the cat on the river." for i in range(120))
    with semsearch.create("long", home=tmp_path, encoder=str(model)) as made:
        made.add([Document("long", text), Document("short", "flour")])
        passages = sorted(
            (hit.start, hit.end) for hit in made.search("cat", 50, group_by=None) if hit.document.id == "long"
        )
        assert len(passages) > 3
        for hit in made.search("cat", 50, group_by=None, context=1):
            if hit.document.id == "short":
                assert (hit.context.start, hit.context.end) == (0, 5)
                continue
            place = passages.index((hit.start, hit.end))
            before, after = max(place - 1, 0), min(place + 1, len(passages) - 1)
            assert (hit.context.start, hit.context.end) == (passages[before][0], passages[after][1])
        json.dumps(made.info())


def test_distances_are_not_split(tmp_path):
    with semsearch.create("far", home=tmp_path, encoder=None, dim=3, metric=Metric.L2) as made:
        made.add([Document("a", "x"), Document("b", "y")], vectors=[[0, 0, 0], [1, 1, 1]])
        with pytest.raises(UsageError, match="reads the words"):
            made.search(vector=[0, 0, 0], k=1, explain=True)
        assert made.search(vector=[0, 0, 0.1], k=1)[0].document.id == "a"


@pytest.fixture
def collections():
    """How often garbage is collected, after every ten new objects that stay."""
    begun = []
    thresholds = gc.get_threshold()
    gc.callbacks.append(lambda phase, info: begun.append(info["generation"]) if phase == "start" else None)
    gc.set_threshold(10)
    yield begun
    gc.set_threshold(*thresholds)
    gc.callbacks.pop()
    gc.enable()


def test_many_hits_are_made_without_collecting_garbage_and_the_collector_is_as_before(collections):
    with semsearch.create("garbage", encoder=None, dim=4) as collection:
        vectors = np.random.default_rng(0).random((1500, 4)) + 0.1
        collection.add([Document(str(i), f"text {i}") for i in range(1500)], vectors=vectors)
        for enabled in (gc.enable, gc.disable):
            enabled()
            before = gc.isenabled()
            collections.clear()
            assert len(collection.search(vector=np.ones(4), k=1500)) == 1500
            assert len(collections) < 750  # some 420; 1,180 where nothing holds the collector off
            assert gc.isenabled() == before
