"""Topics beside BERTopic's, on the same vectors and texts.

    python benchmarks/topics.py vectors.npy texts.txt [--count 70]

What is measured is time, the coherence of the ten words of each topic (normalised pointwise mutual information of two
words in a text, averaged over pairs and topics: Lau, Newman and Baldwin, 2014), and the share of different words.
BERTopic, where it is installed, is left as it comes but for a seed, and once more with English stop words left out.
CPU seconds stand beside wall seconds: on a machine that does other work only the former compare.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tables
from tables import Record

import semsearch


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What comes out, wall seconds, CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def measured_topics(vectors: np.ndarray, texts: list[str], counts: Sequence[int]) -> Iterator[Record]:
    """How the topics of both compare, those of semsearch as many as each of `counts`."""
    with TemporaryDirectory() as home, semsearch.create("texts", home=home, encoder=None, dim=vectors.shape[1]) as made:
        made.add([semsearch.Document(str(at), text) for at, text in enumerate(texts)], vectors=vectors)
        for count in counts:
            ours, *spent = timed(lambda count=count: made.topics(count=count, device="cpu"))
            words = [[word.text.lower() for word in topic.words] for topic in ours]
            yield _record("semsearch", spent, words, int((ours.clusters.labels < 0).sum()), texts)
    try:
        from bertopic import BERTopic
        from sklearn.feature_extraction.text import CountVectorizer
        from umap import UMAP
    except ImportError:
        print("BERTopic is not installed: its topics are left out.", file=sys.stderr)
        return
    for way, counting in (
        ("BERTopic", None),
        ("BERTopic, stop words left out", CountVectorizer(stop_words="english")),
    ):
        # UMAP with BERTopic's own settings, and a seed
        seeded = UMAP(n_neighbors=15, n_components=5, min_dist=0.0, metric="cosine", random_state=0)
        theirs = BERTopic(umap_model=seeded, vectorizer_model=counting)
        (labels, _), *spent = timed(lambda theirs=theirs: theirs.fit_transform(texts, vectors))
        named = [[word for word, _ in theirs.get_topic(one) if word] for one in sorted(set(labels) - {-1})]
        yield _record(way, spent, named, list(labels).count(-1), texts)


def _record(way: str, spent: list[float], words: list[list[str]], alone: int, texts: list[str]) -> Record:
    different = len({word for own in words for word in own}) / max(sum(map(len, words)), 1)
    return {
        "part": "topics",
        "way": way,
        "rows": len(texts),
        "wall_s": spent[0],
        "cpu_s": spent[1],
        "topics": len(words),
        "none": alone,
        "npmi": coherence(words, texts),
        "different": different,
    }


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("texts", type=Path, help="a line for each vector")
    parser.add_argument("--count", type=int, nargs="+", default=[70], help="of semsearch's topics")
    asked = parser.parse_args()
    records = measured_topics(np.load(asked.vectors), asked.texts.read_text("utf-8").splitlines(), asked.count)
    for at, line in enumerate(tables.topics(list(records))):
        print(f"| {' | '.join(line)} |")
        if not at:
            print("|---" * len(line) + "|")


if __name__ == "__main__":
    main()
