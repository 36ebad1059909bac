"""Making a reranker of any kind from judged questions, for both commands that do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import semsearch
from semsearch.collection import Collection
from semsearch.encoder.checkpoint import Stage, read
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.encoder.tokenization import load_tokenizer
from semsearch.errors import ModelError, UsageError
from semsearch.evaluation.metrics import answers
from semsearch.training import adaptation, late
from semsearch.training.card import card_of_encoder, model_card
from semsearch.training.comparison import TABLE_HEAD, ModelComparison, compared
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.held_out import Evaluation
from semsearch.training.judged import Judged
from semsearch.training.mining import MinedCandidates, mine
from semsearch.training.sources import TrainingSources, read_sources
from semsearch.training.split import split
from semsearch.training.train import Recipe, Trainer, TrainingSet
from semsearch.training.training_questions import TrainingQuestions

RERANKER_KINDS = ("cross-encoder", "late-interaction", "adapter")


@dataclass(frozen=True)
class RerankerTraining:
    """What came of it: where it is (None: not published), what it is worth, in figures and in a sentence."""

    folder: Path | None
    comparison: ModelComparison
    weight: float  # that it counts beside its first stage
    verdict: str
    seconds: float


def first_stage(encoder: TextEncoder) -> Stage:
    """The transformer that an encoder begins with.

    Raises:
        ModelError: It begins with something else.
    """
    first = read(encoder.folder).stages[0]
    if first.kind != "transformer":
        raise ModelError(
            f"{encoder.name} begins with a module of the kind '{first.kind}'; a reranker takes a transformer."
        )
    return first


def make_reranker(
    kind: str,
    judged: Sequence[Judged],
    mined: Sequence[MinedCandidates],
    encoder: TextEncoder,
    recipe: Recipe,
    out: Path,
    *,
    split_name: str,
    miner: str,
    say: Callable[[str], None],
) -> Evaluation:
    """Train, choose and write a reranker; what its best step did on the held-out questions.

    Args:
        kind: One of `RERANKER_KINDS`.
        judged: The data.
        mined: What a first stage finds in it.
        encoder: What it begins as.
        recipe: How; of its numbers the two lesser kinds take `rerank` and `seed`.
        out: Where it goes.
        split_name: Of the judgements, for the card.
        miner: What found the candidates, in words.
        say: Is told how it goes.
    """
    name = out.resolve().name
    if kind == "cross-encoder":
        first = first_stage(encoder)
        tasks = [TrainingSet(one, found) for one, found in zip(judged, mined, strict=True)]
        tokenizer = load_tokenizer(first.folder, lower=bool(first.config.get("do_lower_case")))
        trainer = Trainer(first.folder, tokenizer, tasks, recipe, out, encoder.device, say)
        trainer.run()
        seconds = sum(entry.get("seconds", 0.0) for entry in trainer.log)
        figures = (trainer.evaluations, trainer.best, seconds)
        card = model_card(name, semsearch.__version__, encoder.name, miner, split_name, recipe, tasks, *figures)
        trainer.finish(card)
        return trainer.best
    first_stage(encoder)
    data = list(zip(judged, mined, strict=True))
    if kind == "adapter":
        _, evaluations = adaptation.make(encoder, data, out, recipe.rerank, recipe.seed, say)
        found = max(evaluations, key=lambda one: one.score)
    else:
        _, found = late.make(encoder, data, out, recipe.rerank)
    card = card_of_encoder(kind, name, semsearch.__version__, encoder.name, miner, recipe.rerank, data, found)
    (out / "README.md").write_text(card, "utf-8")
    return found


def train_reranker(
    collection: Collection,
    sources: TrainingSources,
    out: Path,
    *,
    kind: str = "adapter",
    force: bool = False,
    recipe: Recipe | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> RerankerTraining:
    """A reranker for a collection, from questions about it; published only where it makes hybrid search better.

    Args:
        collection: Opened; its model is what the reranker begins as.
        sources: Of the questions; not out of the documents, which tell no second stage anything.
        out: Where it goes.
        kind: One of `RERANKER_KINDS`.
        force: Publish what is not better.
        recipe: How.
        say: Is told how it goes.

    Raises:
        UsageError: The collection's model can't be trained, or questions out of documents are asked for alone.
        DataError: The questions can't be learnt from.
    """
    started = time.perf_counter()
    encoder = collection.encoder
    if not isinstance(encoder, TextEncoder):
        raise UsageError(f"collection '{collection.name}' has no model in a folder that a reranker could begin as.")
    if out.is_dir() and any(path.name != "training" for path in out.iterdir()):
        raise UsageError(f"{out} is there already and not empty: give another folder.")
    first_stage(encoder)
    recipe = recipe or Recipe()
    corpus = TrainingCorpus.of(list(collection.documents()), encoder, passages=bool(collection.settings["passages"]))
    primary, others, test = read_sources(sources, corpus)
    parts = split(primary, corpus, recipe.seed, test)
    train = parts.train
    for place, other in enumerate(others):
        train = train.joined(other, f"{place}: ")
    for one in [*primary.said, *parts.said]:
        say(one)
    judged = _judged(collection.name, corpus, train, parts.dev)
    say(f"{len(judged.training):,} questions to learn from, {len(judged.held_out):,} to choose by.")
    mined = mine(judged, encoder, recipe.depth, collection=collection, say=say)
    made = out / "training" / "reranker"
    made.mkdir(parents=True, exist_ok=True)
    found = make_reranker(
        kind,
        [judged],
        [mined],
        encoder,
        recipe,
        made,
        split_name="train",
        miner=f"hybrid search in the collection {collection.name}",
        say=say,
    )
    before = answers(collection, parts.test.texts, {"mode": "hybrid", "exact": True})
    after = answers(
        collection,
        parts.test.texts,
        {"mode": "hybrid", "exact": True, "rerank": str(made), "candidates": recipe.rerank},
    )
    comparison = compared({"hybrid": before}, {"hybrid": after}, parts.test)
    verdict = comparison.verdict
    publish = comparison.better and found.weight > 0
    if not publish and not force:
        shutil.rmtree(out / "training")
        if not any(out.iterdir()):
            out.rmdir()
        return RerankerTraining(
            None, comparison, found.weight, f"{verdict}: not published", time.perf_counter() - started
        )
    if not publish:
        verdict = f"published by force, and it is {verdict}"
    _write_test(made, comparison, verdict)
    for path in made.iterdir():
        path.replace(out / path.name)
    shutil.rmtree(out / "training")
    return RerankerTraining(out, comparison, found.weight, verdict, time.perf_counter() - started)


def _judged(name: str, corpus: TrainingCorpus, train: TrainingQuestions, dev: TrainingQuestions) -> Judged:
    """The questions as rerankers learn from them: rows of documents, and the held-out ones among all."""
    queries: list[str] = []
    grades: list[dict[int, int]] = []
    sides: list[tuple[int, ...]] = []
    for part in (train, dev):
        start = len(queries)
        for question, text in part.texts.items():
            queries.append(text)
            grades.append({corpus.place[one]: grade for one, grade in part.grades[question].items()})
        sides.append(tuple(range(start, len(queries))))
    return Judged(
        name=name,
        ids=tuple(document.id for document in corpus.documents),
        texts=tuple(f"{document.title} {document.text}".strip() for document in corpus.documents),
        queries=tuple(queries),
        grades=tuple(grades),
        training=sides[0],
        held_out=sides[1],
    )


def _write_test(folder: Path, comparison: ModelComparison, verdict: str) -> None:
    """Add to the card what was measured on questions that nothing was chosen by."""
    lines = [f"| {' | '.join(TABLE_HEAD)} |", "|" + "---|" * len(TABLE_HEAD)]
    lines += [f"| {' | '.join(row)} |" for row in comparison.table()]
    table = "\n".join(lines)
    count = comparison.differences[0].questions
    card = (folder / "README.md").read_text("utf-8")
    told = f"\n## On {count:,} test questions, asked once\n\n{verdict[:1].upper()}{verdict[1:]}.\n\n{table}\n"
    (folder / "README.md").write_text(card + told, "utf-8")
