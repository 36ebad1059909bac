"""pandas and polars: a frame goes in with its columns, and what is found comes out as one, to be joined again.

Needs `pip install semsearch pandas polars`. Run it:
`python examples/frameworks/frames.py "how do I treat a burn?"`
"""

import sys
import tempfile
from pathlib import Path

import pandas
import polars

import semsearch

SAMPLES = Path(__file__).parents[2] / "corpora" / "samples"


def main(question: str = "how do I treat a burn?") -> list[str]:
    """Put a frame in, ask, count by subject."""
    rows = pandas.read_json(SAMPLES / "samples.jsonl", lines=True).set_index("id")
    with tempfile.TemporaryDirectory() as home, semsearch.create("samples", home=home) as samples:
        samples.add(rows.reset_index(), text="text", id="id")
        hits = samples.search(question, k=20)
        found = hits.to_pandas()
        shares = hits.to_polars().group_by("subject").agg(polars.len().alias("hits")).sort("hits", descending=True)
    print(found[["id", "score", "title"]].head(3).to_string(index=False))
    print(shares.head(3))
    print(rows.loc[found["id"][0], "text"][:100])  # the caller's own row, by its index
    return list(found["id"])


if __name__ == "__main__":
    main(*sys.argv[1:2])
