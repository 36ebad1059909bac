"""Whether a trained encoder takes the place of the one of before, and the folder that it then is."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from semsearch.encoder.load import load_encoder
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.training.comparison import (
    ModelComparison,
    ModelRuns,
    compared,
    remembering,
    runs_with,
    seconds_of_runs,
)
from semsearch.training.encoder_card import TrainingFacts, encoder_card
from semsearch.training.encoder_run import EncoderRun
from semsearch.training.run_folder import put_out
from semsearch.training.training_material import TrainingMaterial
from semsearch.training.waypoint import BASE
from semsearch.types import Reranker

WHAT_LEARNT = {
    "full": "All weights of",
    "lora": "Low-rank products in the attention of",
    "head": "A matrix behind",
    "static": "A static model distilled from",
}


@dataclass(frozen=True)
class Publication:
    """What was decided of a run.

    Attributes:
        folder: Where the model is; None where it was not published.
        comparison: With the model that it began as, on the test questions; None where dev decided.
        beside: Of a static model: with its teacher.
        verdict: In a sentence.
    """

    folder: Path | None
    comparison: ModelComparison | None
    beside: ModelComparison | None
    verdict: str


def publish(run: EncoderRun, out: Path, rerank: str | Reranker | None, *, force: bool) -> Publication:
    """Compare the best student of a run that is over with what it began as, and publish it where it is better.

    Args:
        run: Over.
        out: The folder that the model goes to.
        rerank: Measure hybrid search reranked by this as well.
        force: Publish what is not better, and say so.
    """
    best, static, parts = run.best, run.way == "static", run.material.parts
    none_better = ""
    if best == BASE and not static:
        verdict = (
            f"no pass was better on the {len(parts.dev.texts):,} dev questions than the model of before "
            f"(nDCG@10 {run.scores[0]:.4f}, at best {max(run.scores[1:], default=math.nan):.4f}; {run.ended})"
        )
        if not force or run.best_trained is None:
            return Publication(None, None, None, f"{verdict}: nothing is published")
        best, none_better = run.best_trained, verdict
    folder = run.work / ("followed" if best == BASE else "best")
    after = load_encoder(str(folder), device=run.device)
    known = run.passages_of(best)
    if known is not None:
        after = remembering(after, run.corpus.texts, known)
    runs, beside = _runs(run, after, rerank), None
    if static:
        base = remembering(run.material.base, run.material.corpus.texts, run.material.vectors)
        beside = compared(_runs(run, base, rerank), runs, parts.test)
        comparison = compared(_runs(run, load_encoder(str(run.work / "distilled")), rerank), runs, parts.test)
        good = not comparison.worse
    else:
        before = remembering(run.material.base, run.corpus.texts, run.material.vectors)
        comparison = compared(_runs(run, before, rerank), runs, parts.test)
        good = comparison.better and not none_better
    verdict = comparison.verdict
    if not good and not force:
        return Publication(None, comparison, beside, f"{verdict}: not published")
    if not good:
        verdict = "published by force, and it is " + "; ".join([verdict, *filter(None, [none_better])])
    card = encoder_card(_facts(run, after, out), run.recipe, verdict, comparison, beside)
    log = "".join(json.dumps(entry) + "\n" for entry in run.log)
    put_out(folder, out, run.work, {"README.md": card, "training.jsonl": log})
    return Publication(out, comparison, beside, verdict)


def seconds_to_publish(material: TrainingMaterial, way: str, rerank: str | Reranker | None) -> float:
    """How long the comparison on the test questions takes, measured on some of them."""
    base = remembering(material.base, material.corpus.texts, material.vectors)
    models = 3 if way == "static" else 2
    return models * seconds_of_runs(base, material.documents, material.collection, material.parts.test, rerank)


def _runs(run: EncoderRun, encoder: TextEncoder, rerank: str | Reranker | None) -> ModelRuns:
    material = run.material
    return runs_with(encoder, material.documents, material.collection, material.parts.test, rerank)


def _facts(run: EncoderRun, after: TextEncoder, out: Path) -> TrainingFacts:
    parts = run.material.parts
    return TrainingFacts(
        name=out.resolve().name,
        base=run.material.base.name,
        what=WHAT_LEARNT[run.way],
        query=after.prompts.query,
        document=after.prompts.document,
        window=after.description()["window"],
        train=len(parts.train.texts),
        pairs=sum(len(parts.train.answers(one)) for one in parts.train.texts),
        dev=len(parts.dev.texts),
        crossed=parts.crossed,
        sources=run.material.sources.told,
        way=run.way,
        scores=run.scores,
        best=run.best,
        said=[one.rstrip(".") + "." for one in parts.said],
    )
