"""`semsearch train-reranker`: a cross-encoder from an encoder and judged questions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

import semsearch
from semsearch.cli import parameters
from semsearch.cli.render import say
from semsearch.errors import ModelError, UsageError
from semsearch.home import Home
from semsearch.search.request import MODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semsearch.training.judged import Judged
    from semsearch.training.train import Recipe

LENGTH = 192


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `semsearch train-reranker` takes."""

    data: tuple[Path, ...]
    out: Path
    model: str | None
    split: str
    collections: tuple[str, ...]
    mode: str
    steps: int | None
    epochs: float | None
    batch: int
    negatives: int
    depth: int
    lr: float
    max_length: int
    teacher: float
    held_out: int
    rerank: int
    evaluations: int
    checkpoint: int
    seed: int
    resume: bool
    device: str | None
    home: str | None

    def check(self) -> None:
        """Refuse what can't be, before anything is read."""
        out, data = self.out, self.data
        if self.collections and len(self.collections) != len(data):
            raise UsageError(
                f"there are {len(data)} data sets and {len(self.collections)} collections; give one for each, or none."
            )
        if len({folder.resolve().name for folder in data}) < len(data):
            raise UsageError(
                "two of the data sets have the same name, by which the figures are told apart; rename one."
            )
        if self.steps is not None and self.epochs is not None:
            raise UsageError("--steps and --epochs say the same thing; give one of them.")
        if out.is_dir() and any(out.iterdir()) and not (self.resume and (out / "training").is_dir()):
            advice = "--resume goes on with a run" if (out / "training").is_dir() else "give another folder"
            raise UsageError(f"{out} is there already and not empty: {advice}.")

    def recipe(self, queries: int) -> Recipe:
        """What decides a run over so many training queries."""
        from semsearch.training.train import Recipe

        steps = self.steps or (max(1, round(self.epochs * queries / self.batch)) if self.epochs else 2_000)
        return Recipe(
            steps=steps,
            batch=self.batch,
            negatives=self.negatives,
            depth=self.depth,
            lr=self.lr,
            max_length=self.max_length,
            teacher=self.teacher,
            evaluations=self.evaluations,
            rerank=self.rerank,
            checkpoint=self.checkpoint,
            seed=self.seed,
        )


@click.command("train-reranker", short_help="Train a reranker from an encoder and judged questions.")
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Where the model goes.")
@click.option(
    "--model", metavar="NAME", type=parameters.model, help="The encoder it begins as [default: all-MiniLM-L6-v2]."
)
@click.option("--split", default="train", show_default=True, help="Whose judgements: qrels/SPLIT.tsv.")
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="NAME",
    help="Take hard negatives from what this collection answers, one for each DATA in their order [default: one made "
    "for this].",
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="hybrid",
    show_default=True,
    help="The way of searching that gives them, and that the reranker is weighed against.",
)
@click.option("--steps", type=click.IntRange(min=1), help="Steps [default: 2000, or those of --epochs].")
@click.option(
    "--epochs", type=parameters.NumberIn(min=0, min_open=True), help="Passes over all training queries instead."
)
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Queries of a step.")
@click.option(
    "--negatives", type=click.IntRange(min=1), default=5, show_default=True, help="For each relevant passage."
)
@click.option(
    "--depth", type=click.IntRange(min=1), default=100, show_default=True, help="Candidates to draw them from."
)
@click.option(
    "--lr", type=parameters.NumberIn(min=0, min_open=True), default=1e-4, show_default=True, help="Learning rate."
)
@click.option("--max-length", type=click.IntRange(min=24), default=LENGTH, show_default=True, help="Tokens of a pair.")
@click.option(
    "--teacher",
    type=parameters.NumberIn(0, 1),
    default=0.5,
    show_default=True,
    help="The encoder's own order as a share of the loss, the judgements being the rest.",
)
@click.option(
    "--held-out", type=click.IntRange(min=1), default=50, show_default=True, help="Queries kept to evaluate on."
)
@click.option(
    "--rerank", type=click.IntRange(min=1), default=50, show_default=True, help="Candidates of each that are reranked."
)
@click.option("--evaluations", type=click.IntRange(min=1), default=4, show_default=True, help="How often.")
@click.option(
    "--checkpoint", type=click.IntRange(min=1), default=50, show_default=True, help="Steps between checkpoints."
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of everything drawn.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out where it stopped.")
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps [default: auto].")
@parameters.threads
@parameters.home
@parameters.typed(TrainOptions)
def train_reranker(options: TrainOptions) -> int:
    r"""Fine-tune a cross-encoder on DATA: BEIR folders with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.

    Some of the queries are held out and reranked while training; the step that does best on them is kept, and so is
    the weight that the reranker should have beside its first stage: 0 where it helps none. An interrupted run goes on
    with --resume and ends as if it had not been interrupted. The folder opens with semsearch.load_reranker and with
    sentence-transformers' CrossEncoder.

    \b
    semsearch train-reranker scifact nfcorpus --out my-reranker
    semsearch train-reranker scifact --model intfloat/e5-small-v2 --epochs 3 --teacher 0 --out e5-reranker
    """
    options.check()
    from semsearch.training.judged import read_judged

    judged = [read_judged(folder, options.split, options.held_out, options.seed) for folder in options.data]
    _train(judged, options)
    return 0


def _train(judged: Sequence[Judged], options: TrainOptions) -> None:
    from semsearch.encoder.checkpoint import read
    from semsearch.encoder.load import DEFAULT_MODEL, load_encoder
    from semsearch.encoder.tokenization import load_tokenizer
    from semsearch.training.card import model_card
    from semsearch.training.mining import mine
    from semsearch.training.train import Trainer, TrainingSet

    out, collections = options.out, options.collections
    recipe = options.recipe(sum(len(one.training) for one in judged))
    encoder = load_encoder(options.model or DEFAULT_MODEL, device=options.device)
    first = read(encoder.folder).stages[0]
    if first.kind != "transformer":
        raise ModelError(
            f"{encoder.name} begins with a module of the kind '{first.kind}'; a reranker takes a transformer."
        )
    (out / "training").mkdir(parents=True, exist_ok=True)
    tasks = []
    with ExitStack() as held:
        for place, one in enumerate(judged):
            asked = None
            if collections:
                home = Home.of(options.home)
                asked = held.enter_context(semsearch.open(collections[place], home=home, device=options.device))
            cache = out / "training" / f"candidates-{place}.npz"
            mined = mine(one, encoder, recipe.depth, mode=options.mode, collection=asked, cache=cache, say=say)
            tasks.append(TrainingSet(one, mined))
    tokenizer = load_tokenizer(first.folder, lower=bool(first.config.get("do_lower_case")))
    trainer = Trainer(first.folder, tokenizer, tasks, recipe, out, encoder.device, say)
    trainer.run()
    miner = f"{options.mode} search in " + (
        " and ".join(f"the collection {name}" for name in collections) or f"the documents by `{encoder.name}`"
    )
    card = model_card(
        out.resolve().name,
        semsearch.__version__,
        encoder.name,
        miner,
        options.split,
        recipe,
        tasks,
        trainer.evaluations,
        trainer.best,
        sum(entry.get("seconds", 0.0) for entry in trainer.log),
    )
    trainer.finish(card)
    best = trainer.best
    if best.weight == 0:
        say(
            "with no weight was it better than its first stage on the held-out queries (nDCG@10 "
            f"{best.first_stage:.3f}), so it counts nothing beside it (weight 0): it "
            "needs more judged queries, or more steps."
        )
    else:
        say(
            f"on the held-out queries the first stage has a nDCG@10 of {best.first_stage:.3f}, and {best.score:.3f} "
            f"where the reranker counts {best.weight:.0%}, which it will."
        )
    say(f"the reranker is in {out}: semsearch.load_reranker({str(out)!r})")
