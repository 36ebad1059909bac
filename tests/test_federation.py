"""Several collections asked at once: one order of their hits that no model's scale decides; as commands, too."""

import json
import math
import pickle
from itertools import pairwise

import numpy as np
import pytest
from support.command_line import corpus, run, tiny_model
from support.fakes import HashEncoder

import semsearch
from semsearch.cli.query import asked
from semsearch.cli.repl import Session
from semsearch.errors import CollectionNotFound, FilterError, UsageError
from semsearch.federation import STAGE, Federation
from semsearch.home import Home
from semsearch.search.calibration import LEVELS, TAIL, Calibration
from semsearch.types import Document

WORDS = [f"word{number}" for number in range(60)]


class Squeezed(HashEncoder):
    """Other words of the same texts, all near to each other: a score of 0.95 is chance."""

    def _squeezed(self, vectors):
        vectors = vectors * 0.3
        vectors[:, 0] += 1.0
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def __init__(self, dim):
        super().__init__(dim, salt=1)

    def encode_documents(self, texts):
        return self._squeezed(super().encode_documents(texts))

    def encode_queries(self, texts):
        return self._squeezed(super().encode_queries(texts))


def documents(seed, count=80, **metadata):
    generator = np.random.default_rng(seed)
    return [Document(f"d{number}", " ".join(generator.choice(WORDS, 6)), metadata=metadata) for number in range(count)]


def made(name, encoder, *more, seed=0, count=80, **metadata):
    collection = semsearch.create(name, encoder=encoder)
    collection.add([*documents(seed, count, **metadata), *more])
    return collection


@pytest.fixture
def two():
    """Collections of two models; each holds one text of the query's very words."""
    query = "word1 word2 word3 word4"
    with (
        made("wide", HashEncoder(16), Document("right", query), seed=1, year=1990) as wide,
        made("narrow", Squeezed(16), Document("right too", query), seed=2, studio="x") as narrow,
    ):
        yield Federation([wide, narrow]), query


def test_the_scale_of_a_model_decides_nothing(two):
    both, query = two
    raw = sorted((hit for one in both.collections for hit in one.search(query, 5)), key=lambda hit: -hit.score)
    assert {hit.id[0] for hit in raw[:3]} != {"r"}
    assert min(hit.score for hit in both.collections[1].search(query, 5)) > 0.8, "chance of one is much of the other"
    hits = both.search(query, k=6)
    assert [(hit.collection, hit.id) for hit in hits[:2]] in (
        [("wide", "right"), ("narrow", "right too")],
        [("narrow", "right too"), ("wide", "right")],
    )
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5, 6]
    assert all(a.score >= b.score for a, b in pairwise(hits))
    chance = [hit.collection for hit in both.search(query, k=62)[2:]]
    assert min(chance.count("wide"), chance.count("narrow")) > 15, "chance is chance in both"
    for hit in hits:
        assert hit.score == hit.scores[STAGE]
        assert -1 <= hit.scores["dense"] <= 1.0001


def test_scores_do_not_tie_at_the_top():
    calibration = Calibration("m", 100, 1000, tuple(np.linspace(0, 0.5, len(LEVELS)).tolist()), 0.01)
    scores = [0.5, 0.9, 0.95, 0.999, 1.0]
    assert len(set(calibration.percentile(scores).tolist())) < len(scores), "which is why percentiles don't compare"
    logs = calibration.log_tail(scores)
    assert (np.diff(logs) < 0).all()
    assert logs[0] == pytest.approx(math.log(TAIL))
    below = calibration.log_tail([0.1, 0.3])
    assert np.exp(below) == pytest.approx(1 - calibration.percentile([0.1, 0.3]))


def test_collections_of_one_model_keep_the_order_of_their_scores():
    with made("a", HashEncoder(16), seed=1) as a, made("b", HashEncoder(16), seed=2, count=200) as b:
        hits = Federation([a, b]).search("word1 word2 word3", k=20)
        dense = [hit.scores["dense"] for hit in hits]
        assert dense == sorted(dense, reverse=True)
        merged = sorted((hit.score for one in (a, b) for hit in one.search("word1 word2 word3", 20)), reverse=True)
        assert dense == merged[:20]
        assert {hit.collection for hit in hits} == {"a", "b"}


def test_a_collection_too_small_to_calibrate_stands_with_its_model_or_last():
    query = "word1 word2"
    with (
        made("big", HashEncoder(16), seed=1) as big,
        made("small", HashEncoder(16), Document("right", query), count=3) as small,
        made("other", Squeezed(16), Document("right", query), count=3) as other,
    ):
        hits = Federation([big, small]).search(query, k=3)
        assert (hits[0].collection, hits.notes) == ("small", ())
        hits = Federation([other, big]).search(query, k=200)
        assert [hit.collection for hit in hits] == ["big"] * 80 + ["other"] * 4
        assert "other comes last: it has too few passages" in hits.notes[0]
        hits = Federation([small]).search(query, k=2)
        assert (hits[0].id, STAGE in hits[0].scores) == ("right", False)


def test_hybrid_keeps_the_order_of_each(two):
    both, query = two
    hits = both.search(f"{query} word30", k=40, mode="hybrid")
    for one in both.collections:
        own = [hit.id for hit in one.search(f"{query} word30", k=40, mode="hybrid")]
        found = [hit.id for hit in hits if hit.collection == one.name]
        assert found == own[: len(found)]
        assert found


def test_words_alone_do_not_compare(two):
    both, query = two
    with pytest.raises(UsageError, match="several can't be asked in the mode 'lexical'"):
        both.search(query, mode="lexical")


def test_what_a_cross_encoder_scored_is_compared_as_it_is(two):
    class Longest:
        def score(self, query, texts):
            return np.array([len(text) for text in texts], dtype=np.float32)

    both, query = two
    for mode in ("dense", "lexical"):
        hits = both.search(query, k=8, rerank=Longest(), mode=mode)
        assert [hit.score for hit in hits] == sorted((hit.scores["rerank"] for hit in hits), reverse=True)
        assert STAGE not in hits[0].scores


def test_one_that_cannot_be_asked_is_told_and_the_others_answer(two):
    both, query = two
    hits = both.search(query, where="year = 1990", k=3)
    assert {hit.collection for hit in hits} == {"wide"}
    assert hits.notes[0].startswith("narrow is left out: ")
    with pytest.raises(FilterError, match="nosuch"):
        both.search(query, where="nosuch = 1")
    with pytest.raises(UsageError, match="k must be"):
        both.search(query, k=0)


def test_what_all_collections_say_is_told_once_and_of_some_with_their_names():
    with (
        made("a", HashEncoder(16), seed=1) as a,
        made("b", HashEncoder(16), seed=2) as b,
        made("c", HashEncoder(16), Document("other", "elsewhere"), seed=3) as c,
    ):
        unknown = "no word of the query is found: these are answers by meaning alone."
        assert Federation([a, b]).search("elsewhere", mode="hybrid").notes == (unknown,)
        assert Federation([a, c, b]).search("elsewhere", mode="hybrid").notes == (f"a, b: {unknown}",)


def test_many_queries_and_timings(two):
    both, query = two
    timings = {}
    answers = both.search_many([query, "word7"], 2, timings=timings)
    assert [len(hits) for hits in answers] == [2, 2]
    assert answers[0] == both.search(query, 2)
    assert {"encode", "search", "merge"} <= timings.keys()


def test_the_function(two, tmp_path):
    both, query = two
    encoders = both.collections
    hits = semsearch.search(encoders, query, k=2)
    assert {hit.id for hit in hits} == {"right", "right too"}
    assert hits == both.search(query, 2)
    for wrong, sentence in [
        ("wide", "names of collections come in a list"),
        ([], "there is no collection to ask"),
        ([encoders[0], encoders[0]], "named twice: wide, wide"),
        ([3], "takes collections, or their names, and not a number"),
        (7, "search takes a list of collections"),
    ]:
        with pytest.raises(UsageError, match=sentence):
            semsearch.search(wrong, query)
    with pytest.raises(CollectionNotFound, match=r"'nosuch'.*narrow, wide"):
        semsearch.search(["wide", "nosuch"], query)


# --------------------------------------------------------------------------------------------- as commands, by name


@pytest.fixture
def home(tmp_path):
    """Two collections of forty documents each, and one whose name comes after them."""
    model = tiny_model(tmp_path / "model")
    for name in ("films", "papers"):
        (tmp_path / name).mkdir()
        ended = run("index", corpus(tmp_path / name, f"{name}.jsonl"), "-m", model)
        assert ended.code == 0, ended.err
    return Home.of(None)


def test_names_are_opened_and_closed_and_hits_stay_whole(home):
    hits = semsearch.search(["films", "papers"], "whale storm", k=4)
    assert [hit.id for hit in hits] == [hit.id for hit in semsearch.search(None, "whale storm", k=4)]
    assert {hit.collection for hit in hits} == {"films", "papers"}
    assert all(hit.place.path.endswith(f"{hit.collection}.jsonl") and hit.document.text for hit in hits)
    assert pickle.loads(pickle.dumps(hits[0])).place == hits[0].place


def test_the_command(home):
    for names in (["films,papers"], ["films, papers"], ["--all"]):
        ended = run("query", *names, "whale storm", "-k", 4)
        rows = [line.split("\t") for line in ended.lines]
        assert ended.code == 0
        assert {row[2] for row in rows} == {"films", "papers"}
        assert all(row[6].rsplit("/", 1)[1].startswith(row[2]) for row in rows)
    answer = json.loads(run("query", "films,papers", "whale", "--json").out)
    assert {hit["collection"] for hit in answer["hits"]} == {"films", "papers"}
    header, line = run("query", "films,papers", "whale", "-k", 1, "-o", "tsv").lines
    assert (header.split("\t")[-1], line.split("\t")[-1] in ("films", "papers")) == ("collection", True)
    many = run("query", "--all", "-", "-k", 1, stdin=b"whale\ndough\n")
    assert [line.split("\t")[0] for line in many.lines] == ["1", "2"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["films,nosuch", "whale"], "no collection 'nosuch'"),
        (["films,", "whale"], "a name is missing beside a comma"),
        (["films,papers", "whale", "-o", "ids"], "ids alone don't tell"),
        (["--all", "films", "whale"], "--all asks all collections"),
        (["films,papers", "whale", "--compare-exact"], "name just that"),
        (["films,papers", "whale", "--mode", "lexical"], "choose 'hybrid' or 'dense'"),
        (["films,films", "whale"], "named twice"),
    ],
)
def test_what_can_not_be_asked(home, arguments, sentence):
    ended = run("query", *arguments)
    assert ended.code in (2, 4)
    assert sentence in ended.err


def test_a_comma_in_a_question_is_a_comma(home):
    with pytest.raises(UsageError, match="there are 2 collections"):
        asked(["whales, and storms"], home, False)
    assert asked(["films,papers"], home, False) == (["films", "papers"], None)
    assert asked(["whales, and storms"], home, True) == (None, "whales, and storms")
    assert asked(["films", "a, b"], home, False) == (["films"], "a, b")


def test_use_in_the_interactive_query(home, capsys):
    lines = b":use\nwhale\n:use papers\nwhale\n:use all\nwhale\n:similar 1\n:info\n:compare\n:use nosuch\nquit\nwhale\n"
    ended = run("query", "films", "-k", 1, stdin=lines)
    assert ended.code == 0
    rows = [line.split("\t") for line in ended.lines]
    assert [row[2] for row in rows[:2]] == [row[2] for row in rows[:2]]
    assert [len(row) for row in rows[:2]] == [7, 7]  # the line's number goes before
    assert rows[2][3] in ("films", "papers")
    assert rows[3][2] in ("films", "papers")
    said = ended.err.splitlines()
    assert said[0] == "asking films; there are: films, papers"
    assert said[1] == "asking papers: 40 documents"
    assert said[2] == "asking films,papers: 80 documents"
    assert "what the index misses is told of one collection" in said[3]
    assert "no collection 'nosuch'" in said[4]
    assert "papers.documents\t40" in ended.out


@pytest.mark.parametrize("line", [":q", ":quit", ":exit", "exit", "quit"])
def test_ways_to_leave(home, line):
    ended = run("query", "films", "-k", 1, stdin=f"{line}\nwhale\n".encode())
    assert (ended.code, ended.out) == (0, "")


def test_what_is_used_is_closed_in_the_end(home):
    from functools import partial

    from semsearch.cli.parameters import ComputeOptions
    from semsearch.cli.query import open_asked

    with semsearch.open("films") as films:
        session = Session(films, home=home, opener=partial(open_asked, home=home, compute=ComputeOptions()))
        session.use(["papers"])
        papers = session.collection
        session.use(None)
        with pytest.raises(semsearch.CollectionClosed):
            len(papers)
        assert len(films) == 40


class Counting(HashEncoder):
    """Counts the texts of queries that it is given."""

    asked = 0

    def encode_queries(self, texts):
        self.asked += len(texts)
        return super().encode_queries(texts)


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_a_query_is_encoded_once_for_each_model(mode):
    one, other = Counting(16), Counting(16, salt=1)
    models = {"a": one, "b": one, "c": other, "d": one}
    made_each = {name: made(name, model, seed=seed) for seed, (name, model) in enumerate(models.items())}
    alone = {name: collection.search("word1 word2", 3, mode=mode) for name, collection in made_each.items()}
    one.asked = other.asked = 0
    together = Federation(made_each.values())
    answers = together.search_many((query for query in ("word1 word2", "word3")), 400, mode=mode)
    assert (one.asked, other.asked) == (2, 2)
    for name, hits in alone.items():
        own = [hit.id for hit in answers[0] if hit.collection == name]
        assert own[:3] == [hit.id for hit in hits]
    assert [len(hits) for hits in answers] == [320, 320]
    for collection in made_each.values():
        collection.close()


def test_what_can_be_gone_through_once_is_gone_through_for_each(two):
    both, query = two
    wanted = [[hit.id for hit in hits] for hits in both.search_many([query], where="year in (1990) or studio exists")]
    assert wanted[0]
    where = {"$or": iter([{"year": {"$in": iter([1990])}}, {"studio": {"$exists": True}}])}
    found = both.search_many(map(str, [query]), where=where)
    assert [[hit.id for hit in hits] for hits in found] == wanted
    with pytest.raises(UsageError, match="takes a list of queries"):
        both.search_many(query)
    with pytest.raises(UsageError, match=r"has no field 'yaer'; there are: studio, year\. Did you mean 'year'"):
        both.values("yaer")
    assert both.values("year") == [1990]
    assert both.field_types("studio") == {"text"}
