"""Labels by neighbours: right where the data tell, unsure where they don't, and "don't know" far from all."""

import json

import numpy as np
import pytest
from support.command_line import SUBJECTS, run, tiny_model

import semsearch
from semsearch.applications.classification import Vote, calibration_error
from semsearch.errors import DataError, DimensionMismatch, UsageError
from semsearch.testing.encoder import HashEncoder


def labelled(count=300, labels=3, noise=0.6, seed=0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((labels, 12))
    truth = rng.integers(0, labels, count)
    return centres[truth] + noise * rng.standard_normal((count, 12)), [f"label {at}" for at in truth]


@pytest.mark.slow
def test_labels_are_foretold_and_confidence_is_calibrated():
    vectors, labels = labelled()
    new, truth = labelled(seed=1)
    found = semsearch.classify(new, vectors, labels)
    right = np.array([each.best == label for each, label in zip(found, truth, strict=True)])
    assert right.mean() > 0.95
    assert calibration_error(np.array([each.confidence for each in found]), right) < 0.05
    hard, hard_labels = labelled(1000, noise=3.0)
    hard_new, hard_truth = labelled(1000, noise=3.0, seed=1)
    found = semsearch.classify(hard_new, hard, hard_labels)
    right = np.array([each.best == label for each, label in zip(found, hard_truth, strict=True)])
    assert 0.4 < right.mean() < 0.8
    assert calibration_error(np.array([each.confidence for each in found]), right) < 0.06


def test_what_is_unsure_or_far_is_not_known():
    vectors, labels = labelled()
    (unsure,) = semsearch.classify(vectors[:1] * 0 + 1, vectors, labels, min_confidence=1.0)
    assert unsure.label is None
    assert unsure.best in labels
    far = semsearch.classify(-vectors[:5] * 3, vectors[: len(labels)], labels, metric="l2")
    assert [each.label for each in far] == [None] * 5
    assert len(semsearch.classify(np.empty((0, 12)), vectors, labels)) == 0


def test_a_vote_of_one_and_of_many():
    shares = np.array([0.5, 0.5])
    scores = np.array([[0.9, 0.8, 0.8]], dtype=np.float32)
    labels = np.array([[0, 1, 1]])
    guess, confidence = Vote(1, 0.1, 0.1, 1.0, 0, 0, 0).foretell(scores, labels, shares)
    assert (guess[0], confidence[0]) == (0, pytest.approx((1 + 0.05) / 1.1))
    guess, confidence = Vote(3, 1000.0, 0.1, 1.0, 0, 0, 0).foretell(scores, labels, shares)
    assert (guess[0], confidence[0]) == (1, pytest.approx(2.05 / 3.1, abs=1e-3))


def test_calibration_error_by_hand():
    assert calibration_error(np.array([0.95, 0.95, 0.25]), np.array([True, False, False])) == pytest.approx(
        (2 * 0.45 + 0.25) / 3
    )


@pytest.mark.parametrize(
    ("vectors", "labels", "options", "error", "what"),
    [
        (np.eye(3), ["a", "b"], {}, UsageError, "2 labels for 3 rows"),
        (np.eye(3)[:1], ["a"], {}, UsageError, "at least two"),
        (np.eye(3), list("abc"), {"min_confidence": 2}, UsageError, "between 0 and 1"),
        (np.eye(2), list("ab"), {}, DimensionMismatch, r"\(n, 2\)"),
        (np.eye(3) * np.nan, list("abc"), {}, DataError, "NaN"),
        (np.eye(3), ["a", None, "b"], {}, UsageError, "row 1 of the labels holds None, and a label is a text or a num"),
        (np.eye(3), [1, 2, np.nan], {}, UsageError, "row 2 of the labels holds nan"),
        (np.eye(3), np.array([1.0, np.nan, 2.0]), {}, UsageError, "row 1 of the labels holds nan"),
        (np.eye(3), np.array(["a", None, "b"], dtype=object), {}, UsageError, "row 1 of the labels holds None"),
        (np.eye(3), np.ma.array([1, 2, 3], mask=[0, 1, 0]), {}, UsageError, "row 1 of the labels holds masked"),
        (np.eye(3), ["a", ["b"], "c"], {}, UsageError, r"row 1 of the labels holds \['b'\]"),
    ],
)
def test_what_makes_no_sense_is_refused(vectors, labels, options, error, what):
    with pytest.raises(error, match=what):
        semsearch.classify(np.eye(3), vectors, labels, **options)


@pytest.mark.parametrize("place", ["file", "memory"])
def test_documents(place, tmp_path, monkeypatch):
    from semsearch.testing.memory import MemoryHome

    monkeypatch.setattr(MemoryHome, "_engines", {})
    home = tmp_path / "collections" if place == "file" else "memory://"
    words = {"sea": "wave tide salt reef", "bread": "flour dough oven loaf"}
    documents = [
        semsearch.Document(f"{label}{at}", f"{word} {text.split()[at % 4]}", metadata={"about": label})
        for label, text in words.items()
        for at, word in enumerate(text.split() * 3)
    ]
    with semsearch.create("texts", home=home, encoder=HashEncoder(64)) as made:
        made.add([*documents, semsearch.Document("none", "flour flour")])
        found = made.classify(["salt wave tide", "the oven and the dough"], "about")
        assert [each.best for each in found] == ["sea", "bread"]
        assert made.classify([], "about") == []
        with pytest.raises(UsageError, match=r"0 documents of 'texts' have a label in 'abuot'.*Did you mean 'about'"):
            made.classify(["x"], "abuot")


def test_on_the_command_line(tmp_path):
    rows = [f"{text},{label}" for label, words in SUBJECTS.items() for text in words.split()]
    (tmp_path / "train.csv").write_text("\n".join(["text,kind", *rows]) + "\n")
    home = ["--home", tmp_path / "collections"]
    assert run("index", tmp_path / "train.csv", "-m", tiny_model(tmp_path / "model"), *home).code == 0
    (tmp_path / "new.txt").write_text("flour\nwhale\n")
    ended = run("classify", "train", tmp_path / "new.txt", "--field", "kind", *home)
    assert [line.split("\t")[0] for line in ended.lines] == ["bread", "ocean"]
    assert "neighbours vote" in ended.err
    (tmp_path / "new.csv").write_text("text,kind\nflour,bread\nwhale,bread\n")
    ended = run("classify", "train", tmp_path / "new.csv", "--field", "kind", "--json", *home)
    assert [json.loads(line)["best"] for line in ended.lines] == ["bread", "ocean"]
    assert "of 2 texts with a label 50.0% are labelled right" in ended.err
    assert run("classify", "train", tmp_path / "nothing.txt", "--field", "kind", *home).code == 2
    assert run("classify", "train", tmp_path / "new.txt", "--field", "nosuch", *home).code == 2
    (tmp_path / "both.txt").write_text("flour whale\n")
    ended = run("classify", "train", tmp_path / "both.txt", "--field", "kind", "--min-confidence", 1, *home)
    assert [line.split("\t")[0] for line in ended.lines] == ["?"]


def test_what_has_no_label_neither_votes_nor_is_counted_as_wrong(tmp_path):
    words = {label: text.split() for label, text in SUBJECTS.items()}
    rows = [{"text": word, "kind": label} for label, own in words.items() for word in own[:4]]
    rows += [{"text": word, "kind": None} for own in words.values() for word in own[4:]]
    rows += [{"text": f"{word} {word}", "kind": [label]} for label, own in words.items() for word in own[:2]]
    rows += [{"text": "flour wave", "kind": True}, {"text": "wave flour", "kind": 0.5}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    home = ["--home", tmp_path / "collections"]
    model = tiny_model(tmp_path / "model")
    assert run("index", tmp_path / "train.jsonl", "-m", model, *home).code == 0
    new = [("flour", "bread"), ("whale", None), ("wave", ["ocean"]), ("oven", "bread"), ("oven", "bread")]
    (tmp_path / "new.jsonl").write_text("\n".join(json.dumps({"text": text, "kind": kind}) for text, kind in new))
    ended = run("classify", "train", tmp_path / "new.jsonl", "--field", "kind", *home)
    assert [line.split("\t")[0] for line in ended.lines] == ["bread", "ocean", "ocean", "bread"]
    documents = (
        "documents left out, as their 'kind' is neither a text nor a whole number: 10 with a list, 1 with true, "
        "1 with a decimal number."
    )
    same, left, vote, own, right = ended.err.splitlines()
    assert same == f"texts left out, as they stand in {tmp_path / 'new.jsonl'} before: 1"
    assert left == documents
    assert "neighbours vote" in vote
    assert own == "texts not judged, as their 'kind' is neither a text nor a whole number: 1 with a list."
    assert right.startswith("of 2 texts with a label 100.0% are labelled right")
    with semsearch.open("train", home=tmp_path / "collections") as train:
        found = train.classify(["flour"], "kind")
        assert found.notes == (documents,)
        assert len(found.labelled) == 20
        train.remove([document.id for document in train if isinstance(document.metadata.get("kind"), str)])
        with pytest.raises(UsageError, match=r"^0 documents .* two at least; there are: kind. documents left out, as"):
            train.classify(["flour"], "kind")


def test_half_a_character_is_no_label_and_no_text(tmp_path):
    with pytest.raises(DataError, match=r"row 1 of the labels holds half a surrogate pair \(at 0\)"):
        semsearch.classify(np.eye(2), np.eye(2), ["a", "\ud83d"])
    with semsearch.create("texts", home=tmp_path, encoder=HashEncoder()) as made:
        made.add([semsearch.Document(one, f"text {one}", metadata={"about": one}) for one in "ab"])
        with pytest.raises(DataError, match=r"text 1 holds half a surrogate pair \(at 2\)"):
            made.classify(["text", "so\ud83d"], "about")


def test_labels_that_print_the_same_are_one(tmp_path):
    """A CSV file gives 1, and JSON lines may have "1": by two labels of one class, texts would be judged wrong."""
    rows = [(word, label) for label, words in enumerate(SUBJECTS.values()) for word in words.split()]
    home = ["--home", tmp_path / "collections"]
    model = tiny_model(tmp_path / "model")
    of_csv, of_json = rows[::3], [row for at, row in enumerate(rows) if at % 3]
    (tmp_path / "a.csv").write_text("\n".join(["text,kind", *(f"{text},{label}" for text, label in of_csv)]) + "\n")
    (tmp_path / "b.jsonl").write_text(
        "\n".join(json.dumps({"text": text, "kind": str(kind)}) for text, kind in of_json)
    )
    for file in ("a.csv", "b.jsonl"):
        assert run("index", tmp_path / file, "--name", "train", "--add", "-m", model, *home).code == 0
    (tmp_path / "new.csv").write_text("text,kind\nflour oven,0\nwhale wave,2\n")
    ended = run("classify", "train", tmp_path / "new.csv", "--field", "kind", "--json", *home)
    assert [json.loads(line)["best"] for line in ended.lines] == ["0", "2"], "as most documents have them"
    assert "of 2 texts with a label 100.0% are labelled right" in ended.err
    with semsearch.open("train", home=tmp_path / "collections") as train:
        assert {type(one.metadata["kind"]) for one in train} == {str, int}
        train.add([semsearch.Document("new", "flour dough bread")])
        assert train.assign_clusters("kind")["new"] == "0"


@pytest.mark.parametrize(
    ("labels", "one"),
    [
        ([1, "1", 1], 1),
        (["1", "1", 1], "1"),
        ([1.0, "1", "1"], "1"),
        ([1.0, 1, "1"], 1),
        (["\u00e9", "e\u0301", "\u00e9"], "\u00e9"),
    ],
)
def test_labels_of_arrays_that_print_the_same_are_one(labels, one):
    vectors = np.vstack([np.eye(2)[[0] * 3], np.eye(2)[[1] * 3]])
    found = semsearch.classify(np.eye(2), vectors, [*labels, "other", "other", "other"])
    assert [each.best for each in found] == [one, "other"]
    assert found[0].confidence == pytest.approx(found[1].confidence, abs=1e-3), "the three votes count for one label"


def test_a_file_is_read_as_index_reads_one(tmp_path):
    """So that all advice of its readers can be followed; titles count as those of the documents do."""
    rows = [f"{text},{label}" for label, words in SUBJECTS.items() for text in words.split()]
    (tmp_path / "train.csv").write_text("\n".join(["text,kind", *rows]) + "\n")
    home = ["--home", tmp_path / "collections"]
    assert run("index", tmp_path / "train.csv", "-m", tiny_model(tmp_path / "model"), *home).code == 0
    (tmp_path / "new.csv").write_bytes("body,head\ngrün wave,flour oven dough\n".encode("cp1252"))
    asked = ("classify", "train", tmp_path / "new.csv", "--field", "kind", *home)
    ended = run(*asked, "--text", "body")
    assert ended.code == 3
    assert "--read encoding=cp1252" in ended.err
    asked += ("--read", "encoding=cp1252")
    ended = run(*asked)
    assert ended.code == 3
    assert "Say with --text which one holds the text" in ended.err
    for titled, best in (((), "ocean"), (("--title", "head"), "bread")):
        ended = run(*asked, "--text", "body", *titled, "--json")
        assert [json.loads(line)["best"] for line in ended.lines] == [best]
