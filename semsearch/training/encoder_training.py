"""`semsearch.train`: an encoder that knows a collection, and is never put in its place unless it is better."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import semsearch
from semsearch.arguments import check_path
from semsearch.collection import Collection
from semsearch.encoder.load import device_of
from semsearch.errors import UsageError
from semsearch.training.comparison import ModelComparison
from semsearch.training.encoder_run import EncoderRun
from semsearch.training.encoder_trainer import EncoderRecipe
from semsearch.training.publication import WHAT_LEARNT, publish, seconds_to_publish
from semsearch.training.run_folder import RUN_FOLDER, alone, folder_with_room
from semsearch.training.sources import TrainingSources
from semsearch.training.teachers import load_teacher
from semsearch.training.training_material import TrainingMaterial, for_people
from semsearch.types import Encoder, Reranker

TRAINED_WAYS = ("full", "lora", "head", "static")
RECIPES: Mapping[str, Mapping[str, Any]] = {  # of each way: what differs from `EncoderRecipe`
    "full": {"lr": 2e-5},  # this, lora's and static's as the field has them
    "lora": {"lr": 3e-4},
    # Chosen on dev questions of NFCorpus and by cross-validation on Cranfield's: a soft softmax above all.
    "head": {"lr": 1e-3, "scale": 10.0, "negatives": 24, "epochs": 4, "patience": 4, "weight_decay": 0.0},
    "static": {"lr": 3e-3, "weight_decay": 0.0},
}


@dataclass(frozen=True)
class EncoderTraining:
    """What came of a run.

    Attributes:
        folder: Where the model is; None where it was not published.
        comparison: With the model that it began as, on the test questions.
        beside: Of a static model: with its teacher.
        scores: nDCG@10 on the dev questions before training and after each pass.
        best: The pass that was kept; 0: none was better than before.
        share: How far on the way from the model of before to what was learnt the kept one lies.
        verdict: In a sentence.
        seconds: That it took.
    """

    folder: Path | None
    comparison: ModelComparison | None
    beside: ModelComparison | None
    scores: Sequence[float]
    best: int
    share: float
    verdict: str
    seconds: float


def train(
    collection: Collection | str,
    *,
    out: str | os.PathLike[str],
    queries: str | os.PathLike[str] | None = None,
    qrels: str | os.PathLike[str] | None = None,
    pairs: str | os.PathLike[str] | None = None,
    clicks: str | os.PathLike[str] | None = None,
    by_itself: bool = False,
    test: str | os.PathLike[str] | None = None,
    withhold: bool = False,
    base: str | None = None,
    way: str | None = None,
    teacher: str | Reranker | Encoder | None = None,
    rerank: str | Reranker | None = None,
    force: bool = False,
    device: str | None = None,
    say: Callable[[str], None] = lambda line: None,
    home: Any = None,
    recipe: Mapping[str, Any] | None = None,
) -> EncoderTraining:
    """Train the encoder of a collection on questions about it, and publish the result only if it is better.

    The same call goes on after an interruption, and ends as if there had been none.

    Args:
        collection: Opened, or its name.
        out: The folder that the model goes to.
        queries: TrainingQuestions: a BEIR folder, its queries.jsonl, or lines of id, tab and text.
        qrels: Their judgements, as BEIR or TREC have them; None takes `qrels/train.tsv` of a BEIR folder.
        pairs: A file of pairs of a question and a text, which is a document's.
        clicks: A log of clicks, JSON lines of `query`, `shown` and `clicked`.
        by_itself: Take questions out of the documents.
        test: Judgements to measure on; None holds out a quarter of the questions.
        withhold: With `test`: what answers its questions is not learnt from, whatever else it answers.
        base: The model to begin with; None is the collection's.
        way: "full", "lora" (low-rank products beside attention), "head" (a matrix behind the model, in minutes without
            a GPU) or "static" (a table of word vectors distilled from the model). None is "full" on a GPU, else "head".
        teacher: A reranker or a larger encoder whose order of the candidates is learnt too; a reranker also filters
            the negatives.
        rerank: Measure hybrid search reranked by this as well.
        force: Publish a model that is not better.
        device: Where to compute.
        say: Is told how it goes.
        home: Of the collection, where its name is given.
        recipe: As in `EncoderRecipe`: epochs, batch, negatives, lr, patience, dims, teacher (its share), seed …

    Raises:
        UsageError: An option can't be, or the folder holds something else.
        DataError: The questions can't be learnt from; says why, and what would do.
    """
    if isinstance(collection, str):
        with semsearch.open(collection, home=home, device=device) as opened:
            return train(
                opened, out=out, queries=queries, qrels=qrels, pairs=pairs, clicks=clicks, by_itself=by_itself,
                test=test, withhold=withhold, base=base, way=way, teacher=teacher, rerank=rerank, force=force,
                device=device, say=say, recipe=recipe,
            )  # fmt: skip
    if way is None:
        way = "head" if device_of(device).type == "cpu" else "full"
    if way not in TRAINED_WAYS:
        raise UsageError(f"there is no way {way!r}; there are {', '.join(TRAINED_WAYS)}.")
    said = dict(recipe or {})
    unknown = sorted(said.keys() - EncoderRecipe.__dataclass_fields__.keys())
    if unknown:
        raise UsageError(
            f"train has no option {unknown[0]!r}; there are {', '.join(EncoderRecipe.__dataclass_fields__)}."
        )
    made = EncoderRecipe(**{**RECIPES[way], **said})
    given = {"queries": queries, "qrels": qrels, "pairs": pairs, "clicks": clicks, "test": test}
    paths = {name: Path(check_path(path, name)) if path is not None else None for name, path in given.items()}
    sources = TrainingSources(by_itself=by_itself, withhold=withhold, **paths)
    started = time.perf_counter()
    folder = folder_with_room(Path(check_path(out, "out")))
    material = TrainingMaterial(
        collection, sources, base, seed=made.seed, crossing=way == "head", device=device, say=say
    )
    taught = None if teacher is None else load_teacher(teacher, device)
    _tell(material, way, made, folder, say)
    say(f"comparing on the test questions takes {for_people(seconds_to_publish(material, way, rerank))} in the end.")
    (folder / RUN_FOLDER).mkdir(parents=True, exist_ok=True)
    with alone(folder / RUN_FOLDER):
        identity = {
            "collection": str(collection.settings.get("created")),
            "teacher": teacher if isinstance(teacher, str) or teacher is None else type(teacher).__qualname__,
        }
        run = EncoderRun(material, way, made, folder / RUN_FOLDER, taught, identity=identity, device=device, say=say)
        run.run(whatever=force)
        found = publish(run, folder, rerank, force=force)
    return EncoderTraining(
        found.folder, found.comparison, found.beside, run.scores, *run.best, found.verdict,
        time.perf_counter() - started,
    )  # fmt: skip


def _tell(material: TrainingMaterial, way: str, recipe: EncoderRecipe, out: Path, say: Callable[[str], None]) -> None:
    parts, corpus = material.parts, material.corpus
    say(
        f"{len(corpus.documents):,} documents in {len(corpus.texts):,} passages; {len(parts.train.texts):,} questions "
        f"to learn from, {len(parts.dev.texts):,}{' of them' * parts.crossed} to choose by, "
        f"{len(parts.test.texts):,} to measure on, of {material.sources.told}."
    )
    for one in parts.said:
        say(one)
    learns = WHAT_LEARNT[way]
    say(
        f"{learns[:1].lower()}{learns[1:]} {material.base.name} learns from them (--way {way}), in at most "
        f"{recipe.epochs} passes of {recipe.batch} questions a step, each with {recipe.negatives} negatives, at a rate "
        f"of {recipe.lr:g}; it goes to {out} if it is better."
    )
