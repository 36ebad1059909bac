"""An encoder whose question vectors were adapted to judged questions: a reranker of one matrix.

The score is `(A q) · d`: the encoder's own product, but for `A`, which is learnt and begins as the identity. It knows
what the questions that were judged look for among documents of their kind, and nothing of others. A folder of one is
an encoder's with `adapter.json` and `adapter.safetensors`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.arguments import as_list
from semsearch.encoder.checkpoint import read_json
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import ModelError, UsageError
from semsearch.reranker.layout import checked_weight
from semsearch.reranker.load import ADAPTER
from semsearch.types import Scores

Matrix = NDArray[np.float32]
MATRIX = "adapter.safetensors"


class AdaptedEncoder:
    """A reranker by an encoder's vectors, those of questions multiplied by a matrix.

    Args:
        encoder: Gives the vectors.
        matrix: `(dim, dim)`, finite; its product with a question's vector is compared with a text's.
        name: For people.
        weight: What it counts beside its first stage, from 0 to 1; None where that was not chosen.
    """

    def __init__(self, encoder: TextEncoder, matrix: Matrix, *, name: str, weight: float | None = None) -> None:
        self.encoder, self.matrix, self.name, self.weight = encoder, matrix, name, weight

    def score(self, query: str, texts: Iterable[str]) -> Scores:
        """One float32 score for each text, `(n,)`; of a long text, its first tokens count.

        Raises:
            UsageError: `texts` is no list of texts, or `query` is none.
        """
        texts = as_list(texts, "a ranking needs one query, a text, and a list of texts")
        if not all(isinstance(text, str) for text in (query, *texts)):
            raise UsageError("a ranking needs one query, a text, and a list of texts.")
        asked = self.matrix @ self.encoder.encode_queries([query])[0]
        scores: Scores = self.encoder.encode_documents(texts) @ asked
        return scores

    def description(self) -> dict[str, Any]:
        """What there is to know about the model, in JSON values."""
        return {
            "name": self.name,
            "kind": "adapter",
            "weight": self.weight,
            "device": str(self.encoder.device),
            "dtype": str(self.encoder.dtype).removeprefix("torch."),
        }

    def save(self, folder: Path) -> None:
        """Write the matrix and the weight into a folder that holds the encoder's files."""
        from safetensors.numpy import save_file

        save_file({"matrix": np.ascontiguousarray(self.matrix)}, folder / MATRIX)
        (folder / ADAPTER).write_text(json.dumps({"rerank_weight": self.weight}) + "\n", "utf-8")

    def __repr__(self) -> str:
        return f"<AdaptedEncoder {self.name}: {self.encoder.dim} components>"


def read(folder: Path, encoder: TextEncoder, name: str) -> AdaptedEncoder:
    """The reranker in a folder whose encoder is open.

    Raises:
        ModelError: The matrix or the weight can't be right.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    weight = checked_weight(read_json(folder / ADAPTER).get("rerank_weight"), folder / ADAPTER)
    try:
        matrix = load_file(folder / MATRIX).get("matrix")
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / MATRIX} can't be read ({error}): make the reranker anew.") from error
    shape = (encoder.dim, encoder.dim)
    if matrix is None or matrix.shape != shape or matrix.dtype != np.float32 or not np.isfinite(matrix).all():
        raise ModelError(f"{folder / MATRIX} must hold a finite float32 'matrix' of {shape}: make the reranker anew.")
    return AdaptedEncoder(encoder, matrix, name=name, weight=weight)
