"""Documents in clusters, by k-means, as communities, agglomeratively, or by density; and new ones assigned to them.

The same vectors and the same seed give the same clusters. Clusters are numbered by falling size, of equal sizes the one
with the earlier document comes first; -1 is none. Every cluster has a centre, the mean of its members at unit length
(plain where distances are compared), and the documents that score best with it represent it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from semsearch.applications.all_pairs import AllPairs, PairProgress, chosen_device
from semsearch.applications.communities import COMMUNITY_SIZE, communities_of
from semsearch.applications.document_vectors import document_vectors
from semsearch.applications.tiles import GroupedRows
from semsearch.applications.upper_bounds import PairSample
from semsearch.arguments import check_choice, check_number, check_progress, check_whole
from semsearch.arrow_input import rows_in
from semsearch.engine import Engine
from semsearch.errors import MissingDependency, UsageError
from semsearch.tabular import RowIds, Tabular
from semsearch.types import Metric, Scores, Vectors
from semsearch.vectors import normalise, score_each, stored_form

METHODS = ("communities", "kmeans", "agglomerative", "hdbscan")
MOST_SQUARED = 20_000  # rows whose distances to each other, 3 GB, some methods keep
MATRIX_ROWS = 11_000  # rows of which HDBSCAN is given a matrix of distances, 1 GB
POINTS = 256  # rows of a cluster that k-means is trained on, on average
SPREAD = 20  # rows of a cluster among which k-means++ chooses
ROUNDS = 25  # of k-means
REPRESENTATIVES = 3
SMALLEST = 5  # members of a cluster of HDBSCAN


@dataclass(frozen=True)
class Grouping:
    """How to cluster.

    Attributes:
        method: "communities", "kmeans", "agglomerative" or "hdbscan".
        count: How many clusters k-means makes.
        min_score: What a member scores with its community's centre, or two clusters on average to be merged; None:
            what so many random pairs score that a document has `min_size` such neighbours on average.
        min_size: Members that a cluster has at least; None: 10 in communities, 5 by density, else 1.
        seed: Of k-means.
    """

    method: str = "communities"
    count: int | None = None
    min_score: float | None = None
    min_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice(self.method, "method", METHODS)
        if self.method == "kmeans" and self.count is None:
            raise UsageError("k-means must be told how many clusters to make: give count.")
        if self.method != "kmeans" and self.count is not None:
            raise UsageError(f"{self.method} finds by itself how many clusters there are: leave out count.")
        for value, name in ((self.count, "count"), (self.min_size, "min_size")):
            if value is not None:
                check_whole(value, name)
        if self.method == "hdbscan" and self.min_size == 1:
            raise UsageError("hdbscan makes no clusters of one: min_size must be at least 2.")
        check_whole(self.seed, "seed", 0)
        if self.min_score is not None:
            check_number(self.min_score, "min_score")
            if self.method in ("kmeans", "hdbscan"):
                raise UsageError(f"{self.method} takes no min_score.")


@dataclass(frozen=True, eq=False)
class Clusters(Tabular):
    """Which row or document is in which cluster.

    Attributes:
        labels: `(n,)` the number of the cluster of each; -1 for none.
        scores: `(n,)` float32, of each with the centre of its cluster; -inf for none.
        centres: `(clusters, dim)`.
        representatives: Of each cluster the rows that score best with its centre, the best first.
        ids: Of the documents, or of the rows of a frame that had some, in their order; empty for bare vectors.
        min_score: The threshold, where there was one.
    """

    labels: NDArray[np.int64]
    scores: Scores
    centres: Vectors
    representatives: Sequence[NDArray[np.int64]]
    ids: Sequence[str] = ()
    min_score: float | None = None
    rows: RowIds | None = None  # of a frame

    def __len__(self) -> int:
        """Clusters."""
        return len(self.centres)

    def _index(self) -> RowIds | None:
        return self.rows if self.rows is not None and self.rows.indexed else None

    def _columns(self) -> dict[str, Any]:
        there = self.labels >= 0
        named: dict[str, Any] = {} if self._index() is not None else {"row": np.arange(len(self.labels))}
        if self.ids and named:
            named = {"id": self.ids}
        return {
            **named,
            "cluster": [int(label) if known else None for label, known in zip(self.labels, there, strict=True)],
            "score": [float(score) if known else None for score, known in zip(self.scores, there, strict=True)],
        }

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Members of each cluster."""
        return np.bincount(self.labels[self.labels >= 0], minlength=len(self.centres))

    def told(self) -> list[dict[str, Any]]:
        """What there is to say of each cluster of documents, as JSON values."""
        return [
            {
                "cluster": cluster,
                "size": size,
                "representatives": [self.ids[row] for row in self.representatives[cluster].tolist()],
                "members": [self.ids[row] for row in self.members(cluster).tolist()],
            }
            for cluster, size in enumerate(self.sizes.tolist())
        ]

    def documents(self) -> Iterator[dict[str, Any]]:
        """Each document with its cluster, as JSON values; null for none."""
        for one, label, score in zip(self.ids, self.labels.tolist(), self.scores.tolist(), strict=True):
            inside = label >= 0
            yield {"id": one, "cluster": label if inside else None, "score": round(score, 6) if inside else None}

    def members(self, cluster: int) -> NDArray[np.int64]:
        """The rows of a cluster, those that score best with its centre first."""
        rows = np.flatnonzero(self.labels == cluster)
        return rows[np.lexsort((rows, -self.scores[rows]))]

    def outliers(self, count: int = 10) -> NDArray[np.int64]:
        """The rows that score least with the centre of their cluster, the least first; those in none before them."""
        return np.lexsort((np.arange(len(self.scores)), self.scores))[:count]


def clusters(
    vectors: ArrayLike,
    method: str = "communities",
    *,
    count: int | None = None,
    min_score: float | None = None,
    min_size: int | None = None,
    seed: int = 0,
    metric: Metric | str = Metric.COSINE,
    device: str = "auto",
    progress: PairProgress | None = None,
) -> Clusters:
    """Rows `(n, dim)` in clusters.

    Args:
        vectors: `(n, dim)`, perhaps mapped; or a frame of pandas, polars or pyarrow with a vector a row.
        method: "communities" (around one row each, none in two), "kmeans" (of unit vectors; FAISS), "agglomerative"
            (average linkage) or "hdbscan" (by density); the last two by scikit-learn, up to 20,000 rows.
        count: How many clusters k-means makes.
        min_score: What a member scores with its community's centre, or two clusters on average to be merged; by
            default so much that a row has `min_size` such neighbours on average.
        min_size: Members that a cluster has at least.
        seed: Of k-means: the same gives the same clusters.
        metric: "cosine", "dot" (whose rows are clustered by their directions) or "l2".
        device: "cpu", "cuda"; "auto" takes a GPU for many rows.
        progress: Called with the pairs that are done and those that there are.

    Raises:
        UsageError: What is asked for makes no sense.
        MissingDependency: FAISS or scikit-learn is not installed.
        DataError: A row holds NaN or infinite numbers.
    """
    grouping = Grouping(method, count, min_score, min_size, seed)
    given, ids = rows_in(vectors)
    metric = Metric.L2 if Metric.of(metric) == Metric.L2 else Metric.COSINE
    rows = stored_form(given, None, metric)
    found = clustered(rows, metric, grouping, device, progress)
    return found if ids is None else replace(found, ids=list(ids.values), rows=ids)


def document_clusters(
    engine: Engine, grouping: Grouping, device: str = "auto", progress: PairProgress | None = None
) -> Clusters:
    """See `Collection.clusters`."""
    with engine.view() as view:
        ids, vectors = document_vectors(view)
        metric = Metric.L2 if Metric(view.settings["metric"]) == Metric.L2 else Metric.COSINE
        found = clustered(vectors, metric, grouping, device, progress)
    return replace(found, ids=ids)


def clustered(
    vectors: Vectors, metric: Metric, grouping: Grouping, device: str, progress: PairProgress | None
) -> Clusters:
    """As `clusters`, of vectors in the form in which they are stored."""
    check_progress(progress)
    chosen_device(device, 0)  # refuses what is none, however few rows there are
    if not len(vectors):
        return _described(vectors, np.empty(0, dtype=np.int64), metric, None)
    least = grouping.min_score
    if grouping.method == "kmeans":
        assert grouping.count is not None
        return _described(vectors, kmeans(vectors, grouping.count, metric, grouping.seed, device), metric, None)
    if grouping.method == "communities":
        size = grouping.min_size or COMMUNITY_SIZE
        least = usual_score(vectors, metric, size) if least is None else least
        labels = np.full(len(vectors), -1, dtype=np.int64)
        for number, members in enumerate(communities_of(vectors, least, size, metric, device, progress)):
            labels[members] = number
        return _described(vectors, labels, metric, least)
    if len(vectors) > MOST_SQUARED:
        raise UsageError(
            f"{grouping.method} keeps the distances of all pairs, so it takes at most {MOST_SQUARED:,} of them, not "
            f"{len(vectors):,}: take communities or kmeans."
        )
    if grouping.method == "agglomerative":
        least = usual_score(vectors, metric, grouping.min_size or COMMUNITY_SIZE) if least is None else least
        labels = agglomerative(vectors, least, metric)
        few = np.bincount(labels)[labels] < (grouping.min_size or 1)
        return _described(vectors, np.where(few, -1, labels), metric, least)
    return _described(vectors, by_density(vectors, grouping.min_size or SMALLEST), metric, None)


def usual_score(vectors: Vectors, metric: Metric, neighbours: int) -> float:
    """The score that a row has on average with so many others at least, as a sample tells."""
    groups = np.arange(len(vectors))
    sample = PairSample.draw(vectors, groups, vectors, groups, metric, len(vectors), same=True)
    return sample.percentile(max(0.0, 1 - neighbours / max(len(vectors) - 1, 1)))


def kmeans(vectors: Vectors, count: int, metric: Metric, seed: int, device: str) -> NDArray[np.int64]:
    """The cluster of each row by k-means, spherical where vectors have unit length: trained on a sample, by FAISS.

    It begins with centres that scikit-learn's k-means++ spreads out: FAISS's own, chosen at random, join two clusters
    often. FAISS trains on one thread, since several would sum in another order each time; the clusters are those of the
    exact nearest centres.
    """
    if count > len(vectors):
        raise UsageError(f"{count:,} clusters can't be made of {len(vectors):,}.")
    try:
        import faiss
    except ImportError as error:
        raise MissingDependency("k-means is done by FAISS: pip install 'semsearch[clusters]'.") from error
    seed = int(seed)  # FAISS takes no numbers of numpy
    rng = np.random.default_rng(seed)
    some = np.sort(rng.choice(len(vectors), min(len(vectors), POINTS * count), replace=False))
    sampled = np.ascontiguousarray(vectors[some], dtype=np.float32)
    spread = sampled[np.sort(rng.choice(len(some), min(len(some), SPREAD * count), replace=False))]
    begin, _ = _sklearn().kmeans_plusplus(spread, count, random_state=seed % (1 << 31))
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        trained = faiss.Kmeans(
            vectors.shape[1],
            count,
            niter=ROUNDS,
            seed=seed % (1 << 31),
            spherical=metric != Metric.L2,
            min_points_per_centroid=1,
            max_points_per_centroid=POINTS,
        )
        trained.train(sampled, init_centroids=begin)
    finally:
        faiss.omp_set_num_threads(before)
    return nearest_centre(vectors, np.asarray(trained.centroids, dtype=np.float32), metric, device)[0]


def nearest_centre(
    vectors: Vectors, centres: Vectors, metric: Metric, device: str = "cpu"
) -> tuple[NDArray[np.int64], Scores]:
    """For each row the centre that it scores best with, and the score: exact, of equal ones the first."""
    asked = stored_form(centres, vectors.shape[1], metric)
    found, _ = AllPairs(GroupedRows.apart(vectors), GroupedRows.apart(asked), metric, device).nearest(1)
    return found.others[:, 0], found.scores[:, 0]


def agglomerative(vectors: Vectors, least: float, metric: Metric) -> NDArray[np.int64]:
    """Clusters merged as long as the mean score of all pairs of two reaches `least`."""
    if len(vectors) == 1:
        return np.zeros(1, dtype=np.int64)
    cluster = _sklearn()
    distance = "euclidean" if metric == Metric.L2 else "cosine"
    limit = float(np.sqrt(max(-least, 0.0))) if metric == Metric.L2 else 1 - least
    made = cluster.AgglomerativeClustering(
        n_clusters=None, distance_threshold=max(limit, 0.0) + 1e-12, linkage="average", metric=distance
    ).fit(np.ascontiguousarray(vectors, dtype=np.float64))
    return np.asarray(made.labels_, dtype=np.int64)


def by_density(vectors: Vectors, min_size: int) -> NDArray[np.int64]:
    """HDBSCAN; of unit vectors the distances have the order of the cosines.

    Trees of vectors in many dimensions look at all of them: a matrix of the distances is ten times as fast.
    """
    if len(vectors) < max(min_size, 2):
        return np.full(len(vectors), -1, dtype=np.int64)
    algorithm = "brute" if len(vectors) <= MATRIX_ROWS else "auto"
    made = _sklearn().HDBSCAN(min_cluster_size=max(min_size, 2), algorithm=algorithm, copy=True)
    return np.asarray(made.fit(np.ascontiguousarray(vectors, dtype=np.float64)).labels_, dtype=np.int64)


def _sklearn() -> Any:
    try:
        from sklearn import cluster
    except ImportError as error:
        raise MissingDependency(
            "agglomerative and hdbscan are done by scikit-learn: pip install 'semsearch[clusters]'."
        ) from error
    return cluster


def _described(vectors: Vectors, labels: NDArray[np.int64], metric: Metric, least: float | None) -> Clusters:
    """Numbered by size, with centres, scores and representatives."""
    there = np.flatnonzero(labels >= 0)
    old, first, counts = np.unique(labels[there], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    new = np.full(int(old.max(initial=-1)) + 1, -1, dtype=np.int64)
    new[old[order]] = np.arange(len(order))
    numbered = np.where(labels >= 0, new[labels], -1) if len(old) else labels
    centres = centres_of(vectors, numbered, len(old), metric)
    scores = np.full(len(labels), -np.inf, dtype=np.float32)
    scores[there] = score_each(centres, numbered[there], vectors, there, metric)
    by_score = np.lexsort((np.arange(len(labels)), -scores, numbered))
    by_score = by_score[len(labels) - len(there) :]
    begins = np.searchsorted(numbered[by_score], np.arange(len(old)))
    ends = np.searchsorted(numbered[by_score], np.arange(len(old)), side="right")
    best = [by_score[begin : min(begin + REPRESENTATIVES, end)] for begin, end in zip(begins, ends, strict=True)]
    return Clusters(numbered, scores, centres, best, (), least)


def centres_of(vectors: Vectors, labels: NDArray[np.int64], count: int, metric: Metric) -> Vectors:
    """The mean of the rows of each label, of unit length unless distances are compared: `(count, dim)`."""
    sums = np.zeros((count, vectors.shape[1]))
    for start in range(0, len(labels), 4096):
        own = labels[start : start + 4096]
        rows = np.flatnonzero(own >= 0)
        np.add.at(sums, own[rows], vectors[start : start + 4096][rows].astype(np.float64))
    counts = np.bincount(labels[labels >= 0], minlength=count)
    means = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    return means if metric == Metric.L2 else normalise(means)
