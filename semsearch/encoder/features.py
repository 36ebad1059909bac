"""What flows between the modules of a model: the tokens of many texts, ragged, one text after the other.

No padding and no mask: text `i` owns the `lengths[i]` rows that follow those of the texts before it. A module that
needs rectangles makes them inside and gives them back ragged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from semsearch.encoder.packing import Integers, Rows


@dataclass(slots=True)
class Active:
    """What is not 0 of the sparse vectors of `n` texts, by text and then by component."""

    finite: Tensor  # (n,) bool: False where a value was no finite number
    rows: Tensor  # (nnz,) int64: the text of each
    components: Tensor  # (nnz,) int64
    values: Tensor  # (nnz,) float32

    @classmethod
    def joined(
        cls, parts: Sequence[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]], count: int, device: torch.device
    ) -> Self:
        """Of (texts, finite, row, component, value), rows numbered within their part; what no part has is 0."""
        finite = torch.ones(count, dtype=torch.bool, device=device)
        rows = [torch.empty(0, dtype=torch.long, device=device)]
        components, values = [rows[0]], [torch.empty(0, device=device)]
        for texts, sound, row, component, value in parts:
            owners = texts.to(device)
            finite[owners] = sound
            rows.append(owners[row])
            components.append(component)
            values.append(value.float())
        every = torch.cat(rows)
        order = torch.argsort(every, stable=True)
        return cls(finite, every[order], torch.cat(components)[order], torch.cat(values)[order])


@dataclass(slots=True)
class Features:
    """`n` texts of `T` tokens in all, and what the modules so far made of them (`h` components a token)."""

    ids: Tensor  # (T,) int64: token ids of all texts, one after the other
    lengths: Tensor  # (n,) int64: tokens of each text; their sum is T
    prompt_lengths: Tensor  # (n,) int64: leading tokens that are the prompt, which some poolings leave out
    tokens: Tensor | None = None  # (T, h) token embeddings
    layers: list[Tensor] | None = None  # (T, h) each: all hidden states, only where a later module asks for them
    sentence: Tensor | None = None  # (n, d) sentence embeddings
    weights_sum: Tensor | None = None  # (n, 1) sum of the token weights, where words were weighted
    kinds: Tensor | None = None  # (T,) int64: the part of its text that a token belongs to (token type); None: all 0
    scores: Tensor | None = None  # (n, labels) what a reranker's last module makes
    rows: Rows | None = None  # where the tokens lie in the rectangles of attention, if that was planned beforehand
    host_lengths: Integers | None = None  # the lengths as the host has them: to ask a GPU for them is to wait for it
    active: Active | None = None  # what a sparse encoder's last module makes
