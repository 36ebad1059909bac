"""Sparse encoders: texts to weights for a few words each, opened by name as their authors meant them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semsearch.arguments import check_whole
from semsearch.encoder import resolve
from semsearch.encoder.checkpoint import ROLES, Checkpoint, Role, read, understood
from semsearch.encoder.load import device_of, digest_of, dtype_of, files_of, fingerprint_of
from semsearch.encoder.prompts import Prompts, prompts_of
from semsearch.errors import DataError, ModelError, UsageError
from semsearch.hardware import settle_threads
from semsearch.sparse_vectors import SparseVectors
from semsearch.types import Metric, Scores

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from semsearch.encoder.sparse_inference import SparsePipeline

SPARSE_FINGERPRINT_VERSION = 1  # raised when the same checkpoint would give other vectors than before
SPARSE_METRICS = {None: Metric.DOT, "dot": Metric.DOT, "dot_product": Metric.DOT, "cosine": Metric.COSINE}


def load_sparse_encoder(
    name_or_path: str,
    device: str | None = None,
    dtype: str | None = None,
    *,
    revision: str | None = None,
    prompts: Mapping[str, str] | None = None,
    max_active_dims: int | None = None,
    batch_tokens: int | None = None,
) -> SparseTextEncoder:
    """Open a sparse text encoder: SPLADE, one whose questions cost no model (a table of words), or CSR.

    Args:
        name_or_path: A folder, a `.zip` by path or URL, or `owner/name` of the hub.
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; None and 'auto' take the GPU where there is one.
        dtype: 'float32', 'bfloat16' or 'float16' to compute in; None and 'auto' take bfloat16 where the hardware is
            fast in it. Values are float32 in any case.
        revision: A branch, tag or commit of a hub repository.
        prompts: Other texts to stand before a 'query' or a 'document' than those of the model.
        max_active_dims: Keep so many of the greatest components of each vector; None keeps all.
        batch_tokens: Tokens of a batch; None takes what suits the device. Changes speed and memory, no vector.

    Raises:
        ModelError: The model is nowhere to be found, or can't be opened faithfully; says why.
        UsageError: An argument can't be.
    """
    if max_active_dims is not None:
        check_whole(max_active_dims, "max_active_dims")
    source = resolve.find(str(name_or_path), revision)
    with understood(source.folder):
        checkpoint = read(source.folder, "sparse")
    settle_threads()
    on = device_of(device)
    with understood(source.folder):
        return _opened(source, checkpoint, on, dtype_of(dtype, on), prompts, max_active_dims, batch_tokens)


def _opened(
    source: resolve.ModelFolder,
    checkpoint: Checkpoint,
    device: torch.device,
    dtype: torch.dtype,
    custom_prompts: Mapping[str, str] | None,
    most: int | None,
    batch_tokens: int | None,
) -> SparseTextEncoder:
    from semsearch.encoder.sparse_assembly import MaskedModules, SparseAssembler
    from semsearch.encoder.sparse_inference import SparsePipeline
    from semsearch.encoder.sparse_modules import MostActive, UnitLength

    if checkpoint.similarity not in SPARSE_METRICS:
        raise ModelError(
            f"{source.folder} compares sparse vectors by '{checkpoint.similarity}'; known are dot and cosine."
        )
    metric = SPARSE_METRICS[checkpoint.similarity]
    prompts = prompts_of(checkpoint, None, custom_prompts)
    stacks = SparseAssembler(MaskedModules(dtype, device), most).stacks(
        {role: checkpoint.stages_of(role) for role in ROLES}
    )
    dim = stacks["document"].dim
    if stacks["query"].dim != dim:
        raise ModelError(f"{source.name} gives queries {stacks['query'].dim:,} components and documents {dim:,}.")
    ends: list[Any] = [] if most is None else [MostActive(most)]
    ends += [UnitLength()] if metric == Metric.COSINE else []

    def stream(role: Role) -> SparsePipeline:
        stack = stacks[role]
        return SparsePipeline(
            stack.tokenize,
            [*stack.modules, *ends],
            dim,
            device,
            dtype,
            max_tokens=stack.max_tokens,
            batch_tokens=batch_tokens,
        )

    document = stream("document")
    streams: dict[Role, SparsePipeline] = {"document": document, "query": document}
    if stacks["query"] is not stacks["document"]:
        streams["query"] = stream("query")
    with ThreadPoolExecutor(1, "hash") as hashing:
        files = {path for role in ROLES for path in files_of(checkpoint.stages_of(role))}
        digests = {path: hashing.submit(digest_of, path) for path in sorted(files)}
        identity = [
            "sparse",
            SPARSE_FINGERPRINT_VERSION,
            {role: stack.identity for role, stack in stacks.items()},
            [prompts.query, prompts.document],
            [most, str(metric)],
        ]
        fingerprint = fingerprint_of(identity, digests)
    reader = stacks["document"].text_tokenizer
    assert reader is not None, "a sparse encoder reads tokens of a subword tokenizer"
    return SparseTextEncoder(
        name=source.name,
        folder=source.folder,
        dim=dim,
        metric=metric,
        prompts=prompts,
        max_active_dims=most,
        fingerprint=fingerprint,
        device=device,
        dtype=dtype,
        streams=streams,
        modules={role: tuple(stack.names) for role, stack in stacks.items()},
        tokenizer=reader.tokenizer,
        window=None if reader.unlimited else reader.window(prompts.document),
    )


class SparseTextEncoder:
    """A sparse model, opened: `encode_documents` and `encode_queries` give `SparseVectors` of `dim` components.

    >>> encoder = semsearch.load_sparse_encoder("prithivida/Splade_PP_en_v2")       # doctest: +SKIP
    >>> encoder.decode(encoder.encode_queries(["how do vaccines work"]), top_k=3)   # doctest: +SKIP
    [[('vaccine', 2.9), ('vaccines', 2.4), ('work', 1.6)]]
    """

    def __init__(
        self,
        *,
        name: str,
        folder: Path,
        dim: int,
        metric: Metric,
        prompts: Prompts,
        max_active_dims: int | None,
        fingerprint: str,
        device: torch.device,
        dtype: torch.dtype,
        streams: Mapping[Role, SparsePipeline],
        modules: Mapping[Role, Sequence[str]],
        tokenizer: Tokenizer,
        window: int | None,
    ) -> None:
        self.name = name
        self.folder = folder
        self.dim = dim
        self.metric = metric  # by dot products; those of cosine models are of unit length
        self.prompts = prompts
        self.max_active_dims = max_active_dims
        self.fingerprint = fingerprint
        self.device = device
        self.dtype = dtype  # of the computation; values are float32 whatever it is
        self.modules = dict(modules)  # for people: what a text of each role passes
        self.tokenizer = tokenizer
        self.window = window  # tokens of a document, its prompt and the special tokens taken off; None: no limit
        self._streams = streams

    def encode_documents(self, texts: Iterable[str]) -> SparseVectors:
        """The vectors of texts to be found.

        Raises:
            EncodingFailed: The model gave NaN or infinite numbers for a text, which is named.
        """
        return self._encode("document", texts)

    def encode_queries(self, texts: Iterable[str]) -> SparseVectors:
        """The vectors of questions; errors as for `encode_documents`."""
        return self._encode("query", texts)

    def similarity(self, queries: SparseVectors, documents: SparseVectors) -> Scores:
        """The scores `(len(queries), len(documents))`: dot products, summed in float64; those of a cosine model too.

        Raises:
            DataError: They are not of this model.
        """
        self._check(queries)
        self._check(documents)
        return queries.dot(documents)

    def decode(self, vectors: SparseVectors, top_k: int | None = None) -> list[list[tuple[str, float]]]:
        """The words of each vector with their weights, the greatest first; the first `top_k` of them.

        Of a model whose components are no words (CSR) each is called by its number, `#17`.
        """
        if top_k is not None:
            check_whole(top_k, "top_k")
        self._check(vectors)
        words = []
        for components, values in vectors.rows():
            order = sorted(range(len(values)), key=lambda place: (-float(values[place]), int(components[place])))
            words.append([(self.word(int(components[place])), float(values[place])) for place in order[:top_k]])
        return words

    def sparsity(self, vectors: SparseVectors) -> dict[str, float]:
        """Of vectors, in the mean, the components that are not 0 (`active_dims`) and the share of all others."""
        self._check(vectors)
        active = float(vectors.counts.mean()) if len(vectors) else 0.0
        return {"active_dims": active, "sparsity_ratio": 1 - active / self.dim}

    def word(self, component: int) -> str:
        """What a component is called."""
        if not self._words:
            return f"#{component}"
        return self.tokenizer.id_to_token(component) or f"#{component}"

    @cached_property
    def _words(self) -> bool:
        return "SparseAutoEncoder" not in self.modules["document"]

    @property
    def truncated(self) -> int:
        """Texts so far that were longer than the model's window, and were cut."""
        return sum({id(stream): stream.truncated for stream in self._streams.values()}.values())

    def description(self) -> dict[str, Any]:
        """What there is to know of it, in JSON values."""
        return {
            "window": self.window,
            "prompts": {"query": self.prompts.query, "document": self.prompts.document},
            "prompts_from": self.prompts.source,
            "max_active_dims": self.max_active_dims,
            "modules": {role: list(names) for role, names in self.modules.items()},
        }

    def __repr__(self) -> str:
        return f"<SparseTextEncoder {self.name}: {self.dim} components, {self.metric}, {self.dtype} on {self.device}>"

    def _encode(self, role: Role, texts: Iterable[str]) -> SparseVectors:
        if isinstance(texts, str):
            raise UsageError("texts must be a list of texts; a single text goes in a list of its own.")
        return self._streams[role].encode_sparse(texts, self.prompts.of(role))

    def _check(self, vectors: SparseVectors) -> None:
        if vectors.dim != self.dim:
            raise DataError(f"the vectors have {vectors.dim:,} components and the model {self.name} {self.dim:,}.")
