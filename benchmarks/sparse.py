"""Sparse encoders and sparse search beside their peers: the same weights, the same vectors, one run, in turns.

    python benchmarks/sparse.py encode --model FOLDER [--data FOLDER] [--texts 512] [--rounds 3] [--clock cpu]
    python benchmarks/sparse.py search --model FOLDER [--data FOLDER] [--vectors FILE.npz] [--queries 200] [--rounds 3]
    python benchmarks/sparse.py quality --model FOLDER [--encoder NAME] [--data FOLDER] [scifact nfcorpus]

`encode`: questions, and sentences of the samples, semsearch beside `SparseEncoder.encode`; the ratio is the median over
the rounds.
`search`: every question of Quora's pairs is a document, some of them are asked; semsearch through a collection's engine
(exact, from the index, with the stored rows read and their checksums compared) beside a product of SciPy's CSC columns
(as bm25s has it), Seismic and Qdrant's local mode where they are installed. Encoding all takes minutes: `--vectors`
keeps what was encoded. `quality`: nDCG@10 of BEIR folders, sparse alone, and hybrid with and without it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from texts import questions, sentences

import semsearch
from semsearch.evaluation import metrics
from semsearch.evaluation.metrics import Qrels
from semsearch.search.request import SearchKeywords
from semsearch.sparse_vectors import SparseVectors

K = 10
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["encode", "search", "quality"])
    parser.add_argument("names", nargs="*", default=["scifact", "nfcorpus"])
    parser.add_argument("--model", required=True)
    parser.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEMSEARCH_DATA", "data")))
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    asked = parser.parse_args()
    {"encode": encode, "search": search, "quality": quality}[asked.part](asked)


def encode(asked: argparse.Namespace) -> None:
    """Texts a second, and the greatest difference of a weight."""
    from sentence_transformers import SparseEncoder

    ours = semsearch.load_sparse_encoder(asked.model, device="cpu", dtype="float32")
    peer = SparseEncoder(asked.model, device="cpu", local_files_only=True)
    clock = CLOCKS[asked.clock]
    print(f"{torch.get_num_threads()} threads, {asked.clock} time")
    for kind, texts in (("questions", questions(asked.data)), ("sentences", sentences())):
        some = list(texts)[: asked.texts]
        ours.encode_documents(some[:32])
        peer.encode_document(some[:32])
        seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        for _ in range(asked.rounds):
            began = clock()
            mine = ours.encode_documents(some)
            middle = clock()
            theirs = peer.encode_document(some)
            seconds["ours"].append(middle - began)
            seconds["peer"].append(clock() - middle)
        apart = float(np.abs(mine.dense() - theirs.to_dense().numpy()).max())
        ratio = statistics.median(b / a for a, b in zip(seconds["ours"], seconds["peer"], strict=True))
        rates = {who: len(some) / statistics.median(taken) for who, taken in seconds.items()}
        print(
            f"{kind}: {len(some)} texts, {rates['ours']:,.0f} a second beside {rates['peer']:,.0f}: "
            f"{ratio:.1f} times; weights differ by {apart:.1e} at most; {mine.counts.mean():.0f} words a text"
        )


def search(asked: argparse.Namespace) -> None:
    """Milliseconds a query, recall of the true ten, and bytes."""
    texts = list(questions(asked.data))
    encoder = semsearch.load_sparse_encoder(asked.model, device="cpu", dtype="float32")
    if asked.vectors is not None and asked.vectors.exists():
        kept = np.load(asked.vectors)
        vectors = SparseVectors(kept["indptr"], kept["indices"], kept["values"], encoder.dim)
    else:
        vectors = encoder.encode_documents(texts)
        if asked.vectors is not None:
            np.savez(asked.vectors, indptr=vectors.indptr, indices=vectors.indices, values=vectors.values)
    texts = texts[: len(vectors)]
    chosen = np.random.default_rng(0).choice(len(texts), asked.queries, replace=False)
    queries = encoder.encode_queries([texts[place] for place in chosen.tolist()])
    print(
        f"{len(vectors):,} documents of {vectors.counts.mean():.0f} words, {len(queries)} questions of "
        f"{queries.counts.mean():.0f}"
    )
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as home:
        truth = ByColumns(vectors)
        ways = {"SciPy CSC": truth, **dict(_ways(Path(home), texts, vectors))}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        found: dict[str, list[float]] = {name: [] for name in ways}
        for round_ in range(asked.rounds + 1):  # the first is not counted
            for place in range(len(queries)):
                query = queries[[place]]
                best = set(truth(query)[0]) if round_ == 0 else set()
                for name, way in ways.items():
                    began = time.perf_counter()
                    keys, _ = way(query)
                    if round_:
                        taken[name].append(1000 * (time.perf_counter() - began))
                    else:
                        found[name].append(_recall(keys, best, truth, query))
        for name, times in taken.items():
            print(
                f"{name}: p50 {statistics.median(times):.2f} ms, p95 {np.quantile(times, 0.95):.2f} ms, recall@{K} "
                f"{np.mean(found[name]):.4f}"
            )


Way = Callable[[SparseVectors], tuple[Sequence[int], Sequence[float]]]


def _recall(keys: Sequence[int], best: set[int], truth: ByColumns, query: SparseVectors) -> float:
    """Of the true ten, those found; one that scores as the last of them counts as it."""
    least = min(truth(query)[1], default=0.0)
    every = truth.scores(query)
    return sum(every[key] >= least - 1e-5 for key in list(keys)[:K]) / max(len(best), 1)


class ByColumns:
    """A dense sum over the columns of a query's words in SciPy's CSC form."""

    def __init__(self, vectors: SparseVectors) -> None:
        from scipy.sparse import csr_array

        parts = (vectors.values, vectors.indices, vectors.indptr)
        self._columns = csr_array(parts, shape=vectors.shape).tocsc()

    def scores(self, query: SparseVectors) -> np.ndarray:
        """Of every document."""
        components, weights = query.row(0)
        scores: np.ndarray = self._columns[:, components] @ weights
        return scores

    def __call__(self, query: SparseVectors) -> tuple[list[int], list[float]]:
        """The ten best."""
        scores = self.scores(query)
        best = np.argpartition(-scores, K)[:K]
        best = best[np.argsort(-scores[best], kind="stable")]
        return best.tolist(), scores[best].tolist()


def _ways(home: Path, texts: Sequence[str], vectors: SparseVectors) -> Iterator[tuple[str, Way]]:
    yield "semsearch", _collection(home, texts, vectors)
    for name, make in (("Seismic", _seismic), ("Qdrant local", _qdrant)):
        try:
            yield name, make(texts, vectors)
        except Exception as error:  # a peer that can't be had here
            print(f"{name}: not measured ({type(error).__name__}: {str(error).splitlines()[0][:120]})")


def _collection(home: Path, texts: Sequence[str], vectors: SparseVectors) -> Way:
    """A collection on disk with its index: what `Collection.search` asks its engine for."""
    collection = semsearch.create("questions", encoder=None, dim=2, home=home)
    documents = [semsearch.Document(str(place), text) for place, text in enumerate(texts)]
    collection.add(documents, np.tile(np.array([[1, 0]], np.float32), (len(texts), 1)), maintain=False)
    engine = collection.engine
    described = {"name": "given", "revision": None, "fingerprint": "given", "dim": vectors.dim}
    engine.begin_sparse(described)
    keys = np.array([key for own in _keys(collection, len(texts)) for key in own])
    for start in range(0, len(keys), 8_192):
        some = slice(start, start + 8_192)
        engine.put_sparse(keys[some], vectors[some], "given")
    began = time.perf_counter()
    engine._sparse_indexing.rebuild()
    size = sum(path.stat().st_size for path in (home / "questions" / "indexes").glob("sparse-*/*"))
    print(f"semsearch: index built in {time.perf_counter() - began:.1f} s, {size / 1e6:.0f} MB")
    first = int(keys[0])

    def ask(query: SparseVectors) -> tuple[list[int], list[float]]:
        with engine.view() as view:
            found = view.sparse(query, K, allowed=None, grouped=True)
        return (found.keys - first).tolist(), found.scores.tolist()

    return ask


def _keys(collection: semsearch.Collection, count: int) -> Iterator[list[int]]:
    with collection.engine.view() as view:
        known = view.keys_of([str(place) for place in range(count)])
    for place in range(count):
        yield known[str(place)]


def _seismic(texts: Sequence[str], vectors: SparseVectors) -> Way:
    from seismic import SeismicDataset, SeismicIndex, get_seismic_string

    kind = get_seismic_string()
    dataset = SeismicDataset()
    for place, (components, values) in enumerate(vectors.rows()):
        dataset.add_document(str(place), components.astype(str).astype(kind), values)
    index = SeismicIndex.build_from_dataset(dataset)

    def ask(query: SparseVectors) -> tuple[list[int], list[float]]:
        components, values = query.row(0)
        found = index.search(
            "0", components.astype(str).astype(kind), values, k=K, query_cut=len(values), heap_factor=1.0
        )
        return [int(identity) for _, _, identity in found], [score for _, score, _ in found]

    return ask


def _qdrant(texts: Sequence[str], vectors: SparseVectors) -> Way:
    from qdrant_client import QdrantClient
    from qdrant_client.models import PointStruct, SparseVector, SparseVectorParams

    client = QdrantClient(":memory:")
    client.create_collection("q", vectors_config={}, sparse_vectors_config={"words": SparseVectorParams()})
    rows = enumerate(vectors.rows())
    batch = [
        PointStruct(id=place, vector={"words": SparseVector(indices=c.tolist(), values=v.tolist())})
        for place, (c, v) in rows
    ]
    for start in range(0, len(batch), 1_000):
        client.upsert("q", batch[start : start + 1_000])

    def ask(query: SparseVectors) -> tuple[list[int], list[float]]:
        components, values = query.row(0)
        wanted = SparseVector(indices=components.tolist(), values=values.tolist())
        found = client.query_points("q", query=wanted, using="words", limit=K).points
        return [int(point.id) for point in found], [point.score for point in found]

    return ask


def quality(asked: argparse.Namespace) -> None:
    """The nDCG@10 of each way to search."""
    from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries

    for name in asked.names:
        folder = asked.data / name
        judged = read_qrels(qrels_file(folder, "test"))
        queries = {query: text for query, text in read_queries(folder).items() if query in judged}
        with tempfile.TemporaryDirectory() as home:
            collection = semsearch.create(name, encoder=asked.encoder, home=home)
            collection.add_from(folder, maintain=False)
            runs: dict[str, SearchKeywords] = {mode: {"mode": mode} for mode in ("dense", "lexical", "hybrid")}
            scores = _measured(collection, queries, judged, runs)
            collection.add_sparse(asked.model)
            runs = {"sparse": {"mode": "sparse"}, "hybrid with sparse": {"mode": "hybrid"}}
            scores |= _measured(collection, queries, judged, runs)
            print(f"{name}: " + ", ".join(f"{run} {score:.4f}" for run, score in scores.items()))


def _measured(
    collection: semsearch.Collection, queries: dict[str, str], judged: Qrels, runs: dict[str, SearchKeywords]
) -> dict[str, float]:
    found = {}
    for run, options in runs.items():
        answers = metrics.answers(collection, queries, options)
        found[run] = metrics.scored(answers, judged).mean("nDCG@10")
    return found


if __name__ == "__main__":
    main()
