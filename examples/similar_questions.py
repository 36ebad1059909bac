"""Similar questions: has this been asked before, in other words?

A symmetric task: both sides are questions, so a model for paraphrases is what to choose for a real forum
(`semsearch models paraphrase`). Run it: `python examples/similar_questions.py "how old is this rock?"`
"""

import json
import sys
import tempfile
from pathlib import Path

import semsearch

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"


def main(question: str = "I poured hot water over my fingers, what now?") -> list[semsearch.Hit]:
    """Print the known questions nearest to `question`."""
    records = [json.loads(line) for line in (SAMPLES / "queries.jsonl").read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as home, semsearch.create("questions", home=home) as questions:
        questions.add(semsearch.Document(record["_id"], record["text"]) for record in records)
        hits = questions.search(question, k=3)
        print(f"{question}\nhas been asked as:")
        for hit in hits:
            print(f"  {hit.score:.2f}  {hit.text}")
        return hits


if __name__ == "__main__":
    main(*sys.argv[1:2])
