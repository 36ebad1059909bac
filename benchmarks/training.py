"""What training an encoder on a collection's own questions gives, beside the model that it began as.

    python benchmarks/training.py --data DATA --home HOME [--sets scifact nfcorpus …] [--ways head …] [--base MODEL]
    python benchmarks/training.py --data DATA --home HOME --sets cranfield --bad
    python benchmarks/training.py --data DATA --speed --base MODEL

HOME holds a collection of each data set under its name (`semsearch index DATA/scifact --name scifact`). Sets with
judged train questions learn from these and are measured on the test questions; the others by cross-validation over
their questions, in `FOLDS` parts. There, judgements of documents that answer a test question are not learnt from
(`withhold`). A model counts where the dev questions, a part of those that are learnt from, chose it; else the one of
before does. Nothing is said of rates, passes and the like: what is measured is what `semsearch train` does by itself.
`--finished FILE` keeps what each fold gave, and the same command goes on behind the last of them. `--self` learns from
questions out of the documents as well, `--alone` from these alone: then others of them are what is measured on, and of
a head people's questions too. `--dense` measures dense search alone, from the vectors of the run: a fraction of the
time, for the ways `full`, `lora`, `head` and `peer`, which is sentence-transformers' own trainer with the same pairs
(it needs `pip install "sentence-transformers[train]"`); where FILE has what that gave, the others are set beside it.
`--bad` tells what comes of twenty inputs that nothing can be learnt from (`bad_inputs`): none may be published.
`--speed` compares a step with one of sentence-transformers' MultipleNegativesRankingLoss on the same texts, by
processor time.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import semsearch
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import DataError
from semsearch.evaluation.judgements import read_qrels, read_queries
from semsearch.evaluation.metrics import chance, interval
from semsearch.ingest.source import Source
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.encoder_run import EncoderRun
from semsearch.training.encoder_trainer import EncoderRecipe, dev_scored
from semsearch.training.encoder_training import RECIPES
from semsearch.training.hard_negatives import Miner
from semsearch.training.sources import TrainingSources, read_sources
from semsearch.training.trainable import TrainableHead
from semsearch.training.training_material import TrainingMaterial
from semsearch.training.waypoint import BASE
from semsearch.types import Vectors

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
    parser.add_argument("--alone", action="store_true", help="learn from questions out of the documents alone")
    parser.add_argument("--finished", type=Path, help="a file that keeps each fold, and that a run goes on from")
    parser.add_argument("--folds", type=int, help="of the five, how many are measured")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--patience", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dense", action="store_true")
    parser.add_argument("--bad", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--pairs", type=int, default=32)
    options = parser.parse_args()
    if options.speed:
        print(json.dumps(speed(options)), flush=True)
        return
    for name in options.sets:
        for way in options.ways:
            for found in (bad if options.bad else measured)(name, way, options):
                print(json.dumps(found), flush=True)


def measured(name: str, way: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A record for each way of searching."""
    finished = FinishedFolds(options.finished, name, way, options)
    measure = dense_fold if options.dense else whole_fold
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for number, sources in enumerate(materials(name, Path(scratch), options)):
            if number not in finished:
                finished[number] = measure(name, way, sources, Path(scratch) / f"fold-{number}", options)
            found.append(finished[number])
    told = {"kept": [fold["kept"] for fold in found], "dev": [fold["dev"] for fold in found]}
    for cost in ("", "learning_"):
        if f"{cost}seconds" in found[0]:
            told |= {key: sum(fold[key] for fold in found) for key in (f"{cost}seconds", f"{cost}processor_seconds")}
            told |= {f"{cost}peak_mb": max(fold[f"{cost}peak_mb"] for fold in found)}
    for mode in found[0]["values"]:
        parts = [tuple(map(np.array, fold["values"][mode])) for fold in found]
        beside = [value for fold in found for value in fold["beside"].get(mode, ())]
        teacher = {"teacher": round(float(np.mean(beside)), 4)} if beside else {}
        yield record(name, way, mode, parts, options) | teacher | told
    peer = FinishedFolds(options.finished, name, "peer", options)
    if options.dense and way != "peer" and all(number in peer for number in range(len(found))):
        pairs = [(peer[number]["values"]["dense"][1], fold["values"]["dense"][1]) for number, fold in enumerate(found)]
        yield record(name, f"{way} beside peer", "dense", [tuple(map(np.array, pair)) for pair in pairs], options)


class FinishedFolds:
    """What each fold gave, by its number, in a file of JSON lines: an interrupted run goes on behind the last of them.

    Args:
        file: None keeps nothing.
        name: Of the set.
        way: Of learning.
        options: Lines of other options are left alone.
    """

    def __init__(self, file: Path | None, name: str, way: str, options: argparse.Namespace) -> None:
        said = {key: getattr(options, key) for key in ("base", "suffix", "by_itself", "alone", "dense")}
        self._file, self._run = file, json.loads(json.dumps({"set": name, "way": way} | said | _said(options)))
        if file is not None and file.is_file():
            whole = file.read_bytes()
            file.write_bytes(whole[: whole.rfind(b"\n") + 1])  # a line that was cut short is measured again
        lines = file.read_text("utf-8").splitlines() if file is not None and file.is_file() else []
        kept = [line for line in map(json.loads, lines) if line["run"] == self._run]
        self._found: dict[int, dict[str, Any]] = {line["fold"]: line["found"] for line in kept}

    def __contains__(self, number: int) -> bool:
        return number in self._found

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self._found[number]

    def __setitem__(self, number: int, found: dict[str, Any]) -> None:
        self._found[number] = found
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"run": self._run, "fold": number, "found": found}) + "\n")


def whole_fold(
    name: str, way: str, sources: TrainingSources, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """What `semsearch train` comes to, by each way of searching."""
    cost = Cost()
    trained = semsearch.train(
        name + options.suffix,
        queries=sources.queries,
        qrels=sources.qrels,
        test=sources.test,
        withhold=sources.withhold,
        home=options.home,
        out=folder,
        way=way,
        base=options.base,
        force=True,
        recipe=_said(options),
        say=_say,
        by_itself=sources.by_itself,
    )
    _say(trained.verdict)
    assert trained.comparison is not None
    counts = bool(trained.best) or way == "static"
    values: dict[str, list[list[float]]] = {}
    for one in trained.comparison.differences:
        before, after = one.before.values[MEASURED], one.after.values[MEASURED]
        values[one.mode] = [before.tolist(), (after if counts else before).tolist()]
    if options.alone and way == "head":
        before, after = transferred(name, folder, options)
        values["dense, people's questions"] = [before.tolist(), (after if counts else before).tolist()]
    shutil.rmtree(folder)
    beside = trained.beside.differences if trained.beside is not None else ()
    return {
        "values": values,
        "beside": {one.mode: one.before.values[MEASURED].tolist() for one in beside},
        "kept": [trained.best, trained.share],
        "dev": [round(one, 4) for one in trained.scores],
    } | cost.told


def transferred(name: str, folder: Path, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """What people's questions find before and after a head that learnt from the documents alone."""
    sources = TrainingSources(queries=options.data / name, qrels=options.data / name / "qrels" / "test.tsv")
    with semsearch.open(name + options.suffix, home=options.home) as collection:
        base = collection.encoder
        assert isinstance(base, TextEncoder)
        corpus = TrainingCorpus.of(list(collection.documents()), base, passages=bool(collection.settings["passages"]))
        passages = corpus.stored(collection, base)
    assert passages is not None
    questions, _, _ = read_sources(sources, corpus)
    queries = base.encode_queries(list(questions.texts.values()))
    head = TrainableHead(base, queries[:0], passages[:0])
    head.take_saved(folder)
    sides = [(queries, passages), (head.turned(queries), head.turned(passages))]
    before, after = (dev_scored(questions, corpus, *side, base.metric).values[MEASURED] for side in sides)
    return before, after


def dense_fold(
    name: str, way: str, sources: TrainingSources, folder: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """What dense search comes to, from the vectors of the run; the way "peer" is sentence-transformers' own trainer."""
    cost = Cost()
    passages: Vectors | None = None
    with semsearch.open(name + options.suffix, home=options.home) as collection:
        made = EncoderRecipe(**{**RECIPES["full" if way == "peer" else way], **_said(options)})
        material = TrainingMaterial(
            collection, sources, options.base, seed=made.seed, crossing=way == "head", device="cpu", say=_say
        )
        learning, dev = Cost(), list[float]()
        if way == "peer":
            trained_by_peer(material, made, folder)
            learning.end()
            encoder, kept = semsearch.load_encoder(str(folder), device="cpu"), (made.epochs, 1.0)
        else:
            run = EncoderRun(material, way, made, folder, device="cpu", say=_say)
            run.run()
            learning.end()
            dev, kept = [round(one, 4) for one in run.scores], run.best
            passages = run.passages_of(kept)
            encoder = run.begun if kept == BASE else semsearch.load_encoder(str(folder / "best"), device="cpu")
        if passages is None:
            passages = encoder.encode_documents(material.corpus.texts)
        asked, test = list(material.parts.test.texts.values()), material.parts.test
        sides = [
            (material.base.encode_queries(asked), material.vectors, material.base.metric),
            (encoder.encode_queries(asked), passages, encoder.metric),
        ]
        scores = [dev_scored(test, material.corpus, *side).values[MEASURED].tolist() for side in sides]
    shutil.rmtree(folder)
    told = {"values": {"dense": scores}, "beside": {}, "kept": list(kept), "dev": dev}
    return told | {f"learning_{key}": value for key, value in learning.told.items()} | cost.told


def bad(name: str, way: str, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What `semsearch train` says to each bad input, and whether it published a model."""
    finished = FinishedFolds(options.finished, name, f"bad {way}", options)
    with tempfile.TemporaryDirectory() as scratch:
        for number, (told, texts, answers) in enumerate(bad_inputs(options.data / name, options.seed)):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            if number not in finished:
                (folder / "queries.tsv").write_text("".join(f"{own}\t{text}\n" for own, text in texts.items()), "utf-8")
                lines = [f"{query}\t{document}\t1\n" for query, own in answers.items() for document in own]
                (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), "utf-8")
                finished[number] = answered(name, way, folder, options)
            yield {"set": name, "way": way, "input": told} | finished[number]


def answered(name: str, way: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """What comes of the judgements in a folder."""
    try:
        found = semsearch.train(
            name + options.suffix,
            queries=folder / "queries.tsv",
            qrels=folder / "qrels.tsv",
            home=options.home,
            out=folder / "out",
            way=way,
            base=options.base,
            recipe=_said(options),
            say=_say,
        )
    except DataError as error:
        return {"published": False, "told": str(error)}
    return {"published": found.folder is not None, "told": found.verdict}


def bad_inputs(folder: Path, seed: int) -> Iterator[tuple[str, Mapping[str, str], Mapping[str, Sequence[str]]]]:
    """Twenty: what each is, its questions, and what it says answers them; all but the last two keep the questions."""
    texts = read_queries(folder)
    qrels = read_qrels(folder / "qrels" / ("train.tsv" if _own_test(folder) else "test.tsv"))
    judged = {query: [one for one, grade in own.items() if grade > 0] for query, own in qrels.items() if query in texts}
    judged = {query: own for query, own in judged.items() if own}
    asked = list(judged)
    documents = [(one.id, one.text) for one in Source.of(folder, "beir").read() if one.text.strip()]
    rng = np.random.default_rng(seed)
    own_texts = {query: " ".join(texts[query].split()) for query in asked}
    for number in range(8):
        order = rng.permutation(len(asked)).tolist()
        answers = [judged[asked[place]] for place in order]
        yield f"shuffled labels {number}", own_texts, dict(zip(asked, answers, strict=True))
    for number in range(4):
        drawn = rng.choice(len(documents), len(asked)).tolist()
        found = {query: [documents[place][0]] for query, place in zip(asked, drawn, strict=True)}
        yield f"a random document {number}", own_texts, found
    for share in (1.0, 0.8, 0.6):
        one = documents[int(rng.integers(len(documents)))][0]
        always = rng.random(len(asked)) < share
        found = {query: [one] if hit else judged[query] for query, hit in zip(asked, always.tolist(), strict=True)}
        yield f"one document clicked {share:.0%} of the time", own_texts, found
    for count in (2, 5, 20):
        few = [documents[place][0] for place in rng.choice(len(documents), count, replace=False).tolist()]
        yield f"one of {count} documents", own_texts, {query: [few[n % count]] for n, query in enumerate(asked)}
    chosen = [documents[place] for place in rng.choice(len(documents), len(asked), replace=False).tolist()]
    copied = {f"copy-{document}": [document] for document, _ in chosen}
    for told, more in (("questions equal to documents", ""), ("questions nearly equal to documents", " .")):
        yield told, {f"copy-{document}": " ".join(text.split()) + more for document, text in chosen}, copied


def trained_by_peer(material: TrainingMaterial, recipe: EncoderRecipe, folder: Path) -> None:
    """Write the model that sentence-transformers' trainer makes of the pairs and negatives of a first pass.

    As its documentation has it: MultipleNegativesRankingLoss, no duplicates in a batch, the rate rising over a tenth of
    the steps; the model of the last pass.
    """
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    train, corpus, base = material.parts.train, material.corpus, material.base
    order = list(train.texts)
    miner = Miner(train, order, corpus, base.metric, recipe.negatives)
    queries = base.encode_queries([train.texts[one] for one in order])
    examples = miner.examples(queries, material.vectors, np.random.default_rng([recipe.seed, 0, 1]))
    rows = [
        [train.texts[order[one.question]], corpus.read[one.answer], *(corpus.read[key] for key in one.negatives)]
        for one in examples
        if len(one.negatives) == recipe.negatives
    ]
    columns = ["anchor", "positive", *(f"negative_{number + 1}" for number in range(recipe.negatives))]
    model = SentenceTransformer(str(base.folder), device="cpu", local_files_only=True)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "run"),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.lr,
        warmup_steps=0.1,
        batch_sampler="no_duplicates",
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        seed=recipe.seed,
        disable_tqdm=True,
    )
    SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True))),
        loss=MultipleNegativesRankingLoss(model),
    ).train()
    shutil.rmtree(folder / "run", ignore_errors=True)
    model.save(str(folder))


class Cost:
    """Time from when it was made to `end`, or to when it is told, and the peak of the process until then."""

    def __init__(self) -> None:
        self._begun = (time.perf_counter(), time.process_time())
        self._ended: tuple[float, float, int] | None = None

    def end(self) -> None:
        """Count no further."""
        self._ended = (time.perf_counter(), time.process_time(), self._peak())

    @property
    def told(self) -> dict[str, int]:
        """Seconds, seconds of processor time, megabytes."""
        wall, processor, peak = self._ended or (time.perf_counter(), time.process_time(), self._peak())
        return {
            "seconds": round(wall - self._begun[0]),
            "processor_seconds": round(processor - self._begun[1]),
            "peak_mb": peak,
        }

    @staticmethod
    def _peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def record(
    name: str,
    way: str,
    mode: str,
    parts: Sequence[tuple[np.ndarray, np.ndarray]],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The figures of questions in several parts, before and after."""
    before, after = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
    low, high = interval(after - before)
    learnt = "documents" if options.alone else "judgements and documents" if options.by_itself else "judgements"
    return {
        "set": name,
        "base": Path(options.base).name if options.base else (options.suffix.lstrip("-") or "all-MiniLM-L6-v2"),
        "way": way,
        "from": learnt,
        "mode": mode,
        "questions": len(before),
        "before": round(float(before.mean()), 4),
        "after": round(float(after.mean()), 4),
        "change": round(float((after - before).mean()), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "p": round(chance(after, before), 4),
        "recipe": _said(options),
    }


def materials(name: str, scratch: Path, options: argparse.Namespace) -> Iterator[TrainingSources]:
    """What is learnt from and measured on, fold for fold, in files under `scratch`."""
    folder = options.data / name
    if options.alone:
        yield TrainingSources(by_itself=True)
        return
    for number, (train, test) in enumerate(folds(folder, options.seed)):
        if options.folds and number >= options.folds:
            return
        files = {"train": train} if test is None else {"train": train, "test": test}
        for side, judged in files.items():
            lines = [f"{query}\t{doc}\t{grade}" for query, own in judged.items() for doc, grade in own.items()]
            (scratch / f"{side}-{number}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
        yield TrainingSources(
            queries=folder,
            qrels=scratch / f"train-{number}.tsv",
            test=None if test is None else scratch / f"test-{number}.tsv",
            by_itself=options.by_itself,
            withhold=test is not None and not _own_test(folder),
        )


def _said(options: argparse.Namespace) -> dict[str, Any]:
    said = {name: getattr(options, name) for name in ("epochs", "batch", "lr", "patience")}
    return {"seed": options.seed} | {name: value for name, value in said.items() if value is not None}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _own_test(folder: Path) -> bool:
    """Whether a set comes with train questions."""
    return (folder / "qrels" / "train.tsv").is_file()


Graded = Mapping[str, Mapping[str, int]]


def folds(folder: Path, seed: int) -> Iterator[tuple[Graded, Graded | None]]:
    """What is learnt from and what is measured on; None leaves it to `semsearch train` to hold questions out."""
    train, test = folder / "qrels" / "train.tsv", folder / "qrels" / "test.tsv"
    if _own_test(folder):
        yield read_qrels(train), read_qrels(test) if test.is_file() else None
        return
    texts = read_queries(folder)
    judged = {query: own for query, own in read_qrels(test).items() if query in texts}
    order = np.random.default_rng(seed).permutation(sorted(judged)).tolist()
    for fold in range(FOLDS):
        held = set(order[fold::FOLDS])
        rest = {query: own for query, own in judged.items() if query not in held}
        yield rest, {query: judged[query] for query in sorted(held)}


def speed(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of processor time of a step, here and there, there in bfloat16 too; the medians of three."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

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

    taken: dict[str, list[float]] = {"ours": [], "theirs": [], "theirs_bf16": []}
    for _ in range(3):
        start = time.process_time()
        ours.backward(range(len(pairs)), range(len(pairs)), contrast, 0)
        taken["ours"].append(time.process_time() - start)
        theirs.train()
        for way, short in (("theirs", False), ("theirs_bf16", True)):
            start = time.process_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=short):
                value = loss([theirs.preprocess(questions), theirs.preprocess(passages)], None)
            value.backward()
            taken[way].append(time.process_time() - start)
    found = {way: round(float(np.median(times)), 3) for way, times in taken.items()}
    ratios = {f"ratio_{way}": round(found[way] / found["ours"], 2) for way in ("theirs", "theirs_bf16")}
    return {"speed": Path(options.base).name, "pairs": len(pairs), **found, **ratios}


if __name__ == "__main__":
    main()
