"""The model card of a reranker that was trained here: what it was made of, how, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from semsearch.training.train import Evaluation, Recipe, TrainingSet

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
seed {seed}. The step with the best mean nDCG@10 on the held-out queries was kept: step {best}.

## Evaluation

Held-out training queries, the first {rerank} candidates of the encoder reranked: nDCG@10, MRR@10.

| step | data | nDCG@10 before | reranked | MRR@10 before | reranked |
|---|---|---|---|---|---|
{figures}
"""


def model_card(
    name: str,
    version: str,
    base: str,
    miner: str,
    split: str,
    recipe: Recipe,
    tasks: Sequence[TrainingSet],
    evaluations: Sequence[Evaluation],
) -> str:
    """The README.md of a run that is over."""
    weights = [len(task.judged.training) ** 0.5 for task in tasks]
    data = [
        f"| {task.judged.name} | {split} | {len(task.judged.ids):,} | {len(task.judged.training):,} | "
        f"{len(task.judged.held_out):,} | {weight / sum(weights):.0%} |"
        for task, weight in zip(tasks, weights, strict=True)
    ]
    figures = [
        f"| {evaluation.step:,} | {data_set} | {evaluation.before[data_set][0]:.4f} | {gain:.4f} | "
        f"{evaluation.before[data_set][1]:.4f} | {rank:.4f} |"
        for evaluation in evaluations
        for data_set, (gain, rank) in evaluation.after.items()
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
        best=f"{max((e for e in evaluations if e.step), key=lambda e: e.score).step:,}",
        rerank=recipe.rerank,
        figures="\n".join(figures),
    )
