"""Reranking 100 passages: semsearch beside sentence-transformers' CrossEncoder, the same weights, one run, as ratios.

    python benchmarks/reranking.py [--model FOLDER] [--data FOLDER] [--passages 100] [--rounds 5] [--out FILE]

Every way scores the same query with the same real passages in each round, in turn; a figure is the median over the
rounds, `x` how many times faster a way is than `predict` as it comes (float32, batches of 32). `differs` is the largest
difference of a logit to that one's, `tau` Kendall's rank correlation with its order. Without --model a classifier of
the shape of ms-marco-MiniLM-L6-v2 is made of all-MiniLM-L6-v2, its head drawn from a seed: its scores mean nothing, its
time is the same. sentence-transformers in bfloat16 gets the batch size that is best for it here. With `--clock cpu` and
one thread the processor's time is measured, for machines that others use too.

Passages are SciFact's abstracts cut to 60 to 200 words (SEMSEARCH_DATA or --data), else the samples that are shipped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from semsearch import load_reranker
from semsearch.encoder import resolve
from semsearch.encoder.checkpoint import tokenizer_files
from semsearch.encoder.load import DEFAULT_MODEL, dtype_of

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples" / "samples.jsonl"
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
Predict = Callable[[list[tuple[str, str]]], np.ndarray]


def main() -> None:
    """Measure, print, and write JSON lines where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a cross-encoder's folder")
    parser.add_argument("--data", type=Path, default=os.environ.get("SEMSEARCH_DATA"))
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    query, passages = _texts(options.data, options.passages)
    pairs = [(query, passage) for passage in passages]
    with tempfile.TemporaryDirectory() as made:
        ways = _ways(options.model or _classifier(Path(made)), options.device, pairs)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        logits = {name: predict(pairs) for name, predict in ways.items()}  # and warm
        for _ in range(options.rounds):
            for name, predict in ways.items():
                start = clock()
                predict(pairs)
                seconds[name].append(clock() - start)
    first = next(iter(ways))
    base = statistics.median(seconds[first])
    print(f"{len(pairs)} passages, {options.threads} threads, {options.clock} time, torch {torch.__version__}")
    print(f"{'':30}{'ms':>9}{'x':>7}{'differs':>11}{'tau':>8}")
    for name in ways:
        median = statistics.median(seconds[name])
        differs = float(np.abs(logits[name] - logits[first]).max())
        tau = _tau(logits[name], logits[first])
        print(f"{name:30}{1000 * median:9,.0f}{base / median:7.2f}{differs:11.6f}{tau:8.4f}")
        record: dict[str, Any] = {
            "benchmark": "reranking",
            "way": name,
            "passages": len(pairs),
            "seconds": seconds[name],
        }
        record |= {"times_sentence_transformers": base / median, "differs": differs, "tau": tau, "clock": options.clock}
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def _ways(folder: Path, device: str, pairs: list[tuple[str, str]]) -> dict[str, Predict]:
    from sentence_transformers import CrossEncoder

    raw = torch.nn.Identity()
    plain = CrossEncoder(str(folder), device=device)
    ways: dict[str, Predict] = {"sentence-transformers": lambda own: plain.predict(own, activation_fn=raw)}
    fast = dtype_of(None, torch.device(device)) is torch.bfloat16
    if fast:
        short = CrossEncoder(str(folder), device=device, model_kwargs={"dtype": torch.bfloat16})
        took = {}
        for batch in (8, 16, 32, 64):
            short.predict(pairs[:batch], batch_size=batch, activation_fn=raw)
            start = time.perf_counter()
            short.predict(pairs, batch_size=batch, activation_fn=raw)
            took[batch] = time.perf_counter() - start
        best = min(took, key=took.__getitem__)
        ways["sentence-transformers bf16"] = lambda own: short.predict(own, batch_size=best, activation_fn=raw)
    for dtype in ("float32", "bfloat16") if fast else ("float32",):
        ours = load_reranker(str(folder), device=device, dtype=dtype)
        ways[f"semsearch {dtype}"] = lambda own, ours=ours: ours.predict(own, activation=raw)
    return ways


def _classifier(folder: Path) -> Path:
    """A cross-encoder of the shape of the usual one, its head drawn at random."""
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()
    base = resolve.find(DEFAULT_MODEL).folder
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    torch.nn.init.normal_(model.classifier.weight, std=1.0)
    model.save_pretrained(folder)
    for path in tokenizer_files(base):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def _texts(data: Path | None, count: int) -> tuple[str, list[str]]:
    rng = np.random.default_rng(0)
    if data is not None:
        with (Path(data) / "scifact" / "corpus.jsonl").open(encoding="utf-8") as file:
            documents = [f"{record['title']} {record['text']}".split() for record in map(json.loads, file)]
        query = "Vaccination against measles lowers the mortality of other infectious diseases in children."
    else:
        with SAMPLES.open(encoding="utf-8") as file:
            joined = " ".join(record["text"] for record in map(json.loads, file)).split()
        documents = [joined[i : i + 220] for i in range(0, len(joined) - 220, 15)]
        query = "how do vaccines work"
    chosen = [documents[i] for i in rng.permutation(len(documents))[:count]]
    return query, [" ".join(words[: int(rng.integers(60, 200))]) for words in chosen]


def _tau(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau-a."""
    above = np.triu_indices(len(one), 1)
    signs = [np.sign(scores[above[0]] - scores[above[1]]) for scores in (one, other)]
    return float((signs[0] * signs[1]).mean())


if __name__ == "__main__":
    main()
