"""Every application on what breaks others: equal vectors, one, NaN, a threshold of 0, a full disk; twice the same."""

import json
import signal
import sys
from functools import partial

import numpy as np
import pytest
from support.command_line import SUBJECTS, run, tiny_model

import semsearch
from semsearch import scratch as scratch_module
from semsearch.applications.all_pairs import AllPairs
from semsearch.applications.bitext import learn_margin
from semsearch.applications.tiles import GroupedRows
from semsearch.errors import DataError, MissingDependency, SemsearchError, StorageError, UsageError
from semsearch.scratch import scratch
from semsearch.types import Metric

resource = pytest.importorskip("resource")  # of POSIX
LABELS = ["a", "b"]


def labels(count):
    return [LABELS[row % 2] for row in range(count)]


APPLICATIONS = {
    "pairs": partial(semsearch.pairs, limit=20),
    "neighbours": partial(semsearch.pairs, k=3, limit=None),
    "between": lambda vectors: semsearch.pairs(vectors, vectors, limit=20),
    "communities": partial(semsearch.communities, min_size=1),
    "clusters": partial(semsearch.clusters, min_size=2),
    "kmeans": partial(semsearch.clusters, method="kmeans", count=1),
    "agglomerative": partial(semsearch.clusters, method="agglomerative"),
    "hdbscan": partial(semsearch.clusters, method="hdbscan"),
    "classify": lambda vectors: semsearch.classify(
        vectors, np.concatenate([vectors, vectors]), labels(2 * len(vectors))
    ),
    "bitext": lambda vectors: semsearch.bitext(vectors, vectors),
    "similarity": lambda vectors: semsearch.similarity(vectors, vectors),
}


def pa_table(vectors):
    """A frame with a vector a row."""
    pyarrow = pytest.importorskip("pyarrow")
    return pyarrow.table({"vector": vectors.tolist()})


def numbers(found):
    """All numbers of an answer, in their order."""
    if not hasattr(found, "to_arrow"):
        return found.tolist()
    columns = found.to_arrow().to_pydict().values()
    return [float(value) for column in columns for value in column if isinstance(value, int | float)]


def answer(name, vectors):
    """What comes out, as bytes."""
    try:
        found = APPLICATIONS[name](vectors)
    except MissingDependency as error:
        pytest.skip(str(error))
    columns = found.to_arrow().to_pydict() if hasattr(found, "to_arrow") else found.tolist()
    return json.dumps(columns).encode()


@pytest.mark.parametrize("name", APPLICATIONS)
def test_equal_vectors_give_a_bounded_answer_twice_the_same(name):
    pytest.importorskip("pyarrow")
    equal = np.tile(np.array([[0.6, 0.8, 0.1]], dtype=np.float32), (60, 1))
    once = answer(name, equal)
    assert once == answer(name, equal)
    assert len(once) < 20_000
    if name in ("communities", "clusters", "kmeans", "agglomerative"):  # all are together
        found = json.loads(once)
        assert set(found.get("community", found.get("cluster"))) == {0}
    if name == "bitext":
        assert sorted(json.loads(once)["first"]) == sorted(set(json.loads(once)["first"]))  # none twice


@pytest.mark.parametrize("name", APPLICATIONS)
def test_one_vector(name):
    pytest.importorskip("pyarrow")
    one = np.array([[0.6, 0.8]], dtype=np.float32)
    found = json.loads(answer(name, one))
    expected = {"pairs": 0, "neighbours": 0, "communities": 1, "between": 1, "similarity": 1, "bitext": 1}
    if name in expected:
        assert len(found if isinstance(found, list) else next(iter(found.values()))) == expected[name]


@pytest.mark.parametrize("bad", [[[1.0, 2.0], [3.0]], [1.0, 2.0], [[[1.0]]], [[1.0, None]], 5.0, np.array(5.0), [[{}]]])
@pytest.mark.parametrize("name", [*APPLICATIONS, "layout"])
def test_what_has_no_rows_is_refused(name, bad):
    applied = {**APPLICATIONS, "layout": semsearch.layout}[name]
    if name == "classify":
        applied = partial(semsearch.classify, labelled=np.eye(2), labels=LABELS)
    with pytest.raises(SemsearchError, match=r"shape \(n, (dim|2)\)|two lists of texts, or two arrays"):
        applied(bad)


def of_vectors(name, dim=4):
    """What takes vectors in any form."""
    classify = partial(semsearch.classify, labelled=np.eye(2, dim), labels=LABELS)
    return {**APPLICATIONS, "classify": classify, "layout": semsearch.layout}[name]


@pytest.mark.parametrize("name", [*APPLICATIONS, "layout"])
def test_masked_values_are_not_uncovered(name):
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    masked = np.ma.array(vectors, mask=np.zeros((30, 4)))
    of_vectors(name)(masked)  # where nothing is masked, all are there
    masked[17, 2] = np.ma.masked
    for given in (masked, list(masked), tuple(masked)):
        with pytest.raises(DataError, match=r"row (17|0) of .*holds masked values: fill them, or leave the row out"):
            of_vectors(name)(given)


@pytest.mark.parametrize("name", [*APPLICATIONS, "layout"])
def test_a_number_too_large_for_float32_is_said_to_be_that(name):
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    vectors[17, 2] = 1e300
    for given in (vectors, vectors.tolist()):
        with pytest.raises(
            DataError, match=r"row (17|0) of .*holds 1e\+300, too large for float32, which ends at 3.4e"
        ):
            of_vectors(name)(given)


@pytest.mark.parametrize("length", [1e-60, 1e-200, 1e-300])
@pytest.mark.parametrize("name", [name for name in APPLICATIONS if name != "between"])  # whose pairs all score 1
def test_vectors_too_short_for_float32_are_compared_by_their_directions(name, length):
    pytest.importorskip("pyarrow")
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    short = vectors * np.where(np.arange(30) % 3 == 0, length, 1)[:, None]
    compared = of_vectors(name) if name == "classify" else APPLICATIONS[name]
    for given in (short, short.tolist(), pa_table(short)):
        wanted, found = (np.array(numbers(compared(each))) for each in (vectors, given))
        assert np.allclose(wanted, found, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("name", [*APPLICATIONS, "layout"])
def test_tensors_are_taken_without_their_gradients(name):
    torch = pytest.importorskip("torch")
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    tensor = torch.tensor(vectors, requires_grad=True)
    if name not in ("layout", "classify"):
        assert answer(name, tensor) == answer(name, vectors)
    for given in (tensor, list(tensor), torch.nn.Parameter(tensor.detach()), tensor.detach()):
        of_vectors(name)(given)
    assert tensor.requires_grad
    with pytest.raises(SemsearchError, match="negative bit"):
        of_vectors(name)(tensor.detach()._neg_view())


@pytest.mark.parametrize("odd", [[1.0], None, "x", [1.0, "x"], [[1.0], 2.0], 5.0])
@pytest.mark.parametrize("name", [*APPLICATIONS, "layout"])
def test_a_row_unlike_the_others_is_named(name, odd):
    rows = np.random.default_rng(0).standard_normal((30, 2)).tolist()
    rows[17] = odd
    with pytest.raises(SemsearchError, match=r"row 17 |text 0 is no text"):
        of_vectors(name, 2)(rows)


@pytest.mark.parametrize("progress", ["x", 3, True, []])
@pytest.mark.parametrize(
    "applied",
    [
        semsearch.pairs,
        partial(semsearch.pairs, k=2),
        semsearch.communities,
        semsearch.clusters,
        partial(semsearch.clusters, method="kmeans", count=2),
        partial(semsearch.clusters, method="hdbscan"),
        lambda vectors, progress: semsearch.bitext(vectors, vectors, progress=progress),
    ],
)
def test_what_can_not_be_called_is_no_progress(applied, progress):
    with pytest.raises(UsageError, match="progress must be a function to call with how far the work is, or None"):
        applied(np.eye(20), progress=progress)


def test_a_collection_calls_no_progress_that_can_not_be_called(tmp_path):
    with semsearch.create("notes", home=tmp_path, encoder=None, dim=20) as notes:
        documents = [semsearch.Document(str(row), "text") for row in range(20)]
        with pytest.raises(UsageError, match="progress must be"):
            notes.add(documents, progress="x")
        notes.add(documents, vectors=np.eye(20))
        for applied in (
            notes.pairs,
            partial(notes.pairs, approximate=True),
            partial(notes.duplicates, wording=False),
            notes.clusters,
            notes.topics,
            notes.map,
        ):
            with pytest.raises(UsageError, match="progress must be"):
                applied(progress="x")


@pytest.mark.parametrize("device", [None, 3, ["cpu"]])
@pytest.mark.parametrize("applied", [semsearch.pairs, semsearch.communities, semsearch.clusters])
def test_a_device_is_named_by_a_text(applied, device):
    with pytest.raises(UsageError, match="device must be auto, cpu, cuda or cuda:1, not"):
        applied(np.eye(20), device=device)


@pytest.mark.parametrize(
    "applied",
    [
        semsearch.pairs,
        semsearch.clusters,
        semsearch.layout,
        semsearch.communities,
        partial(semsearch.similarity, np.eye(2)),
        partial(semsearch.classify, labelled=np.eye(2), labels=LABELS),
    ],
)
def test_a_metric_that_is_none_is_refused(applied):
    with pytest.raises(UsageError, match="'foo' is no metric; they are cosine, dot, l2"):
        applied(np.eye(2), metric="foo")


@pytest.mark.parametrize("seed", [-1, "x", 1.5, True])
@pytest.mark.parametrize(
    "applied", [semsearch.clusters, semsearch.layout, partial(learn_margin, np.eye(30), np.eye(30))]
)
def test_a_seed_that_is_none_is_refused(applied, seed):
    vectors = () if isinstance(applied, partial) else (np.eye(2),)
    with pytest.raises(UsageError, match="seed must be"):
        applied(*vectors, seed=seed)


@pytest.mark.parametrize("how", [{"limit": 3}, {"k": 2}, {"min_score": 0.5, "limit": None}, {"k": 10**30}])
def test_a_side_without_rows_has_no_pairs(how):
    """It is not taken for one that was not given."""
    rows, none = np.eye(5, 8, dtype=np.float32), np.zeros((0, 8), dtype=np.float32)
    assert AllPairs(GroupedRows.apart(rows), GroupedRows.apart(none), Metric.COSINE).count == 0
    for one, other in ((rows, none), (none, rows), (none, none)):
        assert len(semsearch.pairs(one, other, **how).first) == 0
    assert len(semsearch.bitext(rows, none).first) == len(semsearch.bitext(none, rows).first) == 0
    assert len(semsearch.pairs(rows, rows, **{**how, "min_score": 0.5}).first) == min(5, how.get("limit") or 5)


@pytest.mark.parametrize("name", [*APPLICATIONS, "layout"])
def test_rows_without_components_are_refused(name):
    applied = {**APPLICATIONS, "layout": semsearch.layout}[name]
    with pytest.raises(
        SemsearchError, match=r"shape \(n, dim\), but have \(5, 0\)|shape \(n, dim\), but have \(10, 0\)"
    ):
        applied(np.zeros((5, 0)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", APPLICATIONS)
def test_what_is_no_number_is_refused(name, bad):
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    vectors[17, 2] = bad
    with pytest.raises(DataError, match=r"row (17|0) .*NaN or infinite"):
        APPLICATIONS[name](vectors)


def test_a_threshold_of_0_on_a_million_rows_is_a_sentence():
    """About half of the 500,000,000,000 pairs reach it: refused before any is looked at."""
    vectors = np.random.default_rng(0).standard_normal((1_000_000, 4)).astype(np.float32)
    for application in (
        partial(semsearch.pairs, min_score=0.0, limit=None),
        partial(semsearch.communities, threshold=0.0),
        partial(semsearch.clusters, min_score=0.0),
    ):
        with pytest.raises(
            UsageError, match=r"about 2[0-9]{2},[0-9,]* pairs reach a score of 0.0000, and at most 1,000"
        ):
            application(vectors)


def test_a_threshold_of_0_on_few_rows_is_answered():
    vectors = np.random.default_rng(0).standard_normal((50, 4))
    found = semsearch.pairs(vectors, min_score=0.0, limit=None)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert len(found.first) == (np.triu(unit @ unit.T, 1) > 0).sum()
    (first, *_) = semsearch.communities(vectors, 0.0, min_size=1)
    assert len(first) == ((unit @ unit[first[0]]) > 0).sum()


@pytest.fixture
def without_room():
    """`without_room(work)`: what work says where no file may grow beyond a megabyte."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def said(work):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
        try:
            with pytest.raises(StorageError) as told:
                work()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        return str(told.value)

    yield said
    signal.signal(signal.SIGXFSZ, before)


full = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the size of files as Linux does")


@full
def test_a_temporary_array_takes_its_room_at_once(monkeypatch, without_room):
    monkeypatch.setattr(scratch_module, "IN_MEMORY_BYTES", 1 << 16)
    made = scratch((1000, 30), np.float32)
    made[:] = 7
    assert (made == 7).all()
    said = without_room(partial(scratch, (1000, 300), np.float32))
    assert "a temporary file of 0.0 GB can't be made: File too large. Make room" in said


@full
def test_a_full_disk_ends_pairs_with_a_sentence_and_the_same_call_goes_on(tmp_path, without_room):
    vectors = np.random.default_rng(0).standard_normal((9_000, 4)).astype(np.float32)
    asked = partial(semsearch.pairs, vectors, min_score=0.94, limit=None, device="cpu")
    whole = asked()
    assert len(whole.first) > 200_000  # 20 bytes each
    said = without_room(partial(asked, folder=tmp_path / "kept"))
    assert "can't be written: the disk took a part of it" in said
    assert "repeat the command: it goes on from there" in said
    again = asked(folder=tmp_path / "kept")
    for one, other in zip(whole[:3], again[:3], strict=True):
        assert one.tobytes() == other.tobytes()
    assert not (tmp_path / "kept").exists()


@full
@pytest.mark.slow
def test_a_full_disk_ends_what_keeps_nothing_with_a_sentence(monkeypatch, without_room):
    vectors = np.random.default_rng(0).standard_normal((6_000, 4)).astype(np.float32)
    monkeypatch.setattr("semsearch.applications.runs.IN_MEMORY", 1 << 12)
    said = without_room(partial(semsearch.communities, vectors, 0.9, device="cpu"))
    assert "the disk took a part of it" in said
    assert "Ask for fewer pairs" in said


@full
@pytest.mark.slow
def test_a_million_rows_on_a_full_disk_are_a_sentence(monkeypatch, without_room):
    """What all pairs multiply does not fit: said before a pair is looked at."""
    monkeypatch.setattr(scratch_module, "IN_MEMORY_BYTES", 1 << 24)
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((1_000_000, 32), dtype=np.float32)
    vectors /= np.arange(1, 33, dtype=np.float32) ** 2  # of which a few components tell most pairs apart
    for asked in ({"limit": 10}, {"min_score": 0.999999, "limit": None}):
        said = without_room(partial(semsearch.pairs, vectors, **asked, device="cpu"))
        assert "can't be made: File too large. Make room" in said


@pytest.mark.slow
def test_every_command_writes_the_same_bytes_twice(tmp_path):
    pytest.importorskip("sklearn")
    model, home = tiny_model(tmp_path / "model"), ("--home", tmp_path / "home")
    words = [text.split() for text in SUBJECTS.values()]
    texts = [f"{one} {other}" for some in words for one in some for other in some if one != other]
    with semsearch.create("texts", home=tmp_path / "home", encoder=str(model)) as made:
        made.add(semsearch.Document(str(at), text, metadata={"kind": at // 56}) for at, text in enumerate(texts))
    (tmp_path / "a.txt").write_text("\n".join(texts[:40]))
    (tmp_path / "b.txt").write_text("\n".join(texts[20:60]))
    sides = (tmp_path / "a.txt", tmp_path / "b.txt", "-m", model)
    for asked in (
        ("pairs", "texts", "--limit", 500, *home),
        ("duplicates", "texts", "--min-score", 0.9, *home),
        ("clusters", "texts", "--method", "kmeans", "--count", 5, *home),
        ("clusters", "texts", "--min-size", 3, *home),
        ("bitext", *sides, *home),
        ("similarity", "--lines", *sides),
    ):
        files = [tmp_path / f"{number}.tsv" for number in range(2)]
        for file in files:
            assert run(*asked, "--out", file).code == 0, asked
        assert files[0].read_bytes() == files[1].read_bytes(), asked
        assert len(files[0].read_bytes()) > 100
        for file in files:
            file.unlink()
    classified = [run("classify", "texts", tmp_path / "a.txt", "--field", "kind", "--json", *home) for _ in range(2)]
    assert classified[0].out == classified[1].out != ""
