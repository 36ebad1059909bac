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
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.search.request import MODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from semsearch.encoder.text_encoder import TextEncoder
    from semsearch.training.held_out import Evaluation
    from semsearch.training.judged import Judged
    from semsearch.training.mining import MinedCandidates
    from semsearch.training.train import Recipe

LENGTH = 192
KINDS_OF_RERANKER = ("cross-encoder", "late-interaction", "adapter")  # without importing what makes them
TRAINED = (
    "steps",
    "epochs",
    "batch",
    "negatives",
    "lr",
    "max_length",
    "teacher",
    "evaluations",
    "checkpoint",
    "resume",
)


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What `semsearch train-reranker` takes."""

    data: tuple[Path, ...]
    out: Path
    kind: str
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
        from semsearch.training.run_folder import finish_deleting

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
        finish_deleting(out)
        if out.is_dir() and any(out.iterdir()) and not (self.resume and (out / "training").is_dir()):
            advice = "--resume goes on with a run" if (out / "training").is_dir() else "give another folder"
            raise UsageError(f"{out} is there already and not empty: {advice}.")

        if self.kind != "cross-encoder":
            typed = parameters.given()
            if given := [name for name in TRAINED if name in typed]:
                raise UsageError(
                    f"--kind {self.kind} is made without --{given[0].replace('_', '-')}, which is for cross-encoders: "
                    "leave it out."
                )

    def miner(self, encoder: str) -> str:
        """What found the candidates, in words."""
        where = " and ".join(f"the collection {name}" for name in self.collections)
        return f"{self.mode} search in {where or f'the documents by `{encoder}`'}"

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
@click.argument("data", nargs=-1, required=True, type=parameters.path)
@click.option(
    "--out", required=True, type=parameters.NamedPath(file_okay=False, path_type=Path), help="Where the model goes."
)
@click.option(
    "--model", metavar="NAME", type=parameters.model, help="The encoder it begins as [default: all-MiniLM-L6-v2]."
)
@click.option(
    "--kind",
    type=click.Choice(KINDS_OF_RERANKER),
    default=KINDS_OF_RERANKER[0],
    show_default=True,
    help="What is made: an adapter takes a minute, late interaction some, a cross-encoder hours.",
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
    r"""Make a reranker of DATA: BEIR folders with corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv.

    A cross-encoder is fine-tuned on the judged queries: it takes long without a GPU, and many queries to be of use. An
    adapter is one matrix for the encoder's question vectors, learnt in a minute once documents are encoded, and good
    for questions of that kind alone. Late interaction compares the encoder's embeddings of single tokens, rare ones
    counting most, and learns nothing.

    Some of the queries are held out and reranked while training; the step that does best on them is kept, and so is
    the weight that the reranker should have beside its first stage: 0 where it helps none. An interrupted run goes on
    with --resume and ends as if it had not been interrupted. The folder opens with semsearch.load_reranker and with
    sentence-transformers' CrossEncoder.

    \b
    semsearch train-reranker scifact nfcorpus --out my-reranker
    semsearch train-reranker scifact --kind adapter --collection scifact --out my-reranker
    semsearch train-reranker scifact --model intfloat/e5-small-v2 --epochs 3 --teacher 0 --out e5-reranker
    """
    options.check()
    from semsearch.encoder import DEFAULT_MODEL
    from semsearch.encoder.load import load_encoder
    from semsearch.training.judged import read_judged
    from semsearch.training.reranker_training import first_stage, make_reranker

    judged = [read_judged(folder, options.split, options.held_out, options.seed) for folder in options.data]
    recipe = options.recipe(sum(len(one.training) for one in judged))
    encoder = load_encoder(options.model or DEFAULT_MODEL, device=options.device)
    first_stage(encoder)
    cache = None
    if options.kind == "cross-encoder":
        cache = options.out / "training"
        cache.mkdir(parents=True, exist_ok=True)
    mined = _mined(judged, encoder, options, cache)
    found = make_reranker(
        options.kind,
        judged,
        mined,
        encoder,
        recipe,
        options.out,
        split_name=options.split,
        miner=options.miner(encoder.name),
        say=say,
    )
    _tell(found, options.out)
    return 0


def _mined(
    judged: Sequence[Judged], encoder: TextEncoder, options: TrainOptions, cache: Path | None
) -> list[MinedCandidates]:
    from semsearch.training.mining import mine

    mined = []
    with ExitStack() as held:
        for place, one in enumerate(judged):
            asked = None
            if options.collections:
                home = Home.of(options.home)
                asked = held.enter_context(semsearch.open(options.collections[place], home=home, device=options.device))
            kept = None if cache is None else cache / f"candidates-{place}.npz"
            mined.append(mine(one, encoder, options.depth, mode=options.mode, collection=asked, cache=kept, say=say))
    return mined


def _tell(found: Evaluation, out: Path) -> None:
    """What the reranker is worth, and where it is."""
    if found.weight == 0:
        say(
            "with no weight was it better than its first stage on the held-out queries (nDCG@10 "
            f"{found.first_stage:.3f}), so it counts nothing beside it (weight 0): try more judged queries, or another "
            "model."
        )
    else:
        say(
            f"on the held-out queries the first stage has a nDCG@10 of {found.first_stage:.3f}, and {found.score:.3f} "
            f"where the reranker counts {found.weight:.0%}, which it will."
        )
    say(f"the reranker is in {out}: semsearch.load_reranker({str(out)!r})")
