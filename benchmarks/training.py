"""What training an encoder on a collection's own questions gives, beside the model that it began as.

    python benchmarks/training.py --data DATA --home HOME [--sets scifact nfcorpus …] [--ways head …] [--base MODEL]
    python benchmarks/training.py --data DATA --speed --base MODEL

HOME holds a collection of each data set under its name (`semsearch index DATA/scifact --name scifact`). Sets with
judged train questions learn from these and are measured on the test questions; the others by cross-validation over
their questions, in `FOLDS` parts. There, judgements of documents that answer a test question are not learnt from
(`withhold`). A model counts where the dev questions, a part of those that are learnt from, chose it; else the one of
before does. Nothing is said of rates, passes and the like: what is measured is what `semsearch train` does by itself.
`--self` learns from questions out of the documents as well. `--dense` measures dense search alone, from the vectors of
the run: a fraction of the time, for the ways `full`, `lora` and `head`. `--speed` compares a step with one of
sentence-transformers' MultipleNegativesRankingLoss on the same texts, by processor time.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import semsearch
from semsearch.evaluation.judgements import read_qrels, read_queries
from semsearch.evaluation.metrics import chance, interval
from semsearch.training.encoder_run import EncoderRun
from semsearch.training.encoder_trainer import EncoderRecipe, dev_scored
from semsearch.training.encoder_training import RECIPES
from semsearch.training.sources import TrainingSources
from semsearch.training.training_material import TrainingMaterial
from semsearch.training.waypoint import BASE

FOLDS = 5
MEASURED = "nDCG@10"


def main() -> None:
    """Measure, and print a line of JSON for each set, way and mode."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--sets", nargs="+", default=["scifact", "nfcorpus", "cranfield", "cacm", "cisi"])
    parser.add_argument("--ways", nargs="+", default=["head"])
    parser.add_argument("--base")
    parser.add_argument("--self", dest="by_itself", action="store_true")
    parser.add_argument("--suffix", default="", help="of the collections' names, as those of another model")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--pairs", type=int, default=32)
    options = parser.parse_args()
    if options.speed:
        print(json.dumps(speed(options)), flush=True)
        return
    for name in options.sets:
        for way in options.ways:
            for record in (measured_dense if options.dense else measured)(name, way, options):
                print(json.dumps(record), flush=True)


def measured(name: str, way: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A record for each way of searching."""
    recipe = _said(options)
    values: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    chosen: list[tuple[int, float]] = []
    beside: dict[str, list[np.ndarray]] = {}
    wall, processor = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        for number, (train, test) in enumerate(folds(options.data / name, options.seed)):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            files = {"train": train, "test": test}
            for side, judged in files.items():
                lines = [f"{query}\t{doc}\t{grade}" for query, own in judged.items() for doc, grade in own.items()]
                (folder / f"{side}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
            given: dict[str, Any] = {
                "queries": options.data / name,
                "qrels": folder / "train.tsv",
                "test": folder / "test.tsv",
            }
            found = semsearch.train(
                name + options.suffix,
                withhold=not _own_test(options.data / name),
                home=options.home,
                out=folder / "out",
                way=way,
                base=options.base,
                force=True,
                recipe=recipe,
                say=_say,
                by_itself=options.by_itself,
                **given,
            )
            _say(found.verdict)
            chosen.append((found.best, found.share))
            assert found.comparison is not None
            for one in found.comparison.differences:
                before, after = one.before.values[MEASURED], one.after.values[MEASURED]
                kept = after if found.best or way == "static" else before
                values.setdefault(one.mode, []).append((before, kept))
            for one in found.beside.differences if found.beside is not None else ():
                beside.setdefault(one.mode, []).append(one.before.values[MEASURED])
            shutil.rmtree(folder)
    for mode, parts in values.items():
        before, after = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
        low, high = interval(after - before)
        teacher = {"teacher": round(float(np.concatenate(beside[mode]).mean()), 4)} if mode in beside else {}
        yield {
            "set": name,
            "base": Path(options.base).name if options.base else (options.suffix.lstrip("-") or "all-MiniLM-L6-v2"),
            "way": way + (" + documents" if options.by_itself else ""),
            "mode": mode,
            "questions": len(before),
            "before": round(float(before.mean()), 4),
            "after": round(float(after.mean()), 4),
            **teacher,
            "change": round(float((after - before).mean()), 4),
            "low": round(low, 4),
            "high": round(high, 4),
            "p": round(chance(after, before), 4),
            "kept": chosen,
            "recipe": recipe,
            "seconds": round(time.perf_counter() - wall),
            "processor_seconds": round(time.process_time() - processor),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        }


def measured_dense(name: str, way: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A record of dense search, whose vectors the run has: the corpus is read once for all folds."""
    recipe = _said(options)
    values: list[tuple[np.ndarray, np.ndarray]] = []
    kept: list[tuple[int, float]] = []
    wall, processor = time.perf_counter(), time.process_time()
    with (
        tempfile.TemporaryDirectory() as scratch,
        semsearch.open(name + options.suffix, home=options.home) as collection,
    ):
        for number, (train, test) in enumerate(folds(options.data / name, options.seed)):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            for side, judged in (("train", train), ("test", test)):
                lines = [f"{query}\t{doc}\t{grade}" for query, own in judged.items() for doc, grade in own.items()]
                (folder / f"{side}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
            sources = TrainingSources(
                queries=options.data / name,
                qrels=folder / "train.tsv",
                test=folder / "test.tsv",
                by_itself=options.by_itself,
                withhold=not _own_test(options.data / name),
            )
            made = EncoderRecipe(**{**RECIPES[way], **recipe})
            material = TrainingMaterial(
                collection, sources, options.base, seed=made.seed, crossing=way == "head", device="cpu"
            )
            run = EncoderRun(material, way, made, folder / "training", device="cpu", say=_say)
            run.run()
            kept.append(run.best)
            asked = list(material.parts.test.texts.values())
            found = []
            for best in dict.fromkeys((BASE, run.best)):
                encoder = run.begun if best == BASE else semsearch.load_encoder(str(run.work / "best"), device="cpu")
                passages = run.passages_of(best)
                if passages is None:
                    passages = encoder.encode_documents(run.corpus.texts)
                queries = encoder.encode_queries(asked)
                score = dev_scored(material.parts.test, run.corpus, queries, passages, encoder.metric)
                found.append(score.values[MEASURED])
            values.append((found[0], found[-1]))
    before, after = (np.concatenate([part[side] for part in values]) for side in (0, 1))
    low, high = interval(after - before)
    yield {
        "set": name,
        "base": Path(options.base).name if options.base else (options.suffix.lstrip("-") or "all-MiniLM-L6-v2"),
        "way": way + (" + documents" if options.by_itself else ""),
        "mode": "dense",
        "questions": len(before),
        "before": round(float(before.mean()), 4),
        "after": round(float(after.mean()), 4),
        "change": round(float((after - before).mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "p": round(chance(after, before), 4),
        "kept": kept,
        "recipe": recipe,
        "seconds": round(time.perf_counter() - wall),
        "processor_seconds": round(time.process_time() - processor),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _said(options: argparse.Namespace) -> dict[str, Any]:
    return {"seed": options.seed} | ({"epochs": options.epochs} if options.epochs else {})


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _own_test(folder: Path) -> bool:
    """Whether a set comes with train questions and others to measure on."""
    return (folder / "qrels" / "train.tsv").is_file()


Graded = Mapping[str, Mapping[str, int]]


def folds(folder: Path, seed: int) -> Iterator[tuple[Graded, Graded]]:
    """What is learnt from and what is measured on."""
    train, test = folder / "qrels" / "train.tsv", folder / "qrels" / "test.tsv"
    if _own_test(folder):
        yield read_qrels(train), read_qrels(test)
        return
    texts = read_queries(folder)
    judged = {query: own for query, own in read_qrels(test).items() if query in texts}
    order = np.random.default_rng(seed).permutation(sorted(judged)).tolist()
    for fold in range(FOLDS):
        held = set(order[fold::FOLDS])
        rest = {query: own for query, own in judged.items() if query not in held}
        yield rest, {query: judged[query] for query in sorted(held)}


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of processor time of a step, here and there; the medians of three."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from semsearch.ingest.source import Source
    from semsearch.training import losses
    from semsearch.training.trainable import TrainableEncoder

    folder = options.data / options.sets[0]
    texts, judged = read_queries(folder), read_qrels(folder / "qrels" / "train.tsv")
    documents = {one.id: f"{one.title} {one.text}" for one in Source.of(folder, "beir").read()}
    pairs = [(texts[query], documents[next(iter(own))]) for query, own in list(judged.items())[: options.pairs]]
    questions, passages = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ours = TrainableEncoder(options.base, questions, passages, device="cpu")
    theirs = SentenceTransformer(options.base, device="cpu", local_files_only=True)
    loss = MultipleNegativesRankingLoss(theirs)
    order = torch.arange(len(pairs))

    def contrast(queries: Any, answers: Any) -> Any:
        return losses.in_batch_negatives(20 * losses.similarities(queries, answers, cosine=True), order)

    taken: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(3):
        start = time.process_time()
        ours.backward(range(len(pairs)), range(len(pairs)), contrast, 0)
        taken["ours"].append(time.process_time() - start)
        start = time.process_time()
        theirs.train()
        loss([theirs.preprocess(questions), theirs.preprocess(passages)], None).backward()
        taken["theirs"].append(time.process_time() - start)
    found = {way: round(float(np.median(times)), 3) for way, times in taken.items()}
    return {"speed": Path(options.base).name, "pairs": len(pairs), **found, "ratio": found["theirs"] / found["ours"]}


if __name__ == "__main__":
    main()
