"""A duplicate finder: pairs of documents that say the same in other words.

Run it over a collection of your own, `python examples/duplicates.py NAME 0.9`, or over the samples, two of them said
again.
"""

import sys
import tempfile
from pathlib import Path

import semsearch

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"
SAID_AGAIN = {
    "resting-meat-after-roasting": "Let roasted meat rest. Out of the oven its middle still warms up, and within ten "
    "or twenty minutes under foil the juices thicken, so less is lost when it is carved.",
    "hash-tables": "In a hash table a key is turned into the number of the slot that holds its value, which makes "
    "looking it up equally fast for few and for millions of entries, unless the table fills.",
}


def pairs(collection: semsearch.Collection, least: float) -> list[tuple[float, str, str]]:
    """Pairs at least so alike, the most alike first: each document with its nearest neighbours."""
    found = {}
    for document in collection.documents():
        for hit in collection.similar([document.id], k=3):
            if hit.score >= least:
                one, other = sorted((document.id, hit.id))
                found[one, other] = max(hit.score, found.get((one, other), 0.0))
    return sorted(((score, one, other) for (one, other), score in found.items()), reverse=True)


def main(name: str | None = None, least: str = "0.85") -> list[tuple[float, str, str]]:
    """Print the pairs."""
    with tempfile.TemporaryDirectory() as home:
        if name:
            collection = semsearch.open(name)
        else:
            collection = semsearch.create("samples", home=home)
            collection.add_from(SAMPLES / "samples.jsonl")
            titles = {document.id: document.title for document in collection.documents()}
            collection.add(
                semsearch.Document(f"{identity}-again", text, titles[identity]) for identity, text in SAID_AGAIN.items()
            )
        with collection:
            found = pairs(collection, float(least))
        for score, one, other in found:
            print(f"{score:.2f}  {one}  =  {other}")
        return found


if __name__ == "__main__":
    main(*sys.argv[1:3])
