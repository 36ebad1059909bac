"""A late-interaction model as a second stage: exact MaxSim over the candidates, explained by pairs of tokens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from semsearch.arguments import as_list
from semsearch.encoder.multi_vector_encoder import MultiVectorTextEncoder, likest
from semsearch.errors import UsageError
from semsearch.reranker.token_store import COMPONENT_BITS, TokenStore
from semsearch.types import Scores, Vectors


class TokenPair(NamedTuple):
    """A token of a query and the token of a text that is most like it; spans are characters, empty for what is none."""

    query: tuple[int, int]
    text: tuple[int, int]
    similarity: float


class MaxSim:
    """A reranker by a late-interaction model: `Σᵢ maxⱼ qᵢ · dⱼ` over the tokens of a query and a text.

    Args:
        encoder: Gives the vectors of tokens.
        store: Where those of texts are kept; None makes them anew each time, in float32.
        bits: Of a component that is kept: 16 (float16), or 2, with centroids that are learnt from the first texts.
    """

    weight: float | None = None  # its order alone, as its authors measured it

    def __init__(self, encoder: MultiVectorTextEncoder, store: Path | str | None = None, *, bits: int = 16) -> None:
        if bits not in COMPONENT_BITS:
            raise UsageError(
                f"vectors of tokens are kept in {' or '.join(map(str, COMPONENT_BITS))} bits a component, not {bits}."
            )
        self.encoder, self.name, self.folder = encoder, f"maxsim:{encoder.name}", encoder.folder
        self.store = None if store is None else TokenStore(Path(store), encoder.fingerprint, encoder.dim, bits)

    def score(self, query: str, texts: Iterable[str]) -> Scores:
        """One float32 score for each text, `(n,)`; of a long text, its first tokens count.

        Raises:
            UsageError: `texts` is no list of texts, or `query` is none.
        """
        texts = as_list(texts, "a ranking needs one query, a text, and a list of texts")
        if not all(isinstance(text, str) for text in (query, *texts)):
            raise UsageError("a ranking needs one query, a text, and a list of texts.")
        return self.encoder.similarity(self.encoder.encode_queries([query])[0], self._vectors(texts))

    def token_pairs(self, query: str, text: str) -> list[TokenPair]:
        """What the score of a text is made of: each token of the query with the likest of the text, the likest first.

        Pooled tokens stand nowhere, so their spans are empty.
        """
        asked = self.encoder.encode_queries([query])[0]
        (vectors,) = self._vectors([text])
        if not len(vectors):
            return []
        best, products = likest(asked, vectors)
        own, there = self.encoder.spans(query, "query"), self.encoder.spans(text, "document")
        own += [(0, 0)] * (len(asked) - len(own))
        if self.encoder.pooling is not None:
            own = own if "query" not in self.encoder.pooling.roles else [(0, 0)] * len(asked)
            there = [(0, 0)] * len(vectors)
        found = [TokenPair(own[i], there[j], float(products[i])) for i, j in enumerate(best.tolist())]
        return sorted(found, key=lambda pair: -pair.similarity)

    def description(self) -> dict[str, Any]:
        """What there is to know about the model, in JSON values."""
        return {
            "name": self.name,
            "kind": "maxsim",
            "weight": self.weight,
            "dim": self.encoder.dim,
            "window": self.encoder.window,
            "modules": list(self.encoder.modules),
            "device": str(self.encoder.device),
            "dtype": str(self.encoder.dtype).removeprefix("torch."),
        }

    def _vectors(self, texts: list[str]) -> list[Vectors]:
        if self.store is None:
            return self.encoder.encode_documents(texts)
        return self.store.vectors(texts, self.encoder.encode_documents)

    def __repr__(self) -> str:
        return f"<MaxSim {self.encoder.name}: {self.encoder.dtype} on {self.encoder.device}>"
