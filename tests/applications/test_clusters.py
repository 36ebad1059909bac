"""Clusters: found again where they are, the same each time, in the metadata, and new documents in them."""

import json

import numpy as np
import pytest
from support.command_line import run

import semsearch
from semsearch.applications import clusters as clusters_module
from semsearch.errors import DataError, UsageError

ANGLES = {"a": [0, 1, 2, 3, 4, 5], "b": [90, 91, 92, 93], "c": [180, 181, 182]}


@pytest.fixture(params=["file", "memory"])
def home(request, tmp_path, monkeypatch):
    if request.param == "file":
        return tmp_path / "collections"
    from semsearch.testing.memory import MemoryHome

    monkeypatch.setattr(MemoryHome, "_engines", {})
    return "memory://"


def turned(angles):
    angles = np.radians(angles)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def collection(home):
    made = semsearch.create("turned", home=home, encoder=None, dim=2)
    names = [f"{name}{angle}" for name, angles in ANGLES.items() for angle in angles] + ["lonely"]
    vectors = turned([angle for angles in ANGLES.values() for angle in angles] + [270])
    made.add([semsearch.Document(name, f"text {name}", metadata={"year": 1}) for name in names], vectors=vectors)
    return made


def clumped(count=400, clumps=5, dim=24):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, clumps, count)
    return rng.standard_normal((clumps, dim))[truth] * 2 + rng.standard_normal((count, dim)) * 0.4, truth


OPTIONS = {
    "communities": {"min_score": 0.8},
    "kmeans": {"count": 5},
    "agglomerative": {"min_score": 0.7},
    "hdbscan": {"min_size": 10},
}


@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_clumps_are_found_again(method, metric):
    pytest.importorskip("faiss" if method == "kmeans" else "sklearn")
    vectors, truth = clumped()
    options = dict(OPTIONS[method])
    if metric == "l2" and "min_score" in options:
        options["min_score"] = -16.0
    found = semsearch.clusters(vectors, method, metric=metric, **options)
    assert len(found) == 5
    assert (np.diff(found.sizes) <= 0).all()
    for cluster in range(5):
        members = found.members(cluster)
        assert len(set(truth[members])) == 1
        assert found.representatives[cluster].tolist() == members[:3].tolist()
    again = semsearch.clusters(vectors, method, metric=metric, **options)
    assert again.labels.tobytes() == found.labels.tobytes()
    assert again.centres.tobytes() == found.centres.tobytes()


def test_hdbscan_finds_the_same_by_a_matrix_and_by_trees(monkeypatch):
    pytest.importorskip("sklearn")
    vectors, _ = clumped()
    by_matrix = semsearch.clusters(vectors, "hdbscan", min_size=10)
    monkeypatch.setattr(clusters_module, "MATRIX_ROWS", 0)
    assert semsearch.clusters(vectors, "hdbscan", min_size=10).labels.tolist() == by_matrix.labels.tolist()


def test_kmeans_scores_what_it_says_and_the_seed_decides():
    pytest.importorskip("faiss")
    vectors, _ = clumped(clumps=40)
    one, other = (semsearch.clusters(vectors, "kmeans", count=12, seed=seed) for seed in (1, 2))
    assert one.labels.tolist() != other.labels.tolist()
    best = one.centres @ clusters_module.normalise(vectors.astype(np.float32)).T
    assert one.scores == pytest.approx(best[one.labels, np.arange(len(vectors))], abs=1e-5)


def test_the_usual_score_gives_as_many_neighbours_as_a_cluster_has():
    vectors, _ = clumped(clumps=1)
    unit = clusters_module.normalise(vectors.astype(np.float32))
    least = clusters_module.usual_score(unit, clusters_module.Metric.COSINE, 10)
    assert ((unit @ unit.T >= least).sum() - len(unit)) / len(unit) == pytest.approx(10, rel=0.1)


def test_documents(home):
    with collection(home) as made:
        found = made.clusters(min_score=0.99, min_size=3, label_as="topic")
        assert [[found.ids[row][0] for row in found.members(c)] for c in range(3)] == [
            ["a"] * 6,
            ["b"] * 4,
            ["c"] * 3,
        ]
        assert found.ids[found.outliers(1)[0]] == "lonely"
        assert sorted(made.ids({"topic": 1})) == ["b90", "b91", "b92", "b93"]
        assert made.get(["lonely"])[0].metadata == {"year": 1}
        assert made.get(["a0"])[0].metadata == {"year": 1, "topic": 0}


def test_new_documents_are_assigned(home):
    with collection(home) as made:
        with pytest.raises(UsageError, match="no document has a label in 'topic'"):
            made.assign_clusters("topic")
        made.clusters(min_score=0.99, min_size=3, label_as="topic")
        made.add([semsearch.Document(str(at), "new") for at in (2, 91, 300)], vectors=turned([2, 91, 300]))
        assert made.assign_clusters("topic") == {"2": 0, "91": 1}
        assert made.get(["91"])[0].metadata == {"topic": 1}
        assert made.assign_clusters("topic") == {}
        assert len(made.clusters(min_score=0.99, min_size=3, label_as="topic")) == 3, "all of them are labels still"


def test_a_field_with_values_of_its_own_is_not_written_over(home):
    with collection(home) as made:
        made.update_metadata(["a0", "a1"], {"topic": "mine"})
        for labels in (made.clusters, made.topics):
            with pytest.raises(
                UsageError, match=r"'topic' that documents brought along \(documents with one: 2\): name another field"
            ):
                labels(label_as="topic")
        assert made.get(["a0"])[0].metadata == {"year": 1, "topic": "mine"}
        made.clusters(min_score=0.99, min_size=3, label_as="group")
        made.clusters(min_score=0.99, min_size=3, label_as="group")  # labels may be replaced by labels
        assert made.get(["b90"])[0].metadata == {"year": 1, "group": 1}


def test_labels_stay_with_the_content_that_they_were_made_for(home):
    with collection(home) as made:
        made.clusters(min_score=0.99, min_size=3, label_as="topic")
        texts = {"a0": "text a0", "a1": "text a1", "b90": "other", "b91": "text b91"}
        metadata = {"b91": {"topic": "own"}}
        new = [semsearch.Document(name, text, metadata=metadata.get(name, {"year": 2})) for name, text in texts.items()]
        assert made.add(new, vectors=turned([0, 5, 90, 91])).changed == 4
        assert made.add(new, vectors=turned([0, 5, 90, 91])).unchanged == 4
        assert {name: made.get([name])[0].metadata for name in texts} == {
            "a0": {"year": 2, "topic": 0},
            "a1": {"year": 2},  # its vector is another
            "b90": {"year": 2},
            "b91": {"topic": "own"},
        }


def test_values_that_come_later_are_not_written_over(home):
    with collection(home) as made:
        made.clusters(min_score=0.99, min_size=3, label_as="topic")
        kept = made.get(["a0"])[0]
        made.add([kept, semsearch.Document("b90", "text b90", metadata={"topic": None})], vectors=turned([0, 90]))
        assert [one.metadata["topic"] for one in made.get(["a0", "b90"])] == [0, 1], "neither is a value of its own"
        made.clusters(min_score=0.99, min_size=3, label_as="topic")
        made.add([semsearch.Document("mine", "text", metadata={"topic": "mine"})], vectors=turned([1]))
        with pytest.raises(UsageError, match="that documents brought along"):
            made.clusters(min_score=0.99, min_size=3, label_as="topic")
        assert [one.metadata["topic"] for one in made.get(["a0", "mine"])] == [0, "mine"]


def test_no_cluster_takes_no_label_away(home):
    with collection(home) as made:
        made.clusters(min_score=0.99, min_size=3, label_as="topic")
        assert len(made.clusters(min_score=0.99, min_size=9, label_as="topic")) == 0
        assert made.get(["a0"])[0].metadata == {"year": 1, "topic": 0}


def test_labels_that_complete_a_field_stay_and_leave_it_what_it_was(home):
    with collection(home) as made:
        made.update_metadata(["a0", "a1"], {"subject": "mine"})
        assert made.assign_clusters("subject") == {}
        made.update_metadata(["a0", "a5"], {"subject": "mine"})
        assert "a3" in made.assign_clusters("subject")
        made.add([semsearch.Document("a3", "text a3")], vectors=turned([3]))
        assert made.get(["a3"])[0].metadata == {"subject": "mine"}
        with pytest.raises(UsageError, match="that documents brought along"):
            made.clusters(label_as="subject")


@pytest.mark.parametrize(("value", "told"), [(True, "true"), ([1], "a list"), (0.5, "a number")])
def test_what_is_no_label_is_not_overwritten(home, value, told):
    with collection(home) as made:
        made.clusters(min_score=0.99, min_size=3, label_as="topic")
        made.add([semsearch.Document("odd", "new", metadata={"topic": value})], vectors=turned([2]))
        with pytest.raises(UsageError, match=f"document 'odd' has {told} in 'topic', where a text or a whole number"):
            made.assign_clusters("topic")
        assert made.get(["odd"])[0].metadata == {"topic": value}


def test_the_name_of_a_field_is_a_text(home):
    with collection(home) as made:
        for ask in (lambda: made.topics(over=5), lambda: made.map(5), lambda: made.classify(["a"], None)):
            with pytest.raises(UsageError, match="the name of a field is a text, not"):
                ask()


@pytest.mark.parametrize("seed", [np.int64(3), np.uint8(3)])
def test_a_seed_may_be_a_number_of_numpy(seed):
    pytest.importorskip("faiss")
    rows = np.random.default_rng(0).standard_normal((60, 8))
    found = [semsearch.clusters(rows, "kmeans", count=3, seed=one).labels.tolist() for one in (3, seed)]
    assert found[0] == found[1]


@pytest.mark.parametrize("field", ["", " ", 3])
def test_a_label_needs_a_field_with_a_name(home, field):
    with collection(home) as made:
        for labels in (made.clusters, made.topics):
            with pytest.raises(UsageError, match="a field of metadata with a name"):
                labels(label_as=field)
        with pytest.raises(UsageError, match="a field of metadata with a name"):
            made.assign_clusters(field)


def test_half_a_character_is_no_name_of_a_field(home):
    with collection(home) as made:
        for ask in (lambda: made.clusters(label_as="a\ud83d"), lambda: made.topics(label_as="a\ud83d")):
            with pytest.raises(
                DataError, match=r"the name of the field that labels go into holds half a surrogate pair"
            ):
                ask()
        with pytest.raises(DataError, match=r"half a surrogate pair \(at 1\), which is no character"):
            made.assign_clusters("a\ud83d")


def test_hardly_any():
    assert len(semsearch.clusters(np.empty((0, 4)))) == 0
    alone = semsearch.clusters(np.ones((1, 4)))
    assert (len(alone), alone.labels.tolist(), alone.outliers().tolist()) == (0, [-1], [0])
    for method in ("agglomerative", "hdbscan"):
        pytest.importorskip("sklearn")
        assert semsearch.clusters(np.ones((1, 4)), method).labels.tolist() in ([0], [-1])
    assert semsearch.clusters(np.ones((9, 4)), min_size=3, min_score=0.9).sizes.tolist() == [9]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"method": "kmean"}, "method must be one of"),
        ({"method": "kmeans"}, "k-means must be told how many clusters to make: give count"),
        ({"count": 3}, "communities finds by itself how many clusters there are: leave out count"),
        ({"method": "kmeans", "count": 99}, "99 clusters can't be made of 4"),
        ({"method": "hdbscan", "min_score": 0.5}, "takes no min_score"),
        ({"min_size": 0}, "min_size"),
        ({"method": "hdbscan", "min_size": 1}, "at least 2"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, what, monkeypatch):
    with pytest.raises(UsageError, match=what):
        semsearch.clusters(np.eye(4), **wrong)


def test_too_many_for_what_is_squared_and_no_numbers(monkeypatch):
    monkeypatch.setattr(clusters_module, "MOST_SQUARED", 3)
    with pytest.raises(UsageError, match="at most 3 of them, not 4"):
        semsearch.clusters(np.eye(4), "hdbscan")
    with pytest.raises(DataError, match="NaN"):
        semsearch.clusters([[1.0, np.nan]])


def test_on_the_command_line(tmp_path):
    home = tmp_path / "collections"
    collection(home).close()
    asked = ["clusters", "turned", "--min-score", 0.99, "--min-size", 3, "--home", home]
    ended = run(*asked, "--outliers", 1, "--label-as", "topic")
    assert ended.code == 0
    assert [line.split("\t")[:2] for line in ended.lines] == [["0", "6"], ["1", "4"], ["2", "3"]]
    assert "3 clusters of 13 documents, by a score of 0.9900; 1 are in none" in ended.err
    assert "outlier lonely (in no cluster)" in ended.err
    assert json.loads(run(*asked, "--json").lines[2])["members"] == ["c181", "c180", "c182"]
    assert run(*asked, "--out", tmp_path / "of.tsv").code == 0
    assert (tmp_path / "of.tsv").read_text().splitlines()[-1] == "lonely\t-1\t"
    none = run("clusters", "turned", "--label-as", "topic", "--assign", "--home", home)
    assert (none.code, none.err) == (0, "labelled 0 documents; near no cluster, and without a label: 1\n")
    assert "say with --label-as" in run("clusters", "turned", "--assign", "--home", home).err
    assign = ("clusters", "turned", "--label-as", "topic", "--assign", "--home", home)
    for more in (("--out", tmp_path / "given.tsv"), ("--json",), ("--outliers", 1)):
        assert "--assign lists nothing: leave out --out, --json and --outliers" in run(*assign, *more).err
    for more in (("--min-size", 2), ("--method", "communities"), ("--seed", 0)):
        ended = run(*assign, *more)
        assert (ended.code, f"leave out {more[0]}." in ended.err) == (2, True)
    assert run("clusters", "turned", "--min-score", 1.5, "--min-size", 3, "--home", home).code == 1
