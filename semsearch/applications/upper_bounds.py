"""Upper bounds of the scores of all pairs from a few components: the first look of `semsearch.applications.all_pairs`.

With the columns of Q orthonormal, x₁ = Qᵀx and r = ‖x − Qx₁‖, Cauchy and Schwarz give

    q·x ≤ q₁·x₁ + r_q·r_x,

which is one product of vectors that are one component longer than x₁. What it lets through is looked at with some more
components x₂ and what is left behind these, r′: the bound falls by r_q·r_x − q₂·x₂ − r′_q·r′_x.

Along the directions in which the vectors vary most (principal components of a sample) some sixty components tell most
pairs apart, for a sixth of the work. What Q lacks of being orthonormal, and each rounding on the way, is allowed for in
`slack`, so that the bound is proven, and Q may be anything: it decides how fast the answer comes, never what it is.

For L2 the same with q₁·x₁ + r_q·r_x − ‖q‖²/2 − ‖x‖²/2, which is −‖q − x‖²/2 at least, of vectors less their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.types import Metric, Vectors
from semsearch.vector_codes import LENGTH, RESIDUAL, UNDERFLOW, encode
from semsearch.vectors import MAX_SCORE, MIN_SCORE

PROJECTED_ROWS = 8192  # projected at a time
SAMPLED = 2048  # rows of each side that are looked at before
THINNED = 4  # one in so many of these tells how far bounds get
ITERATIONS = 3  # of the subspace iteration; Halko, Martinsson and Tropp 2011, algorithm 4.4
WIDTHS = (15, 31, 47, 63, 79, 95, 111, 127, 159, 191, 255)  # a multiple of 16 with what a bound adds
FINER = 80  # more components of what these let through
PER_COMPONENT = 0.03  # nanoseconds of a pair on one core of 2024, where it is not tried; only the ratios matter
PER_CANDIDATE, PER_SCORE = 100.0, 600.0  # of a pair that is let through; of one whose whole vectors are looked at
MOST_LET_THROUGH = 1 / 16  # share of the pairs of a tile above which all are scored together


@dataclass(frozen=True)
class Projection:
    """Directions `(dim, all)`, and how far they are from being orthonormal; None: all components are kept."""

    directions: NDArray[np.float32] | None
    skew: float  # the Frobenius norm of QᵀQ − 1
    centre: NDArray[np.float64]  # (dim,) taken off first; zero but for L2
    width: int  # of the directions that many pairs are multiplied along; the others are for what that lets through

    @classmethod
    def onto(
        cls, directions: NDArray[np.float64] | None, centre: NDArray[np.float64], width: int | None = None
    ) -> Projection:
        """Onto some directions, rounded to float32, of which all pairs are multiplied along the first `width`."""
        if directions is None:
            return cls(None, 0.0, centre, 0)
        narrow = directions.astype(np.float32)
        wide = narrow.astype(np.float64)
        skew = float(np.linalg.norm(wide.T @ wide - np.eye(wide.shape[1]))) + 1e-12
        return cls(narrow, skew, centre, narrow.shape[1] if width is None else width)

    def of(
        self, vectors: Vectors, metric: Metric, *, right: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
        """What is multiplied for `vectors` `(n, dim)`.

        Returns:
            `(n, columns)` for all pairs; `(n, more)` for those let through: further components, what is left behind
            them, and what was left before; and the length of each row of the first, rounded up.
        """
        finer = np.empty((len(vectors), 0), dtype=np.float32)
        if self.directions is None and metric != Metric.L2:
            return vectors, finer, _lengths(vectors.astype(np.float64))
        wide = vectors.astype(np.float64) - self.centre
        squares = np.einsum("nd,nd->n", wide, wide)
        columns = [wide]
        if self.directions is not None:
            whole = product(wide, self.directions.astype(np.float64))
            kept, more = whole[:, : self.width], whole[:, self.width :]
            rests = []
            gone = np.zeros(len(wide))
            for part in (kept, more):
                gone += np.einsum("nd,nd->n", part, part)
                rest = np.maximum(squares - gone, 0) + (self.skew + 1e-12) * squares + UNDERFLOW
                rests.append(np.sqrt(rest)[:, None])
            columns = [kept, rests[0]]
            if more.shape[1]:
                finer = np.concatenate([more, rests[1], rests[0]], axis=1).astype(np.float32)
        if metric == Metric.L2:
            half, one = -squares[:, None] / 2, np.ones((len(wide), 1))
            columns += [one, half] if right else [half, one]
        multiplied = np.concatenate(columns, axis=1)
        return multiplied.astype(np.float32), finer, _lengths(multiplied)

    def slack(self, left: float, right: float, columns: int) -> float:
        """What a product of rows of at most these lengths may be too small by.

        Two roundings of the rows to float32, d of the sum (twice Higham's d·2⁻²⁴ is taken), and the skew.
        """
        return (4 * 2.0**-24 + 2 * columns * _unit_of_products() + self.skew + 1e-12) * left * right + UNDERFLOW

    @property
    def finer_slack(self) -> float:
        """What the fall of a bound may be too large by, beside `slack`, for lengths of 1.

        The rows are at most √2 as long as those that are multiplied, of which they hold what is left twice.
        """
        more = 0 if self.directions is None else self.directions.shape[1] - self.width
        return 2 * (4 + 2 * (more + 2)) * 2.0**-24


def product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """The matrix product by torch, whose threads are those of the caller's thread, as numpy's are not.

    A few threads that wait for each other at every small product take several times as long on a busy machine.
    """
    import torch

    whole: NDArray[Any] = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    return whole


def _eigenvectors(symmetric: NDArray[np.float64]) -> NDArray[np.float64]:
    """By rising eigenvalue."""
    import torch

    vectors: NDArray[np.float64] = torch.linalg.eigh(torch.from_numpy(symmetric))[1].numpy()
    return vectors


def _lengths(wide: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", wide, wide)) * (1 + 2.0**-20)
    return lengths


def _unit_of_products() -> float:
    """The relative rounding of a float32 product; larger where the user let torch multiply in fewer bits."""
    import torch

    return 2.0**-24 if torch.get_float32_matmul_precision() == "highest" else 2.0**-10


@dataclass(frozen=True)
class PairSample:
    """Some rows of each side and the scores of all pairs of them, to foresee what the whole holds."""

    left: Vectors
    right: Vectors
    scores: NDArray[np.float64]  # (pairs,) ascending, of pairs of different groups
    different: NDArray[np.bool_]  # (left, right) which pairs these are
    of: int  # pairs that there are in all
    rows: NDArray[np.int64]  # (left,) which rows of the left these are
    columns: NDArray[np.int64]  # (right,) and of the right

    @classmethod
    def draw(
        cls,
        left: Vectors,
        left_groups: NDArray[np.int64],
        right: Vectors,
        right_groups: NDArray[np.int64],
        metric: Metric,
        pairs: int,
        *,
        same: bool,
    ) -> PairSample:
        """Up to `SAMPLED` rows of each side, at most one of a group, always the same ones."""
        rng = np.random.default_rng(0)
        rows = _one_of_each(left_groups, rng)
        columns = rows if same else _one_of_each(right_groups, rng)
        a, b = np.array(left[rows]), np.array(right[columns])
        scores = product(a.astype(np.float64), b.astype(np.float64).T)
        if metric == Metric.L2:
            squares, others = (np.einsum("nd,nd->n", side, side, dtype=np.float64) for side in (a, b))
            scores = 2 * scores - squares[:, None] - others
        # rounded as scores are: what all pairs of equal vectors score, they must reach
        scores = np.clip(scores, MIN_SCORE, MAX_SCORE).astype(np.float32).astype(np.float64)
        different = np.triu(np.ones(scores.shape, dtype=bool), 1) if same else np.ones(scores.shape, dtype=bool)
        return cls(a, b, np.sort(scores[different]), different, pairs, rows, columns)

    def share_at_least(self, score: float) -> float:
        """The share of the sampled pairs that score at least so much."""
        if not len(self.scores):
            return 0.0
        return 1 - float(np.searchsorted(self.scores, score)) / len(self.scores)

    def score_of_best(self, count: float) -> float:
        """About what the last of the `count` best of all pairs scores."""
        if not len(self.scores) or count >= self.of:
            return -np.inf
        at = len(self.scores) - 1 - int(count / self.of * len(self.scores))
        return float(self.scores[max(at, 0)])

    def doubt(self, score: float, metric: Metric) -> float:
        """The relative standard error of how many pairs score at least so much, as far as the sample tells.

        Pairs of one row are no independent draws, so rows are counted (Hoeffding 1948, of U-statistics).
        """
        a, b = self.left, self.right
        products = product(a, b.T)
        if metric == Metric.L2:
            products = 2 * products - np.einsum("nd,nd->n", a, a)[:, None] - np.einsum("nd,nd->n", b, b)
        over = (products >= score) & self.different
        counts = over.sum(axis=1) + (over.sum(axis=0) if len(a) == len(b) else 0)
        return float(2 * counts.std() / np.sqrt(len(counts)) / max(counts.mean(), 1e-9))

    def percentile(self, share: float) -> float:
        """The score below which this share of random pairs lies, from 0 to 1."""
        return float(np.quantile(self.scores, share)) if len(self.scores) else -np.inf


def _one_of_each(groups: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    _, first = np.unique(groups, return_index=True)
    if len(first) > SAMPLED:
        first = np.sort(rng.choice(first, SAMPLED, replace=False))
    return first.astype(np.int64)


def choose(
    sample: PairSample,
    metric: Metric,
    least: float | np.floating[Any] | NDArray[np.float64],
    codes: str = "none",
    component: float = PER_COMPONENT,
) -> Projection:
    """The projection whose bounds find what scores at least `least` for the least work, as the sample tells.

    Args:
        sample: Some rows and their scores.
        metric: How they are compared.
        least: What a pair must score; or of each pair of the sample `(left, right)`.
        codes: As what the components are multiplied: see `semsearch.applications.tile_bounds`.
        component: The nanoseconds that each takes of a pair.
    """
    dim = sample.left.shape[1]
    both = np.concatenate([sample.left, sample.right]).astype(np.float64)
    centre = both.mean(axis=0) if metric == Metric.L2 else np.zeros(dim)
    widths = [width for width in WIDTHS if width < 0.7 * dim]
    some = sample.different[::THINNED, ::THINNED]
    pairs = max(float(some.sum()), 1.0)
    needed = least / 2 if metric == Metric.L2 else least
    if isinstance(needed, np.ndarray):
        needed = needed[::THINNED, ::THINNED]
    one, other = (side[::THINNED] - centre for side in (sample.left, sample.right))
    constant = _constant(sample, metric, centre)

    def share(bounds: NDArray[Any], left_out: float) -> float:
        return float(((bounds >= needed - left_out) & some).sum()) / pairs

    shares: dict[int, float] = {}  # that are let through, by width
    whole = product(one, other.T) + constant
    if not widths or len(sample.scores) < 1000:
        return Projection.onto(None, centre)
    directions = _principal(both - centre, min(max(widths) + FINER, dim))
    kept, rests = zip(*[_parts(side, directions) for side in (one, other)], strict=True)
    bounds, known = constant, 0
    for width in (*widths, directions.shape[1]):  # what a narrower one gave is not computed again
        bounds += product(kept[0][:, known:width], kept[1][:, known:width].T)
        known = width
        left, right = (np.sqrt(side[:, width]) for side in rests)
        left_out = _left_out(kept[0][:, :width], kept[1][:, :width], codes)
        shares[width] = share(bounds + left[:, None] * right, left_out)
    shares[dim] = share(whole, _left_out(one, other, codes))
    best = min((dim, *widths), key=lambda width: _cost(width, shares, component))
    return Projection.onto(None if best == dim else directions[:, : best + FINER], centre, best)


def _left_out(left: NDArray[Any], right: NDArray[Any], codes: str) -> float:
    """About what codes of some rows leave out of a product."""
    if codes == "none" or not len(left) or not len(right):
        return 0.0
    one, other = (
        encode(rows.astype(np.float32), Metric.DOT, codes)[1].max(axis=0, initial=0) for rows in (left, right)
    )
    return float(one[LENGTH] * other[RESIDUAL] + one[RESIDUAL] * other[LENGTH])


def _parts(rows: NDArray[np.float64], directions: NDArray[np.float64]) -> tuple[Vectors, Vectors]:
    """Components `(n, width)` along some directions, and the squares that are left after so many `(n, width + 1)`."""
    kept = product(rows, directions)
    gone = np.cumsum(np.pad(kept**2, ((0, 0), (1, 0))), axis=1)
    rest = np.maximum(np.einsum("nd,nd->n", rows, rows)[:, None] - gone, 0)
    return kept.astype(np.float32), rest.astype(np.float32)


def _constant(sample: PairSample, metric: Metric, centre: NDArray[np.float64]) -> NDArray[np.float32]:
    """What the bounds of the pairs of a sample hold beside products."""
    if metric != Metric.L2:
        return np.zeros(sample.different[::THINNED, ::THINNED].shape, dtype=np.float32)
    sides = (side[::THINNED] - centre for side in (sample.left, sample.right))
    left, right = (-np.einsum("nd,nd->n", rows, rows) / 2 for rows in sides)
    made: NDArray[np.float32] = (left[:, None] + right).astype(np.float32)
    return made


def _cost(width: int, shares: dict[int, float], component: float) -> float:
    """Nanoseconds a pair, where a look along `width` components lets a share of all through, and a finer one less."""
    looked_at = min(shares[width], MOST_LET_THROUGH)
    finer = max(other for other in shares if other <= width + FINER)
    scored = min(looked_at, shares[max(finer, width)])
    return component * width + PER_CANDIDATE * looked_at + PER_SCORE * scored


def _principal(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The `width` orthonormal directions `(dim, width)` along which `rows` `(n, dim)` vary most, falling."""
    dim = rows.shape[1]
    if dim <= 1024:
        directions = _eigenvectors(product(rows.T, rows))
        return np.ascontiguousarray(directions[:, ::-1][:, :width])
    basis = np.random.default_rng(0).standard_normal((dim, width))
    for _ in range(ITERATIONS):
        basis, _ = np.linalg.qr(product(rows.T, product(rows, basis)))
    reduced = product(rows, basis)
    turn = _eigenvectors(product(reduced.T, reduced))
    directions, _ = np.linalg.qr(basis @ turn[:, ::-1])
    return directions
