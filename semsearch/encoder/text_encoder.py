"""The encoder that users hold: texts by role to vectors, and what there is to know about the model."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from semsearch.encoder.checkpoint import Role
from semsearch.encoder.prompts import Prompts
from semsearch.errors import UsageError
from semsearch.types import Metric, Vectors

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from semsearch.encoder.readings import Reading
    from semsearch.encoder.tokenization import VocabularyTokenize


class Stream(Protocol):
    """Texts to vectors: what a `Pipeline` does, and a `Fleet` of them."""

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        ...

    def encode(self, texts: Iterable[str], prompt: str = "") -> Vectors:
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
        tokenize: VocabularyTokenize,
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
        self.tokenize = tokenize  # documents

    def encode_documents(self, texts: Iterable[str]) -> Vectors:
        """Float32 vectors `(n, dim)` of texts to be found.

        Raises:
            EncodingFailed: The model gave NaN or infinite numbers for a text, which is named.
        """
        return self._encode("document", texts)

    def encode_queries(self, texts: Iterable[str]) -> Vectors:
        """Float32 vectors `(n, dim)` of questions; errors as for `encode_documents`."""
        return self._encode("query", texts)

    def readings(self, texts: Sequence[str]) -> list[Reading]:
        """How the model reads each text: which of its words it has no vector for, or takes for others.

        Texts that differ in nothing else have the same vector, whatever they say.
        """
        return self.tokenize.read(texts)

    def stream(self, role: Role) -> Stream:
        """What texts of a role pass, for those who take a model apart."""
        return self._streams[role]

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        return sum({id(stream): stream.truncated for stream in self._streams.values()}.values())

    def description(self) -> dict[str, Any]:
        """What a collection made with the model remembers, and `semsearch info` tells, of it, in JSON values."""
        return {
            "window": getattr(self, "window", None),
            "prompts": {"query": self.prompts.query, "document": self.prompts.document},
            "prompts_from": self.prompts.source,
            "truncate_dim": self.truncate_dim,
            "normalized": self.normalized,
            "modules": list(self.modules),
        }

    def over(self, streams: Mapping[Role, Stream]) -> Self:
        """The same model with other streams for its texts; with none it is what can be sent to another process."""
        other = copy.copy(self)
        other._streams = streams
        return other

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.name}: {self.dim} components, {self.metric}, {self.dtype} on {self.device}>"
        )

    def _encode(self, role: Role, texts: Iterable[str]) -> Vectors:
        if isinstance(texts, str):
            raise UsageError("texts must be a list of texts; a single text goes in a list of its own.")
        return self._streams[role].encode(texts, self.prompts.of(role))


class WindowedTextEncoder(TextEncoder):
    """A `TextEncoder` that reads so many tokens and no more: longer documents are split to its window."""

    def __init__(self, *, window: int, tokenizer: Tokenizer, **rest: Any) -> None:
        super().__init__(**rest)
        self.window = window  # tokens of a document, its prompt and the special tokens taken off
        self.tokenizer = tokenizer

    @cached_property
    def query_window(self) -> int:
        """Tokens of a question that are read: its prompt may be longer or shorter than a document's."""
        document, query = (
            len(self.tokenizer.encode(prompt, add_special_tokens=False).ids)
            for prompt in (self.prompts.document, self.prompts.query)
        )
        return max(self.window + document - query, 0)
