"""The documents of a collection as what an encoder sees of them: passages, each with the document that it is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from semsearch.applications.wording import folded
from semsearch.chunking import splitter_for
from semsearch.collection import Collection
from semsearch.engine import fingerprint
from semsearch.types import Document, Encoder, Span, Vectors


@dataclass
class TrainingCorpus:
    """Documents in their order, and their passages as an encoder splits them.

    Attributes:
        documents: All of the collection's.
        texts: Of each passage what is encoded, title included.
        owners: (p,) the place of each passage's document.
        place: Of each document's id.
        extra: Texts that are no passages, and are learnt from like these: what documents are without their questions.
        extra_owners: Of each the place of its document.
        lent: Of a question that was taken out of a document, and that document, the number of its text: those of
            `extra` follow those of `texts`.
        wordings: Of each document its folded text, and with its title.
        same: (n,) for each document the place of the first that says the same, word for word.
    """

    documents: Sequence[Document]
    texts: Sequence[str]
    owners: NDArray[np.int64]
    extra: list[str] = field(default_factory=list)
    extra_owners: list[int] = field(default_factory=list)
    lent: dict[tuple[str, str], int] = field(default_factory=dict)
    place: dict[str, int] = field(init=False)
    wordings: list[tuple[str, str]] = field(init=False)
    same: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.place = {document.id: place for place, document in enumerate(self.documents)}
        first: dict[str, int] = {}
        self.wordings = [(folded("", one.text), folded(one.title, one.text)) for one in self.documents]
        found = [first.setdefault(whole, place) for place, (_, whole) in enumerate(self.wordings)]
        self.same = np.array(found, dtype=np.int64)
        self.starts = np.searchsorted(self.owners, np.arange(len(self.documents) + 1))

    @classmethod
    def of(cls, documents: Sequence[Document], encoder: Encoder, *, passages: bool) -> TrainingCorpus:
        """What an encoder would see of documents, split as `reencode` would split them; with or without `passages`."""
        spans = splitter_for(encoder, passages).split_many(documents)
        texts = passage_texts(documents, encoder, spans, passages=passages)
        return cls(documents, texts, np.repeat(np.arange(len(documents)), [len(own) for own in spans]))

    @property
    def read(self) -> Sequence[str]:
        """All that is learnt from: passages, and behind them the extra texts."""
        return [*self.texts, *self.extra] if self.extra else self.texts

    @property
    def read_owners(self) -> NDArray[np.int64]:
        """Of each of `read` the place of its document."""
        return np.concatenate([self.owners, np.array(self.extra_owners, dtype=np.int64)])

    def lend(self, question: str, document: str, text: str) -> None:
        """Take in the text of a document without a question that was taken out of it."""
        self.lent[question, document] = len(self.texts) + len(self.extra)
        self.extra.append(text)
        self.extra_owners.append(self.place[document])

    def passages(self, document: int) -> range:
        """The passages of a document."""
        return range(int(self.starts[document]), int(self.starts[document + 1]))

    def stored(self, collection: Collection, encoder: Encoder) -> Vectors | None:
        """The vectors that the collection keeps of the passages, where they are the encoder's and of these passages."""
        splitting = splitter_for(encoder, bool(collection.settings["passages"])).identity
        if fingerprint(collection.settings) != encoder.fingerprint or collection.settings["splitting"] != splitting:
            return None
        found = collection.vectors([document.id for document in self.documents])
        counts = np.diff(self.starts)
        if any(own is None or len(own) != count for own, count in zip(found, counts.tolist(), strict=True)):
            return None
        return np.concatenate([own for own in found if own is not None])


def passage_texts(
    documents: Sequence[Document], encoder: Encoder, spans: Sequence[Sequence[Span]], *, passages: bool
) -> list[str]:
    """What is encoded for each passage, title included."""
    splitter = splitter_for(encoder, passages)
    pairs = zip(documents, spans, strict=True)
    return [splitter.text_to_embed(document, span) for document, own in pairs for span in own]
