"""Texts to vectors: semsearch beside sentence-transformers and OpenVINO, the same texts, one run, as ratios.

    python benchmarks/encoding.py [--data FOLDER] [--short 1500] [--passages 300] [--rounds 3] [--out FILE]

Every way encodes the same short texts (questions) and passages (80 to 250 tokens) in each round, in turn; a figure is
the median over the rounds. `x` is how many times faster a way is than sentence-transformers' `encode` as it comes
(float32, batches of 32). `peak` is the share of the fastest matrix product of the way's format measured here that its
own products (linear layers and attention of the tokens themselves, padding not counted) make up. `cosine` is the lowest
to the float32 vectors of sentence-transformers. `p50` is the median over single queries.

The texts come from the folder of real data sets (SEMSEARCH_DATA or --data: Quora's questions, SciFact's abstracts cut
to length), else from the samples that are shipped. sentence-transformers in bfloat16 and OpenVINO get the batch size
that is best for them here. On a machine that others use too, `--threads 1 --clock cpu` measures the processor's time on
one thread instead of the time that passes. `--quality scifact nfcorpus` adds nDCG@10 in float32 and in bfloat16, which
takes minutes. `--profile` measures where semsearch's time goes, on one thread by torch's profiler, and nothing else.
A short form: `--short 300 --passages 60 --rounds 1`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from texts import questions, sentences

from semsearch.encoder import resolve
from semsearch.encoder.load import DEFAULT_MODEL, dtype_of, load_encoder

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
Encode = Callable[[Sequence[str]], np.ndarray]
OPERATIONS = {  # torch's names
    "products": ("mkldnn::_linear_pointwise", "aten::addmm", "aten::mm"),  # with their biases and activations
    "attention": ("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::bmm", "aten::baddbmm", "aten::_softmax"),
    "norms": ("aten::native_layer_norm",),
    "sums": ("aten::add", "aten::add_"),
    "copies": ("aten::copy_", "aten::index_select", "aten::clone", "aten::embedding"),
}


@dataclass
class Way:
    """One way to encode, and what was measured of it."""

    name: str
    encode: Encode
    dtype: torch.dtype
    seconds: dict[str, list[float]] = field(default_factory=dict)
    single: list[float] = field(default_factory=list)
    cosine: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Measure, print, and write JSON lines where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--data", type=Path, default=os.environ.get("SEMSEARCH_DATA"))
    parser.add_argument("--short", type=int, default=1500, help="short texts")
    parser.add_argument("--passages", type=int, default=300)
    parser.add_argument("--queries", type=int, default=60, help="single queries in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--profile", action="store_true", help="where the time goes, and nothing else")
    parser.add_argument("--quality", nargs="*", default=[], metavar="SET", help="BEIR folders in --data")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = CLOCKS[options.clock]
    folder = resolve.find(options.model, None).folder
    texts = _texts(options.data, folder, options.short, options.passages)
    tokens = {name: _count(folder, own) for name, own in texts.items()}
    if options.profile:
        _write(_profile(folder, texts, tokens, options), options.out)
        return
    ways = list(_ways(folder, options.device, texts))
    peaks = {way.dtype: 0.0 for way in ways}
    reference: dict[str, np.ndarray] = {}
    for _ in range(options.rounds):
        for dtype in peaks:
            peaks[dtype] = max(peaks[dtype], _peak(dtype, options.device, clock))
        for way in ways:
            for name, own in texts.items():
                start = clock()
                vectors = way.encode(own)
                way.seconds.setdefault(name, []).append(clock() - start)
                reference.setdefault(name, vectors)  # the first way's
                way.cosine[name] = _cosine(vectors, reference[name])
            for text in texts["short"][: options.queries]:
                start = clock()
                way.encode([text])
                way.single.append(clock() - start)
    records = _report(ways, texts, tokens, peaks, folder, options)
    for name in options.quality:
        records += _quality(options.data / name, str(folder), options.device)
    _write(records, options.out)


def _write(records: Sequence[Mapping[str, Any]], out: Path | None) -> None:
    if out:
        with out.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)


def _profile(
    folder: Path, texts: Mapping[str, Sequence[str]], tokens: Mapping[str, tuple[int, float]], options: Any
) -> list[dict[str, Any]]:
    """The share of the time that each kind of operation takes, and what the products reach of their peak."""
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(1)
    dtype = dtype_of(None, torch.device("cpu"))
    encode = load_encoder(str(folder), "cpu", str(dtype).removeprefix("torch.")).encode_documents
    peak = max(_peak(dtype, "cpu", time.process_time) for _ in range(3))
    queries = texts["short"][: options.queries]
    work: dict[str, tuple[Sequence[Sequence[str]], float]] = {
        "questions": ([texts["short"]], tokens["short"][1]),
        "passages": ([texts["passages"]], tokens["passages"][1]),
        "one query": ([[text] for text in queries], _count(folder, queries)[1]),
    }
    print(f"{dtype}, one thread, peak {peak / 1e9:,.0f} GFLOP/s")
    print(f"  {'':12}{''.join(f'{kind:>12}' for kind in (*OPERATIONS, 'the rest', 'of peak'))}")
    records = []
    for name, (calls, operations) in work.items():
        for own in calls:
            encode(own)
        with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
            began = time.perf_counter(), time.process_time()
            for own in calls:
                encode(own)
            seconds, processor = time.perf_counter() - began[0], time.process_time() - began[1]
        spent = dict.fromkeys(OPERATIONS, 0.0)
        for event in found.key_averages():
            for kind, names in OPERATIONS.items():
                if event.key in names:
                    spent[kind] += event.self_cpu_time_total / 1e6
        shares = {kind: value / seconds for kind, value in spent.items()}
        shares["the rest"] = 1 - sum(shares.values())
        record = {"benchmark": "profile", "texts": name, "shares": shares, "of_peak": operations / processor / peak}
        records.append(record | _machine(options) | {"threads": 1})
        print(f"  {name:12}{''.join(f'{share:12.0%}' for share in (*shares.values(), record['of_peak']))}")
    return records


def _ways(folder: Path, device: str, texts: Mapping[str, Sequence[str]]) -> Iterator[Way]:
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(folder), device=device)
    yield Way("sentence-transformers", lambda own: plain.encode(own, normalize_embeddings=True), torch.float32)
    fast = dtype_of(None, torch.device(device))
    if fast is torch.bfloat16:
        short = SentenceTransformer(str(folder), device=device, model_kwargs={"dtype": torch.bfloat16})

        def encode(own: Sequence[str], batch: int) -> np.ndarray:
            made = short.encode(own, batch_size=batch, convert_to_numpy=False, convert_to_tensor=True)
            return torch.nn.functional.normalize(made.float(), dim=1).cpu().numpy()  # it normalises in bfloat16

        yield Way("sentence-transformers bf16", _best(encode, (16, 32, 64, 128), texts), torch.bfloat16)
    if device == "cpu":
        vino = _openvino(folder, bf16=fast is torch.bfloat16)
        if vino is not None:
            yield Way(
                f"openvino {'bf16' if fast is torch.bfloat16 else 'f32'}", _best(vino, (8, 16, 32, 64), texts), fast
            )
    yield Way("semsearch f32", load_encoder(str(folder), device, "float32").encode_documents, torch.float32)
    if fast is torch.bfloat16:
        yield Way("semsearch bf16", load_encoder(str(folder), device, "bfloat16").encode_documents, torch.bfloat16)


def _best(
    encode: Callable[[Sequence[str], int], np.ndarray], batches: Sequence[int], texts: Mapping[str, Any]
) -> Encode:
    """The way with the batch size that is fastest here, for short and for longer texts."""
    chosen = {}
    for name, own in texts.items():
        part = own[: max(2 * max(batches), len(own) // 4)]
        encode(part[: batches[0]], batches[0])
        seconds = {}
        for batch in batches:
            start = time.perf_counter()
            encode(part, batch)
            seconds[batch] = time.perf_counter() - start
        chosen[name] = min(seconds, key=seconds.__getitem__)
    longest = max(map(len, texts["short"]))
    return lambda own: encode(own, chosen["short" if max(map(len, own)) <= longest else "passages"])


def _openvino(folder: Path, *, bf16: bool) -> Callable[[Sequence[str], int], np.ndarray] | None:
    """The same model compiled by OpenVINO, fed in batches sorted by length; None where it is not installed."""
    try:
        import openvino
    except ImportError:
        print("openvino is not installed: that peer is left out (pip install openvino)", file=sys.stderr)
        return None
    from tokenizers import Tokenizer
    from transformers import AutoModel

    class Sentence(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(folder, attn_implementation="sdpa").eval()

        def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            tokens = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
            weights = mask.to(tokens.dtype)[..., None]
            return torch.nn.functional.normalize((tokens * weights).sum(1) / weights.sum(1), dim=1)

    example = {"ids": torch.ones((2, 9), dtype=torch.long), "mask": torch.ones((2, 9), dtype=torch.long)}
    with torch.inference_mode():
        converted = openvino.convert_model(Sentence(), example_input=example)
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(converted, "CPU", hints)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)

    def encode(texts: Sequence[str], batch: int) -> np.ndarray:
        ids = [encoding.ids for encoding in tokenizer.encode_batch_fast(list(texts))]
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        vectors = None
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            padded = np.zeros((len(chosen), len(ids[chosen[0]])), np.int64)
            mask = np.zeros_like(padded)
            for row, i in enumerate(chosen):
                padded[row, : len(ids[i])] = ids[i]
                mask[row, : len(ids[i])] = 1
            made = compiled({"ids": padded, "mask": mask})[0]
            vectors = np.empty((len(texts), made.shape[1]), np.float32) if vectors is None else vectors
            vectors[chosen] = made
        assert vectors is not None
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    return encode


def _texts(data: Path | None, folder: Path, short: int, passages: int) -> dict[str, list[str]]:
    """Questions, and passages of 80 to 250 tokens, drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    if data is not None:
        short_ones = sorted(questions(data))
        documents = [f"{record['title']} {record['text']}" for record in _lines(data / "scifact" / "corpus.jsonl")]
    else:
        records = list(_lines(SAMPLES / "samples.jsonl"))
        short_ones = sentences()
        joined = " ".join(f"{record['title']}. {record['text']}" for record in records).split()
        documents = [" ".join(joined[i : i + 260]) for i in range(0, len(joined) - 260, 20)]
    chosen = [short_ones[i] for i in rng.permutation(len(short_ones))[:short]]
    cut = []
    for i in rng.permutation(len(documents)):
        words = documents[i].split()
        cut.append(" ".join(words[: int(rng.integers(50, 160))]))
    fitting = [text for text, count in zip(cut, _lengths(folder, cut), strict=True) if 80 <= count <= 250]
    return {"short": chosen, "passages": fitting[:passages]}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _lengths(folder: Path, texts: Sequence[str]) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts))]


def _count(folder: Path, texts: Sequence[str]) -> tuple[int, float]:
    """Tokens of all texts, and floating-point operations that the model needs for them."""
    config = json.loads((folder / "config.json").read_text())
    hidden, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    lengths = np.array(_lengths(folder, texts), np.float64)
    products = 2 * layers * (4 * hidden * hidden + 2 * hidden * inner)  # a token
    return int(lengths.sum()), float((lengths * products + 4 * layers * hidden * lengths**2).sum())


def _peak(dtype: torch.dtype, device: str, clock: Callable[[], float]) -> float:
    """Floating-point operations a second of a large linear layer, the best of several shapes and ways."""
    from semsearch.encoder.forward import Linear

    best = 0.0
    for inputs, outputs in ((384, 1536), (1536, 1536), (1024, 4096)):
        rows = torch.randn(2048, inputs).to(device, dtype)
        linear = Linear(torch.randn(outputs, inputs).to(device, dtype), torch.zeros(outputs).to(device, dtype))
        with torch.inference_mode():
            for _ in range(4):
                start = clock()
                for _ in range(4):
                    linear(rows)
                if device.startswith("cuda"):
                    torch.cuda.synchronize()
                best = max(best, 4 * 2 * 2048 * inputs * outputs / (clock() - start))
    return best


def _cosine(vectors: np.ndarray, reference: np.ndarray) -> float:
    return float((vectors * reference).sum(1).min())


def _report(
    ways: Sequence[Way],
    texts: Mapping[str, Sequence[str]],
    tokens: Mapping[str, tuple[int, float]],
    peaks: Mapping[torch.dtype, float],
    folder: Path,
    options: argparse.Namespace,
) -> list[dict[str, Any]]:
    machine = _machine(options)
    for key, value in machine.items():
        print(f"{key:>12}  {value}")
    shown = ", ".join(f"{str(dtype).removeprefix('torch.')} {peak / 1e9:,.0f}" for dtype, peak in peaks.items())
    print(f"{'GFLOP/s':>12}  {shown} (the fastest linear layer of this run)")
    records = []
    for name, own in texts.items():
        count, operations = tokens[name]
        print(f"\n{name}: {len(own):,} texts of {count / len(own):.0f} tokens on average")
        print(f"  {'':28}{'texts/s':>10}{'tokens/s':>10}{'x':>7}{'peak':>7}{'cosine':>10}{'p50 ms':>9}{'x':>7}")
        base = statistics.median(ways[0].seconds[name])
        base_single = statistics.median(ways[0].single)
        for way in ways:
            seconds, single = statistics.median(way.seconds[name]), statistics.median(way.single)
            record = {
                "benchmark": "encoding",
                "way": way.name,
                "texts": name,
                "count": len(own),
                "tokens": count,
                "texts_per_second": len(own) / seconds,
                "tokens_per_second": count / seconds,
                "times_sentence_transformers": base / seconds,
                "share_of_peak": operations / seconds / peaks[way.dtype],
                "lowest_cosine": way.cosine[name],
                "single_p50_ms": 1000 * single,
                "single_share_of_sentence_transformers": single / base_single,
                "rounds": way.seconds[name],
                "model": folder.name,
                **machine,
            }
            records.append(record)
            print(
                f"  {way.name:28}{len(own) / seconds:10,.0f}{count / seconds:10,.0f}{base / seconds:7.2f}"
                f"{record['share_of_peak']:7.0%}{way.cosine[name]:10.6f}{1000 * single:9.2f}{single / base_single:7.2f}"
            )
    return records


def _machine(options: argparse.Namespace) -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    flags = ""
    if cpuinfo.is_file():
        lines = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        lines = {key.strip(): value.strip() for key, value in lines.items()}
        name = lines.get("model name", name)
        flags = " ".join(flag for flag in lines.get("flags", "").split() if "bf16" in flag or flag.startswith("amx"))
    if options.device.startswith("cuda"):
        name = torch.cuda.get_device_name(options.device)
    versions = {}
    for package in ("torch", "transformers", "sentence-transformers", "openvino", "tokenizers"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": f"{name} ({flags or 'no bf16 units'}), {os.cpu_count()} cores",
        "threads": options.threads,
        "clock": options.clock,
        "versions": ", ".join(f"{package} {number}" for package, number in versions.items()),
    }


def _quality(folder: Path, model: str, device: str) -> list[dict[str, Any]]:
    """nDCG@10 of exact search (linear gain, log2 discount), float32 beside bfloat16."""
    documents = {record["_id"]: f"{record['title']} {record['text']}" for record in _lines(folder / "corpus.jsonl")}
    queries = {record["_id"]: record["text"] for record in _lines(folder / "queries.jsonl")}
    judged: dict[str, dict[str, int]] = {}
    with (folder / "qrels" / "test.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            judged.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    judged = {query: grades for query, grades in judged.items() if any(grade > 0 for grade in grades.values())}
    ids = np.array(list(documents))
    records = []
    for dtype in ("float32", "bfloat16"):
        encoder = load_encoder(model, device, dtype)
        vectors = encoder.encode_documents(list(documents.values()))
        asked = encoder.encode_queries([queries[query] for query in judged])
        best = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :10]
        discount = 1 / np.log2(np.arange(2, 12))
        scores = []
        for grades, row in zip(judged.values(), best, strict=True):
            gains = np.array([grades.get(found, 0) for found in ids[row]])
            ideal = np.sort(np.array(list(grades.values())))[::-1][:10]
            scores.append((gains * discount).sum() / (ideal * discount[: len(ideal)]).sum())
        records.append({"benchmark": "quality", "set": folder.name, "dtype": dtype, "ndcg@10": float(np.mean(scores))})
        print(f"{folder.name} nDCG@10 in {dtype}: {np.mean(scores):.4f}")
    return records


if __name__ == "__main__":
    main()
