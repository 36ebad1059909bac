"""Late interaction as a second stage beside sentence-transformers' `MultiVectorEncoder`: the same weights, in turns.

    python benchmarks/late.py [--model FOLDER] [--encoder NAME] [--data FOLDER] [--queries 10] [--candidates 100]
                              [--rounds 3] [--dtype float32] [--clock cpu] [--out FILE]

Without `--model` a checkpoint is made in sentence-transformers' layout of a dense encoder's transformer (`--encoder`)
and a random orthogonal projection to 128 components, since no published weights come with a package: speed and memory
are those of a real model of this size, answers are not, so none are judged here. The questions are SciFact's, the
candidates the first of a dense search. Compared are: questions and candidates encoded and scored (on the fly), and
candidates whose vectors are at hand (kept in a file, as float16 and in two bits, against a list in memory there). Said
too: whether the order is the peer's, and the greatest difference of a score. `--dtype` is what both compute in.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

import semsearch
from semsearch.reranker.max_sim import MaxSim

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
DIM = 128


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--encoder", default="sentence-transformers/all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SEMSEARCH_DATA", "data")))
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = asked.model or made(Path(folder) / "model", asked.encoder)
        compare(asked, model, Path(folder) / "kept")


def made(folder: Path, name: str) -> Path:
    """A checkpoint of a dense encoder's transformer and a projection, in the layout of version 6."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    source = semsearch.load_encoder(name, device="cpu").folder
    torch.manual_seed(0)
    transformer = Transformer(str(source), document_length=256)
    width = transformer.get_embedding_dimension()
    tokens = {"module_input_name": "token_embeddings", "activation_function": torch.nn.Identity(), "bias": False}
    dense = Dense(width, DIM, init_weight=torch.linalg.qr(torch.randn(width, DIM))[0].T.contiguous(), **tokens)
    modules = [transformer, dense, MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    modules[0].query_expansion = {"strategy": "fixed", "attend": False, "length": 32}
    MultiVectorEncoder(modules=modules, device="cpu").save_pretrained(str(folder))
    return folder


def compare(asked: argparse.Namespace, folder: Path, where: Path) -> None:
    """Both ways of both sides, in turns."""
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.util import maxsim

    ours = MaxSim(semsearch.load_multi_vector_encoder(str(folder), device="cpu", dtype=asked.dtype))
    keeping, coded = MaxSim(ours.encoder, where), MaxSim(ours.encoder, where, bits=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        types = {"model_kwargs": {"dtype": asked.dtype}} if asked.dtype != "float32" else {}
        peer = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True, **types)
    questions = candidates(asked)
    known = [peer.encode_document(texts) for _, texts in questions]
    for question, texts in questions:
        keeping.score(question, texts)
        coded.score(question, texts)
    clock = CLOCKS[asked.clock]
    ways = {
        "semsearch, on the fly": lambda place: ours.score(*questions[place]),
        "sentence-transformers, on the fly": lambda place: (
            maxsim([peer.encode_query(questions[place][0])], peer.encode_document(questions[place][1]))[0]
            .float()
            .numpy()
        ),
        "semsearch, kept in a file": lambda place: keeping.score(*questions[place]),
        "semsearch, kept in two bits": lambda place: coded.score(*questions[place]),
        "sentence-transformers, kept in memory": lambda place: (
            maxsim([peer.encode_query(questions[place][0])], known[place])[0].float().numpy()
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    scores: dict[str, list[np.ndarray]] = {}
    for _ in range(asked.rounds):
        for name, way in ways.items():
            start = clock()
            scores[name] = [way(place) for place in range(len(questions))]
            times[name].append(1000 * (clock() - start) / len(questions))
    theirs = scores["sentence-transformers, on the fly"]
    records = []
    for name, own in times.items():
        pairs = list(zip(scores[name], theirs, strict=True))
        alike = sum(bool((np.argsort(-a, kind="stable") == np.argsort(-b, kind="stable")).all()) for a, b in pairs)
        shared = float(np.mean([len(set(np.argsort(-a)[:10]) & set(np.argsort(-b)[:10])) for a, b in pairs]))
        apart = max(float(np.abs(a - b).max()) for a, b in pairs)
        print(f"{name:40} {statistics.median(own):9.1f} ms a question ({asked.candidates} candidates, {asked.clock})")
        print(
            f"{name:40} order of sentence-transformers for {alike} of {len(pairs)} questions, {shared:.1f} of its "
            f"first 10; scores {apart:.2e} apart at most"
        )
        facts = {"way": name, "dtype": asked.dtype, "queries": len(pairs), "candidates": asked.candidates}
        records.append({**facts, "ms": own, "alike": alike, "shared": shared, "apart": apart, "clock": asked.clock})
    if asked.out:
        with asked.out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
    tokens = sum(len(vectors) for vectors in known[0])
    print(
        f"{tokens / len(known[0]):.0f} tokens a passage, {2 * DIM * tokens / len(known[0]) / 1000:.1f} kB kept of each"
    )


def candidates(asked: argparse.Namespace) -> list[tuple[str, list[str]]]:
    """Questions of SciFact, each with the first passages of a dense search."""
    folder = asked.data / "scifact"
    documents = [json.loads(line) for line in (folder / "corpus.jsonl").read_text("utf-8").splitlines()]
    queries = [json.loads(line)["text"] for line in (folder / "queries.jsonl").read_text("utf-8").splitlines()]
    texts = [f"{document['title']} {document['text']}" for document in documents]
    spread = np.linspace(0, len(texts) - 1, min(len(texts), 20 * asked.candidates)).astype(int)
    chosen = [texts[place] for place in spread.tolist()]
    encoder = semsearch.load_encoder(asked.encoder, device="cpu")
    vectors = encoder.encode_documents([text[:400] for text in chosen])
    found = []
    for query in queries[: asked.queries]:
        order = np.argsort(-(vectors @ encoder.encode_queries([query])[0]))[: asked.candidates]
        found.append((query, [chosen[place] for place in order.tolist()]))
    return found


if __name__ == "__main__":
    main()
