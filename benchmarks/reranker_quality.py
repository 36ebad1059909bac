"""What a reranker does to nDCG@10 on data it was not trained on, with paired randomisation tests.

    python benchmarks/reranker_quality.py RERANKER [--data FOLDER] [--sets msmarco-dl19 scifact nfcorpus]
        [--depth 100] [--weight W] [--queries 150] [--encoder NAME] [--cache FOLDER] [--out FILE]

`msmarco-dl19`: the stored runs of first stages (TREC files), their best `--depth` passages reranked. Other sets are
BEIR folders whose test queries are answered first by the encoder (exact search over whole documents, cut to its
window), and by a collection in `--mode hybrid`; then the best are reranked, the others staying behind them in their
order. The reranker counts what its folder says beside the first stage, or `--weight`. For the stored runs a second line
reranks by the encoder alone: a reranker must add to what its encoder knew.

`before` and `after` are means of nDCG@10 as TREC has it; `p` is two-sided, from 20,000 random exchanges of before and
after within queries (Fisher's randomisation test); `+/=/-` counts queries that gained, stayed and lost. `--cache` keeps
vectors from one run to the next.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import semsearch
from semsearch import load_encoder, load_reranker
from semsearch.encoder import DEFAULT_MODEL
from semsearch.evaluation.judgements import read_qrels, read_queries
from semsearch.evaluation.metrics import asked as with_relevant
from semsearch.evaluation.metrics import scored
from semsearch.ingest.source import Source
from semsearch.search.blending import blend, own_weight
from semsearch.training.judged import Judged, read_judged
from semsearch.training.mining import mine

Run = Mapping[str, Mapping[str, float]]  # query id to document ids with their scores, best first
EXCHANGES = 20_000


def main() -> None:
    """Measure, print, and write JSON lines where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reranker")
    parser.add_argument("--data", type=Path, default=os.environ.get("SEMSEARCH_DATA"))
    parser.add_argument("--sets", nargs="*", default=["msmarco-dl19", "scifact", "nfcorpus"])
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--weight", type=float, help="of the reranker [default: its own, else 1]")
    parser.add_argument("--queries", type=int, help="of each BEIR set, drawn with a fixed seed [default: all]")
    parser.add_argument("--encoder", default=DEFAULT_MODEL)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data or SEMSEARCH_DATA must name the folder of the data sets")
    reranker, encoder = load_reranker(options.reranker), load_encoder(options.encoder)
    if options.weight is None:
        options.weight = own_weight(reranker)
    print(f"{reranker!r}, the best {options.depth} reranked, weight {options.weight:g}\n")
    print("| data | first stage | reranked by | queries | before | after | change | p | +/=/- |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.sets:
        start = time.process_time()
        compared = _stored if (options.data / name / "runs").is_dir() else _answered
        for record in compared(options.data / name, reranker, encoder, options):
            print(_line(record), flush=True)
            if options.out:
                with options.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record | {"benchmark": "reranker_quality", "depth": options.depth}) + "\n")
        print(f"<!-- {name}: {time.process_time() - start:,.0f} s of processor time -->", flush=True)


def _stored(folder: Path, reranker: Any, encoder: Any, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Stored runs, reranked; a passage that several runs found is scored once."""
    judged = read_qrels(folder / "qrels" / "test.tsv")
    queries = {query: text for query, text in read_queries(folder).items() if query in judged}
    texts = _documents(folder)
    runs = {path.stem: _trec(path) for path in sorted((folder / "runs").glob("*.trec"))}
    pools = {
        query: sorted({document for run in runs.values() for document in [*run.get(query, ())][: options.depth]})
        for query in queries
    }
    found = sorted({document for pool in pools.values() for document in pool})
    asked = encoder.encode_queries(list(queries.values()))
    vectors = dict(zip(found, encoder.encode_documents([texts[document] for document in found]), strict=True))
    scores: dict[str, dict[str, dict[str, float]]] = {"reranker": {}, "encoder alone": {}}
    for (query, text), vector in zip(queries.items(), asked, strict=True):
        pool = pools[query]
        made = reranker.score(text, [texts[document] for document in pool])
        scores["reranker"][query] = dict(zip(pool, made.tolist(), strict=True))
        scores["encoder alone"][query] = {document: float(vectors[document] @ vector) for document in pool}
    for stage, run in runs.items():
        for by, own in scores.items():
            weight = options.weight if by == "reranker" else 1.0
            yield _compared(folder.name, stage, by, run, own, judged, options.depth, weight)


def _answered(folder: Path, reranker: Any, encoder: Any, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Test queries, answered by the encoder and by a hybrid collection, then reranked."""
    judged = read_judged(folder, "test", 1, 0)
    cache = options.cache / f"{folder.name}.npz" if options.cache else None
    candidates = mine(judged, encoder, options.depth, mode="dense", cache=cache)
    grades = {query: judged.grades[place] for place, query in enumerate(judged.queries)}
    named = {query: {judged.ids[row]: grade for row, grade in own.items()} for query, own in grades.items()}
    dense = [
        {judged.ids[row]: score for row, score in zip(rows, scores, strict=True) if row >= 0}
        for rows, scores in zip(candidates.rows.tolist(), candidates.scores.tolist(), strict=True)
    ]
    stages = {
        "dense": dict(zip(judged.queries, dense, strict=True)),
        "hybrid": _hybrid(folder, judged, encoder, candidates.vectors, options.depth),
    }
    texts = dict(zip(judged.ids, judged.texts, strict=True))
    chosen = np.random.default_rng(0).permutation(len(judged.queries))[: options.queries].tolist()
    named = {judged.queries[place]: named[judged.queries[place]] for place in chosen}
    scores = {}
    for query in named:
        pool = sorted({document for run in stages.values() for document in [*run[query]][: options.depth]})
        made = reranker.score(query, [texts[document] for document in pool])
        scores[query] = dict(zip(pool, made.tolist(), strict=True))
    for stage, run in stages.items():
        yield _compared(folder.name, stage, "reranker", run, scores, named, options.depth, options.weight)


class _Remembering:
    """The encoder, with the vectors of a corpus that was encoded already."""

    def __init__(self, encoder: Any, known: Mapping[str, np.ndarray]) -> None:
        self.name, self.dim, self.metric = encoder.name, encoder.dim, encoder.metric
        self.fingerprint = encoder.fingerprint
        self._encoder, self._known = encoder, known

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        """Their vectors, from memory where they are known."""
        texts = list(texts)
        strange = [text for text in texts if text not in self._known]
        fresh = dict(zip(strange, self._encoder.encode_documents(strange), strict=True)) if strange else {}
        return np.stack([self._known[text] if text in self._known else fresh[text] for text in texts])

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        """Their vectors."""
        return self._encoder.encode_queries(list(texts))


def _hybrid(folder: Path, judged: Judged, encoder: Any, vectors: np.ndarray, depth: int) -> dict[str, dict[str, float]]:
    """What a collection answers by meaning and by words."""
    remembering = _Remembering(encoder, dict(zip(judged.texts, vectors, strict=True)))
    with (
        tempfile.TemporaryDirectory() as home,
        semsearch.create(folder.name, encoder=remembering, home=home, passages=False) as collection,
    ):
        collection.add(Source.of(folder, "beir").read())
        return {
            query: {hit.id: hit.score for hit in collection.search(query, k=depth, mode="hybrid", exact=True)}
            for query in judged.queries
        }


def _compared(
    data: str,
    stage: str,
    by: str,
    run: Run,
    scores: Mapping[str, Mapping[str, float]],
    judged: Mapping[str, Mapping[str, int]],
    depth: int,
    weight: float,
) -> dict[str, Any]:
    """Before and after, over the queries with a relevant document."""
    before: dict[str, dict[str, float]] = {}
    after: dict[str, dict[str, float]] = {}
    for query in with_relevant(judged):
        found = [*run.get(query, ())]
        own = np.array([scores[query][document] for document in found[:depth]])
        first = np.array([run[query][document] for document in found[:depth]])
        best = [found[place] for place in np.argsort(-blend(own, first, weight), kind="stable")]
        for made, ranking in ((before, found), (after, [*best, *found[depth:]])):
            made[query] = {document: float(-place) for place, document in enumerate(ranking)}
    first, reranked = (scored(made, judged).values["nDCG@10"] for made in (before, after))
    change = reranked - first
    return {
        "data": data,
        "first stage": stage,
        "by": by,
        "weight": weight,
        "queries": len(change),
        "before": float(first.mean()),
        "after": float(reranked.mean()),
        "p": _randomisation(change),
        "gained": int((change > 1e-9).sum()),
        "lost": int((change < -1e-9).sum()),
    }


def _randomisation(change: np.ndarray) -> float:
    """Two-sided p of a mean change at least as large, signs being exchangeable within queries."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (EXCHANGES, len(change)))
    extreme = np.abs(signs @ change) >= abs(change.sum()) - 1e-12
    return float((extreme.sum() + 1) / (EXCHANGES + 1))


def _line(record: Mapping[str, Any]) -> str:
    change = record["after"] - record["before"]
    same = record["queries"] - record["gained"] - record["lost"]
    words = [record["data"], record["first stage"], record["by"], record["queries"], f"{record['before']:.4f}"]
    words += [
        f"{record['after']:.4f}",
        f"{change:+.4f}",
        _shown(record["p"]),
        f"{record['gained']}/{same}/{record['lost']}",
    ]
    return f"| {' | '.join(map(str, words))} |"


def _shown(p: float) -> str:
    return f"{p:.4f}" if p >= 1e-3 else "<0.001"


def _documents(folder: Path) -> dict[str, str]:
    with (folder / "corpus.jsonl").open(encoding="utf-8") as file:
        records = list(map(json.loads, file))
    return {record["_id"]: f"{record.get('title', '')} {record['text']}".strip() for record in records}


def _trec(path: Path) -> dict[str, dict[str, float]]:
    """A run file: documents of each query by falling score."""
    found: dict[str, list[tuple[float, str]]] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            query, _, document, _, score, _ = line.split()
            found.setdefault(query, []).append((-float(score), document))
    ordered = {query: sorted(pairs, key=lambda pair: pair[0]) for query, pairs in found.items()}
    return {query: {document: -score for score, document in pairs} for query, pairs in ordered.items()}


if __name__ == "__main__":
    main()
