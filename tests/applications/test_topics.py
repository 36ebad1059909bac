"""Topics: named by what tells them apart, in any script, with passages, over time; as page, table and JSON."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from support.command_line import run

import semsearch
from semsearch.applications import periods as periods_module
from semsearch.applications.periods import Periods
from semsearch.applications.topic_words import TopicTerms, written
from semsearch.applications.topics_page import topics_page
from semsearch.errors import UsageError

TEXTS = {
    "bread": ["The dough and the oven of the baker", "An oven bakes the dough", "Yeast lifts the dough in the oven"],
    "ocean": ["The whale and the tide of the reef", "A whale swims with the tide", "The tide covers the reef, whale"],
    "机器": ["机器学习的模型", "我爱机器学习", "机器学习很好"],
}
NASTY = "</script><img src=x onerror=alert(1)><script>alert(1)</script>\u202e & \" '"


@pytest.fixture(params=["file", "memory"])
def home(request, tmp_path, monkeypatch):
    if request.param == "file":
        return tmp_path / "collections"
    from semsearch.testing.memory import MemoryHome

    monkeypatch.setattr(MemoryHome, "_engines", {})
    return "memory://"


def made(home, texts, vectors, **more):
    collection = semsearch.create("notes", home=home, encoder=None, dim=len(vectors[0]))
    documents = [
        semsearch.Document(f"d{at}", text, **{k: v[at] for k, v in more.items()}) for at, text in enumerate(texts)
    ]
    collection.add(documents, vectors=np.asarray(vectors, dtype=np.float32))
    return collection


def subjects(home, **more):
    texts = [text for own in TEXTS.values() for text in own]
    vectors = np.repeat(np.eye(3), 3, axis=0) + np.random.default_rng(0).normal(0, 0.01, (9, 3))
    return made(home, texts, vectors, **more)


def communities(collection, **more):
    return collection.topics("communities", min_score=0.8, min_size=2, **more)


def test_topics_are_named_by_what_tells_them_apart(home):
    found = communities(subjects(home))
    assert len(found) == 3
    by_first = {topic.words[0].text: topic for topic in found}
    assert set(by_first) == {"dough", "tide", "机器学习"}
    bread = next(topic for topic in found if "dough" in topic.name)
    assert {"dough", "oven"} <= {word.text for word in bread.words[:2]}
    assert not {"the", "The", "of", "and"} & {word.text for topic in found for word in topic.words}
    assert bread.size == 3
    assert {one.id for one in bread.standing} == {"d0", "d1", "d2"}
    assert bread.standing[0].passage in TEXTS["bread"]
    assert [word.weight for word in bread.words] == sorted((word.weight for word in bread.words), reverse=True)


def test_weights_are_class_based_tf_idf_times_the_root_of_documents():
    terms = TopicTerms(2, ())
    terms.add(0, "whale whale tide")
    terms.add(0, "whale reef")
    terms.add(1, "oven tide")
    found = dict(terms.best(10)[0])
    assert found["whale"] == pytest.approx(2**1.5 / 4 * np.log(1 + 3 / 2))  # d = 2 of 4; f = 2; A = (4 + 2) / 2
    assert found["reef"] == pytest.approx(1 / 4 * np.log(1 + 3 / 1))
    assert "tide" not in found  # one in two documents of the topic, one in one of the other


def test_counts_are_bounded_and_what_is_frequent_stays():
    terms = TopicTerms(1, (), most=1000)
    for number in range(2000):
        terms.add(0, f"whale tide w{number}a w{number}b")
    assert terms.forgotten > 0
    assert sum(map(len, terms._counts)) <= 1000
    assert [term for term, _ in terms.best(2)[0]] == ["tide", "whale"]


@pytest.mark.parametrize(
    ("text", "terms", "word"),
    [
        ("我爱机器学习。机器学习好", ["机器", "器学", "学习"], "机器学习"),
        ("การเรียนรู้ของเครื่อง", ["เรี", "รีย"], None),
        ("Quora and quora, Quora", ["quora"], "Quora"),
        ("didn't", ["didn"], "didn"),
        ("x" * 500, [f"{'x' * 128}"], None),
    ],
)
def test_words_are_as_they_are_mostly_written(text, terms, word):
    found = written([(term, 1.0) for term in terms], [text], ())
    assert len(found) >= 1
    assert all(0 < len(one.text) <= 128 for one in found)
    if word is not None:
        assert found[0].text == word


@pytest.mark.parametrize("texts", [["…", "!!!", "—", "?"], ["same"] * 4, ["\u202e…", "!", "?", "…"]])
def test_texts_without_words_and_the_same_texts_have_topics(home, texts):
    found = communities(made(home, texts, [[1, 0], [1, 0.01], [0, 1], [0.01, 1]]))
    assert len(found) == 2
    assert len(set(found.names)) == 2
    assert topics_page(found, "notes").startswith("<!doctype html>")


def test_an_empty_collection_one_document_and_equal_vectors(home):
    with semsearch.create("empty", home=home, encoder=None, dim=2) as empty:
        assert len(communities(empty)) == 0
        assert len(empty.topics()) == 0
        assert "0 topics" in topics_page(empty.topics(), "empty")
    one = made(home, ["whale"], [[1.0, 0.0]])
    pytest.importorskip("faiss")
    found = one.topics()
    assert (found.names, found[0].size, found.clusters.labels.tolist()) == (["whale"], 1, [0])
    semsearch.drop("notes", home=home)
    same = made(home, [f"whale number {at}" for at in range(20)], [[1.0, 0.0]] * 20)
    found = same.topics(count=3)
    assert sum(topic.size for topic in found) == 20
    assert "whale" in found[0].name


def test_nonsense_is_refused_before_anything_is_read(home):
    collection = subjects(home)
    for wrong in ({"method": "magic"}, {"method": "communities", "count": 3}, {"min_score": 0.5}, {"count": 0}):
        with pytest.raises(UsageError):
            collection.topics(**wrong)
    with pytest.raises(UsageError, match="'absent'"):
        communities(collection, over="absent")


def test_documents_are_counted_over_time(home):
    dates = ["2024-01-31", "2024-02-01T23:00:00-05:00", None, *["2024-04-02"] * 6]
    collection = subjects(home, metadata=[{} if day is None else {"seen": {"on": day}} for day in dates])
    found = communities(collection, over="seen.on")
    assert (found.periods[0], found.periods[-1], len(found.periods)) == ("2024-01-31", "2024-04-02", 63)
    assert sum(topic.over_time[found.periods.index("2024-02-02")] for topic in found) == 1  # of the moment in UTC
    bread = next(topic for topic in found if "dough" in topic.name)
    assert sum(bread.over_time) == 2
    assert found.undated == 1
    assert "seen.on" in topics_page(found, "notes", "seen.on")


def test_a_field_without_dates_is_told_and_is_not_meant_instead_of_itself(home):
    collection = subjects(home, metadata=[{"kind": "noun"}] * 9)
    with pytest.raises(UsageError, match=r"no document in a topic has a date or a year in 'kind': there are: kind\.$"):
        communities(collection, over="kind")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([1999, 2001], ["1999", "2000", "2001"]),
        (["1999", "2001-05"], ["1999", "2000", "2001"]),
        (["2001-01", "2001-03"], ["2001-01", "2001-02", "2001-03"]),
        (["2000-12-31", "2001-01-02"], ["2000-12-31", "2001-01-01", "2001-01-02"]),
        (["0001-01-01", "9999-12-31"], ["0001", "9999"]),
        ([True, None, "soon", 0, 1e300, float("inf"), -5, []], []),
    ],
)
def test_periods_are_as_fine_as_the_dates_and_their_range(values, names):
    periods = Periods("when", 1)
    for value in values:
        periods.add(0, {"when": value})
    assert periods.names == names
    assert sum(periods.counts()[0]) == periods.dated == len(values) - periods.undated
    assert periods_module._behind("2000-12") == "2001-01"


def test_a_page_holds_what_strangers_wrote_as_text_alone(home):
    collection = made(home, [f"{NASTY} whale {at}" for at in range(3)], [[1.0, 0.0]] * 3, title=[NASTY] * 3)
    page = topics_page(communities(collection), f"notes {NASTY}", NASTY)
    assert "<img" not in page
    assert "<script" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"(?:src|href)=.(?!#)", page.replace(" src=x", ""))


def test_names_go_into_the_metadata_and_filter(home):
    collection = subjects(home, metadata=[{"year": 1}] * 9)
    found = communities(collection, label_as="topic")
    for topic in found:
        assert collection.count(where={"topic": topic.name}) == topic.size
    assert collection.get(["d0"])[0].metadata["year"] == 1


PROGRAM = """
import sys, semsearch
from semsearch.applications.topics_page import topics_page
with semsearch.open("notes", home=sys.argv[1]) as notes:
    sys.stdout.write(topics_page(notes.topics(count=3, over="year"), "notes"))
"""


@pytest.mark.slow
def test_two_processes_say_the_same(tmp_path):
    """Whatever order Python's sets are in."""
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(rng.choice(words, 8)) for _ in range(200)]
    made(
        tmp_path, texts, rng.standard_normal((200, 8)), metadata=[{"year": 2000 + at % 5} for at in range(200)]
    ).close()
    said = {
        subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, check=True, env=env).stdout
        for env in ({**os.environ, "PYTHONHASHSEED": seed} for seed in "12")
    }
    assert len(said) == 1
    assert len(said.pop()) > 1000


def test_the_command_prints_writes_and_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "home"))
    subjects(tmp_path / "home", metadata=[{"year": 2000 + at % 2} for at in range(9)]).close()
    usual = ("topics", "notes", "--method", "communities", "--min-score", "0.8", "--min-size", "2")
    ended = run(*usual, "--outliers", 1)
    assert (ended.code, len(ended.lines)) == (0, 3)
    assert "outlier d" in ended.err
    assert "3 topics of 9 documents; 0 are in none" in ended.err
    told = [json.loads(line) for line in run(*usual, "--json", "--over", "year").lines]
    assert told[0]["over_time"].keys() == {"2000", "2001"}
    assert sum(sum(one["over_time"].values()) for one in told) == 9
    page = tmp_path / "topics.html"
    assert run(*usual, "--out", page).code == 0
    assert told[0]["name"] in page.read_text("utf-8")
    assert run(*usual, "--out", page).code == 2
    assert run(*usual, "--out", tmp_path / "topics.tsv", "--label-as", "topic").code == 0
    rows = [line.split("\t") for line in (tmp_path / "topics.tsv").read_text("utf-8").splitlines()]
    assert rows[0] == ["id", "topic", "name", "score"]
    assert len(rows) == 10
    assert len(run("search", "notes", "--where", f"topic = {json.dumps(told[0]['name'])}", "--json").lines) <= 9
    assert run("topics", "notes", "--method", "communities", "--min-score", "0.99999", "--min-size", "9").code == 1
