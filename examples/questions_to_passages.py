"""Questions to passages: which passage of which article answers?

Articles are longer than the model reads, so they are split at sentence ends; a hit says where in the article it stands.
The samples of a subject, one after the other, make an article. Run it: `python examples/questions_to_passages.py "…"`
"""

import json
import sys
import tempfile
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import semsearch

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"


def main(question: str = "Why does a roast get hotter after it comes out of the oven?") -> list[semsearch.Hit]:
    """Print the passages that answer best, with their places."""
    records = [json.loads(line) for line in (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()]
    records.sort(key=itemgetter("subject"))
    articles = [
        semsearch.Document(subject, "\n\n".join(record["text"] for record in group), title=subject.capitalize())
        for subject, group in groupby(records, key=itemgetter("subject"))
    ]
    with tempfile.TemporaryDirectory() as home, semsearch.create("articles", home=home) as collection:
        collection.add(articles)
        print(f"{len(collection)} articles in {collection.count_passages()} passages\n{question}")
        hits = collection.search(question, k=3)
        for hit in hits:
            print(f"  {hit.score:.2f}  {hit.title}, characters {hit.start} to {hit.end}: {hit.text[:300]}…")
        return hits


if __name__ == "__main__":
    main(*sys.argv[1:2])
