"""All pairs are those of brute force, score for score, whatever the tile, the way and the interruption."""

import numpy as np
import pytest

from semsearch.applications import all_pairs as all_pairs_module
from semsearch.applications import neighbour_floors as neighbour_floors_module
from semsearch.applications import tile_bounds, upper_bounds
from semsearch.applications import tiles as tiles_module
from semsearch.applications.all_pairs import AllPairs
from semsearch.applications.found_pairs import Nearest
from semsearch.applications.runs import Runs
from semsearch.applications.tiles import GroupedRows
from semsearch.applications.upper_bounds import PairSample, Projection, choose
from semsearch.errors import DataError, UsageError
from semsearch.types import Metric
from semsearch.vectors import normalise, score_pairs

DIM = 48


def vectors(count, seed=0, dim=DIM):
    """Some that vary along few directions, with equal and nearly equal ones among them."""
    rng = np.random.default_rng(seed)
    made = (rng.standard_normal((count, dim)) / np.sqrt(np.arange(1, dim + 1))).astype(np.float32)
    made[count // 2 : count // 2 + 8] = made[:8]
    made[count // 3] = made[count // 3 + 1] + np.float32(1e-4)
    return made


def sets(metric, same, grouped):
    left = vectors(120)
    right = left if same else np.concatenate([left[:60] + np.float32(0.02), vectors(50, 1)])
    if metric == Metric.COSINE:
        left, right = normalise(left), normalise(right)
    size = 3 if grouped else 1
    return left, right, np.arange(len(left)) // size, np.arange(len(right)) // size


def brute_force(left, right, left_groups, right_groups, metric, same):
    """All pairs of groups by the definition, best first."""
    found = {}
    for i in range(len(left)):
        scores = score_pairs(left[i], right, metric)
        for j in range(i + 1 if same else 0, len(right)):
            groups = left_groups[i], right_groups[j]
            pair = (-scores[j], i, j)
            if not (same and groups[0] == groups[1]) and (groups not in found or pair < found[groups]):
                found[groups] = pair
    return [(float(-score), i, j) for score, i, j in sorted(found.values())]


def streamed(runs, limit=None):
    return [pair for part in runs.stream(limit) for pair in part.tolist()]


WAYS = ["projected", "whole", "together", "int8", "int8 as float32", "bf16", "bf16, whole", "device"]


@pytest.fixture(params=WAYS)
def way(request, monkeypatch):
    """By few components, all of them, and float64 products of whole tiles; by codes; as a GPU does. Small tiles."""
    monkeypatch.setattr(tiles_module, "TILE", 32)
    kind, _, how = request.param.partition(" as ")
    if "whole" in kind:
        monkeypatch.setattr(upper_bounds, "WIDTHS", ())
    if kind == "device":  # all that is not "cpu" is handled as a GPU
        monkeypatch.setattr(all_pairs_module, "chosen_device", lambda asked, rows: "cpu:0")
    if kind[:4] in ("int8", "bf16"):
        monkeypatch.setattr("semsearch.vector_codes.multiplied_as", lambda *_: how or kind[:4])
    codes = kind[:4] if kind[:4] in ("int8", "bf16") else "none"
    monkeypatch.setattr(all_pairs_module, "fastest_codes", lambda device: codes)
    monkeypatch.setattr(neighbour_floors_module, "FLOORS_FROM", 20)
    monkeypatch.setattr(all_pairs_module, "component_cost", lambda device, codes: 1e6)  # few are multiplied, if any may
    monkeypatch.setattr(tiles_module, "MOST_LET_THROUGH", -1 if kind == "together" else 2)


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("same", [True, False], ids=["itself", "two"])
@pytest.mark.parametrize("grouped", [False, True], ids=["rows", "groups"])
def test_pairs_are_those_of_brute_force(metric, same, grouped, way):
    left, right, left_groups, right_groups = sets(metric, same, grouped)
    expected = brute_force(left, right, left_groups, right_groups, metric, same)
    compared = AllPairs(GroupedRows(left, left_groups), None if same else GroupedRows(right, right_groups), metric)
    least = expected[200][0]
    for asked in ({"limit": 40}, {"least": least}, {"least": least, "limit": 100}):
        runs = Runs()
        compared.best(runs, block_rows=40, **asked)
        wanted = [pair for pair in expected if pair[0] >= asked.get("least", -np.inf)][: asked.get("limit")]
        assert streamed(runs, asked.get("limit")) == wanted, asked
    nearest = compared.nearest(3, block_rows=64)
    for side, (found, groups) in enumerate(zip(nearest, (left_groups, right_groups), strict=True)):
        of_group = {}
        for score, i, j in expected:
            if same or side == 0:
                of_group.setdefault(left_groups[i], []).append((-score, j))
            if same or side == 1:
                of_group.setdefault(right_groups[j], []).append((-score, i))
        for group in np.unique(groups):
            best = sorted(of_group[group])[:3]
            assert [(-float(s), o) for s, o in zip(found.scores[group], found.others[group], strict=True)] == best


def test_what_the_sample_foresees_wrongly_is_found_in_a_second_pass(monkeypatch):
    left, _, groups, _ = sets(Metric.COSINE, True, False)
    expected = brute_force(left, left, groups, groups, Metric.COSINE, True)
    monkeypatch.setattr(AllPairs, "_probably", lambda self, limit: expected[10][0])
    runs = Runs()
    AllPairs(GroupedRows.apart(left), None, Metric.COSINE).best(runs, limit=30, block_rows=50)
    assert streamed(runs, 30) == expected[:30]


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("kind", ["int8", "bf16"])
@pytest.mark.parametrize("how", ["int8", "bf16", "float32"])
@pytest.mark.parametrize("length", [1e-15, 1.0, 1e8])
def test_bounds_by_codes_hold(metric, kind, how, length, monkeypatch):
    if (kind, how) == ("bf16", "int8"):
        pytest.skip("bfloat16 is multiplied as no integers")
    monkeypatch.setattr("semsearch.vector_codes.multiplied_as", lambda *_: how)
    rows = vectors(200, 2) * np.float32(1 if metric == Metric.COSINE else length)
    rows = normalise(rows) if metric == Metric.COSINE else rows
    exact = rows.astype(np.float64) @ rows.T.astype(np.float64)
    if metric == Metric.L2:
        exact -= np.diag(exact)[:, None] / 2 + np.diag(exact) / 2
    directions = np.linalg.eigh(rows.T.astype(np.float64) @ rows)[1][:, ::-1][:, :16]
    centre = rows.mean(axis=0, dtype=np.float64) if metric == Metric.L2 else np.zeros(DIM)
    for projection in (Projection.onto(None, centre), Projection.onto(directions, centre)):
        sides = [
            tile_bounds.Multiplied.project(rows, metric, projection, kind, lambda row, right: "", right=right)
            for right in (False, True)
        ]
        bounds = tile_bounds.TileBounds(*sides, metric, "cpu")
        slack = projection.slack(sides[0].lengths.max(), sides[1].lengths.max(), sides[0].rows.shape[1])
        for scaled in (False, True):
            made, unit, left_out = bounds.product(slice(0, 200), slice(0, 200), scaled=scaled)
            made = made.numpy() * (1 if unit is None else unit[:, None])
            assert (made + left_out + slack >= exact).all()
            if projection.directions is None:  # and are of use
                longest = sides[0].lengths.max() * sides[1].lengths.max()
                assert (made - exact <= left_out + slack).all()
                assert left_out <= 0.06 * longest


def test_the_fastest_type_is_found_by_trying(monkeypatch):
    seconds = {"none": 3.0, "int8": 1.0, "bf16": 2.0}
    monkeypatch.setattr(tile_bounds, "_seconds", lambda kind, width: seconds[kind])
    has = {"vnni": False}
    monkeypatch.setattr(tile_bounds, "multiplies_int8", lambda: has["vnni"])
    monkeypatch.setattr(tile_bounds, "cpu_has", lambda feature: has["vnni"])
    fastest = tile_bounds.fastest_codes.__wrapped__
    assert fastest("cpu") == "none"
    has["vnni"] = True
    assert fastest("cpu") == "int8"
    assert fastest("cuda:1") == "bf16"


def test_a_type_is_tried_on_a_tile(monkeypatch):
    monkeypatch.setattr(tile_bounds, "TRIES", 1)
    assert all(tile_bounds._seconds(kind, 16) > 0 for kind in ("none", "int8", "bf16"))


@pytest.mark.parametrize("length", [0, 7, 8, 640, 641])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.5, 1.0])
def test_places_are_all_that_is_true(length, share):
    mask = np.random.default_rng(0).random(length) < share
    assert tile_bounds._places(mask).tolist() == np.flatnonzero(mask).tolist()


def test_what_a_component_takes_is_tried(monkeypatch):
    cost = tile_bounds.component_cost.__wrapped__
    monkeypatch.setattr(tile_bounds, "_seconds", lambda kind, width: {"none": 1e-3, "int8": 0.0}[kind] + width * 1e-5)
    assert cost("cpu", "none") == pytest.approx(1e4 / tile_bounds.TILE**2)
    assert cost("cpu", "int8") == pytest.approx(1e4 / tile_bounds.TILE**2)
    monkeypatch.setattr(tile_bounds, "_seconds", lambda kind, width: 1 / width)  # somebody else was at work
    assert cost("cpu", "none") == 0
    assert 0 < cost("cuda", "bf16") < upper_bounds.PER_COMPONENT


def test_the_dearer_a_component_the_fewer_are_multiplied():
    """And where they cost nothing, all of them, which let the fewest pairs through."""
    rows = vectors(800)
    groups = np.arange(len(rows))
    sample = upper_bounds.PairSample.draw(rows, groups, rows, groups, Metric.DOT, 800 * 799 // 2, same=True)
    least = float(sample.scores[-200])
    made = [upper_bounds.choose(sample, Metric.DOT, least, "none", cost) for cost in (0.0, 1e6)]
    assert made[0].directions is None
    assert made[1].width == upper_bounds.WIDTHS[0]
    assert made[1].directions.shape[1] == min(upper_bounds.WIDTHS[0] + upper_bounds.FINER, DIM)


@pytest.mark.parametrize("metric", [Metric.COSINE, Metric.L2])
def test_what_another_device_multiplies_is_there_and_of_its_type(metric):
    """On torch's device without memory: types, sizes and places are checked as on a GPU, and nothing is computed."""
    torch = pytest.importorskip("torch")
    rows = normalise(vectors(64))
    projection = Projection.onto(None, np.zeros(DIM))
    kind = tile_bounds.fastest_codes("cuda:0")
    sides = [
        tile_bounds.Multiplied.project(rows, metric, projection, kind, lambda row, right: "", right=right)
        for right in (False, True)
    ]
    bounds = tile_bounds.TileBounds(*sides, metric, "meta")
    made, unit, _ = bounds.product(slice(0, 32), slice(16, 64), scaled=True)
    assert (made.device.type, made.dtype, made.shape) == ("meta", torch.float32, (32, 48))
    assert bounds._a.dtype == torch.bfloat16
    assert unit is None  # bfloat16 has no scale


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("same", [True, False], ids=["itself", "two"])
@pytest.mark.parametrize("k", [1, 7])
def test_floors_lie_under_the_kth_nearest(metric, same, k, monkeypatch):
    monkeypatch.setattr(neighbour_floors_module, "FLOORS_FROM", 20)
    left, right, *_ = sets(metric, same, False)
    floors = neighbour_floors_module.neighbour_floors(left, right, metric, k, same=same)
    scores = np.stack([score_pairs(row, right, metric) for row in left]).astype(np.float64)
    if same:
        np.fill_diagonal(scores, -np.inf)
    kth = np.sort(scores, axis=1)[:, -k]
    assert (floors <= kth).all()
    assert (floors >= kth - 1e-3 * (1 + np.abs(kth))).mean() > 0.25  # and many are high


def test_floors_are_known_beside_few_rows():
    """Where they are not, all pairs of a side are sorted until so many were seen of each row."""
    few, many = vectors(300), vectors(900, 1)
    for left, right in ((few, many), (many, few), (few, few)):
        assert np.isfinite(
            neighbour_floors_module.neighbour_floors(left, right, Metric.L2, 20, same=left is right)
        ).all()


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("length", [1e-18, 1.0, 1e11])
def test_bounds_hold(metric, length):
    left = vectors(300, 2) * np.float32(length if metric != Metric.COSINE else 1)
    if metric == Metric.COSINE:
        left = normalise(left)
    groups = np.arange(len(left))
    sample = PairSample.draw(left, groups, left, groups, metric, 1000, same=True)
    exact = left.astype(np.float64) @ left.astype(np.float64).T
    if metric == Metric.L2:
        squares = np.diag(exact)
        exact = exact - squares[:, None] / 2 - squares / 2
    for width in (2, 16, DIM):
        directions = np.linalg.eigh(left.T.astype(np.float64) @ left)[1][:, ::-1][:, :width]
        for projection in (Projection.onto(directions, sample.left.mean(axis=0, dtype=np.float64)),):
            if metric != Metric.L2:
                projection = Projection.onto(directions, np.zeros(DIM))
            (a, _, own), (b, _, other) = (projection.of(left, metric, right=right) for right in (False, True))
            slack = projection.slack(own.max(), other.max(), a.shape[1])
            assert (a @ b.T + slack >= exact).all()
            finer = Projection.onto(directions, projection.centre, width // 2)
            (a, x, own), (b, y, other) = (finer.of(left, metric, right=right) for right in (False, True))
            slack = finer.slack(own.max(), other.max(), a.shape[1])
            assert (a @ b.T + slack >= exact).all()
            fallen = a @ b.T + x[:, :-1] @ y[:, :-1].T - np.outer(x[:, -1], y[:, -1])
            slack += finer.finer_slack * own.max() * other.max()
            assert (fallen + slack >= exact).all()
            assert (fallen <= a @ b.T + slack).all()


def test_few_components_are_chosen_where_they_tell_enough():
    rng = np.random.default_rng(3)
    flat = normalise((rng.standard_normal((500, 256)) * (1 / np.arange(1, 257))).astype(np.float32))
    groups = np.arange(500)
    sample = PairSample.draw(flat, groups, flat, groups, Metric.COSINE, 10**6, same=True)
    assert choose(sample, Metric.COSINE, 0.95).width <= 64
    short = np.ascontiguousarray(flat[:, :16])
    sample = PairSample.draw(short, groups, short, groups, Metric.COSINE, 10**6, same=True)
    assert choose(sample, Metric.COSINE, 0.95).directions is None


@pytest.mark.parametrize("codes", ["none", "bf16", "int8"])  # the fastest differs from one processor to another
@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_vectors(count, codes, monkeypatch):
    monkeypatch.setattr(all_pairs_module, "fastest_codes", lambda device: codes)
    runs = Runs()
    compared = AllPairs(GroupedRows.apart(normalise(vectors(20)[:count])), None, Metric.COSINE)
    compared.best(runs, limit=5)
    assert len(streamed(runs)) == (count == 2)
    assert compared.nearest(2)[0].scores.shape == (count, 2)


def test_equal_vectors_are_bounded_by_the_limit(monkeypatch):
    monkeypatch.setattr(tiles_module, "TILE", 64)
    equal = np.tile(normalise(vectors(20)[:1]), (700, 1))
    runs = Runs()
    AllPairs(GroupedRows.apart(equal), None, Metric.COSINE).best(runs, limit=10, block_rows=64)
    assert [pair[1:] for pair in streamed(runs, 10)] == [(0, j) for j in range(1, 11)]
    nearest, _ = AllPairs(GroupedRows.apart(equal), None, Metric.COSINE).nearest(3, block_rows=64)
    assert nearest.others[0].tolist() == [1, 2, 3]
    assert nearest.others[699].tolist() == [0, 1, 2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e20])
def test_what_is_no_vector_is_named(bad):
    spoilt = vectors(20)
    spoilt[7, 3] = bad
    with pytest.raises(DataError, match="row 7 of the vectors"):
        AllPairs(GroupedRows.apart(spoilt), None, Metric.DOT).best(Runs(), limit=5)


def test_groups_must_lie_side_by_side():
    with pytest.raises(DataError, match="side by side"):
        GroupedRows(vectors(20)[:3], np.array([0, 1, 0]))


def test_blocks_part_no_group():
    groups = np.repeat(np.arange(6), [1, 5, 2, 9, 1, 1])
    blocks = GroupedRows(vectors(20)[:19], groups).blocks(4)
    assert [(block.start, block.stop) for block in blocks] == [(0, 1), (1, 6), (6, 8), (8, 17), (17, 19)]
    assert GroupedRows.apart(vectors(20)[:10]).blocks(4) == [slice(0, 4), slice(4, 8), slice(8, 10)]


def test_an_error_in_a_thread_ends_it(monkeypatch):
    def broken(self, *args):
        raise MemoryError("no room")

    monkeypatch.setattr(tiles_module.Tiles, "pairs", broken)
    with pytest.raises(MemoryError, match="no room"):
        AllPairs(GroupedRows.apart(vectors(300)), None, Metric.DOT).best(Runs(), limit=5, block_rows=20)


def test_a_gpu_that_is_not_there_is_said():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(UsageError, match="sees no CUDA device"):
        AllPairs(GroupedRows.apart(vectors(20)), None, Metric.DOT, "cuda")


@pytest.mark.gpu
def test_a_gpu_finds_the_same():
    if not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("needs a CUDA device")
    left, _, groups, _ = sets(Metric.COSINE, True, False)
    found = []
    for device in ("cpu", "cuda"):
        runs = Runs()
        AllPairs(GroupedRows(left, groups), None, Metric.COSINE, device).best(runs, limit=200)
        found.append(streamed(runs, 200))
    assert found[0] == found[1]


@pytest.mark.parametrize("metric", Metric)
def test_a_sample_of_equal_vectors_has_the_score_that_they_have(metric):
    """What is foreseen a rounding too high is reached by none."""
    equal = np.tile(normalise(vectors(40)[:1]), (60, 1))
    groups = np.arange(60)
    sample = PairSample.draw(equal, groups, equal, groups, metric, 1770, same=True)
    assert set(sample.scores) == {float(score_pairs(equal[0], equal[:1], metric)[0])}


def test_no_more_pairs_wait_than_there_is_room_for():
    generator, groups, k = np.random.default_rng(0), 20, 3
    nearest = Nearest(groups, k, np.zeros(groups))
    scores = generator.random((groups, 200)).astype(np.float32)
    for other in range(200):
        nearest.update(np.arange(groups), scores[:, other], np.arange(groups), np.full(groups, other))
        assert nearest._held <= nearest._room
        assert sum(len(waiting[0]) for waiting in nearest._waiting) == nearest._held
    nearest.finish()
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    assert nearest.others.tolist() == order.tolist()
    assert nearest.scores.tolist() == np.take_along_axis(scores, order, axis=1).tolist()
