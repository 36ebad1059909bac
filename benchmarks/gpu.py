"""What runs on a GPU, in one script of under eight minutes, which writes GPU.md beside itself.

    python benchmarks/gpu.py             # on a machine with CUDA
    python benchmarks/gpu.py --dry       # on the CPU, small: whether the script runs; writes nothing

Nothing is fetched: the models are made here, of MiniLM's shape with random weights (12 layers of 384 components for
encoding, 6 for reranking), and the texts are drawn from their vocabulary. The parts: the tests marked `gpu`;
encoding beside sentence-transformers as it comes and at its best (half precision, large batches of sorted texts); exact
search among 1 and 10 million vectors, queries one at a time and 1,024 together, beside the time that reading the codes
once takes at the bandwidth that a copy reaches there; 100 candidates reranked, beside `CrossEncoder`. What time did not
suffice for is said.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import semsearch

BUDGET = 460.0  # seconds of all parts
WORDS = 20_000
ROUNDS = 5
HERE = Path(__file__).parent


class Clock:
    """How long the whole may still take."""

    def __init__(self) -> None:
        self.end = time.monotonic() + BUDGET

    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


def main() -> None:
    """Measure, print, and write GPU.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true")
    dry = parser.parse_args().dry
    if not dry and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here; --dry tries the script on the CPU.")
    device = "cpu" if dry else "cuda"
    clock = Clock()
    name = "the CPU, dry" if dry else f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    lines = [f"# On a GPU\n\n{name}; `python benchmarks/gpu.py`.\n"]
    lines += ["| what | semsearch | peer | ratio |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        parts: list[Callable[[], list[str]]] = [
            lambda: encoding(Path(folder), device, dry),
            lambda: exact(device, 20_000 if dry else 1_000_000, clock),
            lambda: exact(device, 40_000 if dry else 10_000_000, clock),
            lambda: reranking(Path(folder), device, dry),
        ]
        for part in parts:
            if clock.left() < 30:
                lines.append("| the rest: no time was left | | | |")
                break
            for line in part():
                print(line, flush=True)
                lines.append(line)
    lines += ["", f"Tests marked `gpu`: {tests(clock) if not dry else 'not run, dry'}."]
    print(lines[-1])
    if not dry:
        (HERE / "GPU.md").write_text("\n".join(lines) + "\n", "utf-8")


def tests(clock: Clock) -> str:
    """What pytest says at its end."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", str(HERE.parent / "tests")]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=max(5, clock.left()), check=False)
    except subprocess.TimeoutExpired:
        return "did not end in time"
    return (ended.stdout.strip().splitlines() or ["nothing was said"])[-1]


def model(folder: Path, layers: int, *, labels: int = 0) -> Path:
    """A BERT of MiniLM's width with random weights, and a tokenizer of invented words."""
    from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

    torch.manual_seed(0)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocab = {word: place for place, word in enumerate([*special, *vocabulary()])}
    sizes = {"hidden_size": 384, "num_hidden_layers": layers, "num_attention_heads": 12, "intermediate_size": 1_536}
    config = BertConfig(vocab_size=len(vocab), **sizes, **({"num_labels": labels} if labels else {}))
    kind = BertForSequenceClassification if labels else BertModel
    kind(config).save_pretrained(folder)
    BertTokenizer(vocab=vocab, model_max_length=512).save_pretrained(folder)
    return folder


def vocabulary() -> list[str]:
    """Words of letters."""
    letters = "abcdefghijklmnopqrst"
    return ["".join(letters[place // 20**power % 20] for power in range(4)) for place in range(WORDS)]


def texts(count: int, mean: float) -> list[str]:
    """Of words drawn at random, of lengths as texts have them (log-normal)."""
    random = np.random.default_rng(0)
    words = np.array(vocabulary())
    lengths = random.lognormal(np.log(mean), 0.6, count).clip(3, 400).astype(int)
    return [" ".join(words[random.integers(0, WORDS, length)]) for length in lengths]


def timed(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of the seconds that it takes, the GPU waited for."""
    took = []
    for round_ in range(rounds + 1):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        if round_:  # the first warms up
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def encoding(folder: Path, device: str, dry: bool) -> list[str]:
    """Short texts and passages a second."""
    from sentence_transformers import SentenceTransformer

    made = model(folder / "encoder", 1 if dry else 12)
    ours = semsearch.load_encoder(str(made), device=device)
    peer = SentenceTransformer(str(made), device=device, local_files_only=True)
    best = SentenceTransformer(
        str(made), device=device, local_files_only=True, model_kwargs={"dtype": "float32" if dry else "bfloat16"}
    )
    lines = []
    for what, mean, count in (("short texts", 12, 64 if dry else 40_000), ("passages", 120, 32 if dry else 8_000)):
        given, rounds = texts(count, mean), 1 if dry else 3
        speeds = [
            count / timed(lambda given=given: ours.encode_documents(given), rounds),
            count / timed(lambda given=given: peer.encode(given, show_progress_bar=False), rounds),
            count / timed(lambda given=given: best.encode(given, batch_size=1_024, show_progress_bar=False), rounds),
        ]
        for place, other in ((1, "as it comes"), (2, "at its best: bfloat16, batches of 1,024")):
            said = f"encoding {what} a second, beside sentence-transformers {other}"
            lines.append(f"| {said} | {speeds[0]:,.0f} | {speeds[place]:,.0f} | {speeds[0] / speeds[place]:.2f} |")
    return lines


def bandwidth(device: str) -> float:
    """Bytes a second that a copy reads and writes."""
    source = torch.empty(1 << 22 if device == "cpu" else 1 << 29, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * source.numel() / timed(lambda: target.copy_(source))


def exact(device: str, rows: int, clock: Clock, dim: int = 384, k: int = 10) -> list[str]:
    """Milliseconds of a search, beside the reading of the codes."""
    from indexes.exact import ExactIndex

    if clock.left() < 60 + rows / 100_000:
        return [f"| exact search among {rows:,} x {dim} | no time was left | | |"]
    generator = np.random.default_rng(0)
    vectors = np.empty((rows, dim), np.float32)
    for start in range(0, rows, 250_000):
        part = generator.standard_normal((min(250_000, rows - start), dim), dtype=np.float32)
        vectors[start : start + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
    settings = ExactIndex.Params(codes="bf16", device=device)
    index = ExactIndex.build(np.arange(rows), vectors, semsearch.Metric.COSINE, settings)
    least = 1_000 * rows * dim * 2 / bandwidth(device)
    lines = []
    for asked in (1, 1_024):
        queries = vectors[generator.integers(0, rows, asked)] + np.float32(0.02)
        took = 1_000 * timed(lambda queries=queries: index.search(queries, k), 3)
        what = f"exact search among {rows:,} x {dim}, {asked:,} together: ms, beside reading the codes once"
        lines.append(f"| {what} | {took:,.1f} | {least:,.2f} | {took / least:.2f} |")
    return lines


def reranking(folder: Path, device: str, dry: bool) -> list[str]:
    """Milliseconds for 100 candidates of a question."""
    from sentence_transformers import CrossEncoder

    made = model(folder / "reranker", 1 if dry else 6, labels=1)
    ours = semsearch.load_reranker(str(made), device=device)
    peer = CrossEncoder(str(made), device=device, local_files_only=True)
    question, *passages = texts(9 if dry else 101, 120)
    pairs = [(question, passage) for passage in passages]
    took = 1_000 * timed(lambda: ours.score(question, passages), 1 if dry else ROUNDS)
    theirs = 1_000 * timed(lambda: peer.predict(pairs, show_progress_bar=False), 1 if dry else ROUNDS)
    what = f"reranking {len(passages)} candidates: ms, beside `CrossEncoder`"
    return [f"| {what} | {took:,.1f} | {theirs:,.1f} | {theirs / took:.2f} |"]


if __name__ == "__main__":
    main()
