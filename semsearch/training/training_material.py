"""What a run learns from: the documents of a collection, the questions about them, and the vectors that are there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from semsearch.collection import Collection
from semsearch.encoder.load import load_encoder
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.engine import fingerprint
from semsearch.errors import DataError, UsageError
from semsearch.training.corpus import TrainingCorpus
from semsearch.training.pseudo_questions import ROUND_TRIP, pseudo_questions
from semsearch.training.sources import TrainingSources, read_sources
from semsearch.training.split import Split, alike, apart, split
from semsearch.training.training_questions import TrainingQuestions
from semsearch.types import Document, Vectors

TIMED_PASSAGES = 64  # passages that are encoded to tell how long all will take


class TrainingMaterial:
    """Questions and documents, read and split.

    Attributes:
        base: The encoder to begin with.
        documents: Those that are measured on.
        parts: The questions.
        corpus: What is learnt from, as the base reads it.

    Args:
        collection: Opened.
        sources: Of the questions.
        base: The name of a model to begin with; None is the collection's.
        seed: Of all that is drawn.
        crossing: Choose by all questions in turn where there are few (`split`).
        device: Where to compute.
        say: Is told what was left out.

    Raises:
        UsageError: The collection has no model that could be trained.
        DataError: The questions can't be learnt from.
    """

    def __init__(
        self,
        collection: Collection,
        sources: TrainingSources,
        base: str | None = None,
        *,
        seed: int = 0,
        crossing: bool = False,
        device: str | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.collection, self.sources, self.device, self.say = collection, sources, device, say
        self._seed, self._crossing = seed, crossing
        self.split_up = bool(collection.settings["passages"])
        self._made: Vectors | None = None
        self.base = self._opened(base)
        self.documents, self.parts, self.corpus = self._questions()

    def read_by(self, encoder: TextEncoder) -> TrainingCorpus:
        """The documents as another encoder reads them."""
        return TrainingCorpus.of(self.documents, encoder, passages=self.split_up)

    @property
    def vectors(self) -> Vectors:
        """Of all passages (p, d), by the base: those that are stored, or made now."""
        return self._vectors(self.corpus)

    @property
    def digest(self) -> str:
        """Of all that is learnt from and chosen by, and what it is asked of."""
        parts = self.parts
        told = [[part.texts, part.grades] for part in (parts.train, parts.dev, parts.test)]
        weights = sorted((*pair, weight) for pair, weight in parts.train.weights.items())
        withheld = {question: sorted(own) for question, own in parts.train.withheld.items()}
        whole = json.dumps([told, weights, withheld, list(self.corpus.read)], ensure_ascii=True)
        return hashlib.sha256(whole.encode()).hexdigest()

    def seconds_to_encode(self, encoder: TextEncoder, texts: Sequence[str]) -> float:
        """How long all the texts take, measured on some."""
        sample = texts[:: max(1, len(texts) // TIMED_PASSAGES)][:TIMED_PASSAGES]
        start = time.perf_counter()
        encoder.encode_documents(sample)
        return (time.perf_counter() - start) / len(sample) * len(texts)

    def _opened(self, base: str | None) -> TextEncoder:
        found = self.collection.encoder if base is None else load_encoder(base, device=self.device)
        if not isinstance(found, TextEncoder):
            raise UsageError(
                f"collection '{self.collection.name}' has no model in a folder that could be trained "
                f"({type(found).__name__}): name one to begin with (--base MODEL)."
            )
        if base is not None and found.fingerprint != fingerprint(self.collection.settings):
            own = self.collection.settings["encoder"] or {}
            if (own.get("prompts") or {}) != (found.description()["prompts"] or {}):
                self.say(
                    f"{found.name} has other prompts than the model of the collection: it is trained, measured and "
                    f"saved with its own, {found.prompts.query!r} and {found.prompts.document!r}."
                )
            if own.get("window") != found.description()["window"]:
                self.say(
                    f"{found.name} reads {found.description()['window']} tokens where the collection's model reads "
                    f"{own.get('window')}: documents are split for it, as `reencode` will split them."
                )
        return found

    def _questions(self) -> tuple[Sequence[Document], Split, TrainingCorpus]:
        """The documents that are measured on, the questions, and what is learnt from."""
        documents: Sequence[Document] = list(self.collection.documents())
        if not documents:
            raise DataError(f"collection '{self.collection.name}' is empty: there is nothing to learn from.")
        taken, altered = pseudo_questions(documents, self._seed) if self.sources.by_itself else (None, documents)
        judged = self.sources.queries or self.sources.pairs or self.sources.clicks
        if not judged:
            documents = altered
        corpus = TrainingCorpus.of(documents, self.base, passages=self.split_up)
        test: TrainingQuestions | None = None
        if judged:
            primary, others, test = read_sources(self.sources, corpus)
            others += [taken] if taken is not None else []
        else:
            assert taken is not None
            primary, others = taken, []
        withhold = self.sources.withhold
        parts = split(primary, corpus, self._seed, test, withhold=withhold, crossing=self._crossing)
        said = [*primary.said, *(one for other in others for one in other.said), *parts.said]
        train = parts.train
        sides = [parts.test] if parts.crossed else [parts.dev, parts.test]
        held = [text for side in sides for text in side.texts.values()]
        for place, other in enumerate(others):
            ids = list(other.texts)
            copies = {ids[own] for _, own in alike(held, [other.texts[one] for one in ids])}
            rest, _ = apart(other.only(set(ids) - copies), sides, corpus)
            train = train.joined(rest, f"{place}: ")
            if other is taken:
                self._lend(rest, f"{place}: ", altered, corpus)
        if taken is not None:
            train = self._round_trip(train, corpus, said, pseudo=None if not judged else f"{len(others) - 1}: ")
        dev = parts.dev.only(train.texts) if parts.crossed else parts.dev
        return documents, replace(parts, train=train, dev=dev, said=said), corpus

    def _lend(
        self, questions: TrainingQuestions, prefix: str, altered: Sequence[Document], corpus: TrainingCorpus
    ) -> None:
        """Let questions out of documents be learnt with what their documents are without them."""
        wanted = {document for one in questions.texts for document in questions.answers(one)}
        chosen = [document for document in altered if document.id in wanted]
        bare = TrainingCorpus.of(chosen, self.base, passages=self.split_up)
        first = {document.id: bare.texts[bare.starts[place]] for place, document in enumerate(chosen)}
        for question in questions.texts:
            for document in questions.answers(question):
                corpus.lend(prefix + question, document, first[document])

    def _round_trip(
        self, train: TrainingQuestions, corpus: TrainingCorpus, said: list[str], pseudo: str | None
    ) -> TrainingQuestions:
        """Without the questions out of documents that do not find their own among the first `ROUND_TRIP`."""
        vectors = self._vectors(corpus)
        asked = [one for one in train.texts if pseudo is None or one.startswith(pseudo)]
        queries = self.base.encode_queries([train.texts[one] for one in asked])
        lost = set()
        for question, query in zip(asked, queries, strict=True):
            scores = vectors @ query
            own = max(
                float(scores[corpus.passages(corpus.place[one]).start : corpus.passages(corpus.place[one]).stop].max())
                for one in train.answers(question)
            )
            if len(set(corpus.owners[scores > own].tolist())) >= ROUND_TRIP:
                lost.add(question)
        if lost:
            said.append(
                f"{len(lost):,} of {len(asked):,} questions out of documents do not find them again among the first "
                f"{ROUND_TRIP}, and are not learnt from."
            )
        return train.only(set(train.texts) - lost)

    def _vectors(self, corpus: TrainingCorpus) -> Vectors:
        if self._made is None:
            stored = corpus.stored(self.collection, self.base)
            if stored is None:
                took = self.seconds_to_encode(self.base, corpus.texts)
                self.say(f"encoding {len(corpus.texts):,} passages by {self.base.name}, {for_people(took)}.")
                stored = self.base.encode_documents(corpus.texts)
            self._made = stored
        return self._made


def for_people(seconds: float) -> str:
    """How long that is."""
    if seconds < 90:
        return f"some {max(1, seconds):.0f} s"
    return f"some {seconds / 60:.0f} min" if seconds < 5_400 else f"some {seconds / 3600:.1f} h"
