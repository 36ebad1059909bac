"""Texts to a vector for each of their tokens, as `semsearch.encoder.inference` makes one for each text.

Which tokens count is known from their ids, on the host: no batch asks the device for anything but its vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semsearch.encoder.features import Features
from semsearch.encoder.inference import Pipeline, Window, chosen, on_host, shown
from semsearch.encoder.packing import Batch, Integers, plan
from semsearch.encoder.tokenization import TextTokenizer
from semsearch.errors import EncodingFailed
from semsearch.types import Vectors


@dataclass(frozen=True)
class Expansion:
    """What is put behind a query: so many tokens that it has `length`, at least."""

    length: int
    token: int
    attend: bool


@dataclass(slots=True)
class ExpandedWindow(Window):
    """Queries, each with the tokens that expand it; `own` are those before."""

    own: Integers  # (n,)

    def features(self, batch: Batch, device: torch.device) -> Features:
        """The tokens of a batch; nothing sees what expands a text."""
        features = Window.features(self, batch, device)
        assert features.rows is not None
        seen = np.arange(batch.length) < self.own[batch.texts][:, None]
        owners = torch.from_numpy(np.where(seen, np.arange(len(batch.texts))[:, None], -1))
        if device.type == "cuda":
            owners = owners.pin_memory()
        features.rows = replace(features.rows, owners=owners.to(device, non_blocking=True))
        return features


class TokenPipeline(Pipeline):
    """A tokenizer and modules up to the vectors of tokens.

    Args:
        skipped: Token ids whose vectors are left out.
        kept: The only token ids whose vectors are not, where there are such.
        expansion: What is put behind each text.
    """

    def __init__(
        self,
        tokenize: TextTokenizer,
        modules: Sequence[nn.Module],
        dim: int,
        device: torch.device,
        dtype: torch.dtype,
        *,
        skipped: Sequence[int] = (),
        kept: Sequence[int] | None = None,
        expansion: Expansion | None = None,
        **limits: Any,
    ) -> None:
        super().__init__(tokenize, modules, dim, device, dtype, **limits)
        self._skipped = np.array(sorted(skipped), dtype=np.int64)
        self._kept = None if kept is None else np.array(sorted(kept), dtype=np.int64)
        self._expansion = expansion
        if expansion is not None:
            self.shares_rows = False  # a row is one text, of which a part is not seen

    def encode_tokens(self, texts: Iterable[str], prompt: str = "") -> list[Vectors]:
        """The float32 vectors `(t, dim)` of each text's tokens that count.

        Raises:
            EncodingFailed: A vector is not finite, or memory does not even suffice for one text.
        """
        texts = texts if isinstance(texts, Sequence) else list(texts)
        return [vectors for made in self.run(texts, prompt, self._vectors) for vectors in made]

    def counted(self, ids: Integers) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which tokens count."""
        counts = ~np.isin(ids, self._skipped)
        return counts if self._kept is None else counts & np.isin(ids, self._kept)

    def _tokenized(self, texts: Sequence[str], prompt: str) -> Window:
        window = super()._tokenized(texts, prompt)
        if self._expansion is None:
            return window
        own = window.lengths
        lengths = np.maximum(own, self._expansion.length)
        ids = np.full(int(lengths.sum()), self._expansion.token, dtype=np.int64)
        places = np.arange(len(window.ids)) + np.repeat(np.cumsum(lengths - own) - (lengths - own), own)
        ids[places] = window.ids
        if self._expansion.attend:
            return Window(texts, ids, lengths, window.prompt_length)
        return ExpandedWindow(texts, ids, lengths, window.prompt_length, own)

    def _vectors(self, window: Window) -> list[Vectors]:
        found: list[Vectors] = [np.empty((0, self.dim), np.float32)] * len(window.texts)
        made = list(self.by_batches(window, self._tried))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the only wait: every copy to the host has arrived
        starts = np.cumsum(window.lengths) - window.lengths
        for batch, rows in made:
            ends = np.cumsum(window.lengths[batch.texts])[:-1]
            for place, vectors in zip(batch.texts.tolist(), np.split(rows.numpy(), ends), strict=True):
                whole = vectors if np.isfinite(vectors).all() else self._sound(window, place)
                own = window.ids[starts[place] : starts[place] + window.lengths[place]]
                found[place] = whole[self.counted(own)]
        return found

    @torch.inference_mode()
    def _run(self, window: Window, batch: Batch) -> Tensor:
        """Vectors of a batch's tokens on the host, (T, dim) float32; from a GPU they are still on their way."""
        features = window.features(batch, self.device)
        for module in self.modules:
            features = module(features)
        assert features.tokens is not None
        return on_host(features.tokens)

    def _sound(self, window: Window, place: int) -> Vectors:
        """The vectors of a text's tokens, some of which came out not finite beside neighbours."""
        (batch,) = plan(window.lengths[[place]], self.budget, share=self.shares_rows)
        rows = self._run(window, chosen(batch, np.array([place])))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if not bool(torch.isfinite(rows).all()):
            raise EncodingFailed(
                f"the model gave NaN or infinite numbers for the text {shown(window, place)}. They may be too large "
                f"for {str(self.dtype).removeprefix('torch.')}: try float32 (--dtype float32)."
            )
        vectors: Vectors = rows.numpy()
        return vectors
