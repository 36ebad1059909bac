"""The cross-encoder that users hold: pairs to scores, passages to a ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from semsearch.encoder.features import Features
from semsearch.encoder.inference import Pipeline, Window
from semsearch.encoder.packing import Batch, Integers
from semsearch.errors import UsageError
from semsearch.hardware import settle_threads
from semsearch.reranker.text_pairs import Windows, checked_pairs
from semsearch.types import Scores
from semsearch.vectors import check_k

TOKENIZED_PAIRS = 4_096  # that are tokenized and laid out together

Activation = Callable[[Tensor], Tensor]


@dataclass(slots=True)
class PairWindow(Window):
    """Pieces of pairs, tokenized; `texts` are the passages, for errors that name them."""

    kinds: Integers | None = None  # (T,) token types

    def features(self, batch: Batch, device: torch.device) -> Features:
        """The tokens of a batch with their types."""
        features = Window.features(self, batch, device)
        if self.kinds is not None:
            lengths = self.lengths[batch.texts]
            starts = (np.cumsum(self.lengths) - self.lengths)[batch.texts]
            offsets = np.cumsum(lengths) - lengths
            chosen = self.kinds[np.arange(int(lengths.sum())) + np.repeat(starts - offsets, lengths)]
            features.kinds = torch.from_numpy(chosen).to(device)
        return features


class PairPipeline(Pipeline):
    """Pieces of pairs to logits, in batches by a budget of tokens."""

    def logits(self, window: PairWindow) -> NDArray[np.float32]:
        """Float32 (n, labels), every one finite."""
        settle_threads()
        return self._compute(window)


class CrossEncoder:
    """A reranker, opened: reads a query and a passage together and says how well the one answers the other.

    >>> reranker = semsearch.load_reranker("cross-encoder/ms-marco-MiniLM-L6-v2")      # doctest: +SKIP
    >>> reranker.rank("how many people live in Berlin", passages, top_k=3)              # doctest: +SKIP
    [{'corpus_id': 1, 'score': 8.607141}, …]
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        where: str,
        labels: int,
        activation: nn.Module,
        windows: Windows,
        pipeline: PairPipeline,
        modules: Sequence[str],
        weight: float | None = None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.where = where  # how the folder was found
        self.num_labels = labels  # scores of a pair; 1 for a reranker
        self.activation = activation  # what the logits pass
        self.modules = tuple(modules)  # for people
        self.weight = weight  # what it counts beside its first stage, from 0 to 1, where it was trained to; else None
        self.truncated = 0  # queries so far that were too long, and were cut
        self._windows, self._pipeline = windows, pipeline

    @property
    def window(self) -> int:
        """Tokens that the model reads of a query and a passage together, special ones taken off."""
        return self._windows.room

    @property
    def tokenizer(self) -> Tokenizer:
        """What it reads texts by."""
        return self._windows.reader.tokenizer

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._pipeline.device

    @property
    def dtype(self) -> torch.dtype:
        """What the encoder computes in; logits are float32 whatever it is."""
        return self._pipeline.dtype

    def score(self, query: str, texts: Iterable[str]) -> Scores:
        """One float32 score for each text `(n,)`, higher is better; a long text gets that of its best window.

        Raises:
            UsageError: The model gives several scores for a pair, or `texts` is no list of texts.
        """
        return self._activated(self._ranking_logits(query, texts), None)

    def predict(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        batch_size: int | None = None,
        activation: Activation | None = None,
        apply_softmax: bool = False,
    ) -> NDArray[np.float32]:
        """Float32 scores of (query, passage) pairs: `(n,)`, or `(n, num_labels)` where there are several.

        With a single score a passage that doesn't fit beside its query is scored by its best window; with several it is
        cut, since classes have no best.

        Args:
            pairs: Queries and passages.
            batch_size: The most pairs that go through the model together; None goes by tokens, which is faster.
            activation: What the logits pass instead of the model's own, `torch.nn.Identity()` to have them raw.
            apply_softmax: Make the scores of several labels sum to one.

        Raises:
            UsageError: `pairs` is no list of pairs of texts.
            EncodingFailed: The model gave NaN or infinite numbers.
        """
        return self._activated(self._logits(checked_pairs(pairs), batch_size), activation, apply_softmax)

    def rank(
        self,
        query: str,
        passages: Iterable[str],
        top_k: int | None = None,
        return_documents: bool = False,
        *,
        batch_size: int | None = None,
        activation: Activation | None = None,
    ) -> list[dict[str, Any]]:
        """The passages from best to worst: `{"corpus_id": place, "score": score}`, with `"text"` where asked for.

        Ordered by the logits, as an activation may make large ones equal; of equal ones the earlier passage leads.

        Args:
            query: The question.
            passages: What is ranked.
            top_k: So many; None gives all.
            return_documents: Put the passages in.
            batch_size: As in `predict`.
            activation: As in `predict`.

        Raises:
            UsageError: The model gives several scores for a pair, or an argument can't be.
        """
        if top_k is not None:
            check_k(top_k)
        texts = passages if isinstance(passages, str) else list(passages)
        logits = self._ranking_logits(query, texts, batch_size)
        scores = self._activated(logits, activation)
        order = np.argsort(-logits[:, 0], kind="stable")[:top_k].tolist()
        return [
            {"corpus_id": place, "score": float(scores[place])} | ({"text": texts[place]} if return_documents else {})
            for place in order
        ]

    def description(self) -> dict[str, Any]:
        """What there is to know about the model, in JSON values."""
        return {
            "name": self.name,
            "found": self.where,
            "labels": self.num_labels,
            "window": self.window,
            "activation": type(self.activation).__name__,
            "weight": self.weight,
            "modules": list(self.modules),
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
        }

    def __repr__(self) -> str:
        return f"<CrossEncoder {self.name}: {self.num_labels} labels, {self.dtype} on {self.device}>"

    def _ranking_logits(self, query: str, texts: Iterable[str], batch_size: int | None = None) -> NDArray[np.float32]:
        if self.num_labels != 1:
            raise UsageError(
                f"{self.name} gives {self.num_labels} scores for a pair, so it orders no passages; use predict(pairs) "
                "for its classes, or a reranker, which gives one."
            )
        if not isinstance(query, str) or isinstance(texts, str):
            raise UsageError("a ranking needs one query, a text, and a list of texts.")
        return self._logits(checked_pairs([(query, text) for text in texts]), batch_size)

    def _logits(self, pairs: list[tuple[str, str]], batch_size: int | None) -> NDArray[np.float32]:
        """Float32 (n, labels); of several windows the best."""
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; it must be 1 or more.")
        logits = np.empty((len(pairs), self.num_labels), np.float32)
        step = min(batch_size or TOKENIZED_PAIRS, TOKENIZED_PAIRS)
        order = (
            range(len(pairs))
            if batch_size is None
            else sorted(range(len(pairs)), key=lambda i: -sum(map(len, pairs[i])))
        )
        cut: set[str] = set()
        for start in range(0, len(pairs), step):
            places = np.array(order[start : start + step])
            chosen = [pairs[place] for place in places]
            pieces, queries = self._windows.pieces(chosen)
            cut |= queries
            texts = [chosen[place][1] for place in pieces.pairs]
            made = self._pipeline.logits(PairWindow(texts, pieces.ids, pieces.lengths, 0, pieces.kinds))
            best = np.full((len(chosen), self.num_labels), -np.inf, np.float32)
            np.maximum.at(best, pieces.pairs, made)  # several labels have one window each
            logits[places] = best
        self.truncated += len(cut)
        return logits

    def _activated(
        self, logits: NDArray[np.float32], activation: Activation | None, softmax: bool = False
    ) -> NDArray[np.float32]:
        with torch.inference_mode():
            scores = (activation or self.activation)(torch.from_numpy(logits))
            if self.num_labels == 1:
                scores = scores[:, 0]
            elif softmax:
                scores = torch.softmax(scores, dim=1)
            made: NDArray[np.float32] = scores.float().numpy()
        return made
