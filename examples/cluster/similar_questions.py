"""Similar questions on a cluster: has this been asked before, in other words?

Run it: `python examples/cluster/similar_questions.py opensearch://host:9200 "how old is this rock?"`; the same with
`elasticsearch://`. The collection stays there: the second time only what is new is encoded.
"""

import json
import sys
from pathlib import Path

import semsearch

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


def main(
    home: str = "opensearch://localhost:9200", question: str = "I poured hot water over my fingers, what now?"
) -> list[semsearch.Hit]:
    """Print the known questions nearest to `question`."""
    records = [json.loads(line) for line in (SAMPLES / "queries.jsonl").read_text("utf-8").splitlines()]
    with semsearch.open("questions", home=home, create=True) as questions:
        questions.add(semsearch.Document(record["_id"], record["text"]) for record in records)
        hits = questions.search(question, k=3)
        print(f"{question}\nhas been asked as:")
        for hit in hits:
            print(f"  {hit.score:.2f}  {hit.text}")
        return hits


if __name__ == "__main__":
    main(*sys.argv[1:3])
