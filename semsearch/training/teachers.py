"""Models that know more: their scores of candidates filter negatives, and their order is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from semsearch.encoder.load import load_encoder
from semsearch.errors import ModelError
from semsearch.reranker.load import load_reranker
from semsearch.types import Encoder, Reranker, Vectors

TAUGHT_SCALE = 20.0  # of a larger encoder's cosines, as those of the one that learns

TaughtScores = NDArray[np.float64]


class Teacher(Protocol):
    """Scores the candidates of a question."""

    def scores(self, question: str, texts: Sequence[str]) -> TaughtScores:
        """(n,) on the scale of logits."""
        ...

    def shares(self, scores: TaughtScores) -> TaughtScores:
        """(n,) how relevant that is, from 0 to 1."""
        ...


class RerankerTeacher:
    """A cross-encoder, whose scores are logits."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    def scores(self, question: str, texts: Sequence[str]) -> TaughtScores:
        """See `Teacher.scores`."""
        return np.asarray(self._reranker.score(question, list(texts)), dtype=np.float64)

    def shares(self, scores: TaughtScores) -> TaughtScores:
        """See `Teacher.shares`."""
        made: TaughtScores = 1 / (1 + np.exp(-scores))
        return made


class EncoderTeacher:
    """A larger encoder; it encodes each text once."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._known: dict[str, Vectors] = {}

    def scores(self, question: str, texts: Sequence[str]) -> TaughtScores:
        """See `Teacher.scores`."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._known]
        if missing:
            self._known |= dict(zip(missing, _unit(self._encoder.encode_documents(missing)), strict=True))
        query = _unit(self._encoder.encode_queries([question]))[0]
        found: TaughtScores = TAUGHT_SCALE * (np.stack([self._known[text] for text in texts]) @ query).astype(
            np.float64
        )
        return found

    def shares(self, scores: TaughtScores) -> TaughtScores:
        """See `Teacher.shares`."""
        return scores / TAUGHT_SCALE


def load_teacher(said: str | Reranker | Encoder, device: str | None) -> Teacher:
    """A teacher of a model's name or object: a reranker, or else an encoder.

    Raises:
        ModelError: It is neither.
    """
    if isinstance(said, str):
        try:
            return RerankerTeacher(load_reranker(said, device=device))
        except ModelError as error:
            try:
                return EncoderTeacher(load_encoder(said, device=device))
            except ModelError:
                raise error from None
    return RerankerTeacher(said) if isinstance(said, Reranker) else EncoderTeacher(said)


def _unit(vectors: Vectors) -> Vectors:
    made: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return made
