"""The models that the field recommends, by task: what `semsearch models` prints, read from catalog.toml.

Two models compare only by figures of the same measure. Any other model opens by its name just as well.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from semsearch.encoder.prompts import family_of


class ModelTask(StrEnum):
    """What a model was trained to find."""

    SEARCH = "search"  # passages that answer a question: the two sides are of different kinds
    PARAPHRASE = "paraphrase"
    SIMILARITY = "similarity"  # how near two sentences are in meaning (STS)
    DUPLICATES = "duplicate questions"
    BITEXT = "bitext"  # translations
    PAPERS = "papers"  # scientific papers by title and abstract
    IMAGES = "image-text"
    RERANK = "rerank"  # scores pairs of texts, gives no vectors
    SPARSE = "sparse search"  # a weight for each word instead of a vector


MULTILINGUAL = "intfloat/multilingual-e5-small"  # for texts that aren't English, where nobody says which
SYMMETRIC = frozenset(
    {ModelTask.PARAPHRASE, ModelTask.SIMILARITY, ModelTask.DUPLICATES, ModelTask.BITEXT, ModelTask.PAPERS}
)
OPENED = SYMMETRIC | {
    ModelTask.SEARCH,
    ModelTask.RERANK,
    ModelTask.SPARSE,
    ModelTask.IMAGES,
}  # tasks whose models this version opens


class Figure(NamedTuple):
    """A published result."""

    measure: str
    value: float
    source: str


@dataclass(frozen=True)
class ModelCard:
    """A model as the catalogue knows it; None is "not known"."""

    name: str
    tasks: tuple[ModelTask, ...]
    languages: str
    dim: int | None = None  # None: gives no vectors
    window: int | None = None  # tokens it reads, special ones included; None also for models without a limit
    parameters: float | None = None  # millions; four bytes each on disk
    quality: tuple[Figure, ...] = ()
    note: str = ""
    own_code: bool = False  # its checkpoint asks for code of its own, which semsearch does not run

    @property
    def supported(self) -> bool:
        """Whether this version opens it: as an encoder, a sparse encoder or a reranker."""
        return not self.own_code and any(task in OPENED for task in self.tasks)

    @property
    def needs_prompts(self) -> bool:
        """Whether questions or documents get a fixed beginning; semsearch knows it and puts it there."""
        family = family_of(self.name)
        return family is not None and bool(family.query or family.document)

    @property
    def symmetric(self) -> bool:
        """Whether it was trained to compare texts of one kind only, and not to answer questions with passages."""
        return all(task in SYMMETRIC for task in self.tasks)


def models() -> list[ModelCard]:
    """The catalogue, in the order in which one would try them within a task."""
    return list(_catalog())


def card_of(name: str) -> ModelCard | None:
    """The catalogue's card of a model, under its full or its bare name."""
    known = {card.name: card for card in _catalog()}
    return known.get(name) or known.get(f"sentence-transformers/{name}")


def advice(name: str) -> str | None:
    """What speaks against a model for answering questions with passages; None where nothing is known to."""
    card = card_of(name)
    if card is None or not card.symmetric:
        return None
    return (
        f"{card.name} was trained to compare texts of one kind ({', '.join(card.tasks)}). To find passages that answer "
        "questions, a model for search, such as multi-qa-MiniLM-L6-cos-v1 or all-MiniLM-L6-v2, usually finds more."
    )


def doubt_of_languages(name: str, languages: Iterable[str]) -> str | None:
    """What speaks against a model for texts in these languages (codes); None where nothing is known to."""
    card = card_of(name)
    if card is None or card.languages != "English" or not (others := [code for code in languages if code != "en"]):
        return None
    better = next((known.name for known in _catalog() if known.name == MULTILINGUAL), MULTILINGUAL)
    return (
        f"{card.name} was trained on English, and these texts are in other languages too ({', '.join(others)}): it "
        f"finds little of what they mean. Take a model of many languages, {better} say: with --encoder where a "
        "collection is made, by 'semsearch reencode' where it is there ('semsearch models' lists more)."
    )


@cache
def _catalog() -> tuple[ModelCard, ...]:
    """The cards of catalog.toml."""
    written = tomllib.loads(files("semsearch.encoder").joinpath("catalog.toml").read_text("utf-8"))
    return tuple(_card(**entry) for entry in written["model"])


def _card(*, tasks: list[str], quality: list[list[Any]] | None = None, **facts: Any) -> ModelCard:
    figures = tuple(Figure(*figure) for figure in quality or ())
    return ModelCard(tasks=tuple(map(ModelTask, tasks)), quality=figures, **facts)
