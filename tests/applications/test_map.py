"""Maps: what is alike lies side by side, the same each time, and one page that runs nothing of a stranger's."""

import builtins
import json
import os
import re
import struct
import subprocess
import sys
import zlib
from base64 import b64decode

import numpy as np
import pytest
from support.command_line import run

import semsearch
from semsearch.applications import planar_layout as layout_module
from semsearch.applications.document_map import anchors_of, coloured
from semsearch.errors import DataError, UsageError

NASTY = "</script><img src=x onerror=alert(1)><script>alert(1)</script>\u202e"


def clumps(count, dim=16, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % 5
    return rng.standard_normal((5, dim))[truth] * 2 + rng.standard_normal((count, dim)) * 0.3, truth


def mapped(tmp_path, texts, vectors, **more):
    collection = semsearch.create("notes", home=tmp_path, encoder=None, dim=len(vectors[0]))
    documents = [
        semsearch.Document(f"d{at}", text, **{k: v[at] for k, v in more.items()}) for at, text in enumerate(texts)
    ]
    collection.add(documents, vectors=np.asarray(vectors, dtype=np.float32))
    return collection


def usual(collection, by=None):
    return collection.map(by, method="communities", min_score=0.5, min_size=2)


def unpacked(page, identity):
    return zlib.decompress(b64decode(re.search(rf'id="{identity}">([^<]*)<', page)[1]))


def kept_neighbours(places, truth):
    """The share of points whose nearest is of their clump."""
    far = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(far, np.inf)
    return (truth[far.argmin(axis=1)] == truth).mean()


@pytest.fixture
def quick(monkeypatch):
    """Few steps: what is far from done is enough here."""
    monkeypatch.setattr(layout_module, "EARLY", 20)
    monkeypatch.setattr(layout_module, "LATE", 30)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_what_is_alike_lies_side_by_side_the_same_each_time(quick, monkeypatch, metric):
    pytest.importorskip("openTSNE")
    monkeypatch.setattr(layout_module, "MOST_LANDMARKS", 150)
    vectors, truth = clumps(300)
    found = semsearch.layout(vectors, metric=metric)
    assert (found.method, found.landmarks, found.places.shape) == ("t-SNE", 150, (300, 2))
    assert kept_neighbours(found.places, truth) == 1.0
    assert found.places.min() == 0
    assert found.places.max() == 1
    monkeypatch.setattr(layout_module, "threads", lambda: 1)
    assert semsearch.layout(vectors, metric=metric).places.tobytes() == found.places.tobytes()
    monkeypatch.setattr(layout_module, "_open_tsne", lambda: None)
    assert semsearch.layout(vectors, metric=metric).method == "principal components"


PROGRAM = """
import hashlib, numpy as np, semsearch
from semsearch.applications import planar_layout
planar_layout.EARLY, planar_layout.LATE = 30, 60
vectors = np.random.default_rng(0).standard_normal((3000, 384)).astype(np.float32)
print(hashlib.sha256(semsearch.layout(vectors).places.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_places_are_the_same_on_any_number_of_threads():
    pytest.importorskip("openTSNE")
    said = {
        subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, env=env).stdout
        for env in ({**os.environ, "OMP_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count} for count in "12")
    }
    assert len(said) == 1


def test_without_the_library_places_are_principal_components(monkeypatch):
    vectors, _ = clumps(200)
    real = builtins.__import__

    def absent(name, *rest, **more):
        if name.startswith("openTSNE"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    found = semsearch.layout(vectors, metric="l2")
    assert found.method == "principal components"
    centred = vectors.astype(np.float32) - vectors.astype(np.float32).mean(axis=0)
    first = np.linalg.svd(centred, full_matrices=False)[2][0]
    assert abs(np.corrcoef(centred @ first, found.places[:, 0])[0, 1]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 3)), np.ones((2, 3)), np.ones((80, 3)), np.eye(3)[[0, 1]], np.ones((60, 1)), np.empty((0, 3))],
    ids=["one", "two equal", "equal", "two", "one dimension", "none"],
)
def test_few_and_equal_rows_have_places(quick, vectors):
    found = semsearch.layout(vectors)
    assert found.places.shape == (len(vectors), 2)
    assert np.isfinite(found.places).all()


def test_rows_in_few_directions_and_many_equal_ones(quick):
    pytest.importorskip("openTSNE")
    line = np.linspace(-1, 1, 80)[:, None] * np.ones((1, 4))
    copies = np.repeat(clumps(4)[0], 30, axis=0)
    for vectors in (line, copies):
        places = semsearch.layout(vectors, metric="l2").places
        assert np.isfinite(places).all()
        assert len(np.unique(places, axis=0)) > 1


def test_what_is_no_vector_is_refused():
    with pytest.raises(DataError):
        semsearch.layout([[1.0, float("nan")], [1.0, 2.0]])
    for seed in (-1, 1.5, True, "0"):
        with pytest.raises(UsageError, match="seed"):
            semsearch.layout(np.eye(3), seed=seed)


def test_the_page_holds_points_topics_and_texts_and_nothing_runs(tmp_path):
    vectors, _ = clumps(40)
    texts = [f"{NASTY} whale {at}" for at in range(40)]
    found = usual(mapped(tmp_path, texts, vectors, title=[NASTY] * 40, metadata=[{"kind": NASTY}] * 40), by="kind")
    page = found.page()
    assert page == found.page()
    assert len(re.findall("<script", page)) == len(re.findall("</script>", page)) == 3
    assert "<img" not in page
    assert "\u202e" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    data = unpacked(page, "data")
    length = struct.unpack("<I", data[:4])[0]
    head = json.loads(data[4 : 4 + length])
    assert head["points"] == 40
    assert head["by"] == "kind"
    numbers = np.frombuffer(data[4 + length :], dtype="<u2").reshape(4, 40)
    assert numbers[2].tolist() == np.where(found.topic_of < 0, 65535, found.topic_of).tolist()
    assert numbers[0] == pytest.approx(found.places[:, 0] * 65535, abs=1)
    words = json.loads(unpacked(page, "words"))
    assert [one for one, _ in words] == list(found.ids)
    assert all("\u202e" not in text for _, text in words)
    assert "http" not in re.sub(r"<script.*?</script>|<meta.*?>", "", page, flags=re.DOTALL)


def test_an_empty_collection_one_document_and_equal_vectors_have_maps(tmp_path):
    with semsearch.create("empty", home=tmp_path, encoder=None, dim=2) as empty:
        found = usual(empty)
        assert (len(found), len(found.topics)) == (0, 0)
        assert found.page().startswith("<!doctype html>")
    for count in (1, 70):
        collection = mapped(tmp_path, ["whale"] * count, [[1.0, 0.0]] * count)
        found = usual(collection)
        assert len(found) == count
        assert found.places.tolist() == [[0.5, 0.5]] * count
        assert "whale" in unpacked(found.page(), "words").decode()
        semsearch.drop("notes", home=tmp_path)


def test_of_too_many_documents_a_sample_is_shown_and_said(tmp_path, monkeypatch):
    from semsearch.applications import document_map as document_map_module

    monkeypatch.setattr(document_map_module, "MOST_POINTS", 10)
    monkeypatch.setattr(document_map_module, "ALL_CHARACTERS", 100)
    found = usual(mapped(tmp_path, [f"whale {at} in the wide ocean" for at in range(40)], clumps(40)[0]))
    assert len(found) == 10
    assert [len(text) <= 10 for text in found.texts] == [True] * 10
    assert "a sample of 10 of 40 documents is shown." in found.notes


@pytest.mark.parametrize(
    ("values", "names", "colours"),
    [
        (["a", "b", "a", None], ["a", "b"], [0, 1, 0, -1]),
        ([True, False, True], ["true", "false"], [0, 1, 0]),
        ([1, 1, 2], ["1", "2"], [0, 0, 1]),
        ([None, None], [], [-1, -1]),
        (["x" * 90 + "a", "x" * 90 + "b"], ["x" * 80] * 2, [0, 1]),
        ([f"v{at:02d}" for at in range(40)], [*(f"v{at:02d}" for at in range(29)), "other"], [*range(29), *[29] * 11]),
    ],
)
def test_values_have_colours(values, names, colours):
    assert (coloured(values)[0], coloured(values)[1].tolist(), coloured(values)[2]) == (names, colours, False)


def test_many_numbers_have_steps():
    names, colours, ordered = coloured([None, *range(1900, 2000)])
    assert ordered
    assert len(names) == 8
    assert names[0] == "1900 to 1912"
    assert colours[0] == -1
    assert (np.diff(colours[1:]) >= 0).all()


def test_a_name_stands_at_a_member():
    places = np.array([[0, 0], [0.1, 0], [1, 1], [0.5, 0.5]], dtype=np.float32)
    anchors = anchors_of(places, np.array([0, 0, 0, 1]), 2)
    assert anchors.tolist() == [places[1].tolist(), places[3].tolist()]


def test_a_field_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UsageError, match="Did you mean 'kind'"):
        usual(mapped(tmp_path, ["whale"], [[1.0, 0.0]], metadata=[{"kind": 1}]), by="kin")


@pytest.mark.slow
def test_the_picture_is_a_png_the_same_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    texts = [f"$x_1$ whale {at}" for at in range(40)]
    found = usual(
        mapped(tmp_path, texts, clumps(40)[0], metadata=[{"kind": f"_${at % 3}$ 机器"} for at in range(40)]), "kind"
    )
    picture = found.picture()
    assert picture.startswith(b"\x89PNG")
    assert picture == found.picture()
    assert struct.unpack(">II", picture[16:24]) == (1800, 1800)


def test_the_command_draws_and_overwrites_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    mapped(tmp_path / "home", [f"whale {at}" for at in range(40)], clumps(40)[0]).close()
    usual = ("map", "notes", "--method", "communities", "--min-score", "0.5", "--min-size", "2")
    ended = run(*usual)
    assert ended.code == 0
    assert "drew 40 documents in 5 topics: notes.html" in ended.err
    first = (tmp_path / "notes.html").read_bytes()
    assert run(*usual).code == 2
    (tmp_path / ".again.html.part").write_bytes(b"left by a run that was killed")  # nothing else is: it is done anew
    assert run(*usual, "--out", tmp_path / "again.html").code == 0
    assert (tmp_path / "again.html").read_bytes() == first
    assert run(*usual, "--out", tmp_path / "map.pdf").code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.html", "home", "notes.html"]
