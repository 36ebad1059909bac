"""Making a reranker of any kind from judged questions, for both commands that do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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
from semsearch.training.held_out import Evaluation
from semsearch.training.judged import Judged
from semsearch.training.mining import MinedCandidates, mine
from semsearch.training.run_folder import RUN_FOLDER, alone, folder_with_room, put_out, same_run
from semsearch.training.sources import TrainingSources
from semsearch.training.train import Recipe, Trainer, TrainingSet
from semsearch.training.training_material import TrainingMaterial
from semsearch.training.written import written

if TYPE_CHECKING:
    from semsearch.search.request import SearchKeywords

RERANKER_KINDS = ("cross-encoder", "late-interaction", "adapter")
RERANKER_FOLDER = "reranker"  # the folder of a run that its model lies in


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
    name: str | None = None,
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
        name: For the card; None is the folder's.
    """
    name = name or out.resolve().name
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
        UsageError: The collection's model can't be trained, questions out of documents are asked for, or `out` holds
            something else.
        DataError: The questions can't be learnt from.
    """
    started = time.perf_counter()
    encoder = collection.encoder
    if not isinstance(encoder, TextEncoder):
        raise UsageError(f"collection '{collection.name}' has no model in a folder that a reranker could begin as.")
    if sources.by_itself:
        raise UsageError(
            "questions out of the documents are their words, which tell a second stage nothing: leave --self or "
            "--reranker out."
        )
    folder_with_room(out)
    first_stage(encoder)
    recipe = recipe or Recipe()
    material = TrainingMaterial(collection, sources, seed=recipe.seed, say=say)
    for one in material.parts.said:
        say(one)
    judged = _judged(material)
    say(
        f"{len(judged.training):,} questions to learn from, {len(judged.held_out):,} to choose by, "
        f"{len(material.parts.test.texts):,} to measure on, of {sources.told}; the reranker (--kind {kind}) goes to "
        f"{out} if it is better."
    )
    work = out / RUN_FOLDER
    work.mkdir(parents=True, exist_ok=True)
    with alone(work):
        identity = {"kind": kind, "base": encoder.fingerprint, "questions": material.digest, "recipe": asdict(recipe)}
        same_run(work, identity)
        weight = _trained(kind, judged, collection, recipe, work, out, say)
        how: SearchKeywords = {"mode": "hybrid", "exact": True}
        second: SearchKeywords = {**how, "rerank": str(work / RERANKER_FOLDER), "candidates": recipe.rerank}
        test = material.parts.test
        before, after = (answers(collection, test.texts, one) for one in (how, second))
        comparison = compared({"hybrid": before}, {"hybrid": after}, test)
        verdict = comparison.verdict
        publish = comparison.better and weight > 0
        if not publish and not force:
            took = time.perf_counter() - started
            return RerankerTraining(None, comparison, weight, f"{verdict}: not published", took)
        if not publish:
            verdict = f"published by force, and it is {verdict}"
        card = (work / RERANKER_FOLDER / "README.md").read_text("utf-8") + _of_test(comparison, verdict)
        put_out(work / RERANKER_FOLDER, out, work, {"README.md": card})
    return RerankerTraining(out, comparison, weight, verdict, time.perf_counter() - started)


def _trained(
    kind: str,
    judged: Judged,
    collection: Collection,
    recipe: Recipe,
    work: Path,
    out: Path,
    say: Callable[[str], None],
) -> float:
    """Make `work/reranker`, unless it is made already; the weight that it counts beside its first stage."""
    done = work / "made.json"
    if done.is_file():
        return float(json.loads(done.read_text("utf-8"))["weight"])
    encoder = collection.encoder
    assert isinstance(encoder, TextEncoder)
    mined = mine(judged, encoder, recipe.depth, collection=collection, say=say).without(judged.withheld)
    found = make_reranker(
        kind,
        [judged],
        [mined],
        encoder,
        recipe,
        work / RERANKER_FOLDER,
        split_name="train",
        miner=f"hybrid search in the collection {collection.name}",
        say=say,
        name=out.resolve().name,
    )
    with written(done) as part:
        part.write_text(json.dumps({"weight": found.weight}), "utf-8")
    return found.weight


def _judged(material: TrainingMaterial) -> Judged:
    """The questions as rerankers learn from them: rows of documents, and the held-out ones among all."""
    corpus = material.corpus
    saying: dict[int, set[int]] = {}
    for row, same in enumerate(corpus.same.tolist()):
        saying.setdefault(same, set()).add(row)
    queries: list[str] = []
    grades: list[dict[int, int]] = []
    sides: list[tuple[int, ...]] = []
    withheld: dict[int, frozenset[int]] = {}
    for part in (material.parts.train, material.parts.dev):
        start = len(queries)
        for question, text in part.texts.items():
            own = {corpus.place[one]: grade for one, grade in part.grades[question].items()}
            right = {corpus.place[one] for one in [*part.answers(question), *part.withheld.get(question, ())]}
            others = {row for one in right for row in saying[int(corpus.same[one])]} - own.keys()
            if others and part is material.parts.train:
                withheld[len(queries)] = frozenset(others)
            queries.append(text)
            grades.append(own)
        sides.append(tuple(range(start, len(queries))))
    return Judged(
        name=material.collection.name,
        ids=tuple(document.id for document in corpus.documents),
        texts=tuple(f"{document.title} {document.text}".strip() for document in corpus.documents),
        queries=tuple(queries),
        grades=tuple(grades),
        training=sides[0],
        held_out=sides[1],
        withheld=withheld,
    )


def _of_test(comparison: ModelComparison, verdict: str) -> str:
    """For the card: what was measured on questions that nothing was chosen by."""
    lines = [f"| {' | '.join(TABLE_HEAD)} |", "|" + "---|" * len(TABLE_HEAD)]
    lines += [f"| {' | '.join(row)} |" for row in comparison.table()]
    table = "\n".join(lines)
    count = comparison.differences[0].questions
    return f"\n## On {count:,} test questions, asked once\n\n{verdict[:1].upper()}{verdict[1:]}.\n\n{table}\n"
