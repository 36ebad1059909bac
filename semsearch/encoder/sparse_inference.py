"""Texts to sparse vectors, as `semsearch.encoder.inference` makes dense ones: by windows and packed batches.

A batch leaves the device as what is not 0 in it, so that nothing of the size of texts times words is ever kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from semsearch.encoder.features import Active
from semsearch.encoder.inference import NO_MEMORY, Pipeline, Window, chosen, shown
from semsearch.encoder.packing import Batch, plan
from semsearch.errors import EncodingFailed
from semsearch.sparse_vectors import SparseVectors


class SparsePipeline(Pipeline):
    """A tokenizer and the modules behind it, the last of which sets `Features.active`."""

    def encode_sparse(self, texts: Iterable[str], prompt: str = "") -> SparseVectors:
        """The vectors of texts in their order, each with the prompt before it.

        Raises:
            EncodingFailed: A text's vector is not finite, or memory does not even suffice for one text.
        """
        texts = texts if isinstance(texts, Sequence) else list(texts)
        return SparseVectors.joined(list(self.run(texts, prompt, self.sparse)), self.dim)

    def sparse(self, window: Window) -> SparseVectors:
        """Vectors of a window's texts, every one finite."""
        rows: list[tuple[np.ndarray, np.ndarray]] = [(np.empty(0, np.int32), np.empty(0, np.float32))]
        rows *= len(window.texts)
        unsound: list[int] = []
        for batch, active in self.by_batches(window, self._active):
            unsound += batch.texts[~active.finite.cpu().numpy()].tolist()
            _spread(active, batch, rows)
        for place in unsound:  # perhaps its neighbours were the cause
            (alone,) = plan(window.lengths[[place]], self.budget)
            batch = chosen(alone, np.array([place]))
            again = self._active(window, batch)
            if again is None or not bool(again.finite.all()):
                raise EncodingFailed(
                    f"the model gave NaN or infinite numbers for the text {shown(window, place)}. They may be too "
                    f"large for {str(self.dtype).removeprefix('torch.')}: try float32 (--dtype float32)."
                )
            _spread(again, batch, rows)
        return SparseVectors.of_rows(rows, self.dim)

    @torch.inference_mode()
    def _active(self, window: Window, batch: Batch) -> Active | None:
        """What is not 0 of a batch; None where memory did not suffice (and by now is free again)."""
        try:
            features = window.features(batch, self.device)
            for module in self.modules:
                features = module(features)
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and not any(sign in str(error) for sign in NO_MEMORY):
                raise
        else:
            assert features.active is not None, "the last module of a sparse encoder sets what is active"
            return features.active
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return None


def _spread(active: Active, batch: Batch, rows: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Put the vectors of a batch in the places of its texts."""
    counts = torch.bincount(active.rows, minlength=len(batch.texts)).cpu().numpy()
    ends = np.cumsum(counts)[:-1]
    components = np.split(active.components.cpu().numpy().astype(np.int32), ends)
    values = np.split(active.values.cpu().numpy(), ends)
    for place, indices, weights in zip(batch.texts.tolist(), components, values, strict=True):
        rows[place] = indices, weights
