"""The tensors of a checkpoint's module, from safetensors or from a pickle that is read with `weights_only`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from semsearch.arguments import named_kind
from semsearch.encoder.checkpoint import WEIGHT_FILES, weight_files
from semsearch.errors import ModelError


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of a module's folder by name, on the CPU, memory-mapped where the format allows it."""
    files = [path for path in weight_files(folder) if not path.name.endswith(".index.json")]
    if not files:
        raise ModelError(f"{folder} holds no weights: none of {', '.join(WEIGHT_FILES)} is there.")
    tensors: dict[str, Tensor] = {}
    for path in files:
        tensors |= _read(path)
    return tensors


def fill(module: torch.nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    """Give a module its weights; each must be there, none may be left over, and the shapes must be those declared.

    The module may lie on the device "meta", where it takes no memory whatever sizes its configuration declares.

    Raises:
        ModelError: Otherwise; a model with a part left at random would give vectors that look right.
    """
    wanted = module.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    wrong = [
        f"{name} has the shape {tuple(tensors[name].shape)} where {tuple(wanted[name].shape)} is declared"
        for name in sorted(wanted.keys() & tensors.keys())
        if wanted[name].shape != tensors[name].shape
    ]
    faults = [f"it lacks {', '.join(missing)}"] if missing else []
    faults += [f"it holds {', '.join(unexpected)}, which nothing uses"] if unexpected else []
    faults += wrong
    if faults:
        raise ModelError(f"the weights in {folder} do not fit its configuration: {'; '.join(faults)}.")
    module.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, assign=True)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        mapped = zipfile.is_zipfile(path)  # before torch 1.6 its files were plain pickles, which can't be mapped
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # the readers raise what they like
        raise ModelError(
            f"{path} can't be read as weights ({str(error).partition(chr(10))[0]}). Fetch the model anew; nothing is "
            "unpickled that could run code, so if the file is whole, look for a version of the model in safetensors."
        ) from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} holds {named_kind(type(found))} where the weights' names and tensors are expected.")
    return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
