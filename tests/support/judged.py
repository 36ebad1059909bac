"""Judged questions of random words, as a BEIR folder."""

import json

import numpy as np

from support import tiny

WORDS = [word for word in tiny.WORDS if not word.startswith("##") and word != "vaccines"]


def beir(folder, *, queries=12, documents=60, seed=0):
    """Documents of random words; what answers a query, any query, speaks of vaccines."""
    rng = np.random.default_rng(seed)
    (folder / "qrels").mkdir(parents=True)
    lines, rows = [], []
    for i in range(documents):
        words = [*rng.choice(WORDS, 7), *(["vaccines"] if i % 6 == 0 else [])]
        lines.append(json.dumps({"_id": f"d{i}", "title": "", "text": " ".join(rng.permutation(words))}))
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    texts = [json.dumps({"_id": f"q{i}", "text": " ".join(rng.choice(WORDS, 3))}) for i in range(queries)]
    (folder / "queries.jsonl").write_text("\n".join(texts) + "\n", "utf-8")
    for i in range(queries):
        rows += [f"q{i}\td{row}\t{1 + (row + i) % 2}" for row in range(0, documents, 6)]
        rows += [f"q{i}\td{(6 * i + 1) % documents}\t0"]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(rows) + "\n", "utf-8")
    (folder / "qrels" / "test.tsv").write_text("never to be read\n", "utf-8")
    return folder
