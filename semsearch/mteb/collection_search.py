"""A whole collection as mteb's search model: what it indexes is put in, and asked in any of its ways."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Self

from semsearch.adaptors.matching import any_of
from semsearch.collection import Collection
from semsearch.encoder.load import DEFAULT_MODEL
from semsearch.errors import UsageError
from semsearch.mteb.task_models import described_model
from semsearch.opening import HomeLike, create
from semsearch.types import Document, Encoder
from semsearch.validation import is_empty

ASKED_AT_ONCE = 64
DOCUMENT_ID = "_id"  # by which the candidates of a reranking task are found

Answered = dict[str, dict[str, float]]


class CollectionSearch:
    """Searches by meaning, by words or both, reranked or not, as `semsearch.Collection.search` does."""

    def __init__(
        self,
        model_name: str = DEFAULT_MODEL,
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
            model_name: The model of the collections that are made of tasks' corpora.
            home: Where they are made, one for each corpus; by default a temporary folder.
            collection: One that has the corpus already, which is then asked and not filled.
            encoder: An encoder instead of a model's name.
            passages: Split documents that are longer than the model's window.
            index: The backend of the index.
            **search: Options of `semsearch.Collection.search`: mode, exact, rerank, rerank_weight, candidates, ….
        """
        self._given = collection
        self._encoder = encoder or model_name
        self._home, self._passages, self._index, self._search = home, passages, index, search
        self._made: Collection | None = None
        self._stack = ExitStack()
        mode = search.get("mode", "dense") + ("+rerank" if search.get("rerank") else "")
        self.mteb_model_meta = described_model(f"collection {mode}", model_name)

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
        made = create(
            "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name),
            encoder=self._encoder,
            home=home,
            passages=self._passages,
            index=self._index,
        )
        self._made = self._stack.enter_context(made)
        made.add(document for row in corpus if (document := _document(row)) is not None)

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
