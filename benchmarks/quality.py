"""How good answers and vectors are: retrieval, with queries made worse too, likeness of sentences, and translations.

    python benchmarks/quality.py [--parts retrieval noisy sts bitext] [--data FOLDER] [--sets scifact nfcorpus ...]
        [--encoder NAME] [--peers bm25s sentence-transformers] [--rerank MODEL] [--candidates 100]
        [--multilingual MODEL] [--queries N] [--seed 0] [--cache FOLDER] [--out FILE]

The data sets are those of SEMSEARCH_DATA or `--data`. Without them retrieval and noisy run on the samples that are
shipped, and say so; the others need them. `--queries N` draws so many queries of each set (pairs, in sts and bitext):
a short form, not to be compared with published figures. `--cache` keeps the collections from one run to the next.
Measures, intervals (95 %, bootstrap over queries) and p (two-sided paired randomisation test, not corrected for the
number of comparisons) are those of `semsearch eval`; so is what is asked: collections with default settings, long
documents split into passages, the best passage of each counting.

`retrieval`: nDCG@10 and R@100 (grade 1 counts) by meaning, by words and by both; with `--rerank` also with the best
`--candidates` reranked. `change` and p are of lexical against dense, of hybrid against the better of the two, of a
reranked run against that run before. `--peers` are measured on the same documents and queries: bm25s (stemmed, without
stop words), against lexical, and sentence-transformers with the same model, exactly, on what it reads of each document
(which it encodes again: minutes for a thousand), against dense. `published` is BEIR's BM25 and MTEB's all-MiniLM-L6-v2
(on the first 256 tokens of a document, not on passages). `msmarco-dl19` is the
pool of six retrievers as a collection of its own, 11,843 passages instead of 8.8 million: its figures stand beside one
another, not beside those of TREC.

`choice`: what was chosen for fusion, and what it is worth where it was not chosen: nDCG@10 on each set of the best, in
the mean over all other sets, of fixed weights of meaning, and of factors of words (`semsearch/search/fusion.py`). Test
questions of SciFact and NFCorpus have no part in it: theirs are train and dev questions, 600 drawn by the seed.

`noisy`: nDCG@10 when the queries are misspelt (two strengths), abbreviated or paraphrased, by the rules that
`benchmarks/noise.py` states; no person wrote these queries. `change` and its p are against the clean queries; `alike`
is the p of dense and lexical losing equally much. A query that a rule leaves as it is stays in the mean; `changed`
counts the others. Slips are drawn once: what another `--seed` gives tells how much hangs on the draw.

`sts`: STS benchmark, test pairs: Spearman's rank correlation of cosines with people's scores, times 100; in float32
and in what the hardware is fast in.

`bitext`: Tatoeba's translated sentences: the share whose nearest of all sentences in the other language by cosine is
their own translation (Artetxe and Schwenk, "Massively Multilingual Sentence Embeddings", 2019, who report the rest as
the error). It needs a model of several languages, `--multilingual`; none is taken by default.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import noise
import numpy as np

import semsearch
from semsearch import load_encoder
from semsearch.bench.run import machine
from semsearch.chunking import compose
from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.catalog import card_of
from semsearch.errors import ModelError
from semsearch.evaluation import metrics as evaluation
from semsearch.evaluation.correlation import correlation
from semsearch.evaluation.judgements import read_qrels, read_queries
from semsearch.evaluation.leave_one_out import leave_one_out
from semsearch.ingest.source import Source
from semsearch.search import fusion
from semsearch.search.request import SearchKeywords
from semsearch.types import Document, Encoder

MODES = ("dense", "lexical", "hybrid")  # that every collection has
SAMPLES = Path(__file__).parent.parent / "corpora" / "samples"
SETS = ("cranfield", "cacm", "cisi", "msmarco-dl19", "scifact", "nfcorpus")
MEASURE = "nDCG@10"
STSB = "STS benchmark, Spearman"  # as the catalogue of models has it
DEVELOPMENT = {"scifact": ("train",), "nfcorpus": ("train", "dev")}  # splits, of other sets all that there is
DRAWN = 600  # questions of them
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
FACTORS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
PUBLISHED = {
    ("scifact", "dense"): 0.645,
    ("scifact", "lexical"): 0.679,
    ("nfcorpus", "dense"): 0.316,
    ("nfcorpus", "lexical"): 0.325,
}
NOISES: Mapping[str, Callable[[str, int], str]] = {
    "misspelt 20 %": lambda query, seed: noise.misspelt(query, 0.2, seed),
    "misspelt 50 %": lambda query, seed: noise.misspelt(query, 0.5, seed),
    "abbreviated": lambda query, _: noise.abbreviated(query),
    "paraphrased": noise.paraphrased,
}

Record = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Queries that have a relevant document, and where the documents are."""

    name: str
    documents: Path
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    whole: bool  # all of the queries that there are

    @classmethod
    def of(cls, folder: Path, options: argparse.Namespace, splits: Sequence[str] = ("test",)) -> Task:
        """The queries of splits of a BEIR folder, or so many of them as are asked for."""
        qrels = {}
        for split in splits:
            qrels |= read_qrels(folder / "qrels" / f"{split}.tsv")
        judged = evaluation.asked(qrels)
        chosen = [judged[place] for place in drawn(len(judged), options)]
        texts = read_queries(folder)
        corpus = SAMPLES / "samples.jsonl" if folder == SAMPLES else folder
        queries = {query: texts[query] for query in chosen}
        return cls(folder.name, corpus, queries, {query: qrels[query] for query in chosen}, len(chosen) == len(judged))

    def scored(
        self, collection: semsearch.Collection, queries: Mapping[str, str], how: SearchKeywords
    ) -> evaluation.Scored:
        """What the collection's answers to these forms of the queries are worth."""
        return evaluation.scored(evaluation.answers(collection, queries, how), self.qrels)


Ask = Callable[[Task, semsearch.Collection], evaluation.Run]


def main() -> None:
    """Measure, print, and write JSON lines where they are wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, default=os.environ.get("SEMSEARCH_DATA"))
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--encoder", default=DEFAULT_MODEL)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=[], help="measure them in retrieval too")
    parser.add_argument("--rerank", metavar="MODEL", help="measure retrieval reranked too")
    parser.add_argument("--candidates", type=int, default=100, help="that are reranked")
    parser.add_argument("--multilingual", metavar="MODEL", help="for bitext")
    parser.add_argument("--queries", type=int, help="of each set, drawn by the seed [default: all]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, help="keep the collections in this folder")
    parser.add_argument("--out", type=Path, help="JSON lines are added here")
    options = parser.parse_args()
    if options.data is not None and not options.data.is_dir():
        parser.error(f"there is no folder {options.data} with data sets")
    if options.queries is not None and options.queries < 2:
        parser.error("--queries must be 2 or more")
    facts = {"benchmark": "quality", **machine(), "seed": options.seed}
    with tempfile.TemporaryDirectory() as home:
        options.home = options.cache or Path(home)
        for part in options.parts:
            start = time.process_time()
            print(f"### {part}\n", flush=True)
            for record in PARTS[part](options):
                if options.out:
                    with options.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(facts | {"part": part} | record) + "\n")
            print(f"\n<!-- {part}: {time.process_time() - start:,.0f} s of processor time -->\n", flush=True)


def retrieval(options: argparse.Namespace) -> Iterator[Record]:
    """nDCG@10 and R@100 of every way to search."""
    head = ("data", "way", "queries", MEASURE, "95 % interval", "published", "R@100", "against", "change", "p")
    for number, (task, collection) in enumerate(collections(options)):
        if not number:
            print(table_head(head))
        runs: dict[str, evaluation.Scored] = {}
        for way, ask, against in ways(options):
            runs[way] = evaluation.scored(ask(task, collection), task.qrels)
            if way == "hybrid":
                against = max("dense", "lexical", key=lambda half: runs[half].mean(MEASURE))
            values = runs[way].values[MEASURE]
            record: Record = {"data": task.name, "way": way, "queries": len(values), "encoder": options.encoder}
            record |= {measure: runs[way].mean(measure) for measure in evaluation.MEASURES}
            record["interval"] = evaluation.interval(values, options.seed)
            if task.whole and options.encoder == DEFAULT_MODEL:
                record["published"] = PUBLISHED.get((task.name, way))
            if against:
                others = runs[against].values[MEASURE]
                record |= {"against": against, "p": evaluation.chance(values, others, options.seed)}
                record["change"] = float(values.mean() - others.mean())
            if "+rerank" in way:
                record |= {"reranker": options.rerank, "candidates": options.candidates}
            low, high = record["interval"]
            cells = [task.name, way, len(values), f"{record[MEASURE]:.4f}", f"{low:.4f} – {high:.4f}"]
            cells += [record.get("published") or "", f"{record['R@100']:.4f}"]
            cells += [against, f"{record['change']:+.4f}", shown(record["p"])] if against else ["", "", ""]
            print(row(cells), flush=True)
            yield record


def ways(options: argparse.Namespace) -> Iterator[tuple[str, Ask, str]]:
    """Each way to search: its name, what asks so, and the way that it is compared with."""

    def asking(how: SearchKeywords) -> Ask:
        return lambda task, collection: evaluation.answers(collection, task.queries, how)

    for mode in MODES:
        yield mode, asking({"mode": mode}), "dense" if mode != "dense" else ""
        if options.rerank:
            reranked: SearchKeywords = {"mode": mode, "rerank": options.rerank, "candidates": options.candidates}
            yield f"{mode}+rerank", asking(reranked), mode
    for peer in options.peers:
        yield peer, *PEERS[peer]


def by_bm25s(task: Task, _: semsearch.Collection) -> evaluation.Run:
    """bm25s as its README has it, with a stemmer."""
    import bm25s
    import Stemmer

    split = partial(bm25s.tokenize, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)
    documents = list(Source.of(task.documents).read())
    index = bm25s.BM25()
    index.index(split([compose(one.title, one.text) for one in documents]), show_progress=False)
    depth = min(evaluation.JUDGED_DEPTH, len(documents))
    places, scores = index.retrieve(split(list(task.queries.values())), k=depth, show_progress=False)
    return ranked(task, documents, places, scores)


def by_sentence_transformers(task: Task, collection: semsearch.Collection) -> evaluation.Run:
    """The model as its library has it: a vector a document, of what fits its window; compared exactly."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(collection.encoder.folder))
    documents = list(Source.of(task.documents).read())
    vectors, asked = (
        model.encode(texts, normalize_embeddings=True)
        for texts in ([compose(one.title, one.text) for one in documents], list(task.queries.values()))
    )
    cosines = asked @ vectors.T  # (q, n)
    places = np.argsort(-cosines, axis=1, kind="stable")[:, : evaluation.JUDGED_DEPTH]
    return ranked(task, documents, places, np.take_along_axis(cosines, places, axis=1))


def ranked(task: Task, documents: Sequence[Document], places: np.ndarray, scores: np.ndarray) -> evaluation.Run:
    """The run of places `(q, k)` with scores `(q, k)`; what scores 0 by words is no answer."""
    return {
        query: {documents[place].id: score for place, score in zip(own.tolist(), given.tolist(), strict=True) if score}
        for query, own, given in zip(task.queries, places, scores, strict=True)
    }


def choice(options: argparse.Namespace) -> Iterator[Record]:
    """What is chosen on all sets but one is worth on that one."""
    figures: dict[str, dict[str, dict[str, np.ndarray]]] = {"weight": {}, "factor": {}}
    beside: dict[str, dict[str, np.ndarray]] = {}
    some = argparse.Namespace(**{**vars(options), "queries": options.queries or DRAWN})
    for task, collection in collections(some, DEVELOPMENT):

        def asked(task: Task = task, collection: semsearch.Collection = collection, **how: Any) -> np.ndarray:
            values: np.ndarray = task.scored(collection, task.queries, how).values[MEASURE]  # type: ignore[arg-type]
            return values

        beside[task.name] = {mode: asked(mode=mode) for mode in MODES}
        weights = {f"{weight:g}": asked(mode="hybrid", dense_weight=weight) for weight in WEIGHTS}
        factors = {}
        for factor in FACTORS:
            with mock.patch.object(fusion, "LEXICAL_FACTOR", factor):
                factors[f"{factor:g}"] = asked(mode="hybrid")
        figures["weight"][task.name], figures["factor"][task.name] = weights, factors
    if len(beside) < 2:
        print("To leave one set out takes two at least: SEMSEARCH_DATA or --data must name a folder with them.")
        return
    print(table_head(("left out", "queries", *MODES, "weight", MEASURE, "factor", MEASURE, "change", "p")))
    for weight, factor in zip(*map(leave_one_out, figures.values()), strict=True):
        halves = {mode: float(values.mean()) for mode, values in beside[weight.name].items()}
        record: Record = {"data": weight.name, "queries": len(weight.values), "encoder": options.encoder, **halves}
        for name, one in (("weight", weight), ("factor", factor)):
            means = {chosen: float(values.mean()) for chosen, values in figures[name][one.name].items()}
            record[name] = {"chosen": one.chosen, MEASURE: means[one.chosen], "best": one.best, "all": means}
        record["change"] = record["factor"][MEASURE] - record["weight"][MEASURE]
        record["p"] = evaluation.chance(factor.values, weight.values, options.seed)
        cells = [record["data"], record["queries"], *(f"{halves[mode]:.4f}" for mode in MODES)]
        for name in figures:
            cells += [record[name]["chosen"], f"{record[name][MEASURE]:.4f}"]
        print(row([*cells, f"{record['change']:+.4f}", shown(record["p"])]), flush=True)
        yield record


def noisy(options: argparse.Namespace) -> Iterator[Record]:
    """nDCG@10 of queries made worse, beside that of the clean ones."""
    for number, (task, collection) in enumerate(collections(options)):
        if not number:
            for name, rule in NOISES.items():
                print(f"- {name}: {example(task.queries.values(), rule, options.seed)}")
            head = [column for mode in MODES for column in (mode, "change", "p")]
            print("\n" + table_head(["data", "queries", "changed", *head, "alike"]))
        clean = {mode: task.scored(collection, task.queries, {"mode": mode}).values[MEASURE] for mode in MODES}
        cells = [cell for mode in MODES for cell in (f"{clean[mode].mean():.4f}", "", "")]
        print(row([task.name, f"{len(task.queries)}, clean", "", *cells, ""]), flush=True)
        for name, rule in NOISES.items():
            queries = {query: rule(text, options.seed) for query, text in task.queries.items()}
            changed = sum(text != task.queries[query] for query, text in queries.items())
            record: Record = {"data": task.name, "noise": name, "queries": len(queries), "changed": changed}
            record |= {"encoder": options.encoder, "modes": {}}
            cells, losses = [], {}
            for mode in MODES:
                values = task.scored(collection, queries, {"mode": mode}).values[MEASURE]
                losses[mode] = values - clean[mode]
                figures = {
                    MEASURE: float(values.mean()),
                    "clean": float(clean[mode].mean()),
                    "change": float(losses[mode].mean()),
                    "p": evaluation.chance(values, clean[mode], options.seed),
                }
                record["modes"][mode] = figures
                cells += [f"{figures[MEASURE]:.4f}", f"{figures['change']:+.4f}", shown(figures["p"])]
            record["alike"] = evaluation.chance(losses["dense"], losses["lexical"], options.seed)
            print(row([task.name, name, changed, *cells, shown(record["alike"])]), flush=True)
            yield record


def example(queries: Iterable[str], rule: Callable[[str, int], str], seed: int) -> str:
    """The first query that the rule changes, and what becomes of it."""
    changed = ((query, other) for query in queries if (other := rule(query, seed)) != query)
    query, other = next(changed, ("", "(no query changes)"))
    return f"“{query}” → “{other}”"


def sts(options: argparse.Namespace) -> Iterator[Record]:
    """How well cosines of sentences rank as people's scores do."""
    file = options.data and options.data / "stsbenchmark.tsv.gz"
    if file is None or not file.is_file():
        print("The STS benchmark is not shipped: SEMSEARCH_DATA or --data must name a folder with stsbenchmark.tsv.gz.")
        return
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        rows = [one for one in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if one["split"] == "test"]
    chosen = [rows[place] for place in drawn(len(rows), options)]
    judged = np.array([float(one["score"]) for one in chosen])
    print(table_head(("model", "dtype", "pairs", "Spearman x 100", "published")))
    done = set()
    for said in ("float32", None):
        encoder = load_encoder(options.encoder, dtype=said)
        dtype = str(encoder.dtype).removeprefix("torch.")
        if dtype in done:
            print("\nfloat32 is what this machine computes in by default.")
            return
        done.add(dtype)
        first, second = (unit(encoder, [one[column] for one in chosen]) for column in ("sentence1", "sentence2"))
        found = 100 * correlation((first * second).sum(axis=1), judged).spearman
        published = None if len(chosen) < len(rows) else published_sts(encoder.name)
        print(row([encoder.name, dtype, len(chosen), f"{found:.2f}", published or ""]), flush=True)
        yield {"encoder": encoder.name, "dtype": dtype, "pairs": len(chosen), "spearman": found, "published": published}


def published_sts(name: str) -> float | None:
    """The catalogue's figure for a model, where it has one."""
    card = card_of(name)
    return next((figure.value for figure in card.quality if figure.measure == STSB), None) if card else None


def bitext(options: argparse.Namespace) -> Iterator[Record]:
    """How many sentences find their translation."""
    folder = options.data and options.data / "tatoeba"
    if folder is None or not folder.is_dir():
        print("Tatoeba's pairs are not shipped: SEMSEARCH_DATA or --data must name a folder with tatoeba/.")
        return
    if options.multilingual is None:
        print("Not measured: it needs a model of several languages, --multilingual MODEL.")
        return
    try:
        encoder = load_encoder(options.multilingual)
    except ModelError as error:
        print(f"Not measured: {error}")
        return
    print(f"{encoder.name}, {str(encoder.dtype).removeprefix('torch.')}\n")
    print(table_head(("language", "pairs", "to English", "from English", "mean")))
    means = []
    for file in sorted(folder.glob("tatoeba.*-eng.eng")):
        language = file.name.removeprefix("tatoeba.").removesuffix("-eng.eng")
        texts = [path.read_text(encoding="utf-8").splitlines() for path in (file.with_suffix(f".{language}"), file)]
        chosen = drawn(len(texts[1]), options)
        foreign, english = (unit(encoder, [lines[place] for place in chosen]) for lines in texts)
        cosines = foreign @ english.T  # (n, n)
        own = np.arange(len(cosines))
        to, back = (float((cosines.argmax(axis=axis) == own).mean()) for axis in (1, 0))
        means.append((to + back) / 2)
        print(row([language, len(own), f"{to:.3f}", f"{back:.3f}", f"{means[-1]:.3f}"]), flush=True)
        record: Record = {"encoder": encoder.name, "language": language, "pairs": len(own)}
        yield record | {"to_english": to, "from_english": back}
    print(row(["mean", "", "", "", f"{np.mean(means):.3f}"]))


def unit(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    """Vectors `(n, dim)` of length 1, all encoded as documents: neither side asks."""
    vectors = encoder.encode_documents(texts).astype(np.float64)
    scaled: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled


def collections(
    options: argparse.Namespace, splits: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Iterator[tuple[Task, semsearch.Collection]]:
    """Every set as a collection, made or brought up to date, open until the next; of `splits`, else test queries."""
    if options.data is None:
        print("The public sets are not here (SEMSEARCH_DATA or --data): these are the samples that are shipped.\n")
        folders = [SAMPLES]
    else:
        folders = [options.data / name for name in options.sets]
    for folder in folders:
        if not (folder / "qrels" / "test.tsv").is_file():
            print(f"{folder.name} is not there: {folder} has no qrels/test.tsv.", file=sys.stderr)
            continue
        task = Task.of(folder, options, splits.get(folder.name, ("test",)))
        name = re.sub(r"[^\w.-]", "-", f"{task.name}-{options.encoder}")[:100]
        there = (options.home / name).is_dir()
        made = (
            semsearch.open(name, home=options.home)
            if there
            else semsearch.create(name, home=options.home, encoder=options.encoder)
        )
        with made as collection:
            collection.add_from(Source.of(task.documents))  # what is there already is not encoded again
            yield task, collection


def drawn(count: int, options: argparse.Namespace) -> list[int]:
    """Which of so many are measured, ascending."""
    return sorted(np.random.default_rng(options.seed).permutation(count)[: options.queries].tolist())


def table_head(columns: Sequence[str]) -> str:
    """The first two lines of a table."""
    return f"{row(columns)}\n|{'---|' * len(columns)}"


def row(cells: Sequence[Any]) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def shown(p: float) -> str:
    """A probability as far as the draws tell it."""
    return f"{p:.4f}" if p >= 1e-3 else "<0.001"


PARTS: Mapping[str, Callable[[argparse.Namespace], Iterator[Record]]] = {
    "retrieval": retrieval,
    "choice": choice,
    "noisy": noisy,
    "sts": sts,
    "bitext": bitext,
}

PEERS: Mapping[str, tuple[Ask, str]] = {  # and what is nearest to each of them here
    "bm25s": (by_bm25s, "lexical"),
    "sentence-transformers": (by_sentence_transformers, "dense"),
}

if __name__ == "__main__":
    main()
