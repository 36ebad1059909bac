"""Sparse encoders and sparse search beside their peers: the same weights, the same vectors, one run, in turns.

    python benchmarks/sparse.py encode [--model FOLDER] [--data FOLDER] [--dtype float32 bfloat16] [--texts 512]
                                       [--rounds 3] [--clock cpu] [--out FILE]
    python benchmarks/sparse.py search [--model FOLDER] [--data FOLDER] [--vectors FILE.npz] [--queries 200]
                                       [--rounds 3] [--slow 10] [--clock cpu] [--out FILE]
    python benchmarks/sparse.py quality [--model FOLDER] [--encoder NAME] [--data FOLDER] [--out FILE] [SET ...]
    python benchmarks/sparse.py whole [--model FOLDER] [--encoder NAME] [--data FOLDER] [--dtype float32 bfloat16]
                                      [--kept FOLDER] [--out FILE] [SET ...]

Without `--model` it is the splade-tiny of SEMSEARCH_MODELS. `encode`: questions, sentences of the samples and SciFact's
passages, semsearch beside `SparseEncoder.encode`; the ratio is the median over the rounds. `search`: every question of
Quora's pairs is a document, some of them are asked;
semsearch through a collection's engine (exact, from the index, with the stored rows read and their checksums compared)
beside a product of SciPy's CSC columns, the kernel of bm25s (which knows no weights of a question's words, so that what
it finds is another thing), Seismic and Qdrant's local mode where they are installed; a way that takes seconds is asked
the first `--slow` questions. Encoding all takes minutes: `--vectors` keeps what was
encoded. `quality`: nDCG@10 of BEIR folders, sparse alone, and hybrid with and without it. `whole`: each document of
those folders as one text, encoded by both and compared exactly: scores, nDCG@10, the processor's time; and fused with
words and a dense model, once with the sparse vectors of each. `--kept` keeps what was made, some minutes of work, part
by part: the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from texts import questions, sentences

import semsearch
from semsearch.evaluation import metrics
from semsearch.evaluation.metrics import Qrels
from semsearch.search.request import SearchKeywords
from semsearch.sparse_vectors import SparseVectors

K = 10
PART = 64  # documents that both encode in turn
SLOW_MS = 200  # of a question: such a way is asked fewer
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["encode", "search", "quality", "whole"])
    parser.add_argument("names", nargs="*", default=["scifact", "nfcorpus"])
    parser.add_argument("--model", default=str(Path(os.environ.get("SEMSEARCH_MODELS", "models")) / "splade-tiny"))
    parser.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEMSEARCH_DATA", "data")))
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--slow", type=int, default=10)
    parser.add_argument("--kept", type=Path)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    asked = parser.parse_intermixed_args()
    {"encode": encode, "search": search, "quality": quality, "whole": whole}[asked.part](asked)


def told(asked: argparse.Namespace, line: str, **record: Any) -> None:
    """Print, and write a record where it is wanted."""
    print(line, flush=True)
    if asked.out:
        with asked.out.open("a", encoding="utf-8") as file:
            facts = {"part": asked.part, "clock": asked.clock, "threads": torch.get_num_threads()}
            file.write(json.dumps({**facts, **record}) + "\n")


def encode(asked: argparse.Namespace) -> None:
    """Texts a second, and the greatest difference of a weight."""
    from sentence_transformers import SparseEncoder

    ours = {kind: semsearch.load_sparse_encoder(asked.model, device="cpu", dtype=kind) for kind in asked.dtype}
    peer = SparseEncoder(asked.model, device="cpu", local_files_only=True)
    clock = CLOCKS[asked.clock]
    print(f"{torch.get_num_threads()} threads, {asked.clock} time")
    passages = [text for _, text in documents(asked.data / "scifact")]
    for kind, texts in (("questions", questions(asked.data)), ("sentences", sentences()), ("passages", passages)):
        some = list(texts)[: asked.texts]
        for encoder in ours.values():
            encoder.encode_documents(some[:32])
        peer.encode_document(some[:32])
        seconds: dict[str, list[float]] = {name: [] for name in (*ours, "peer")}
        for _ in range(asked.rounds):
            made = {}
            for name, encoder in ours.items():
                began = clock()
                made[name] = encoder.encode_documents(some)
                seconds[name].append(clock() - began)
            began = clock()
            theirs = peer.encode_document(some)
            seconds["peer"].append(clock() - began)
        for name, mine in made.items():
            apart = float(np.abs(mine.dense() - theirs.to_dense().numpy()).max())
            ratio = statistics.median(b / a for a, b in zip(seconds[name], seconds["peer"], strict=True))
            rate, other = (len(some) / statistics.median(seconds[who]) for who in (name, "peer"))
            told(
                asked,
                f"{kind}, {name}: {len(some)} texts, {rate:,.0f} a second beside {other:,.0f}: {ratio:.1f} times; "
                f"weights differ by {apart:.1e} at most; {mine.counts.mean():.0f} words a text",
                texts=kind,
                count=len(some),
                dtype=name,
                texts_per_second=rate,
                peer_texts_per_second=other,
                times_sentence_transformers=ratio,
                apart=apart,
                words=float(mine.counts.mean()),
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
    with tempfile.TemporaryDirectory(prefix="sparse-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as home:
        clock = CLOCKS[asked.clock]
        truth = ByColumns(vectors)
        ways: dict[str, Way] = {"SciPy CSC": truth, **dict(_ways(Path(home), texts, vectors))}
        taken: dict[str, list[float]] = {name: [] for name in ways}
        found: dict[str, list[float]] = {name: [] for name in ways}
        counted = dict.fromkeys(ways, len(queries))
        for round_ in range(asked.rounds + 1):  # the first is not counted
            for place in range(len(queries)):
                query = queries[[place]]
                best = set(truth(query)[0]) if round_ == 0 else set()
                for name, way in ways.items():
                    if place >= counted[name]:
                        continue
                    began = clock()
                    keys, _ = way(query)
                    took = 1000 * (clock() - began)
                    if round_:
                        taken[name].append(took)
                    else:
                        counted[name] = asked.slow if took > SLOW_MS and place >= 2 else counted[name]
                        found[name].append(_recall(keys, best, truth, query))
        for name, times in taken.items():
            middle, late, recall = (
                statistics.median(times),
                float(np.quantile(times, 0.95)),
                float(np.mean(found[name])),
            )
            told(
                asked,
                f"{name}: p50 {middle:.2f} ms, p95 {late:.2f} ms, recall@{K} {recall:.4f} ({len(times)} searches)",
                way=name,
                documents=len(vectors),
                document_words=float(vectors.counts.mean()),
                query_words=float(queries.counts.mean()),
                searches=len(times),
                p50_ms=middle,
                p95_ms=late,
                recall=recall,
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
        self.columns = csr_array(parts, shape=vectors.shape).tocsc()

    def scores(self, query: SparseVectors) -> np.ndarray:
        """Of every document."""
        components, weights = query.row(0)
        scores: np.ndarray = self.columns[:, components] @ weights
        return scores

    def __call__(self, query: SparseVectors) -> tuple[list[int], list[float]]:
        """The ten best."""
        scores = self.scores(query)
        best = np.argpartition(-scores, K)[:K]
        best = best[np.argsort(-scores[best], kind="stable")]
        return best.tolist(), scores[best].tolist()


def _ways(home: Path, texts: Sequence[str], vectors: SparseVectors) -> Iterator[tuple[str, Way]]:
    yield "semsearch", _collection(home, texts, vectors)
    for name, make in (("bm25s", _bm25s), ("Seismic", _seismic), ("Qdrant local", _qdrant)):
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


def _bm25s(texts: Sequence[str], vectors: SparseVectors) -> Way:
    """Its own kernel over its own columns, which hold the weights of documents: a word of a question has none there."""
    from bm25s import BM25

    columns = ByColumns(vectors).columns
    index = BM25()
    parts = {"data": columns.data, "indices": columns.indices, "indptr": columns.indptr}
    index.scores, index.nonoccurrence_array = {**parts, "num_docs": len(vectors)}, None

    def ask(query: SparseVectors) -> tuple[list[int], list[float]]:
        scores, found = index._get_top_k_results(query.row(0)[0].tolist(), k=K, sorted=True)
        return found.tolist(), scores.tolist()

    return ask


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
    for name in asked.names:
        queries, judged = _judged(asked.data / name)
        with tempfile.TemporaryDirectory() as home:
            collection = semsearch.create(name, encoder=asked.encoder, home=home)
            collection.add_from(asked.data / name, maintain=False)
            runs: dict[str, SearchKeywords] = {mode: {"mode": mode} for mode in ("dense", "lexical", "hybrid")}
            scores = _measured(collection, queries, judged, runs)
            collection.add_sparse(asked.model)
            runs = {"sparse": {"mode": "sparse"}, "hybrid with sparse": {"mode": "hybrid"}}
            scores |= _measured(collection, queries, judged, runs)
        shown = ", ".join(f"{run} {score:.4f}" for run, score in scores.items())
        told(asked, f"{name}: {shown}", data=name, queries=len(queries), ndcg=scores)


def documents(folder: Path) -> list[tuple[str, str]]:
    """The ids of a BEIR folder's documents, and title and text as one."""
    lines = (folder / "corpus.jsonl").read_text("utf-8").splitlines()
    return [(own["_id"], f"{own['title']} {own['text']}") for own in map(json.loads, lines)]


def _judged(folder: Path) -> tuple[dict[str, str], Qrels]:
    from semsearch.evaluation.judgements import qrels_file, read_qrels, read_queries

    judged = read_qrels(qrels_file(folder, "test"))
    return {query: text for query, text in read_queries(folder).items() if query in judged}, judged


def whole(asked: argparse.Namespace) -> None:
    """Whole corpora, one vector a document, by both; in parts in turn, so that both meet the same machine."""
    from sentence_transformers import SparseEncoder

    ours = {kind: semsearch.load_sparse_encoder(asked.model, device="cpu", dtype=kind) for kind in asked.dtype}
    peer = SparseEncoder(asked.model, device="cpu", local_files_only=True)
    for name in asked.names:
        queries, judged = _judged(asked.data / name)
        every = documents(asked.data / name)
        made: dict[str, list[SparseVectors]] = {who: [] for who in (*ours, "peer")}
        seconds: dict[str, float] = dict.fromkeys(made, 0.0)
        for start in range(0, len(every), PART):
            texts = [text for _, text in every[start : start + PART]]
            for who in made:
                encode = ours[who].encode_documents if who in ours else peer.encode_document
                kept = asked.kept and asked.kept / f"{name}-{who}-{start}.npz"
                vectors, took = _timed(encode, texts, kept)
                made[who].append(vectors)
                seconds[who] += took
        theirs = peer.encode_query(list(queries.values()), convert_to_sparse_tensor=False).float().numpy()
        asking = {kind: encoder.encode_queries(list(queries.values())) for kind, encoder in ours.items()}
        asking["peer"] = _of_dense(theirs)
        stored = {who: SparseVectors.joined(parts, theirs.shape[1]) for who, parts in made.items()}
        scores = {who: asking[who].dot(stored[who]) for who in made}
        ndcg = {who: _ndcg(found, [own for own, _ in every], list(queries), judged) for who, found in scores.items()}
        fused = _fused(asked.encoder, dict(every), queries, judged, stored, asking)
        for kind in ours:
            apart = float(np.abs(scores[kind] - scores["peer"]).max())
            ratio = seconds["peer"] / seconds[kind]
            told(
                asked,
                f"{name}, {kind}: {len(every):,} documents, nDCG@10 {ndcg[kind]:.4f} beside {ndcg['peer']:.4f}, fused "
                f"{fused[kind]:.4f} beside {fused['peer']:.4f} (without: {fused['none']:.4f}); scores {apart:.1e} "
                f"apart at most; {seconds[kind]:.0f} s beside {seconds['peer']:.0f}: {ratio:.1f} times",
                data=name,
                documents=len(every),
                queries=len(queries),
                dtype=kind,
                ndcg=ndcg[kind],
                peer_ndcg=ndcg["peer"],
                fused_ndcg=fused[kind],
                peer_fused_ndcg=fused["peer"],
                unfused_ndcg=fused["none"],
                scores_apart=apart,
                cpu_s=seconds[kind],
                peer_cpu_s=seconds["peer"],
            )


def _timed(
    encode: Callable[[list[str]], SparseVectors | torch.Tensor], texts: list[str], kept: Path | None
) -> tuple[SparseVectors, float]:
    """The vectors of texts, and the processor's seconds; out of a file where they were made before."""
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            parts = file["indptr"], file["indices"], file["values"]
            return SparseVectors(*parts, int(file["dim"])), float(file["seconds"])
    began = time.process_time()
    made = encode(texts)
    took = time.process_time() - began
    vectors = made if isinstance(made, SparseVectors) else _of_dense(made.to_dense().numpy())
    if kept is not None:
        arrays: dict[str, Any] = {"indptr": vectors.indptr, "indices": vectors.indices, "values": vectors.values}
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, dim=vectors.dim, seconds=took, **arrays)
    return vectors, took


class AtHand:
    """A sparse model whose vectors were made before, as a collection asks for one."""

    def __init__(
        self, name: str, texts: list[str], vectors: SparseVectors, queries: list[str], asking: SparseVectors
    ) -> None:
        self.name = self.fingerprint = name
        self.dim = vectors.dim
        self._texts = vectors, {" ".join(text.split()): row for row, text in enumerate(texts)}
        self._queries = asking, {" ".join(text.split()): row for row, text in enumerate(queries)}

    def encode_documents(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of documents that are known."""
        vectors, rows = self._texts
        return vectors[[rows[" ".join(text.split())] for text in texts]]

    def encode_queries(self, texts: Sequence[str]) -> SparseVectors:
        """The vectors of queries that are known."""
        vectors, rows = self._queries
        return vectors[[rows[" ".join(text.split())] for text in texts]]

    def description(self) -> dict[str, Any]:
        """Nothing more is known of it."""
        return {}


def _fused(
    encoder: str,
    texts: dict[str, str],
    queries: dict[str, str],
    judged: Qrels,
    stored: dict[str, SparseVectors],
    asking: dict[str, SparseVectors],
) -> dict[str, float]:
    """The nDCG@10 of words and a dense model, alone ("none") and with the sparse vectors of each."""
    dense = semsearch.load_encoder(encoder, device="cpu").encode_documents(list(texts.values()))
    hybrid: dict[str, SearchKeywords] = {"hybrid": {"mode": "hybrid"}}
    with tempfile.TemporaryDirectory() as home, semsearch.create("whole", encoder=encoder, home=home) as collection:
        collection.add([semsearch.Document(own, text) for own, text in texts.items()], dense)
        scores = {"none": _measured(collection, queries, judged, hybrid)["hybrid"]}
        for who, vectors in stored.items():
            model = AtHand(who, list(texts.values()), vectors, list(queries.values()), asking[who])
            with mock.patch("semsearch.models.sparse_encoder", lambda *_, model=model, **__: model):
                collection.add_sparse(who)
                scores[who] = _measured(collection, queries, judged, hybrid)["hybrid"]
    return scores


def _of_dense(dense: np.ndarray) -> SparseVectors:
    rows = [(np.flatnonzero(row).astype(np.int32), row[row != 0].astype(np.float32)) for row in dense]
    return SparseVectors.of_rows(rows, dense.shape[1])


def _ndcg(scores: np.ndarray, identities: list[str], queries: list[str], judged: Qrels) -> float:
    run = {}
    for query, own in zip(queries, scores, strict=True):
        best = np.argsort(-own, kind="stable")[:100]
        run[query] = {identities[place]: float(own[place]) for place in best.tolist() if own[place] > 0}
    return metrics.scored(run, judged).mean("nDCG@10")


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
