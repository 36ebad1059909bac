"""`semsearch train`: an encoder, or a reranker, that knows a collection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

import semsearch
from semsearch.cli import parameters
from semsearch.cli.render import say, show_table
from semsearch.cli.train_reranker import KINDS_OF_RERANKER
from semsearch.errors import UsageError
from semsearch.home import Home

NOT_BETTER = 1  # the exit code where nothing was published
WAYS_OF_TRAINING = ("full", "lora", "head", "static")
OF_ENCODERS = (
    "way",
    "static",
    "epochs",
    "batch",
    "negatives",
    "lr",
    "patience",
    "dims",
    "teacher",
    "teacher_loss",
    "base",
    "rerank",
)


@dataclass(frozen=True, slots=True)
class TrainEncoderOptions:
    """What `semsearch train` takes."""

    name: str
    out: Path
    queries: Path | None
    qrels: Path | None
    pairs: Path | None
    clicks: Path | None
    by_itself: bool
    test: Path | None
    reranker: bool
    kind: str
    way: str | None
    static: bool
    base: str | None
    teacher: str | None
    teacher_share: float | None
    teacher_loss: str | None
    rerank: str | None
    epochs: int | None
    batch: int | None
    negatives: int | None
    lr: float | None
    patience: int | None
    dims: str | None
    seed: int
    force: bool
    device: str | None
    home: str | None

    def recipe(self) -> dict[str, Any]:
        """What of the recipe was said."""
        said: dict[str, Any] = {
            "epochs": self.epochs,
            "batch": self.batch,
            "negatives": self.negatives,
            "lr": self.lr,
            "patience": self.patience,
            "dims": None if self.dims is None else _dims(self.dims),
            "seed": self.seed,
            "teacher": self.teacher_share,
            "teacher_loss": self.teacher_loss,
        }
        return {name: value for name, value in said.items() if value is not None}


@click.command("train", short_help="Train an encoder that knows a collection, or a reranker.")
@click.argument("name", shell_complete=parameters.collections)
@click.option("--out", required=True, type=parameters.path, help="The folder that the model goes to.")
@click.option(
    "--queries",
    type=parameters.path,
    metavar="FILE",
    help="A BEIR folder, its queries.jsonl, or lines of id, tab, text.",
)
@click.option(
    "--qrels", type=parameters.path, metavar="FILE", help="Their judgements [default: qrels/train.tsv of the folder]."
)
@click.option(
    "--pairs",
    type=parameters.path,
    metavar="FILE",
    help="Pairs of a question and a document's text: CSV, TSV, JSON lines.",
)
@click.option(
    "--clicks", type=parameters.path, metavar="LOG", help="JSON lines of query, shown and clicked (ids of documents)."
)
@click.option("--self", "by_itself", is_flag=True, help="Titles, headings and sentences ask for their documents.")
@click.option(
    "--test",
    type=parameters.path,
    metavar="FILE",
    help="Judgements to measure on [default: a quarter of the questions].",
)
@click.option("--reranker", is_flag=True, help="Make a reranker instead.")
@click.option("--kind", type=click.Choice(KINDS_OF_RERANKER), default="adapter", show_default=True, help="Of reranker.")
@click.option(
    "--way",
    type=click.Choice(WAYS_OF_TRAINING),
    help="What learns: all weights, low-rank products, a matrix behind the model, or a static model distilled from it "
    "[default: full on a GPU, else head].",
)
@click.option("--static", is_flag=True, help="The same as --way static.")
@click.option(
    "--base", metavar="MODEL", type=parameters.model, help="The encoder to begin with [default: the collection's]."
)
@click.option(
    "--teacher", metavar="MODEL", type=parameters.model, help="A reranker or larger encoder whose order is learnt too."
)
@click.option("--teacher-share", type=parameters.NumberIn(0, 1), help="Of the loss [default: 0.5].")
@click.option("--teacher-loss", type=click.Choice(("kl", "margin")), help="[default: kl]")
@click.option("--rerank", metavar="MODEL", type=parameters.model, help="Measure reranked by this as well.")
@click.option("--epochs", type=click.IntRange(min=1), help="Most passes over the questions [default: 5, of a head 4].")
@click.option("--batch", type=click.IntRange(min=2), help="Questions of a step [default: 64].")
@click.option("--negatives", type=click.IntRange(min=0), help="Mined ones of a question [default: 2, of a head 24].")
@click.option("--lr", type=parameters.NumberIn(min=0, min_open=True), help="The highest rate [default: the way's].")
@click.option("--patience", type=click.IntRange(min=1), help="Passes that may be no better [default: 2, of a head 4].")
@click.option("--dims", metavar="N,…", help="Leading components that must do by themselves (Matryoshka).")
@click.option("--seed", type=click.IntRange(0, 2**20 - 1), default=0, show_default=True, help="Of everything drawn.")
@click.option("--force", is_flag=True, help="Publish what is not better, and say so.")
@click.option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:N or mps [default: auto].")
@parameters.threads
@parameters.home
@parameters.typed(TrainEncoderOptions)
def train(options: TrainEncoderOptions) -> int:
    r"""Train the encoder of collection NAME on questions about it; publish it only if it is better.

    Questions come with judgements (--queries, --qrels), pairs, a log of clicks, or out of the documents themselves
    (--self). They are split so that no question, none in nearly its words, and no answer is on both sides. Negatives
    are what the collection itself finds. The dev questions decide when to stop; the test questions are asked once,
    before and after, and a model that is not better beyond chance is not published (exit code 1).

    The same command again goes on after an interruption. The folder opens with sentence-transformers, and
    `semsearch reencode NAME --encoder FOLDER` brings it in, with `--undo` as the way back.

    \b
    semsearch train notes --queries questions.tsv --qrels judged.qrels --out notes-encoder
    semsearch train scifact --queries data/scifact --way head --out scifact-encoder
    semsearch train wiki --self --static --out wiki-static
    semsearch train shop --clicks clicks.jsonl --reranker --out shop-reranker
    """
    from semsearch.training.sources import TrainingSources

    sources = TrainingSources(
        options.queries, options.qrels, options.pairs, options.clicks, options.by_itself, options.test
    )
    _check(options)
    with semsearch.open(options.name, home=Home.of(options.home), device=options.device) as collection:
        if options.reranker:
            from semsearch.training.reranker_training import train_reranker
            from semsearch.training.train import Recipe

            recipe = Recipe(seed=options.seed)
            ranked = train_reranker(
                collection, sources, options.out, kind=options.kind, force=options.force, recipe=recipe, say=say
            )
            _show(ranked.comparison)
            return _tell(ranked.folder, ranked.verdict, f"semsearch query {options.name} --rerank {options.out}")
        found = semsearch.train(
            collection,
            out=options.out,
            queries=options.queries,
            qrels=options.qrels,
            pairs=options.pairs,
            clicks=options.clicks,
            by_itself=options.by_itself,
            test=options.test,
            base=options.base,
            way="static" if options.static else options.way,
            teacher=options.teacher,
            rerank=options.rerank,
            force=options.force,
            device=options.device,
            say=say,
            recipe=options.recipe(),
        )
    if found.beside is not None:
        say("beside its teacher, which it is made to be faster than:")
        _show(found.beside)
        say("beside what was distilled, before it was trained:")
    _show(found.comparison)
    return _tell(found.folder, found.verdict, f"semsearch reencode {options.name} --encoder {options.out}")


def _check(options: TrainEncoderOptions) -> None:
    """Refuse options of the other kind of model."""
    given = parameters.given()
    if options.reranker and (wrong := [name for name in given if name in OF_ENCODERS]):
        raise UsageError(f"--{wrong[0].replace('_', '-')} is for encoders: leave it or --reranker out.")
    if not options.reranker and "kind" in given:
        raise UsageError("--kind is for rerankers: give --reranker too.")
    if options.static and "way" in given and options.way != "static":
        raise UsageError("--static is a --way of its own: give one of them.")
    if options.teacher is None and (options.teacher_share is not None or options.teacher_loss is not None):
        raise UsageError("--teacher-share and --teacher-loss say how a teacher is followed: give --teacher too.")


def _dims(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in text.split(","))
    except ValueError:
        raise UsageError(f"--dims takes whole numbers with commas between, not {text!r:.60}.") from None


def _show(comparison: Any) -> None:
    from semsearch.training.comparison import TABLE_HEAD

    if comparison is not None:
        show_table(TABLE_HEAD, comparison.table())


def _tell(folder: Path | None, verdict: str, then: str) -> int:
    say(f"{verdict}.")
    if folder is None:
        return NOT_BETTER
    say(f"the model is in {folder}; to use it: {then}")
    return 0
