"""The model card of a reranker that was trained here: what it was made of, how, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semsearch.training.held_out import Evaluation
    from semsearch.training.judged import Judged
    from semsearch.training.mining import MinedCandidates
    from semsearch.training.train import Recipe, TrainingSet

HEADER = """---
library_name: sentence-transformers
pipeline_tag: text-ranking
base_model: {base}
tags:
- cross-encoder
- reranker
- text-classification
---

# {name}

A cross-encoder that scores a query and a passage together, fine-tuned from `{base}` by semsearch {version}.

```python
import semsearch

reranker = semsearch.load_reranker("path/to/{name}")
reranker.rank("how do vaccines work", passages, top_k=3)
```

`sentence_transformers.CrossEncoder("path/to/{name}")` opens it as well. Scores are logits, higher is better: they order
the passages of one query and mean nothing by themselves. It reads {tokens} tokens of a pair; semsearch scores a longer
passage by its best window.

## Training

| data | split | documents | queries trained on | held out | share of steps |
|---|---|---|---|---|---|
{data}

Groups of a relevant passage and {negatives} others, drawn from judged negatives and from the first {depth} candidates
of {miner}. The loss is {loss}.

{steps} steps of {batch} groups, AdamW, learning rate {lr:g} (linear, a tenth of warming up), weight decay {decay:g},
seed {seed}. The steps took {minutes:,.0f} minutes. The step with the best mean nDCG@10 on the held-out queries was
kept: step {best}.

## Evaluation

Held-out training queries, the first {rerank} candidates of {miner} reranked: nDCG@10 of the first stage, of the
reranker alone, and of both with the weight that was best on them without harming any data set. The kept step's weight
is **{weight:g}**: so much the reranker counts in semsearch, the first stage the rest{verdict}.

| step | data | before | reranked | weight | both | MRR@10 before | both |
|---|---|---|---|---|---|---|---|
{figures}
"""

OF_ENCODER = """# {name}

{made}

```python
import semsearch

collection.search("how do vaccines work", mode="hybrid", rerank="path/to/{name}")
```

Held-out queries, the first {rerank} candidates of {miner} reranked: nDCG@10 of the first stage, of the reranker alone,
and of both with the weight that was best on them without harming any data set. It is **{weight:g}**: so much the
reranker counts in semsearch, the first stage the rest.

| data | documents | queries trained on | held out | before | reranked | both |
|---|---|---|---|---|---|---|
{figures}
"""
MADE = {
    "late-interaction": "A late-interaction reranker of `{base}`, made by semsearch {version}: each token of the query "
    "looks for the likest token of the passage, and tokens that few of the documents below hold count most. Nothing of "
    "the encoder was trained.",
    "adapter": "`{base}` with an adapter, made by semsearch {version}: one matrix that its question vectors pass, "
    "learnt from the judged queries below, for questions and documents of their kind.",
}


def card_of_encoder(
    kind: str,
    name: str,
    version: str,
    base: str,
    miner: str,
    rerank: int,
    data: Sequence[tuple[Judged, MinedCandidates]],
    found: Evaluation,
) -> str:
    """The README.md of a reranker that is an encoder and little more: `late-interaction` or `adapter`."""
    learnt = kind == "adapter"
    figures = [
        f"| {one.name} | {len(one.ids):,} | {len(one.training) * learnt:,} | {len(one.held_out):,} | "
        f"{found.before[one.name][0]:.4f} | {found.after[one.name][0]:.4f} | {found.blended[one.name][0]:.4f} |"
        for one, _ in data
    ]
    return OF_ENCODER.format(
        name=name,
        made=MADE[kind].format(base=base, version=version),
        rerank=rerank,
        miner=miner,
        weight=found.weight,
        figures="\n".join(figures),
    )


def model_card(
    name: str,
    version: str,
    base: str,
    miner: str,
    split: str,
    recipe: Recipe,
    tasks: Sequence[TrainingSet],
    evaluations: Sequence[Evaluation],
    best: Evaluation,
    seconds: float,
) -> str:
    """The README.md of a run that is over, whose steps took so long."""
    weights = [len(task.judged.training) ** 0.5 for task in tasks]
    data = [
        f"| {task.judged.name} | {split} | {len(task.judged.ids):,} | {len(task.judged.training):,} | "
        f"{len(task.judged.held_out):,} | {weight / sum(weights):.0%} |"
        for task, weight in zip(tasks, weights, strict=True)
    ]
    figures = [
        f"| {one.step:,} | {data_set} | {before:.4f} | {one.after[data_set][0]:.4f} | {one.weight:g} | "
        f"{one.blended[data_set][0]:.4f} | {rank:.4f} | {one.blended[data_set][1]:.4f} |"
        for one in evaluations
        for data_set, (before, rank) in one.before.items()
    ]
    label = "the cross-entropy of the relevant passage among its group"
    if recipe.teacher:
        label = f"{1 - recipe.teacher:g} × {label} + {recipe.teacher:g} × the divergence from the encoder's own order"
    return HEADER.format(
        name=name,
        base=base,
        version=version,
        tokens=recipe.max_length,
        data="\n".join(data),
        negatives=recipe.negatives,
        depth=recipe.depth,
        miner=miner,
        loss=label,
        steps=f"{recipe.steps:,}",
        batch=recipe.batch,
        lr=recipe.lr,
        decay=recipe.weight_decay,
        seed=recipe.seed,
        best=f"{best.step:,}",
        minutes=seconds / 60,
        weight=best.weight,
        verdict="" if best.weight else ", as nothing more did better than the first stage alone",
        rerank=recipe.rerank,
        figures="\n".join(figures),
    )
