"""The folder of an encoder that was trained here: its base's files with other weights, laid out as before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from semsearch.encoder.checkpoint import CONFIG_FILES, Checkpoint, Stage, read, read_json, read_modules
from semsearch.encoder.pooling import POOLING_MODES
from semsearch.encoder.text_encoder import TextEncoder
from semsearch.errors import ModelError
from semsearch.training.late import OTHER_RUNTIMES
from semsearch.types import Metric

WRITTEN_KINDS = ("transformer", "staticembedding", "dense", "layernorm", "weightedlayerpooling")  # that have weights
MODULES = "sentence_transformers.models."  # where every generation of the library looks
SIMILARITY = {Metric.COSINE: "cosine", Metric.DOT: "dot"}
WEIGHT_PATTERNS = ("model*.safetensors", "pytorch_model*.bin", "*.index.json")


def write_encoder(
    encoder: TextEncoder, folder: Path, tensors: Mapping[Path, Mapping[str, Tensor]], head: Tensor | None = None
) -> None:
    """A checkpoint with what was learnt, in a folder that is not there.

    Args:
        encoder: The base, from a folder.
        folder: Where it goes.
        tensors: The weights of each of the base's folders that hold some.
        head: (d, d) of a linear layer behind all others.

    Raises:
        ModelError: The base is laid out in a way that sentence-transformers doesn't open.
    """
    base = encoder.folder
    checkpoint = read(base)
    if not (base / "modules.json").is_file() and checkpoint.stages[0].kind != "transformer":
        raise ModelError(f"{base} is laid out as model2vec has it: distil a static model here (--static) instead.")
    ignored = [*OTHER_RUNTIMES, "README.md", ".git*"]
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns(*ignored))
    for own, found in tensors.items():
        inner = folder / own.resolve().relative_to(base.resolve())
        for pattern in WEIGHT_PATTERNS:
            for path in inner.glob(pattern):
                path.unlink()
        whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}
        save_file(whole, inner / "model.safetensors", metadata={"format": "pt"})
    if not (folder / "modules.json").is_file():
        _write_modules(folder, encoder, checkpoint.stages)
    if head is not None:
        _write_head(folder, head)
    _write_settings(folder, encoder, checkpoint)


def _write_modules(folder: Path, encoder: TextEncoder, stages: tuple[Stage, ...]) -> None:
    """A modules.json for a bare transformer, with the pooling that its kind is used with."""
    (folder / "1_Pooling").mkdir()
    said = {"word_embedding_dimension": encoder.dim, POOLING_MODES[stages[1].config["pooling_mode"]]: True}
    _write(folder / "1_Pooling" / CONFIG_FILES["pooling"][0], {"pooling_mode_mean_tokens": False} | said)
    _write_entries(folder, [("", "Transformer"), ("1_Pooling", "Pooling")])


def _write_head(folder: Path, head: Tensor) -> None:
    entries = [(entry["path"], entry["type"]) for entry in read_modules(folder)]
    places = [f"{len(entries)}_Dense", f"{len(entries) + 1}_Normalize"]
    for place in places:
        (folder / place).mkdir()
    identity = "torch.nn.modules.linear.Identity"
    said = {"in_features": head.shape[1], "out_features": head.shape[0], "bias": False, "activation_function": identity}
    _write(folder / places[0] / "config.json", said)
    save_file({"linear.weight": head.cpu().contiguous().clone()}, folder / places[0] / "model.safetensors")
    _write_entries(folder, [*entries, (places[0], "Dense"), (places[1], "Normalize")])


def read_head(folder: Path) -> Tensor:
    """The matrix of the linear layer that is last in a folder."""
    path = [entry["path"] for entry in read_modules(folder) if entry["type"].endswith("Dense")][-1]
    head: Tensor = load_file(folder / path / "model.safetensors")["linear.weight"]
    return head


def _write_entries(folder: Path, entries: list[tuple[str, str]]) -> None:
    _write(
        folder / "modules.json",
        [
            {"idx": place, "name": str(place), "path": path, "type": kind if "." in kind else MODULES + kind}
            for place, (path, kind) in enumerate(entries)
        ],
    )


def _write_settings(folder: Path, encoder: TextEncoder, checkpoint: Checkpoint) -> None:
    """What its name said of the base must stand in the folder, whose name is another: prompts and similarity."""
    file = folder / "config_sentence_transformers.json"
    said = read_json(file)
    prompts = {"query": encoder.prompts.query, "document": encoder.prompts.document}
    if any(prompts.values()) and encoder.prompts.source != "checkpoint":
        said["prompts"] = {**checkpoint.prompts, **prompts}
    said["similarity_fn_name"] = SIMILARITY[encoder.metric]
    _write(file, said)


def write_static(folder: Path, table: Tensor, tokenizer: Any) -> None:
    """A table of vectors `(tokens, d)` and its tokenizer, with unit vectors as its result."""
    own = folder / "0_StaticEmbedding"
    own.mkdir(parents=True)
    (folder / "1_Normalize").mkdir()
    save_file({"embedding.weight": table.to(torch.float32).contiguous().clone()}, own / "model.safetensors")
    tokenizer.save(str(own / "tokenizer.json"))
    _write_entries(folder, [("0_StaticEmbedding", "StaticEmbedding"), ("1_Normalize", "Normalize")])
    _write(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine", "prompts": {}})


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
