"""A whole collection as mteb's search model: what it indexes is put in, and asked in any of its ways."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Self

from mteb.models.model_meta import ModelMeta

from semsearch.adaptors.matching import any_of
from semsearch.collection import Collection
from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.own import encoder_from, named_encoder
from semsearch.errors import UsageError
from semsearch.home import Home
from semsearch.mteb.task_models import described_model, name_of
from semsearch.opening import HomeLike, create
from semsearch.opening import open as open_collection
from semsearch.types import Document, Encoder
from semsearch.validation import is_empty

ASKED_AT_ONCE = 64
DOCUMENT_ID = "_id"  # by which the candidates of a reranking task are found

Answered = dict[str, dict[str, float]]


class CollectionSearch:
    """Searches by meaning, by words or both, reranked or not, as `semsearch.Collection.search` does."""

    def __init__(
        self,
        model_name: str | None = None,
        *,
        home: HomeLike = None,
        collection: Collection | None = None,
        encoder: Encoder | None = None,
        passages: bool = True,
        index: str = "auto",
        **search: Any,
    ) -> None:
        """Nothing is opened yet.

        Args:
            model_name: The model of collections that are made of tasks' corpora; of an encoder or a collection: what
                mteb calls it.
            home: Where they are made, one for each corpus, and found the next time; by default a temporary folder.
            collection: One that has the corpus already, which is then asked and not filled.
            encoder: An encoder instead of a model's name.
            passages: Split documents that are longer than the model's window.
            index: The backend of the index.
            **search: Options of `semsearch.Collection.search`: mode, exact, rerank, rerank_weight, candidates, ….
        """
        self._given = collection
        self._name = model_name
        self._encoder = encoder_from(encoder) if encoder else None
        self._home, self._passages, self._index, self._search = home, passages, index, search
        self._made: Collection | None = None
        self._stack = ExitStack()

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """What mteb keeps results apart by: the model, and all that decides how a collection is made and asked."""
        options = dict(self._search)
        if self._given is None:
            model: Any = self._model()
            name, fingerprint = name_of(model), model.fingerprint
            options |= {"passages": self._passages, "index": self._index}
        else:
            described = self._given.settings["encoder"] or {}
            name, fingerprint = described.get("name") or self._given.name, described.get("fingerprint", "")
            options["collection"] = self._given.name
        return described_model("collection", self._name or name, str(fingerprint), options)

    def _model(self) -> Encoder:
        if self._encoder is None:
            self._encoder = named_encoder(self._name or DEFAULT_MODEL)
        return self._encoder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what was made."""
        self._stack.close()
        self._made = None

    def index(self, corpus: Any, **kwargs: Any) -> None:
        """Put the documents of a corpus into a collection; one that was given is taken to hold them."""
        if self._given is not None:
            return
        self.close()
        home = self._home or Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="semsearch-")), "home")
        task, split, subset = (kwargs.get(name) for name in ("task_metadata", "hf_split", "hf_subset"))
        name = "-".join(str(part) for part in (getattr(task, "name", "corpus"), subset, split) if part)
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
        if name in Home.of(home):
            made = open_collection(name, home=home, encoder=self._model())
        else:
            made = create(name, encoder=self._model(), home=home, passages=self._passages, index=self._index)
        self._made = self._stack.enter_context(made)
        gone = set(made.ids())

        def documents() -> Iterator[Document]:
            for row in corpus:
                if (document := _document(row)) is not None:
                    gone.discard(document.id)
                    yield document

        made.add(documents())
        made.remove(gone)

    def search(
        self,
        queries: Any,
        *,
        top_k: int,
        top_ranked: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> Answered:
        """The documents of each query with their scores, among its candidates where a task has some.

        Raises:
            UsageError: Nothing was indexed.
        """
        collection = self._given or self._made
        if collection is None:
            raise UsageError("there is no collection to ask: mteb calls `index` first, or give one (collection=…).")
        texts = {row["id"]: _text_of_query(row) for row in queries}
        if top_ranked is not None:
            return {
                query: self._among(collection, text, top_ranked.get(query, ()), top_k) for query, text in texts.items()
            }
        pending, found = iter(texts.items()), Answered()
        while some := list(islice(pending, ASKED_AT_ONCE)):
            answers = collection.search_many([text for _, text in some], top_k, **self._search)
            for (query, _), hits in zip(some, answers, strict=True):
                found[query] = {hit.id: float(hit.score) for hit in hits}
        return found

    def _among(self, collection: Collection, text: str, candidates: Sequence[str], top_k: int) -> dict[str, float]:
        if not candidates:
            return {}
        where = any_of(DOCUMENT_ID, candidates)
        hits = collection.search(text, min(top_k, len(candidates)), where=where, **self._search)
        return {hit.id: float(hit.score) for hit in hits}


def _document(row: Mapping[str, Any]) -> Document | None:
    """A row of a corpus; None of one in which nothing can be read, which no question finds."""
    text, title = row.get("text") or "", row.get("title") or ""
    if is_empty(text):
        text, title = title, ""
    return None if is_empty(text) else Document(row["id"], text, title, {DOCUMENT_ID: row["id"]})


def _text_of_query(row: Mapping[str, Any]) -> str:
    instruction = row.get("instruction")
    return f"{row['text']} {instruction}" if instruction else str(row["text"])
