"""Retrieve and rerank: vectors find candidates fast, a closer look puts them in order.

A cross-encoder reads question and passage together: `python examples/retrieve_and_rerank.py MODEL` takes one by name
or folder (`semsearch models rerank` lists them). Without a model the closer look is one that needs none: the best
sentence of each candidate, for a passage's vector is the mean of much that was not asked.
"""

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import semsearch
from semsearch.types import Scores

SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"


class BestSentence:
    """A reranker is any object with `score`: here the cosine of a text's best sentence."""

    def __init__(self, encoder: semsearch.Encoder) -> None:
        self.encoder = encoder

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """One score for each text, higher is better."""
        sentences = [re.split(r"(?<=[.!?])\s+", text) for text in texts]
        vectors = self.encoder.encode_documents([sentence for own in sentences for sentence in own])
        cosines = vectors @ self.encoder.encode_queries([query])[0]
        ends = np.cumsum([len(own) for own in sentences])[:-1]
        return np.array([own.max() for own in np.split(cosines, ends)], dtype=np.float32)


def main(
    model: str | None = None, question: str = "how long should meat stand before it is cut"
) -> list[semsearch.Hit]:
    """Print the best five before and after the closer look."""
    with tempfile.TemporaryDirectory() as home, semsearch.create("samples", home=home) as samples:
        samples.add_from(SAMPLES / "samples.jsonl")
        reranker = semsearch.load_reranker(model) if model else BestSentence(samples.encoder)
        for name, hits in (
            ("retrieved", samples.search(question, k=5)),
            ("reranked", reranked := samples.search(question, k=5, rerank=reranker, candidates=50)),
        ):
            print(f"{name}:")
            for hit in hits:
                print(f"  {hit.score:.3f}  {hit.title}")
        return reranked


if __name__ == "__main__":
    main(*sys.argv[1:2])
