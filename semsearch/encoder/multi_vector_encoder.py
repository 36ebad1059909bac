"""Late-interaction encoders: texts to a vector for each token, opened by name as their authors meant them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from semsearch.encoder import resolve
from semsearch.encoder.checkpoint import ROLES, Role, understood, weight_files
from semsearch.encoder.load import device_of, digest_of, dtype_of, files_of, fingerprint_of
from semsearch.encoder.multi_vector_layout import MultiVectorLayout, read_layout
from semsearch.encoder.prompts import Prompts, prompts_of
from semsearch.encoder.token_pooling import HierarchicalTokenPooling
from semsearch.errors import ModelError
from semsearch.hardware import settle_threads
from semsearch.types import Scores, Vectors

if TYPE_CHECKING:
    import torch

    from semsearch.encoder.modules import Dense
    from semsearch.encoder.token_vectors import TokenPipeline
    from semsearch.encoder.tokenization import TextTokenizer

MULTI_VECTOR_FINGERPRINT_VERSION = 1  # raised when the same checkpoint would give other vectors than before
TOKENS_TOGETHER = 1_024  # whose vectors and products stay in the cache


def load_multi_vector_encoder(
    name_or_path: str,
    device: str | None = None,
    dtype: str | None = None,
    *,
    revision: str | None = None,
    prompts: Mapping[str, str] | None = None,
    batch_tokens: int | None = None,
) -> MultiVectorTextEncoder:
    """Open a late-interaction model (ColBERT and its kin): what PyLate, sentence-transformers 6 or Stanford's saved.

    Args:
        name_or_path: A folder, a `.zip` by path or URL, or `owner/name` of the hub.
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; None and 'auto' take the GPU where there is one.
        dtype: 'float32', 'bfloat16' or 'float16' to compute in; None and 'auto' take bfloat16 where the hardware is
            fast in it. Vectors are float32 in any case.
        revision: A branch, tag or commit of a hub repository.
        prompts: Other texts to stand before a 'query' or a 'document' than those of the model.
        batch_tokens: Tokens of a batch; None takes what suits the device. Changes speed and memory, no vector.

    Raises:
        ModelError: The model is nowhere to be found, or can't be opened faithfully; says why.
        UsageError: An argument can't be.
    """
    source = resolve.find(str(name_or_path), revision)
    with understood(source.folder):
        layout = read_layout(source.folder)
    settle_threads()
    on = device_of(device)
    with understood(source.folder):
        return _opened(source, layout, on, dtype_of(dtype, on), prompts, batch_tokens)


def _opened(
    source: resolve.ModelFolder,
    layout: MultiVectorLayout,
    device: torch.device,
    dtype: torch.dtype,
    custom_prompts: Mapping[str, str] | None,
    batch_tokens: int | None,
) -> MultiVectorTextEncoder:
    from semsearch.encoder.assemble import Assembler
    from semsearch.encoder.token_vectors import TokenPipeline
    from semsearch.encoder.torch_modules import TorchModules

    checkpoint = layout.checkpoint
    prompts = prompts_of(checkpoint, None, custom_prompts)
    if checkpoint.stages[0].kind != "transformer":
        raise ModelError(f"{source.folder} begins with a module of the kind '{checkpoint.stages[0].kind}'.")
    if checkpoint.stages[0].config.get("transformer_task") == "retrieval":
        raise ModelError(f"{source.folder} reads pictures of pages (ColPali and its kin), which is not done here.")
    assembler = Assembler(TorchModules(dtype, device, batch_tokens))
    projection = _projection(source.folder).to(device) if layout.projected else None
    last = layout.pooling
    pooling = None if last is None else HierarchicalTokenPooling.load(last.folder, last.config)
    streams: dict[Role, TokenPipeline] = {}
    identity: list[Any] = []
    dim, names = 0, [""]
    for role in ROLES:
        stack = assembler.stack(checkpoint.stages, role)
        assert stack.text_tokenizer is not None
        reader, expansion = _reader(layout, role, stack.text_tokenizer, source.folder)
        if projection is not None:
            stack.modules.insert(1, projection)
            stack.names.insert(1, "Dense")
            stack.dim = projection.width(stack.dim)
        dim, names = stack.dim, stack.names
        skipped = _ids(layout.skipped, reader) if role in layout.skipping else []
        streams[role] = TokenPipeline(
            reader,
            stack.modules,
            dim,
            device,
            dtype,
            skipped=skipped,
            kept=layout.kept if role == "document" else None,
            expansion=expansion,
            max_tokens=reader.max_tokens,
            batch_tokens=batch_tokens,
        )
        told = [expansion.length, expansion.token, expansion.attend] if expansion is not None else None
        identity.append([role, stack.identity, reader.max_tokens, skipped, told])
    identity += [list(layout.kept or ()), layout.mean, prompts.query, prompts.document, list(layout.markers)]
    identity.append(None if layout.pooling is None else dict(layout.pooling.config))
    with ThreadPoolExecutor(1, "hash") as hashing:
        files = files_of(checkpoint.stages) | set(weight_files(source.folder))
        digests = {path: hashing.submit(digest_of, path) for path in sorted(files)}
        fingerprint = fingerprint_of(["multi-vector", MULTI_VECTOR_FINGERPRINT_VERSION, identity], digests)
    return MultiVectorTextEncoder(
        name=source.name,
        folder=source.folder,
        dim=dim,
        prompts=prompts,
        fingerprint=fingerprint,
        streams=streams,
        pooling=pooling,
        mean=layout.mean,
        modules=names,
    )


class MultiVectorTextEncoder:
    """A late-interaction model, opened: each text becomes a float32 array `(tokens, dim)`.

    >>> encoder = semsearch.load_multi_vector_encoder("lightonai/GTE-ModernColBERT-v1")     # doctest: +SKIP
    >>> encoder.encode_queries(["how do vaccines work"])[0].shape                           # doctest: +SKIP
    (48, 128)
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        dim: int,
        prompts: Prompts,
        fingerprint: str,
        streams: Mapping[Role, TokenPipeline],
        pooling: HierarchicalTokenPooling | None,
        mean: bool,
        modules: Sequence[str],
    ) -> None:
        self.name, self.folder = name, folder
        self.dim = dim  # components of a token's vector
        self.prompts = prompts
        self.fingerprint = fingerprint
        self.pooling = pooling
        self.mean = mean  # the score is the mean over the query's tokens, not their sum
        self.modules = tuple(modules)  # for people
        self._streams = streams

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._streams["document"].device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in; vectors are float32 whatever it is."""
        return self._streams["document"].dtype

    @property
    def window(self) -> int:
        """Tokens that it reads of a document, special ones and prompt taken off."""
        return self.tokenizer("document").window(self.prompts.document)

    def encode_documents(self, texts: Iterable[str]) -> list[Vectors]:
        """The vectors `(tokens, dim)` of texts to be found.

        Raises:
            EncodingFailed: The model gave NaN or infinite numbers for a text, which is named.
        """
        return self._encode("document", texts)

    def encode_queries(self, texts: Iterable[str]) -> list[Vectors]:
        """The vectors of questions, with what expands them; errors as for `encode_documents`."""
        return self._encode("query", texts)

    def similarity(self, query: Vectors, documents: Sequence[Vectors]) -> Scores:
        """The score of each document `(n,)`: see `max_similarity`."""
        return max_similarity(query, documents, mean=self.mean)

    def tokenizer(self, role: Role) -> TextTokenizer:
        """How texts of a role become tokens."""
        found: TextTokenizer = self._streams[role].tokenize  # type: ignore[assignment]
        return found

    def spans(self, text: str, role: Role) -> list[tuple[int, int]]:
        """The characters of `text` behind each of its vectors; `(0, 0)` for those of special tokens and the prompt.

        Of a query those that expand it follow; of pooled tokens nobody can tell.
        """
        stream, prompt = self._streams[role], self.prompts.of(role)
        ids = np.array(self.tokenizer(role)([text], prompt)[0][0], dtype=np.int64)
        spans = self.tokenizer(role).spans(text, prompt)
        return [span for span, counts in zip(spans, stream.counted(ids).tolist(), strict=True) if counts]

    def _encode(self, role: Role, texts: Iterable[str]) -> list[Vectors]:
        found = self._streams[role].encode_tokens(texts, self.prompts.of(role))
        if self.pooling is None or role not in self.pooling.roles:
            return found
        return [self.pooling(vectors) for vectors in found]

    def __repr__(self) -> str:
        return f"<MultiVectorTextEncoder {self.name}: {self.dim} components a token, {self.dtype} on {self.device}>"


def max_similarity(query: Vectors, documents: Sequence[Vectors], *, mean: bool = False) -> Scores:
    """`Σᵢ maxⱼ qᵢ · dⱼ` for each document, float32 `(n,)`; with `mean` divided by the query's tokens.

    Khattab and Zaharia, 2020 (ColBERT). Products are float32, their sum over the query's tokens float64. A document
    without tokens scores below every other: the least that the query's tokens could give with vectors of their lengths.

    Args:
        query: `(m, dim)`.
        documents: `(t, dim)` each, float32 or float16.
        mean: Whether the score is the mean of the maxima.
    """
    import torch

    scores = np.empty(len(documents), np.float64)
    lengths = np.array([len(vectors) for vectors in documents], dtype=np.int64)
    scores[lengths == 0] = -float(np.linalg.norm(query, axis=1).sum()) - 1
    filled = np.flatnonzero(lengths)
    ends = np.cumsum(lengths[filled])
    asked = torch.from_numpy(np.ascontiguousarray(query, np.float32))
    start = before = 0
    while start < len(filled):
        stop = max(start + 1, int(np.searchsorted(ends, before + TOKENS_TOGETHER, "right")))
        places = filled[start:stop]
        tokens = torch.from_numpy(np.concatenate([documents[place] for place in places])).float()  # (T, dim)
        products = (asked @ tokens.T).numpy()  # (m, T): maxima over what lies side by side are the fastest
        starts = np.cumsum(lengths[places]) - lengths[places]
        scores[places] = np.maximum.reduceat(products, starts, axis=1).sum(axis=0, dtype=np.float64)
        start, before = stop, int(ends[stop - 1])
    if mean and len(query):
        scores /= len(query)
    return scores.astype(np.float32)


def likest(query: Vectors, document: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of the query's tokens the token of a document that is most like it, and their product: `(m,)` both."""
    products = document.astype(np.float32, copy=False) @ query.T
    best = products.argmax(axis=0)
    return best, products[best, np.arange(len(query))]


def _projection(folder: Path) -> Dense:
    """The projection that Stanford's files keep among the weights of the transformer."""
    from torch import nn

    from semsearch.encoder.modules import Dense
    from semsearch.encoder.weights import load_weights

    weight = load_weights(folder).get("linear.weight")
    if weight is None or weight.dim() != 2:
        raise ModelError(f"{folder} lacks the projection of its tokens (linear.weight): fetch the model anew.")
    sizes = {"out_features": weight.shape[0], "in_features": weight.shape[1], "bias": False}
    identity = {"activation_function": "torch.nn.modules.linear.Identity", "module_input_name": "token_embeddings"}
    made = Dense(sizes | identity, folder)
    made.linear.weight = nn.Parameter(weight.float(), requires_grad=False)
    return made.eval()


def _reader(layout: MultiVectorLayout, role: Role, reader: TextTokenizer, folder: Path) -> tuple[TextTokenizer, Any]:
    """How texts of a role become tokens, and what is put behind them."""
    from semsearch.encoder.checkpoint import read_json
    from semsearch.encoder.token_vectors import Expansion
    from semsearch.encoder.tokenization import TextTokenizer

    first = layout.checkpoint.stages[0]
    settings = read_json(first.folder / "tokenizer_config.json")
    _register(layout.markers, reader)
    limit, expansion = reader.max_tokens, None
    if role == "query" and layout.expansion is not None:
        if settings.get("padding_side") == "left":
            raise ModelError(f"{folder} expands queries at their beginning, which is not done here.")
        said = layout.expansion
        own = first.config.get("query_length")
        limit = said.length if said.fixed else max(limit, said.length) if own else limit
        token = _filler(said.token, settings, reader, folder)
        expansion = Expansion(said.length, token, said.attend)
    return TextTokenizer(reader.tokenizer, limit, left=reader.left), expansion


def _register(markers: Sequence[str], reader: TextTokenizer) -> None:
    """Keep the tokenizer from taking a marker apart that it knows: models read it as one token."""
    from tokenizers import AddedToken

    tokenizer = reader.tokenizer
    for marker in markers:
        for form in dict.fromkeys((marker, *marker.split(None, 1)[:1])):
            if form and tokenizer.token_to_id(form) is not None:
                if tokenizer.encode(form, add_special_tokens=False).tokens != [form]:
                    tokenizer.add_special_tokens([AddedToken(form, normalized=False, special=True)])
                break


def _filler(said: str | None, settings: Mapping[str, Any], reader: TextTokenizer, folder: Path) -> int:
    """The token that expands queries: the one that is named, else the tokenizer's mask, else its end."""
    named = [settings.get("mask_token"), settings.get("eos_token")] if said is None else [said]
    known = [one.get("content") if isinstance(one, dict) else one for one in named]
    for token in (*known, *(("[MASK]", "<mask>") if said is None else ())):
        found = reader.tokenizer.token_to_id(token) if token else None
        if found is not None:
            return int(found)
    raise ModelError(f"{folder} expands queries by a token that its tokenizer doesn't have ({said or 'a mask'}).")


def _ids(words: Sequence[str], reader: TextTokenizer) -> list[int]:
    """The tokens that words are; those that are none skip nothing."""
    found = (reader.tokenizer.token_to_id(word) for word in words)
    return sorted({int(token) for token in found if token is not None})
