"""Judged questions to train on: a BEIR folder's corpus, queries and judgements, some queries held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from semsearch.errors import DataError
from semsearch.evaluation.judgements import read_qrels, read_queries
from semsearch.ingest.source import Source


@dataclass(frozen=True)
class Judged:
    """One data set: documents by row, and queries with the grades of their judged documents."""

    name: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]  # title and text, as BEIR scores them
    queries: tuple[str, ...]  # those with a relevant document
    grades: tuple[Mapping[int, int], ...]  # of each query: row to grade
    training: tuple[int, ...]  # queries that are trained on
    held_out: tuple[int, ...]  # queries that are not, for evaluation while training
    withheld: Mapping[int, frozenset[int]] = field(default_factory=dict)  # of a query: answers that are not learnt

    def relevant(self, query: int) -> list[int]:
        """Rows of the documents that answer a query."""
        return [row for row, grade in self.grades[query].items() if grade > 0]


def read_judged(folder: Path, split: str, held_out: int, seed: int) -> Judged:
    """A BEIR folder's queries that are judged in `qrels/<split>.tsv`.

    Args:
        folder: Holds corpus.jsonl, queries.jsonl and qrels.
        split: Whose judgements; nothing of another split is read.
        held_out: Queries that are kept for evaluation, a fifth of all at most.
        seed: Chooses them.

    Raises:
        DataError: The folder is not of that layout, or no query has a relevant document in the corpus.
    """
    judgements = folder / "qrels" / f"{split}.tsv"
    if not judgements.is_file():
        raise DataError(f"{folder} has no judgements to train on: there is no {judgements}.")
    documents = list(Source.of(folder, "beir").read())
    rows = {document.id: row for row, document in enumerate(documents)}
    texts = read_queries(folder)
    queries: list[str] = []
    grades: list[Mapping[int, int]] = []
    for query, judged in read_qrels(judgements).items():
        known = {rows[document]: grade for document, grade in judged.items() if document in rows}
        if query in texts and any(grade > 0 for grade in known.values()):
            queries.append(texts[query])
            grades.append(known)
    if len(queries) < 2:
        raise DataError(
            f"{folder} has {len(queries)} queries with a relevant document under '{split}'; training needs two or more."
        )
    order = np.random.default_rng(seed).permutation(len(queries)).tolist()
    kept = max(1, min(held_out, len(queries) // 5))
    return Judged(
        name=folder.resolve().name,
        ids=tuple(document.id for document in documents),
        texts=tuple(f"{document.title} {document.text}".strip() for document in documents),
        queries=tuple(queries),
        grades=tuple(grades),
        training=tuple(sorted(order[kept:])),
        held_out=tuple(sorted(order[:kept])),
    )
