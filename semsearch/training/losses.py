"""The losses of an encoder's training, on vectors: each is sentence-transformers' of the same name, to the last digits.

`in_batch_negatives` is MultipleNegativesRankingLoss (InfoNCE; Henderson et al., 2017; Oord et al., 2018), `margins`
MarginMSELoss (Hofstätter et al., 2020), `divergence` DistillKLDivLoss (Lin et al., 2020), `nested` MatryoshkaLoss
(Kusupati et al., 2022). What theirs cannot say is said by two more arguments: which documents are no negatives of a
question, and how much a pair counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]  # vectors of questions (b, d) and documents (m, d), to a scalar


def similarities(queries: Tensor, documents: Tensor, *, cosine: bool) -> Tensor:
    """Dot products (b, m), of unit vectors where the metric is the cosine."""
    if cosine:
        queries, documents = functional.normalize(queries, dim=1), functional.normalize(documents, dim=1)
    return queries @ documents.T


def in_batch_negatives(
    scores: Tensor, positives: Tensor, forbidden: Tensor | None = None, weights: Tensor | None = None
) -> Tensor:
    """The cross-entropy of each question's own document among all that are in the batch.

    Args:
        scores: (b, m), scaled.
        positives: (b,) the column of each question's document.
        forbidden: (b, m) what is no negative of a question, since it may answer it; never its own document.
        weights: (b,) what each question counts; None: alike.
    """
    if forbidden is not None:
        scores = scores.masked_fill(forbidden, -torch.inf)
    losses = functional.cross_entropy(scores, positives, reduction="none")
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


def margins(scores: Tensor, taught: Tensor) -> Tensor:
    """The mean squared error of the differences between the first candidate and the others.

    Args:
        scores: (b, n) of the candidates of each question, the relevant one first.
        taught: (b, n) the teacher's.
    """
    return functional.mse_loss(scores[:, :1] - scores[:, 1:], taught[:, :1] - taught[:, 1:])


def divergence(scores: Tensor, taught: Tensor, temperature: float = 1.0) -> Tensor:
    """The Kullback-Leibler divergence of the candidates' softmax from the teacher's, times the squared temperature.

    Args:
        scores: (b, n) of the candidates of each question.
        taught: (b, n) the teacher's.
        temperature: Divides both.
    """
    given = (scores / temperature).log_softmax(1)
    return functional.kl_div(given, (taught / temperature).softmax(1), reduction="batchmean") * temperature**2


def nested(loss: Loss, dims: Sequence[int]) -> Loss:
    """A loss of the leading components as well, all counting alike: the vectors can be cut to any of `dims`."""

    def every(queries: Tensor, documents: Tensor) -> Tensor:
        return torch.stack([loss(queries[:, :dim], documents[:, :dim]) for dim in dims]).sum()

    return every
