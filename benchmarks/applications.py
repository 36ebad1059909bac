"""Applications beside their peers on the same vectors: pairs, communities, search of all against all, and banking77.

    python benchmarks/applications.py [--vectors build/questions.npy] [--parts 0.25 0.5 1] [--what pairs …] [--out FILE]

`pairs`, `communities` and `search` compare with sentence-transformers' `paraphrase_mining_embeddings`,
`community_detection` and `semantic_search` at parts of the questions, `duplicates` with semhash where it is installed,
`banking` k-means, communities and labels by neighbours with scikit-learn on banking77 (SEMSEARCH_DATA; its test split
is asked, nothing is chosen on it). Each side runs in a process of its own, in turn, so that peak memory is one side's;
what a process has loaded before the work begins is taken off. CPU seconds stand beside wall seconds: on a machine that
does other work only the former compare. Answers are compared pair by pair: what is in one only must lie within 1e-6 of
the last score, or of the threshold, since sentence-transformers sums in float32. `exponent` is that of a power law
fitted to the CPU seconds of ours over the parts.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tables import Record
from vector_sets import DEFAULT, encoded

import semsearch
from semsearch.bench.run import machine

TIE = 1e-6
NEIGHBOURS = 10
LOOKED_AT = 100  # of each row, by paraphrase mining
PEERS = {"pairs": "sentence-transformers", "communities": "sentence-transformers", "search": "sentence-transformers"}
SAME = 0.9  # the threshold of semhash


# ------------------------------------------------------------------------------------------------------------ one side


def our_pairs(vectors: np.ndarray, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The best pairs."""
    found = semsearch.pairs(vectors, limit=options.pairs, device="cpu")
    return {"first": found.first, "second": found.second, "scores": found.scores}


def their_pairs(vectors: np.ndarray, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The same by paraphrase mining."""
    import torch
    from sentence_transformers.util import paraphrase_mining_embeddings

    scores, first, second = zip(
        *paraphrase_mining_embeddings(torch.from_numpy(vectors), max_pairs=options.pairs), strict=True
    )
    return {"first": np.array(first), "second": np.array(second), "scores": np.array(scores, dtype=np.float32)}


def our_communities(vectors: np.ndarray, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """Communities one after another, and how large each is."""
    found = semsearch.communities(vectors, options.threshold, device="cpu")
    return {"rows": np.concatenate([[], *found]).astype(np.int64), "sizes": np.array(list(map(len, found)))}


def their_communities(vectors: np.ndarray, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The same by community detection."""
    import torch
    from sentence_transformers.util import community_detection

    found = community_detection(torch.from_numpy(vectors), options.threshold)
    return {"rows": np.concatenate([[], *found]).astype(np.int64), "sizes": np.array(list(map(len, found)))}


def our_search(vectors: np.ndarray, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The pairs of which one is among the nearest of the other."""
    found = semsearch.pairs(vectors, k=NEIGHBOURS, limit=None, device="cpu")
    return {"first": found.first, "second": found.second, "scores": found.scores}


def their_search(vectors: np.ndarray, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The same from each row's hits, itself left out."""
    import torch
    from sentence_transformers.util import semantic_search

    tensor = torch.from_numpy(vectors)
    found: dict[tuple[int, int], float] = {}
    lasts = np.empty(len(vectors), dtype=np.float32)
    for row, hits in enumerate(semantic_search(tensor, tensor, top_k=NEIGHBOURS + 1)):
        others = [hit for hit in hits if hit["corpus_id"] != row][:NEIGHBOURS]
        lasts[row] = others[-1]["score"]
        for hit in others:
            found[min(row, hit["corpus_id"]), max(row, hit["corpus_id"])] = hit["score"]
    both = np.array(list(found), dtype=np.int64)
    return {
        "first": both[:, 0],
        "second": both[:, 1],
        "scores": np.array(list(found.values()), dtype=np.float32),
        "lasts": lasts,
    }


SIDES: dict[str, Callable[[np.ndarray, argparse.Namespace], dict[str, np.ndarray]]] = {
    "pairs-ours": our_pairs,
    "pairs-theirs": their_pairs,
    "communities-ours": our_communities,
    "communities-theirs": their_communities,
    "search-ours": our_search,
    "search-theirs": their_search,
}


def run_side(options: argparse.Namespace) -> None:
    """Do the work of one side, write its answer, and print what it took."""
    vectors = np.load(options.vectors)
    work = SIDES[options.side]
    work(vectors[:2000], options)  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    answer = work(vectors, options)
    spent = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.savez(options.answer, **answer)
    print(json.dumps({**spent, "memory_mb": (peak - before) / 1024}))


def side(what: str, whose: str, file: Path, folder: Path, options: argparse.Namespace) -> tuple[Record, Any]:
    """What one side took, and its answer."""
    answer = folder / f"{what}-{whose}.npz"
    done = subprocess.run(
        [
            *(sys.executable, __file__, "--side", f"{what}-{whose}", "--vectors", str(file), "--answer", str(answer)),
            *("--pairs", str(options.pairs), "--threshold", str(options.threshold)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]), np.load(answer)


# ---------------------------------------------------------------------------------------------------------- comparisons


def differing_pairs(ours: Any, theirs: Any, vectors: np.ndarray) -> dict[str, Any]:
    """Pairs that one side alone has, but for ties with what is the last for one of them.

    Paraphrase mining looks at the `LOOKED_AT` nearest of each row only. What it can't see so is counted as `unseen`,
    and what it has in place of these scores less than our last.
    """
    mine, yours = (
        dict(zip(zip(a["first"].tolist(), a["second"].tolist(), strict=True), a["scores"].tolist(), strict=True))
        for a in (ours, theirs)
    )
    last = min(mine.values())
    by_row = "lasts" in theirs
    lasts = theirs["lasts"] if by_row else np.full(len(vectors), last)

    def tied(pair: tuple[int, int]) -> bool:
        score = mine.get(pair, yours.get(pair, 0.0))
        return min(abs(score - lasts[row]) for row in pair) <= TIE

    differ = [pair for pair in mine.keys() ^ yours.keys() if not tied(pair)]
    unseen: list[tuple[int, int]] = []
    if not by_row:
        unseen = [pair for pair in differ if pair in mine and beyond(pair, mine[pair], vectors)]
        fillers = [pair for pair in differ if pair in yours and yours[pair] < last]
        differ = [pair for pair in differ if pair not in {*unseen, *fillers[: len(unseen)]}]
    farthest = max((abs(mine[pair] - yours[pair]) for pair in mine.keys() & yours.keys()), default=0.0)
    return {"found": len(mine), "differ": len(differ), "unseen": len(unseen), "farthest": farthest, "last": last}


def beyond(pair: tuple[int, int], score: float, vectors: np.ndarray) -> bool:
    """Whether neither row is among the `LOOKED_AT` nearest of the other."""
    return all(int((vectors @ vectors[row] > score - TIE).sum()) - 1 > LOOKED_AT for row in pair)


def differing_communities(ours: Any, theirs: Any, vectors: np.ndarray) -> dict[str, Any]:
    """Communities that one side alone has."""
    sets = [
        {frozenset(part.tolist()) for part in np.split(a["rows"], np.cumsum(a["sizes"])[:-1])} for a in (ours, theirs)
    ]
    return {"found": len(sets[0]), "theirs_found": len(sets[1]), "differ": len(sets[0] ^ sets[1])}


def beside_sentence_transformers(what: str, options: argparse.Namespace) -> Iterator[Record]:
    """Both sides at each part."""
    whole = encoded(options.vectors)
    compare = differing_communities if what == "communities" else differing_pairs
    sizes, spent = [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in options.parts:
            some = np.ascontiguousarray(whole[: int(part * len(whole))])
            np.save(folder / "vectors.npy", some)
            rounds = []
            if part > options.peer_up_to:
                alone, mine = side(what, "ours", folder / "vectors.npy", folder, options)
                sizes.append(len(some))
                spent.append(alone["cpu_s"])
                found = len(mine["sizes"] if "sizes" in mine else mine["first"])
                yield {"part": what, "rows": len(some), "ours": alone, "found": found}
                continue
            for _ in range(options.rounds):
                own, mine = side(what, "ours", folder / "vectors.npy", folder, options)
                other, yours = side(what, "theirs", folder / "vectors.npy", folder, options)
                rounds.append((own, other))
            ours, theirs = (
                {name: float(np.median([one[at][name] for one in rounds])) for name in rounds[0][0]} for at in range(2)
            )
            sizes.append(len(some))
            spent.append(ours["cpu_s"])
            yield {
                "part": what,
                "rows": len(some),
                "peer": PEERS[what],
                "ours": ours,
                "theirs": theirs,
                "times": {"wall": theirs["wall_s"] / ours["wall_s"], "cpu": theirs["cpu_s"] / ours["cpu_s"]},
                **compare(mine, yours, some),
            }
    if len(sizes) > 1:
        yield {"part": what, "exponent": float(np.polyfit(np.log(sizes), np.log(spent), 1)[0])}


# ---------------------------------------------------------------------------------------------------------- duplicates


def duplicates(options: argparse.Namespace) -> Iterator[Record]:
    """`duplicates` by meaning and semhash on the same texts and vectors, both in this process, in turn."""
    try:
        from semhash import SemHash
    except ImportError:
        print("semhash is not installed: `duplicates` is left out.", file=sys.stderr)
        return
    from texts import short_texts

    encoder = semsearch.load_encoder("all-MiniLM-L6-v2")
    texts = short_texts()[: options.texts]
    vectors = encoder.encode_documents(texts)

    class Given:
        """Gives semhash the vectors that are there already."""

        def __init__(self) -> None:
            self.place = {text: row for row, text in enumerate(texts)}

        def encode(self, inputs: Any, **_: Any) -> np.ndarray:
            return vectors[[self.place[text] for text in inputs]]

    spent: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    with (
        tempfile.TemporaryDirectory() as home,
        semsearch.create("texts", home=home, encoder=None, dim=vectors.shape[1]) as collection,
    ):
        collection.add([semsearch.Document(str(row), text) for row, text in enumerate(texts)], vectors=vectors)
        for _ in range(options.rounds):
            found, *took = timed(lambda: collection.duplicates(min_score=SAME, wording=False, device="cpu"))
            spent["ours"].append((took[0], took[1]))
            kept, *took = timed(
                lambda: SemHash.from_records(texts, model=Given()).self_deduplicate(threshold=SAME).selected
            )
            spent["theirs"].append((took[0], took[1]))
    gone = {int(each.id) for each in found}
    stay = {texts.index(text) for text in kept}
    both = gone & (set(range(len(texts))) - stay)
    medians = {
        who: dict(zip(("wall_s", "cpu_s"), np.median(took, axis=0).tolist(), strict=True))
        for who, took in spent.items()
    }
    yield {
        "part": "duplicates",
        "rows": len(texts),
        "peer": "semhash",
        **medians,
        "times": {
            "wall": medians["theirs"]["wall_s"] / medians["ours"]["wall_s"],
            "cpu": medians["theirs"]["cpu_s"] / medians["ours"]["cpu_s"],
        },
        "found": len(gone),
        "theirs_found": len(texts) - len(stay),
        "both": len(both),
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What comes out, wall seconds, CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work()
    return made, time.perf_counter() - wall, time.process_time() - cpu


# -------------------------------------------------------------------------------------------------------------- banking


def banking(options: argparse.Namespace) -> Iterator[Record]:
    """Clusters and labels of banking77 beside scikit-learn's on the same vectors."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.neighbors import KNeighborsClassifier

    from semsearch.applications.classification import calibration_error

    data = os.environ.get("SEMSEARCH_DATA")
    if not data:
        print("banking77 is not shipped: SEMSEARCH_DATA must name a folder with it.", file=sys.stderr)
        return
    texts, labels = {}, {}
    for split in ("train", "test"):
        with (Path(data) / "banking77" / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        texts[split], labels[split] = [row["text"] for row in rows], np.array([row["category"] for row in rows])
    encoder = semsearch.load_encoder("all-MiniLM-L6-v2")
    vectors = {split: encoder.encode_documents(some) for split, some in texts.items()}
    train, test, truth = vectors["train"], vectors["test"], labels["test"]
    kinds = len(set(labels["train"]))

    def nmi(found: np.ndarray) -> float:
        return float(normalized_mutual_info_score(labels["train"], found))

    ways: dict[str, Callable[[], np.ndarray]] = {
        "semsearch k-means": lambda: semsearch.clusters(train, "kmeans", count=kinds, device="cpu").labels,
        "scikit-learn KMeans": lambda: KMeans(kinds, n_init=1, random_state=0).fit_predict(train),
        "semsearch communities": lambda: semsearch.clusters(train, min_score=0.75, device="cpu").labels,
    }
    for way, work in ways.items():
        found, wall, cpu = timed(work)
        yield {
            "part": "clusters",
            "way": way,
            "rows": len(train),
            "nmi": nmi(found),
            "clusters": len(set(found.tolist()) - {-1}),
            "none": int((found < 0).sum()),
            "wall_s": wall,
            "cpu_s": cpu,
        }

    def ours() -> tuple[np.ndarray, np.ndarray]:
        found = semsearch.classify(test, train, labels["train"].tolist(), device="cpu")
        return np.array([one.best for one in found]), np.array([one.confidence for one in found])

    def theirs(k: int) -> tuple[np.ndarray, np.ndarray]:
        model = KNeighborsClassifier(k, weights="distance", metric="cosine", algorithm="brute").fit(
            train, labels["train"]
        )
        shares = model.predict_proba(test)
        return model.classes_[shares.argmax(axis=1)], shares.max(axis=1)

    answered = {"semsearch classify": ours, **{f"scikit-learn, k = {k}": lambda k=k: theirs(k) for k in (5, 20)}}
    for way, work in answered.items():
        (guess, confidence), wall, cpu = timed(work)
        right = guess == truth
        yield {
            "part": "classify",
            "way": way,
            "rows": len(test),
            "accuracy": float(right.mean()),
            "calibration_error": calibration_error(confidence, right),
            "wall_s": wall,
            "cpu_s": cpu,
        }


WHAT = ("pairs", "communities", "search", "duplicates", "banking")


def records_of(what: str, options: argparse.Namespace) -> Iterator[Record]:
    """What is measured of one application."""
    if what == "duplicates":
        return duplicates(options)
    if what == "banking":
        return banking(options)
    return beside_sentence_transformers(what, options)


def main() -> None:
    """Measure, and print each record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, default=DEFAULT)
    parser.add_argument("--parts", type=float, nargs="+", default=[0.25, 0.5, 1.0])
    parser.add_argument("--peer-up-to", type=float, default=1.0, help="the largest part that the peer is given, too")
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--threshold", type=float, default=0.75)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--texts", type=int, default=20_000, help="of `duplicates`")
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--out", type=Path, help="append the results to this file, as JSON lines")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options)
        return
    facts = {"benchmark": "applications", **machine()}
    if options.out and not options.out.exists():
        options.out.write_text(json.dumps({"part": "machine", **facts}) + "\n")
    for what in options.what:
        for record in records_of(what, options):
            print(json.dumps(record), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
