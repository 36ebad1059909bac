"""Questions that nobody asked, out of the documents: a title for its body, a heading, a sentence for its passage.

The last is the inverse cloze task (Lee, Chang and Toutanova, 2019).
What became a question is taken out of its document, which would be found by it word for word otherwise: a collection of
the documents without it stands for the collection in training and measuring. They are closer to their documents than
people's questions are, and there is one right answer to each: where there are judged questions, these decide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from semsearch.applications.wording import folded
from semsearch.chunking import sentences
from semsearch.errors import DataError
from semsearch.training.training_questions import TrainingQuestions
from semsearch.types import Document

LEAST_WORDS, MOST_WORDS = 3, 64  # of a question; a script without blanks counts by characters
LEAST_SENTENCES = 4  # that a document has at least which lends one
HEADING = re.compile(r"^#{1,6}[ \t]+(\S[^\n]*)\n", re.MULTILINE)
ROUND_TRIP = 20  # documents, among which a question that is trained on must find its own


def pseudo_questions(documents: Sequence[Document], seed: int) -> tuple[TrainingQuestions, list[Document]]:
    """Questions, and the documents without them.

    Raises:
        DataError: The documents have neither titles nor headings nor several sentences.
    """
    generator = np.random.default_rng(seed)
    texts: dict[str, str] = {}
    grades: dict[str, dict[str, int]] = {}
    altered: list[Document] = []
    same: dict[str, list[str]] = {}  # documents of one title answer it alike
    for document in documents:
        rest = document
        for kind, lend in (("title", _title), ("heading", _heading), ("sentence", _sentence)):
            question, without = lend(rest, generator)
            if question and without.text.strip():
                texts[f"{kind} of {document.id}"] = question
                grades[f"{kind} of {document.id}"] = {document.id: 1}
                same.setdefault(folded("", question), []).append(f"{kind} of {document.id}")
                rest = without
        altered.append(rest)
    for asked in same.values():
        answers = {document: 1 for one in asked for document in grades[one]}
        grades[asked[0]] = answers
        for one in asked[1:]:
            del texts[one], grades[one]
    if not texts:
        raise DataError(
            f"none of the {len(documents):,} documents has a title or heading of {LEAST_WORDS} words, or "
            f"{LEAST_SENTENCES} sentences: there is nothing to take questions from. Judge some questions instead "
            "(--queries, --qrels)."
        )
    kinds = {kind: sum(one.startswith(kind) for one in texts) for kind in ("title", "heading", "sentence")}
    told = ", ".join(f"{count:,} {kind}s" for kind, count in kinds.items() if count)
    return TrainingQuestions(texts, grades, {}, [f"{told} ask for the documents that they were taken out of."]), altered


def _asks(text: str) -> bool:
    words = len(text.split())
    return LEAST_WORDS <= words <= MOST_WORDS or (words < LEAST_WORDS and 8 <= len(text) <= 200 and not text.isascii())


def _title(document: Document, _: np.random.Generator) -> tuple[str, Document]:
    title = document.title.strip()
    if not _asks(title):
        return "", document
    return title, replace(document, title="", text=document.text.removeprefix(document.title).lstrip())


def _heading(document: Document, generator: np.random.Generator) -> tuple[str, Document]:
    found = [one for one in HEADING.finditer(document.text) if _asks(one[1].strip())]
    if not found:
        return "", document
    one = found[int(generator.integers(len(found)))]
    return one[1].strip(), replace(document, text=document.text[: one.start()] + document.text[one.end() :])


def _sentence(document: Document, generator: np.random.Generator) -> tuple[str, Document]:
    spans = list(sentences(document.text))
    if len(spans) < LEAST_SENTENCES:
        return "", document
    span = spans[int(generator.integers(len(spans)))]
    question = document.text[span.start : span.end].strip()
    if not _asks(question):
        return "", document
    return question, replace(document, text=document.text[: span.start] + document.text[span.end :])
