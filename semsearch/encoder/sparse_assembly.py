"""From the stages of a sparse encoder's checkpoint to modules that run; see `semsearch.encoder.assemble`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from semsearch.encoder.assemble import Assembler, Stack
from semsearch.encoder.checkpoint import MASKED, Role, Stage, read_json, tokenizer_files, weight_files
from semsearch.encoder.masked_language_head import MaskedLanguageHead, load_masked_language_model
from semsearch.encoder.sparse_modules import SparseAutoEncoder, SparseStaticEmbedding, SpladePooling
from semsearch.encoder.tokenization import TextTokenizer, load_tokenizer, max_tokens
from semsearch.encoder.torch_modules import TorchModules
from semsearch.errors import ModelError

ENDS = {"spladepooling", "sparsestaticembedding", "sparseautoencoder"}
TASK_KEYS = {"transformer_task", "modality_config", "module_output_name"}


class MaskedModules(TorchModules):
    """Transformers together with their heads, which are kept for the pooling that needs them."""

    def __init__(self, dtype: torch.dtype, device: torch.device, batch_tokens: int | None = None) -> None:
        super().__init__(dtype, device, batch_tokens)
        self.masked: set[Path] = set()  # folders whose transformer needs its head
        self.heads: dict[Path, MaskedLanguageHead] = {}

    def transformer(self, folder: Path, config: dict[str, Any], tokenizer: Tokenizer, *, all_layers: bool) -> nn.Module:
        """The transformer in a folder."""
        if folder not in self.masked:
            return super().transformer(folder, config, tokenizer, all_layers=all_layers)
        module, head = load_masked_language_model(folder, config, tokenizer, self.dtype, self.device)
        self.heads[folder] = head.to(self.device).eval().requires_grad_(False)
        return self._ready(module)


class SparseAssembler(Assembler[nn.Module]):
    """Builds the stacks of a sparse encoder's roles."""

    def __init__(self, library: MaskedModules, most: int | None) -> None:
        super().__init__(library)
        self._modules = library
        self._most = most

    def stack(self, stages: Sequence[Stage], role: Role) -> Stack[nn.Module]:
        """The stack of one role's stages."""
        if not stages or stages[-1].kind not in ENDS:
            ends = stages[-1].kind if stages else "nothing"
            raise ModelError(
                f"{stages[0].folder if stages else 'the checkpoint'} holds no sparse encoder: its last module is "
                f"'{ends}', which gives dense vectors (semsearch.load_encoder). A layer that makes them sparse would "
                "have to be trained first."
            )
        *before, last = stages
        if last.kind == "sparsestaticembedding":
            if before:
                raise ModelError(f"{last.folder}: a module of the kind '{last.kind}' can't follow another.")
            return self._weights_of_tokens(last)
        if last.kind == "sparseautoencoder":
            return self._autoencoder(before, last, role)
        if len(before) != 1 or before[0].kind != "transformer":
            raise ModelError(f"{last.folder}: a module of the kind '{last.kind}' follows a transformer and no other.")
        return self._splade(before[0], last, role)

    def _splade(self, first: Stage, last: Stage, role: Role) -> Stack[nn.Module]:
        _check_masked(first)
        self._modules.masked.add(first.folder)
        plain = {key: value for key, value in first.config.items() if key not in TASK_KEYS}
        stack = super().stack([replace(first, config=plain)], role)
        key = last.folder / last.kind
        if key not in self._built:
            head = self._modules.heads[first.folder]
            self._built[key] = SpladePooling.load(last.folder, last.config, head).eval()
        pooling: SpladePooling = self._built[key]
        stack.modules.append(pooling)
        stack.names.append(f"SpladePooling ({pooling.pooling})")
        stack.dim = pooling.dim
        stack.identity.append(["splade", pooling.pooling, pooling.logarithms])
        return stack

    def _autoencoder(self, before: Sequence[Stage], last: Stage, role: Role) -> Stack[nn.Module]:
        stack = super().stack(before, role)
        key = last.folder / last.kind
        if key not in self._built:
            made = SparseAutoEncoder.load(last.folder, last.config, self._most)
            self._built[key] = made.to(self._modules.device).eval()
        module: SparseAutoEncoder = self._built[key]
        _place(module, self._modules.device)
        stack.dim = module.width(stack.dim)
        stack.modules.append(module)
        stack.names.append("SparseAutoEncoder")
        stack.identity.append(["autoencoder", module.k, module.normalize, *weight_files(last.folder)])
        return stack

    def _weights_of_tokens(self, stage: Stage) -> Stack[nn.Module]:
        tokenizer = load_tokenizer(stage.folder)
        settings = read_json(stage.folder / "tokenizer_config.json")
        limit = max_tokens(None, settings.get("model_max_length"), {})
        reader = TextTokenizer(tokenizer, limit, special=False, left=settings.get("truncation_side") == "left")
        module = SparseStaticEmbedding.load(stage.folder, stage.config, tokenizer)
        _place(module, self._modules.device)
        identity = ["tokens", limit, *weight_files(stage.folder), *tokenizer_files(stage.folder)]
        # a table in JSON is known by its numbers: it may lie beside the folder
        numbers = module.weight.cpu().numpy().tobytes()
        identity.append("" if weight_files(stage.folder) else hashlib.sha256(numbers).hexdigest())
        return Stack(reader, [module], ["SparseStaticEmbedding"], module.dim, limit, reader, identity)


def _place(module: Any, device: torch.device) -> None:
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            setattr(module, name, value.to(device))


def _check_masked(stage: Stage) -> None:
    """Refuse a transformer that gives no weight for each word, or needs code from the checkpoint."""
    folder = stage.folder
    config: Mapping[str, Any] = read_json(folder / "config.json")
    said = stage.config
    text = (said.get("modality_config") or {}).get("text", {"method": "forward", "method_output_name": "logits"})
    if (
        said.get("transformer_task") != MASKED
        or said.get("module_output_name", "token_embeddings") != "token_embeddings"
        or text.get("method") != "forward"
        or text.get("method_output_name") not in ("logits", ["logits"])
    ):
        raise ModelError(
            f"{folder} uses its transformer for '{said.get('transformer_task')}' with '"
            f"{text.get('method_output_name')}' of '{text.get('method')}'; SPLADE needs the logits of a masked "
            f"language model ('{MASKED}')."
        )
    if "AutoModelForMaskedLM" in (config.get("auto_map") or {}):
        raise ModelError(
            f"{folder} needs code of its own for its model ('{config.get('model_type')}'), and semsearch runs no code "
            "from checkpoints. Look for a version of it that needs none (often named '-hf'), or choose another model."
        )
