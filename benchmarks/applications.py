"""Pairs and communities beside sentence-transformers, in one run on the same vectors, at parts of a collection.

    python benchmarks/applications.py vectors.npy [--parts 0.5 1] [--pairs 100000] [--threshold 0.75] [--what pairs]
    python benchmarks/applications.py vectors.npy --what topics --texts texts.txt [--count 70]

Topics are compared with BERTopic's, where it is installed, on the same vectors and texts (a line a row): time, the
coherence of the ten words of each (normalised pointwise mutual information of two words in a text, averaged over pairs
and topics: Lau, Newman and Baldwin, 2014), and the share of different words. BERTopic is left as it comes but for a
seed, and once more with English stop words left out.

Both sides alternate, and CPU seconds stand beside wall seconds: on a machine that does other work only the former
compare. The exponent is that of a power law fitted to ours over the parts.
"""

from __future__ import annotations

import argparse
import math
import re
import resource
import time
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers.util import community_detection, paraphrase_mining_embeddings

import semsearch

TIE = 1e-6  # scores so close to the last may fall on either side: sentence-transformers sums in float32


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What comes out, wall seconds, CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def pairs(vectors: np.ndarray, count: int) -> tuple[list[float], list[float], str]:
    """Seconds of ours and of theirs, and how the answers differ."""
    ours, *own = timed(lambda: semsearch.pairs(vectors, limit=count, device="cpu"))
    theirs, *other = timed(lambda: paraphrase_mining_embeddings(torch.from_numpy(vectors), max_pairs=count))
    mine = dict(zip(zip(ours.first.tolist(), ours.second.tolist(), strict=True), ours.scores.tolist(), strict=True))
    yours = {(i, j): score for score, i, j in theirs}
    last = min(mine.values())
    differ = [pair for pair in mine.keys() ^ yours.keys() if abs(mine.get(pair, yours.get(pair, 0)) - last) > TIE]
    farthest = max(abs(mine[pair] - yours[pair]) for pair in mine.keys() & yours.keys())
    return own, other, f"{len(differ)} pairs differ beyond ties, scores by at most {farthest:.1e}, last {last:.4f}"


def communities(vectors: np.ndarray, threshold: float) -> tuple[list[float], list[float], str]:
    """As `pairs`."""
    ours, *own = timed(lambda: semsearch.communities(vectors, threshold, device="cpu"))
    theirs, *other = timed(lambda: community_detection(torch.from_numpy(vectors), threshold))
    same = {frozenset(members) for members in theirs} & {frozenset(members.tolist()) for members in ours}
    return own, other, f"{len(ours)} communities, theirs {len(theirs)}, {len(same)} of them the same"


def topics(vectors: np.ndarray, texts: list[str], count: int) -> None:
    """Print a table of how the topics of both compare."""
    from tempfile import TemporaryDirectory

    print("| topics by | s (CPU s) | topics | in none | NPMI | different words |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    with TemporaryDirectory() as home:
        with semsearch.create("texts", home=home, encoder=None, dim=vectors.shape[1]) as made:
            documents = [semsearch.Document(str(at), text) for at, text in enumerate(texts)]
            made.add(documents, vectors=vectors)
            ours, *spent = timed(lambda: made.topics(count=count, device="cpu"))
        words = [[word.text.lower() for word in topic.words] for topic in ours]
        row("semsearch", spent, words, int((ours.clusters.labels < 0).sum()), texts)
    try:
        from bertopic import BERTopic
        from sklearn.feature_extraction.text import CountVectorizer
        from umap import UMAP
    except ImportError:
        print("BERTopic is not installed")
        return
    for name, counting in (
        ("BERTopic", None),
        ("BERTopic, stop words left out", CountVectorizer(stop_words="english")),
    ):
        # UMAP with BERTopic's own settings, and a seed
        seeded = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=0)
        theirs = BERTopic(umap_model=seeded, vectorizer_model=counting)
        (labels, _), *spent = timed(lambda theirs=theirs: theirs.fit_transform(texts, vectors))
        named = [[word for word, _ in theirs.get_topic(one) if word] for one in sorted(set(labels) - {-1})]
        row(name, spent, named, labels.count(-1), texts)


def row(name: str, spent: list[float], words: list[list[str]], alone: int, texts: list[str]) -> None:
    """A line of the table."""
    different = len({word for own in words for word in own}) / max(sum(map(len, words)), 1)
    print(
        f"| {name} | {spent[0]:.0f} ({spent[1]:.0f}) | {len(words)} | {alone / len(texts):.0%} "
        f"| {coherence(words, texts):.3f} | {different:.0%} |",
        flush=True,
    )


def coherence(topics: list[list[str]], texts: list[str]) -> float:
    """NPMI of two words of a topic in a text, of -1 where no text has both; the mean over pairs, then over topics."""
    wanted = {word for words in topics for word in words}
    having: dict[str, set[int]] = {word: set() for word in wanted}
    for at, text in enumerate(texts):
        for word in wanted & set(re.findall(r"\w+", text.lower())):
            having[word].add(at)
    means = []
    for words in topics:
        values = []
        for one, other in combinations(words, 2):
            both = len(having[one] & having[other]) / len(texts)
            if both in (0, 1):
                values.append(both * 2 - 1)
                continue
            apart = len(having[one]) * len(having[other]) / len(texts) ** 2
            values.append(math.log(both / apart) / -math.log(both))
        means.append(np.mean(values) if values else 0.0)
    return float(np.mean(means))


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vectors")
    parser.add_argument("--parts", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--threshold", type=float, default=0.75)
    parser.add_argument("--what", nargs="+", default=["pairs", "communities"])
    parser.add_argument("--texts", type=Path, help="of the vectors, a line each, for topics")
    parser.add_argument("--count", type=int, default=70, help="of semsearch's topics")
    asked = parser.parse_args()
    vectors = np.load(asked.vectors)
    if "topics" in asked.what:
        if asked.texts is None:
            parser.error("say with --texts where the texts are")
        topics(vectors, asked.texts.read_text("utf-8").splitlines(), asked.count)
        return
    semsearch.pairs(vectors[:3000], limit=10, device="cpu")  # loads what is loaded once
    print("| what | rows | ours s (CPU s) | sentence-transformers s (CPU s) | ratio (CPU) | answers |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for what in asked.what:
        spent = []
        for part in asked.parts:
            some = np.ascontiguousarray(vectors[: int(part * len(vectors))])
            own, other, told = pairs(some, asked.pairs) if what == "pairs" else communities(some, asked.threshold)
            spent.append((len(some), own[1]))
            print(
                f"| {what} | {len(some):,} | {own[0]:.1f} ({own[1]:.1f}) | {other[0]:.1f} ({other[1]:.1f}) "
                f"| {other[0] / own[0]:.1f} ({other[1] / own[1]:.1f}) | {told} |",
                flush=True,
            )
        if len(spent) > 1:
            slope = np.polyfit(*np.log(np.array(spent)).T, 1)[0]
            print(f"\n{what}: CPU time grows with the {slope:.2f}th power of the rows\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"peak memory of both: {peak:.1f} GB")


if __name__ == "__main__":
    main()
