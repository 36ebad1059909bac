"""How alike texts are, pair by pair, or each with each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from semsearch import models
from semsearch.arguments import as_list, kind_of, named_kind
from semsearch.arrow_input import is_frame, is_table, rows_in
from semsearch.encoder import DEFAULT_MODEL
from semsearch.encoder.remote import trust_named
from semsearch.errors import DataError, DimensionMismatch, UsageError
from semsearch.hardware import ANYWHERE, Compute
from semsearch.types import Encoder, Metric, Scores, Vectors
from semsearch.validation import check_text
from semsearch.vectors import score_each, stored_form

Texts = str | Iterable[str]


def similarity(
    first: Texts | ArrayLike,
    second: Texts | ArrayLike,
    *,
    encoder: str | Encoder | None = None,
    metric: Metric | str | None = None,
    compute: Compute = ANYWHERE,
) -> Scores:
    """The scores `(n,)` of pairs: text i of `first` with text i of `second`; a single text with each of the others.

    Args:
        first: Texts, or vectors `(n, dim)`, which need no encoder; or a frame of pandas, polars or pyarrow with a
            vector a row, or a column of texts.
        second: As many, or one.
        encoder: A model's name or path, or an object with the members of `Encoder`; all-MiniLM-L6-v2 by default. All
            texts are encoded as documents, since neither side asks.
        metric: How vectors are compared; by default as the encoder's are meant to be, bare ones by their cosines.
        compute: Where a model that is named computes.

    >>> import semsearch
    >>> semsearch.similarity([[1, 0], [0, 2]], [[1, 0], [1, 0]]).tolist()
    [1.0, 0.0]

    Raises:
        UsageError: There are not as many on both sides, or texts on one and vectors on the other.
        DataError: A vector holds NaN or infinite numbers.
        ModelError: The model can't be opened.
    """
    if not isinstance(compute, Compute):
        raise UsageError(f"compute must be a Compute, as in Compute(device='cpu'), not {kind_of(compute)}.")
    by_vectors = Metric.COSINE if metric is None else Metric.of(metric)
    sides = [_side(side, by_vectors) for side in (first, second)]
    counts = [len(side) for side in sides]
    if counts[0] != counts[1] and 1 not in counts:
        raise UsageError(
            f"line i is compared with line i, or one with each, and there are {counts[0]:,} and {counts[1]:,}."
        )
    texts = [isinstance(side, list) for side in sides]
    if any(texts) and not all(texts):
        raise UsageError("one side has texts and the other vectors: give two sides of a kind.")
    if all(texts):
        opened = opened_encoder(encoder, compute)
        metric = opened.metric if metric is None else by_vectors
        a, b = _encoded(opened, sides, metric)
    else:
        metric = by_vectors
        a, b = sides
    if a.shape[1] != b.shape[1]:
        raise DimensionMismatch(f"vectors of {a.shape[1]} and of {b.shape[1]} components don't compare.")
    rows = np.arange(max(counts) if min(counts) else 0)
    return score_each(a, rows if counts[0] > 1 else 0 * rows, b, rows if counts[1] > 1 else 0 * rows, metric)


def opened_encoder(encoder: str | Encoder | None, compute: Compute = ANYWHERE) -> Encoder:
    """The encoder that is named or given.

    Raises:
        ModelError: It can't be opened.
    """
    named = DEFAULT_MODEL if encoder is None else encoder
    if isinstance(named, str):
        trust_named(named)
        return models.encoder(named, compute)
    return models.described_encoder(named)[0]


def _side(given: Any, metric: Metric) -> Any:
    """Texts in a list, or vectors as the metric compares them."""
    if isinstance(given, str):
        return [given]
    if (isinstance(given, np.ndarray) and given.dtype.kind in "fiu") or hasattr(given, "detach"):  # of torch
        return stored_form(given, None, metric)
    if is_frame(given) and is_table(given):
        return stored_form(rows_in(given, "texts or vectors")[0], None, metric)
    side = as_list(given, "similarity takes two lists of texts, or two arrays of vectors")
    texts = [isinstance(one, str) for one in side]
    if all(texts):
        for place, text in enumerate(side):
            check_text(text, f"text {place}")
        return side
    if any(texts):
        place = texts.index(False)
        kind = named_kind(type(side[place]))
        raise UsageError(f"text {place} is no text but {kind}: {side[place]!r:.80}.")
    return stored_form(side, None, metric)


def _encoded(encoder: Encoder, sides: Sequence[list[str]], metric: Metric) -> list[Vectors]:
    """The vectors of both sides, of a text that stands in several places once."""
    once = list(dict.fromkeys(text for side in sides for text in side))
    if not once:
        return [np.empty((0, encoder.dim), dtype=np.float32)] * 2
    vectors = stored_form(encoder.encode_documents(once), encoder.dim, metric, "the encoder's vectors")
    if len(vectors) != len(once):
        raise DataError(f"the encoder gave {len(vectors):,} vectors for {len(once):,} texts.")
    place = {text: row for row, text in enumerate(once)}
    return [vectors[[place[text] for text in side]] for side in sides]
