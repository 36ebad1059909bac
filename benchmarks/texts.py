"""The texts that several benchmarks share: real questions where the data is, else sentences of the shipped samples."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples" / "samples.jsonl"


def short_texts() -> list[str]:
    """The distinct questions of SEMSEARCH_DATA (the folder of data sets), or without it the shipped sentences."""
    data = os.environ.get("SEMSEARCH_DATA")
    return questions(Path(data)) if data else sentences()


def questions(data: Path) -> list[str]:
    """The distinct Quora questions, in the order of the file."""
    found: dict[str, None] = {}
    with (data / "quora-pairs.tsv").open(encoding="utf-8") as lines:
        next(lines)
        for line in lines:
            found.update(dict.fromkeys(text for text in line.rstrip("\n").split("\t")[:2] if text.strip()))
    return list(found)


def sentences() -> list[str]:
    """The distinct sentences of the shipped samples."""
    found: dict[str, None] = {}
    with SAMPLES.open(encoding="utf-8") as lines:
        for line in lines:
            found.update(dict.fromkeys(re.split(r"(?<=[.!?])\s+", json.loads(line)["text"])))
    return [sentence for sentence in found if sentence]
