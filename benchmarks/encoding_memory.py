"""What memory it takes to encode a large corpus to disk, above the loaded model (Linux).

    python benchmarks/encoding_memory.py [--texts 1000000] [--layers 1] [--data FOLDER] [--out FILE]

Real questions (SEMSEARCH_DATA or --data; else the sentences of the shipped samples), over and over, stream through the
encoder into a memory-mapped file. The peak of the process's resident memory is told as it grows. `--layers 1` cuts the
model to its first layer: the same batches and buffers in a fraction of the time, and vectors that mean nothing.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import mmap
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.load import load_encoder

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples" / "samples.jsonl"
MB = 1024  # kilobytes, as /proc counts


def main() -> None:
    """Encode, and watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--layers", type=int, help="of the model; all if not said")
    parser.add_argument("--data", type=Path, default=os.environ.get("SEMSEARCH_DATA"))
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    encoder = load_encoder(options.model, device="cpu")
    if options.layers:
        transformer = encoder._streams["document"].modules[0]
        transformer.layers = transformer.layers[: options.layers]
    encoder.encode_documents(["a text, so that all is loaded"])
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _memory("VmRSS")
    peaks: dict[int, float] = {}
    step = max(1, options.texts // 10)

    def watch(done: int) -> None:
        if done // step > len(peaks) - 1:
            peaks[done] = _memory("VmHWM") - before
            print(f"{done:12,} texts, {peaks[done]:6.0f} MB above the model's {before:.0f} at the peak", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        out = np.memmap(Path(folder) / "vectors", np.float32, "w+", shape=(options.texts, encoder.dim))
        start = time.perf_counter()
        done = 0
        for block in encoder.stream("document").stream(_texts(options.data, options.texts), encoder.prompts.document):
            out[done : done + len(block)] = block
            done += len(block)
            out._mmap.madvise(mmap.MADV_DONTNEED)  # written pages count for nothing here
            watch(done)
        seconds = time.perf_counter() - start
    peak = _memory("VmHWM") - before
    print(f"{options.texts:12,} texts, {peak:6.0f} MB above the model's {before:.0f} at the peak, in {seconds:,.0f} s")
    if options.out:
        record = {"benchmark": "encoding memory", "texts": options.texts, "layers": options.layers, "peak_mb": peak}
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**record, "model_mb": before, "seconds": seconds, "peaks": peaks}) + "\n")


def _texts(data: Path | None, count: int) -> Iterator[str]:
    return itertools.islice(itertools.chain.from_iterable(map(_once, itertools.repeat(data))), count)


def _once(data: Path | None) -> Iterator[str]:
    """Every text of the source, none of which is kept."""
    if data is None:
        with SAMPLES.open(encoding="utf-8") as file:
            for line in file:
                yield from json.loads(line)["text"].split(". ")
        return
    with (data / "quora-pairs.tsv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield row["question1"]
            yield row["question2"]


def _memory(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / MB for line in lines if line.startswith(key + ":"))


if __name__ == "__main__":
    main()
