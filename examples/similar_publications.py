"""Similar publications: more papers like these, by title and abstract.

Title and abstract are encoded together, as models for papers are trained (`semsearch models papers` lists them). The
samples stand in for abstracts. Run it: `python examples/similar_publications.py ID [ID…]`
"""

import json
import sys
import tempfile
from pathlib import Path

import semsearch

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"


def main(*ids: str) -> list[semsearch.Hit]:
    """Print what is most like the papers with these ids."""
    papers = [json.loads(line) for line in (SAMPLES / "samples.jsonl").read_text("utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as home, semsearch.create("papers", home=home) as collection:
        collection.add(
            semsearch.Document(paper["id"], paper["text"], paper["title"], {"field": paper["subject"]})
            for paper in papers
        )
        liked = list(ids) or ["hash-tables"]
        hits = collection.similar(liked, k=5)
        print(f"more like {', '.join(liked)}:")
        for hit in hits:
            print(f"  {hit.score:.2f}  {hit.title} ({hit.metadata['field']})")
        return hits


if __name__ == "__main__":
    main(*sys.argv[1:])
