"""The encoder that users hold: texts by role to vectors, and what there is to know about the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from semsearch.encoder.checkpoint import Role
from semsearch.encoder.prompts import Prompts
from semsearch.errors import EncodingFailed, UsageError
from semsearch.types import Metric, Vectors

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer


class Stream(Protocol):
    """Texts to vectors: what a `Pipeline` does."""

    def encode(self, texts: Sequence[str] | Iterable[str], prompt: str, out: Vectors | None = None) -> Vectors:
        """Vectors `(n, dim)` of texts that all get the same prompt."""
        ...


class TextEncoder:
    """A model, opened: `encode_documents` and `encode_queries` give float32 `(n, dim)`.

    Vectors of a cosine model have unit length; those of a dot-product model are as the model makes them.

    >>> encoder = semsearch.load_encoder("all-MiniLM-L6-v2")         # doctest: +SKIP
    >>> encoder.encode_queries(["how do vaccines work"]).shape       # doctest: +SKIP
    (1, 384)
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        where: str,
        dim: int,
        metric: Metric,
        prompts: Prompts,
        truncate_dim: int | None,
        normalized: bool,
        fingerprint: str,
        device: torch.device,
        dtype: torch.dtype,
        streams: Mapping[Role, Stream],
        modules: Sequence[str],
    ) -> None:
        self.name = name
        self.folder = folder
        self.where = where  # how the folder was found
        self.dim = dim
        self.metric = metric
        self.prompts = prompts
        self.truncate_dim = truncate_dim
        self.normalized = normalized  # to unit length
        self.fingerprint = fingerprint
        self.device = device
        self.dtype = dtype  # of the computation; vectors are float32 whatever it is
        self.modules = tuple(modules)  # for people: what a document passes
        self._streams = streams

    def encode_documents(self, texts: Sequence[str], out: Vectors | None = None) -> Vectors:
        """Vectors `(len(texts), dim)`, float32, of texts to be found; written to `out` where it is given.

        Raises:
            EncodingFailed: The model gave NaN or infinite numbers for a text, which is named.
        """
        return self._encode("document", texts, out)

    def encode_queries(self, texts: Sequence[str], out: Vectors | None = None) -> Vectors:
        """Vectors `(len(texts), dim)`, float32, of questions; written to `out` where it is given.

        Raises:
            EncodingFailed: The model gave NaN or infinite numbers for a text, which is named.
        """
        return self._encode("query", texts, out)

    def description(self) -> dict[str, Any]:
        """What `semsearch info` tells of the model, in JSON values."""
        return {
            "name": self.name,
            "found": self.where,
            "dim": self.dim,
            "metric": str(self.metric),
            "window": getattr(self, "window", None),
            "prompts": {"query": self.prompts.query, "document": self.prompts.document},
            "prompts_from": self.prompts.source,
            "truncate_dim": self.truncate_dim,
            "normalized": self.normalized,
            "modules": list(self.modules),
            "device": str(self.device),
            "dtype": str(self.dtype).removeprefix("torch."),
            "fingerprint": self.fingerprint,
        }

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.name}: {self.dim} components, {self.metric}, {self.dtype} on {self.device}>"
        )

    def _encode(self, role: Role, texts: Sequence[str], out: Vectors | None) -> Vectors:
        if isinstance(texts, str):
            raise UsageError("texts must be a list of texts; a single text goes in a list of its own.")
        vectors = self._streams[role].encode(texts, self.prompts.of(role), out)
        for start in range(0, len(vectors), 65_536):
            finite = np.isfinite(vectors[start : start + 65_536]).all(axis=1)
            if not finite.all():
                row = start + int(np.argmin(finite))
                raise EncodingFailed(
                    f"{self.name} gave NaN or infinite numbers for text {row}, {texts[row][:80]!r}. In {self.dtype} "
                    "its numbers may be too large: try dtype='float32' (--dtype float32)."
                )
        return vectors


class WindowedTextEncoder(TextEncoder):
    """A `TextEncoder` that reads so many tokens and no more: longer documents are split to its window."""

    def __init__(self, *, window: int, tokenizer: Tokenizer, **rest: Any) -> None:
        super().__init__(**rest)
        self.window = window  # tokens of a document, its prompt and the special tokens taken off
        self.tokenizer = tokenizer
