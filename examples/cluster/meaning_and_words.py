"""Questions answered by meaning and by words, side by side, and by both together, on a cluster.

Run it: `python examples/cluster/meaning_and_words.py elasticsearch://host:9200 "why does ice float"`; the same with
`opensearch://`.
"""

import json
import sys
from itertools import zip_longest
from pathlib import Path

import semsearch

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


def main(
    home: str = "opensearch://localhost:9200", question: str = "Why does a roast get hotter out of the oven?"
) -> dict[str, list[semsearch.Hit]]:
    """Print the best of both ways side by side, then of both together."""
    records = [json.loads(line) for line in (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()]
    documents = [
        semsearch.Document(f"{number}", record["text"], metadata={"subject": record["subject"]})
        for number, record in enumerate(records)
    ]
    with semsearch.open("samples", home=home, create=True) as samples:
        samples.add(documents)
        found = {mode: list(samples.search(question, k=3, mode=mode)) for mode in ("dense", "lexical", "hybrid")}
    print(f"{question}\n{'by meaning':50}  by words")
    for pair in zip_longest(found["dense"], found["lexical"]):
        print("  ".join(f"{hit.score:5.2f} {hit.text[:43]:44}" if hit else "" for hit in pair))
    print("by both")
    for hit in found["hybrid"]:
        print(f"{hit.score:5.2f} {hit.text[:90]}")
    return found


if __name__ == "__main__":
    main(*sys.argv[1:3])
