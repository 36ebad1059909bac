"""The model card of an encoder that was trained here: what of, how, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import semsearch
from semsearch.training.comparison import TABLE_HEAD, ModelComparison
from semsearch.training.encoder_trainer import EncoderRecipe
from semsearch.training.waypoint import Waypoint

ENCODER_CARD = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
base_model: {base}
tags:
- sentence-transformers
- feature-extraction
---

# {name}

{what} `{base}`, trained by semsearch {version} on a collection's own documents and questions, for questions of
that kind.

```python
import semsearch

encoder = semsearch.load_encoder("path/to/{name}")
```

`sentence_transformers.SentenceTransformer("path/to/{name}")` opens it as well, with the same prompts and window:

- questions begin with {query!r}, documents with {document!r};
- texts are read as far as {window}.

## Training

- Learnt from {train:,} questions with {pairs:,} answers ({sources}); the best pass chosen by {dev:,} {others}.
- {recipe}
- Dev nDCG@10 before the first pass and after each: {scores}. Kept: pass {best}{share}.
{said}
## Evaluation

{questions:,} test questions that nothing was learnt from or chosen by, asked once. {verdict}.

{table}

`p` is of the paired randomisation test, intervals are of the bootstrap over questions.
{losses}"""


@dataclass(frozen=True)
class TrainingFacts:
    """What a card tells of a run."""

    name: str
    base: str
    what: str
    query: str
    document: str
    window: int | None
    train: int
    pairs: int
    dev: int
    crossed: bool  # the dev questions are all of them, each asked of a model that learnt from others
    sources: str
    way: str
    scores: Sequence[float]
    best: Waypoint
    said: Sequence[str]


def encoder_card(
    facts: TrainingFacts,
    recipe: EncoderRecipe,
    verdict: str,
    comparison: ModelComparison,
    beside: ModelComparison | None = None,
) -> str:
    """The README.md.

    Args:
        facts: Of the run.
        recipe: Of the run.
        verdict: On the test questions, in a sentence.
        comparison: With what it began as.
        beside: With the teacher, of a static model.
    """
    loss = f"in-batch negatives, {recipe.negatives} mined ones each, batches of {recipe.batch}"
    told = f"rate {recipe.lr:g}, scale {recipe.scale:g}, at most {recipe.epochs} passes, seed {recipe.seed}"
    nested = f"; also for the leading {', '.join(map(str, recipe.dims))} components" if recipe.dims else ""
    lost = ""
    if beside is not None:
        lost = f"\nBeside its teacher, which it is made to be faster than:\n\n{markdown(beside)}\n"
    return ENCODER_CARD.format(
        name=facts.name,
        base=facts.base,
        what=facts.what,
        version=semsearch.__version__,
        query=facts.query,
        document=facts.document,
        window="they go" if facts.window is None else f"{facts.window:,} tokens",
        train=facts.train,
        pairs=facts.pairs,
        dev=facts.dev,
        sources=facts.sources,
        recipe=f"{facts.way}: {loss}{nested}, {told}",
        scores=", ".join(f"{score:.4f}" for score in facts.scores),
        others="of them, each asked of a model that learnt from others" if facts.crossed else "others",
        best=facts.best[0],
        share="" if facts.best[1] == 1 else f", {facts.best[1]:.0%} of the way from the weights of before",
        said="".join(f"- {one}\n" for one in facts.said),
        questions=comparison.differences[0].questions,
        verdict=verdict[:1].upper() + verdict[1:],
        table=markdown(comparison),
        losses=lost,
    )


def markdown(comparison: ModelComparison) -> str:
    """The table."""
    lines = [f"| {' | '.join(TABLE_HEAD)} |", "|" + "---|" * len(TABLE_HEAD)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in comparison.table())])
