"""Questions without judges: a piece of a document asks for the document that it was taken out of.

Known-item search on a sample of a collection's documents, encoded again without the pieces that became queries. It
tells ways of searching apart on one's own texts. It does not say how good answers to real questions are: the words of
a title or sentence are closer to its document than a person's, there is one right answer, and the sample is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from semsearch.chunking import sentences
from semsearch.collection import Collection
from semsearch.errors import UsageError
from semsearch.opening import create
from semsearch.types import Document

SAMPLE_SIZE = 1000  # in the sample
MAX_QUERIES = 200  # at most
MIN_QUERIES = 10
MIN_WORDS = 3  # that a query has at least
MIN_SENTENCES = 3  # that a document has at least which lends one


@dataclass(frozen=True, slots=True)
class KnownItems:
    """A sample of documents with the questions that were taken out of it."""

    documents: Sequence[Document]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    says: str


def known_items(collection: Collection, seed: int = 0) -> KnownItems:
    """Take titles, or where there are few sentences, out of a sample of documents.

    Raises:
        UsageError: The documents have neither titles nor several sentences.
    """
    generator = np.random.default_rng(seed)
    sample = _sample(collection, generator)
    lent = [(document, document.title, _untitled(document)) for document in sample]
    usable = [one for one in lent if len(one[1].split()) >= MIN_WORDS and one[2].text.strip()]
    what = "titles"
    if 2 * len(usable) < len(sample):
        lent = [_without_sentence(document, generator) for document in sample]
        usable = [one for one in lent if len(one[1].split()) >= MIN_WORDS]
        what = "sentences"
    if len(usable) < MIN_QUERIES:
        raise UsageError(
            f"collection '{collection.name}' has too few documents with a title or {MIN_SENTENCES} sentences to ask "
            f"for ({len(usable)} of {len(sample)}): judge some queries and give --queries and --qrels."
        )
    asking = [usable[place] for place in np.sort(generator.permutation(len(usable))[:MAX_QUERIES])]
    changed = {document.id: rest for document, _, rest in (lent if what == "titles" else asking)}
    documents = [rest for document in sample if (rest := changed.get(document.id, document)).text.strip()]
    named: dict[str, list[str]] = {}
    for document, query, rest in usable:
        if rest.text.strip():
            named.setdefault(query, []).append(document.id)
    return KnownItems(
        documents,
        {document.id: query for document, query, _ in asking},
        {document.id: dict.fromkeys(named[query], 1) for document, query, _ in asking},
        f"{len(asking)} {what} of {len(documents):,} sampled documents ask for the documents that they were taken out "
        "of (known-item search): good for comparing ways of searching on these texts, no measure of answers to real "
        "questions.",
    )


def encoded(collection: Collection, items: KnownItems, home: Path) -> Collection:
    """The sample as a collection of its own in `home`, with the same model and splitting."""
    made = create(
        collection.name, encoder=collection.encoder, home=home, passages=bool(collection.settings["passages"])
    )
    made.add(items.documents)
    return made


def _sample(collection: Collection, generator: np.random.Generator) -> list[Document]:
    """Some documents, in their order."""
    count = len(collection)
    chosen = set(generator.permutation(count)[:SAMPLE_SIZE].tolist())
    return [document for place, document in enumerate(collection.documents()) if place in chosen]


def _untitled(document: Document) -> Document:
    """Without its title, also where the text begins with it."""
    return replace(
        document, title="", text=document.text.removeprefix(document.title) if document.title else document.text
    )


def _without_sentence(document: Document, generator: np.random.Generator) -> tuple[Document, str, Document]:
    """The document, one of its sentences, and the document without it; no sentence where there are too few."""
    spans = list(sentences(document.text))
    place = int(generator.integers(max(len(spans), 1)))
    if len(spans) < MIN_SENTENCES:
        return document, "", document
    span = spans[place]
    rest = document.text[: span.start] + document.text[span.end :]
    return document, document.text[span.start : span.end].strip(), replace(document, text=rest)
