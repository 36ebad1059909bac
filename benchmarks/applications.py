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
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from differences import differing_communities, differing_pairs
from tables import Record
from vector_sets import DEFAULT, encoded

import semsearch
from semsearch.bench.run import machine

NEIGHBOURS = 10
PEERS = {"pairs": "sentence-transformers", "communities": "sentence-transformers", "search": "sentence-transformers"}
SAME = 0.9  # the threshold of semhash


# ------------------------------------------------------------------------------------------------------------ one side

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Side:
    """How one side does it, which is timed, and what came out as arrays that compare, which is not."""

    work: Callable[[np.ndarray, argparse.Namespace], Any]
    arrays: Callable[[Any], Arrays]


def _pairs(found: Any) -> Arrays:
    return {"first": found.first, "second": found.second, "scores": found.scores}


def our_pairs(vectors: np.ndarray, options: argparse.Namespace) -> Any:
    """The best pairs."""
    return semsearch.pairs(vectors, limit=options.pairs, device="cpu")


def their_pairs(vectors: np.ndarray, options: argparse.Namespace) -> Any:
    """The same by paraphrase mining."""
    import torch
    from sentence_transformers.util import paraphrase_mining_embeddings

    return paraphrase_mining_embeddings(torch.from_numpy(vectors), max_pairs=options.pairs)


def _listed_pairs(found: Any) -> Arrays:
    scores, first, second = zip(*found, strict=True)
    return {"first": np.array(first), "second": np.array(second), "scores": np.array(scores, dtype=np.float32)}


def our_communities(vectors: np.ndarray, options: argparse.Namespace) -> Any:
    """Communities one after another."""
    return semsearch.communities(vectors, options.threshold, device="cpu")


def their_communities(vectors: np.ndarray, options: argparse.Namespace) -> Any:
    """The same by community detection."""
    import torch
    from sentence_transformers.util import community_detection

    return community_detection(torch.from_numpy(vectors), options.threshold)


def _communities(found: Any) -> Arrays:
    return {"rows": np.concatenate([[], *found]).astype(np.int64), "sizes": np.array(list(map(len, found)))}


def our_search(vectors: np.ndarray, options: argparse.Namespace) -> Any:
    """The pairs of which one is among the nearest of the other."""
    return semsearch.pairs(vectors, k=NEIGHBOURS, limit=None, device="cpu")


def their_search(vectors: np.ndarray, options: argparse.Namespace) -> Any:
    """The nearest of each row, and one more, since a row finds itself."""
    import torch
    from sentence_transformers.util import semantic_search

    tensor = torch.from_numpy(vectors)
    return semantic_search(tensor, tensor, top_k=NEIGHBOURS + 1)


def _pairs_of_hits(found: Any) -> Arrays:
    """The pairs, and what the last neighbour of each row scores."""
    pairs: dict[tuple[int, int], float] = {}
    lasts = np.empty(len(found), dtype=np.float32)
    for row, hits in enumerate(found):
        others = [hit for hit in hits if hit["corpus_id"] != row][:NEIGHBOURS]
        lasts[row] = others[-1]["score"]
        for hit in others:
            pairs[min(row, hit["corpus_id"]), max(row, hit["corpus_id"])] = hit["score"]
    both = np.array(list(pairs), dtype=np.int64)
    scores = np.array(list(pairs.values()), dtype=np.float32)
    return {"first": both[:, 0], "second": both[:, 1], "scores": scores, "lasts": lasts}


SIDES = {
    "pairs-ours": Side(our_pairs, _pairs),
    "pairs-theirs": Side(their_pairs, _listed_pairs),
    "communities-ours": Side(our_communities, _communities),
    "communities-theirs": Side(their_communities, _communities),
    "search-ours": Side(our_search, _pairs),
    "search-theirs": Side(their_search, _pairs_of_hits),
}


def run_side(options: argparse.Namespace) -> None:
    """Do the work of one side, write its answer, and print what it took."""
    vectors = np.load(options.vectors)
    done = SIDES[options.side]
    done.work(vectors[:2000], options)  # loads what is loaded once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, wall, cpu = timed(lambda: done.work(vectors, options))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.savez(options.answer, **done.arrays(found))
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "memory_mb": (peak - before) / 1024}))


def side(
    what: str, whose: str, file: Path, folder: Path, options: argparse.Namespace, number: int
) -> tuple[Record, Any]:
    """What one side took in a round of that number, and its answer; what `folder` holds is not done again."""
    answer = folder / f"{what}-{whose}-{number}.npz"
    took = answer.with_suffix(".json")
    if not took.exists():
        done = subprocess.run(
            [
                *(sys.executable, __file__, "--side", f"{what}-{whose}", "--vectors", str(file)),
                *("--answer", str(answer), "--pairs", str(options.pairs), "--threshold", str(options.threshold)),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        took.write_text(done.stdout.splitlines()[-1])
    return json.loads(took.read_text()), np.load(answer)


# --------------------------------------------------------------------------------------------------------- side by side


def beside_sentence_transformers(what: str, options: argparse.Namespace) -> Iterator[Record]:
    """Both sides at each part."""
    whole = encoded(options.vectors)
    compare = differing_communities if what == "communities" else differing_pairs
    spent: dict[str, list[tuple[int, float]]] = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as temporary:
        for part in options.parts:
            some = np.ascontiguousarray(whole[: int(part * len(whole))])
            folder = _folder(some, options, Path(temporary))
            file = folder / "vectors.npy"
            np.save(file, some)
            whose = ("ours", "theirs") if part <= options.peer_up_to else ("ours",)
            rounds = [[side(what, one, file, folder, options, at) for one in whose] for at in range(options.rounds)]
            file.unlink()
            took = [
                {name: float(np.median([each[at][0][name] for each in rounds])) for name in rounds[0][at][0]}
                for at in range(len(whose))
            ]
            for one, figures in zip(whose, took, strict=True):
                spent[one].append((len(some), figures["cpu_s"]))
            answers = [answer for _, answer in rounds[-1]]
            if len(whose) == 1:
                found = len(answers[0]["sizes"] if "sizes" in answers[0] else answers[0]["first"])
                yield {"part": what, "rows": len(some), "ours": took[0], "found": found}
                continue
            ours, theirs = took
            yield {
                "part": what,
                "rows": len(some),
                "peer": PEERS[what],
                "ours": ours,
                "theirs": theirs,
                "times": {"wall": theirs["wall_s"] / ours["wall_s"], "cpu": theirs["cpu_s"] / ours["cpu_s"]},
                **compare(*answers, some),
            }
    if len(spent["ours"]) > 1:
        fitted = {whose: _exponent(points) for whose, points in spent.items() if len(points) > 1}
        yield {"part": what, "exponent": fitted["ours"], "peers_exponent": fitted.get("theirs")}


def _folder(vectors: np.ndarray, options: argparse.Namespace, temporary: Path) -> Path:
    """Where the answers to one question about some vectors are kept."""
    digest = hashlib.blake2b(f"{vectors.shape} {options.pairs} {options.threshold}".encode(), digest_size=8)
    digest.update(vectors)
    folder: Path = (options.cache or temporary) / digest.hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _exponent(points: Sequence[tuple[int, float]]) -> float:
    """Of the power law through some sizes and what they took."""
    sizes, took = zip(*points, strict=True)
    return float(np.polyfit(np.log(sizes), np.log(took), 1)[0])


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

    data = _data("banking77")
    if data is None:
        return
    texts, labels = {}, {}
    for split in ("train", "test"):
        rows = _table(data / f"{split}.csv", ",")
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


# --------------------------------------------------------------------------------------------------------- judged data


def quora(options: argparse.Namespace) -> Iterator[Record]:
    """The judged question pairs by our scores and by sentence-transformers' own, in its own measures."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
    from sklearn.metrics import average_precision_score

    data = _data("quora-pairs.tsv")
    if data is None:
        return
    rows = [row for row in _table(data, "\t") if row["question1"].strip() and row["question2"].strip()]
    rows = rows[: options.judged]
    first, second = ([row[f"question{side}"] for row in rows] for side in (1, 2))
    truth = np.array([int(row["is_duplicate"]) for row in rows])
    encoder = semsearch.load_encoder("all-MiniLM-L6-v2")
    model = SentenceTransformer(str(encoder.folder), device="cpu", local_files_only=True)

    def ours() -> np.ndarray:
        return semsearch.similarity(first, second, encoder=encoder)

    def theirs() -> np.ndarray:
        once = list(dict.fromkeys([*first, *second]))
        place = {text: at for at, text in enumerate(once)}
        vectors = model.encode(once, normalize_embeddings=True)
        one, other = (vectors[[place[text] for text in side]] for side in (first, second))
        return np.vecdot(one, other)

    for way, work in {"semsearch similarity": ours, "sentence-transformers": theirs}.items():
        scores, wall, cpu = timed(work)
        best, _, _, _ = BinaryClassificationEvaluator.find_best_f1_and_threshold(scores, truth, True)
        precision = float(average_precision_score(truth, scores))
        yield {
            "part": "judged pairs",
            "way": way,
            "rows": len(rows),
            "average_precision": precision,
            "best_f1": float(best),
            "wall_s": wall,
            "cpu_s": cpu,
        }


def tatoeba(options: argparse.Namespace) -> Iterator[Record]:
    """Of translated sentences in six languages how many have another one as their best (xSIM), each way, and mining."""
    from semsearch.applications.bitext import xsim

    data = _data("tatoeba")
    if data is None:
        return
    if options.multilingual is None:
        print("tatoeba is left out: it needs a model of several languages, --multilingual.", file=sys.stderr)
        return
    encoder = semsearch.load_encoder(options.multilingual)
    for file in sorted(data.glob("tatoeba.*-eng.eng")):
        language = file.name.removeprefix("tatoeba.").removesuffix("-eng.eng")
        sides = [path.read_text(encoding="utf-8").splitlines() for path in (file.with_suffix(f".{language}"), file)]
        foreign, english = (encoder.encode_documents(lines) for lines in sides)
        found, wall, cpu = timed(lambda: semsearch.bitext(foreign, english, device="cpu"))  # noqa: B023
        right = int((found.first == found.second).sum())
        yield {
            "part": "translations",
            "model": encoder.name,
            "language": language,
            "rows": len(foreign),
            "xsim_to_english": xsim(foreign, english, device="cpu"),
            "xsim_from_english": xsim(english, foreign, device="cpu"),
            "precision": right / max(len(found.first), 1),
            "recall": right / len(foreign),
            "wall_s": wall,
            "cpu_s": cpu,
        }


def topics(options: argparse.Namespace) -> Iterator[Record]:
    """Topics of banking77 beside BERTopic's, where it is installed: see topics.py."""
    from topics import measured_topics

    data = _data("banking77")
    if data is None:
        return
    texts = [row["text"] for row in _table(data / "train.csv", ",")]
    vectors = semsearch.load_encoder("all-MiniLM-L6-v2").encode_documents(texts)
    yield from measured_topics(vectors, texts, options.topics)


def _data(name: str) -> Path | None:
    """A public data set, or None and a word about it."""
    folder = os.environ.get("SEMSEARCH_DATA")
    if not folder:
        print(f"{name} is not shipped: SEMSEARCH_DATA must name a folder with it.", file=sys.stderr)
        return None
    return Path(folder) / name


def _table(file: Path, delimiter: str) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        return list(csv.DictReader(opened, delimiter=delimiter, quoting=quoting))


MEASURED: dict[str, Callable[[argparse.Namespace], Iterator[Record]]] = {
    "duplicates": duplicates,
    "banking": banking,
    "topics": topics,
    "quora": quora,
    "tatoeba": tatoeba,
}
WHAT = (*PEERS, *MEASURED)


def records_of(what: str, options: argparse.Namespace) -> Iterator[Record]:
    """What is measured of one application."""
    return beside_sentence_transformers(what, options) if what in PEERS else MEASURED[what](options)


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
    parser.add_argument("--judged", type=int, help="pairs of `quora`; all by default")
    parser.add_argument("--topics", type=int, nargs="+", default=[70, 300], metavar="COUNT", help="of semsearch")
    parser.add_argument("--multilingual", metavar="MODEL", help="for `tatoeba`")
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--cache", type=Path, help="keep what each side took and found here, and don't do it again")
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
