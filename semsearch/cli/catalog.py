"""`semsearch models`: the catalogue of models by task."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from semsearch import wire
from semsearch.cli import parameters
from semsearch.cli.render import on_terminal, out, show_table
from semsearch.errors import UsageError

if TYPE_CHECKING:
    from semsearch.encoder.catalog import ModelCard

MODEL_COLUMNS = ("model", "tasks", "dim", "window", "languages", "MB", "prompts", "supported", "published quality")


@click.command(short_help="List models by task, with what is known of them.")
@click.argument("task", required=False)
@parameters.as_json
def models(task: str | None, as_json: bool) -> int:
    r"""List the models that the field recommends, or those for TASK.

    Tasks: search, paraphrase, similarity, 'duplicate questions', bitext, papers, image-text, rerank, 'sparse search'.

    Any other model opens by its name just as well. Size is that of float32 weights; quality stands only where a
    published figure is known, and compares only with figures of the same measure.

    \b
    semsearch models search
    """
    from semsearch.encoder.catalog import ModelTask
    from semsearch.encoder.catalog import models as catalogue

    if task is not None and task not in list(ModelTask):
        raise UsageError(f"'{task}' is no task of the catalogue; they are: {', '.join(ModelTask)}.")
    cards = [card for card in catalogue() if task is None or task in card.tasks]
    if as_json:
        for card in cards:
            out(wire.dumps(_json(card)))
    else:
        show_table(MODEL_COLUMNS, [_row(card) for card in cards])
    return 0


def _row(card: ModelCard) -> list[Any]:
    return [
        card.name.removeprefix("sentence-transformers/") if on_terminal() else card.name,
        ", ".join(card.tasks),
        card.dim or "",
        card.window or "",
        card.languages,
        "" if card.parameters is None else round(card.parameters * 4),
        "yes" if card.needs_prompts else "no",
        "yes" if card.supported else "no",
        "; ".join(f"{figure.value:g} {figure.measure}" for figure in card.quality),
    ]


def _json(card: ModelCard) -> dict[str, Any]:
    facts = dataclasses.asdict(card) | {"needs_prompts": card.needs_prompts, "supported": card.supported}
    return facts | {"quality": [figure._asdict() for figure in card.quality]}
