"""Opening a cross-encoder by name: found as encoders are, built from its layout, refused where it can't be faithful."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from semsearch.encoder import resolve
from semsearch.encoder.checkpoint import read_json, understood
from semsearch.encoder.load import device_of, dtype_of
from semsearch.errors import ModelError, UsageError
from semsearch.hardware import settle_threads

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer
    from torch import nn

    from semsearch.encoder.multi_vector_layout import MultiVectorLayout
    from semsearch.reranker.adapter import AdaptedEncoder
    from semsearch.reranker.cross_encoder import CrossEncoder
    from semsearch.reranker.late_interaction import LateInteraction
    from semsearch.reranker.layout import RerankerLayout
    from semsearch.reranker.max_sim import MaxSim
    from semsearch.reranker.text_pairs import PairTokenizer

DEFAULT_RERANKER = "cross-encoder/ms-marco-MiniLM-L6-v2"
LATE_INTERACTION, ADAPTER = "late_interaction.json", "adapter.json"  # what such a folder has beside an encoder's files
MAXSIM = "maxsim:"  # before the name of a late-interaction model
TOKEN_VECTORS = "SEMSEARCH_TOKEN_VECTORS"  # a folder in which such a model keeps the vectors of texts
TOKEN_BITS = "SEMSEARCH_TOKEN_BITS"  # of a component that is kept there
RERANKER_OWNER = "cross-encoder"  # of names without one
CAUSAL_TOKENS = 8_192  # that rerankers which are language models were trained with, whatever the language model reads
LEFT = {"xlnet"}  # kinds that are padded in front where nothing else is said


def load_reranker(
    name_or_path: str = DEFAULT_RERANKER,
    *,
    device: str | None = None,
    dtype: str | None = None,
    batch_tokens: int | None = None,
    revision: str | None = None,
) -> CrossEncoder | LateInteraction | AdaptedEncoder | MaxSim:
    """Open a cross-encoder as its authors meant it, a late-interaction model, or a reranker that was made here.

    Args:
        name_or_path: A folder, a `.zip` by path or URL, `owner/name` of the hub, or a bare name such as
            'ms-marco-MiniLM-L6-v2' of the cross-encoder family; after 'maxsim:' a late-interaction model.
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; None and 'auto' take the GPU where there is one.
        dtype: 'float32', 'bfloat16' or 'float16' to compute in; None and 'auto' take bfloat16 where the hardware is
            fast in it. Heads and logits are float32 in any case.
        batch_tokens: Tokens of a batch; None takes what suits the device.
        revision: A branch, tag or commit of a hub repository.

    Raises:
        ModelError: The model is nowhere to be found, or can't be opened faithfully; says why.
        UsageError: An argument can't be.
    """
    if name_or_path.startswith(MAXSIM):
        return _maxsim(name_or_path.removeprefix(MAXSIM), device, dtype, batch_tokens, revision)
    from semsearch.encoder.multi_vector_layout import MultiVectorLayout

    source, layout = layout_of(str(name_or_path), revision)
    if isinstance(layout, str):
        from semsearch.encoder.load import load_encoder

        encoder = load_encoder(str(source.folder), device, dtype, batch_tokens=batch_tokens)
        made: LateInteraction | AdaptedEncoder = import_module(f"semsearch.reranker.{layout}").read(
            source.folder, encoder, source.name
        )
        return made
    if isinstance(layout, MultiVectorLayout):
        return _maxsim(str(source.folder), device, dtype, batch_tokens, None)

    from semsearch.encoder.modules import activation
    from semsearch.encoder.tokenization import UNLIMITED
    from semsearch.reranker.cross_encoder import CrossEncoder, PairPipeline
    from semsearch.reranker.text_pairs import Windows

    settle_threads()
    on = device_of(device)
    number = dtype_of(dtype, on)
    shaped = activation(layout.activation, source.folder)
    with understood(source.folder):
        reader, limit, modules = _built(layout, source.label, number, on)
    pipeline = PairPipeline(_no_texts, modules, layout.labels, on, number, max_tokens=limit, batch_tokens=batch_tokens)
    return CrossEncoder(
        name=source.name,
        folder=source.folder,
        where=source.where,
        labels=layout.labels,
        activation=shaped,
        windows=Windows(reader, min(limit, UNLIMITED), windowed=layout.labels == 1),
        pipeline=pipeline,
        modules=[type(module).__name__ for module in modules],
        weight=layout.weight,
    )


def layout_of(
    name: str, revision: str | None = None
) -> tuple[resolve.ModelFolder, RerankerLayout | MultiVectorLayout | str]:
    """Where a reranker lies and how it is laid out; the module of one that was made here. No weight is read.

    Raises:
        ModelError: The model is nowhere to be found, or its layout is no reranker's; says why.
    """
    from semsearch.encoder.multi_vector_layout import read_layout, says_multi_vector
    from semsearch.reranker.layout import read

    tokens = name.startswith(MAXSIM)
    if tokens:
        source = resolve.find(name.removeprefix(MAXSIM), revision)
    else:
        source = resolve.find(name, revision, owner=RERANKER_OWNER)
    for file, kind in ((LATE_INTERACTION, "late_interaction"), (ADAPTER, "adapter")):
        if not tokens and (source.folder / file).is_file():
            return source, kind
    with understood(source.folder):
        if tokens or says_multi_vector(source.folder):
            return source, read_layout(source.folder)
        return source, read(source.folder)


def _maxsim(name: str, device: str | None, dtype: str | None, batch_tokens: int | None, revision: str | None) -> MaxSim:
    from semsearch.encoder.multi_vector_encoder import load_multi_vector_encoder
    from semsearch.reranker.max_sim import MaxSim
    from semsearch.reranker.token_store import COMPONENT_BITS

    opened = load_multi_vector_encoder(name, device, dtype, revision=revision, batch_tokens=batch_tokens)
    said = os.environ.get(TOKEN_BITS, "").strip() or "16"
    if said not in map(str, COMPONENT_BITS):
        raise UsageError(
            f"{TOKEN_BITS} is '{said}'; vectors of tokens are kept in {' or '.join(map(str, COMPONENT_BITS))} bits."
        )
    return MaxSim(opened, os.environ.get(TOKEN_VECTORS) or None, bits=int(said))


def _built(
    layout: RerankerLayout, label: str, dtype: torch.dtype, device: torch.device
) -> tuple[PairTokenizer, int, list[nn.Module]]:
    """How pairs become tokens, how many the model reads, and the modules they pass."""
    from semsearch.encoder.tokenization import load_tokenizer
    from semsearch.reranker.head import answers_of, load_causal, load_classifier
    from semsearch.reranker.text_pairs import SpecialTokens, template_of

    settings = read_json(layout.folder / "tokenizer_config.json")
    if layout.task == "feature-extraction":
        return _chain(layout, settings, dtype, device)
    tokenizer = load_tokenizer(layout.folder, lower=bool(layout.settings.get("do_lower_case")))
    padding = _padding(tokenizer, settings, layout)
    limit = _limit(layout, settings)
    reader: PairTokenizer | None = template_of(layout.folder, tokenizer, layout.prompt, label)
    if layout.answers is not None:
        if reader is None:
            raise ModelError(
                f"{layout.folder} holds a causal language model without a chat template, which would have to say how a "
                "query and a passage are put to it: put the reranker's own chat_template.jinja into the folder."
            )
        answers = answers_of(layout.answers, tokenizer, layout.folder)
        return reader, min(limit, CAUSAL_TOKENS), load_causal(layout, answers, dtype, device, max(padding, 0))
    reader = reader or SpecialTokens(tokenizer, layout.prompt, types=_typed(settings), folder=layout.folder)
    left = settings.get("padding_side", "left" if layout.config["model_type"] in LEFT else "right") == "left"
    return reader, limit, load_classifier(layout, tokenizer, dtype, device, left=left, padding=padding)


def _chain(
    layout: RerankerLayout, settings: dict[str, Any], dtype: torch.dtype, device: torch.device
) -> tuple[PairTokenizer, int, list[nn.Module]]:
    from semsearch.encoder.assemble import Assembler
    from semsearch.encoder.torch_modules import TorchModules
    from semsearch.reranker.head import ScoringHead
    from semsearch.reranker.text_pairs import SpecialTokens

    stack = Assembler(TorchModules(dtype, device)).stack(layout.stages, "document")
    assert stack.text_tokenizer is not None, "a chain begins with a transformer"
    reader = SpecialTokens(stack.text_tokenizer.tokenizer, layout.prompt, types=_typed(settings), folder=layout.folder)
    return reader, stack.max_tokens, [*stack.modules, ScoringHead()]


def _limit(layout: RerankerLayout, settings: dict[str, Any]) -> int:
    from semsearch.encoder.tokenization import max_tokens

    said = layout.settings
    processing = (said.get("processing_kwargs") or {}).get("text") or {}
    own = processing.get("max_length") or said.get("max_seq_length")
    return max_tokens(own, settings.get("model_max_length"), layout.config)


def _padding(tokenizer: Tokenizer, settings: dict[str, Any], layout: RerankerLayout) -> int:
    """The id that fills up; -1 where none is named."""
    named = settings.get("pad_token")
    named = named.get("content") if isinstance(named, dict) else named
    found = tokenizer.token_to_id(named) if named else None
    declared = layout.config.get("pad_token_id")
    chosen = declared if isinstance(declared, int) else found
    return -1 if chosen is None else int(chosen)


def _typed(settings: dict[str, Any]) -> bool:
    """Whether the tokenizer hands token types on to its model."""
    names = settings.get("model_input_names")
    return names is None or "token_type_ids" in names


def _no_texts(texts: Any, prompt: str) -> Any:
    raise AssertionError("pairs come tokenized")
