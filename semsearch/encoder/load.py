"""Opening a model by name: find it, read its layout, build it, and know it by its fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semsearch.encoder import DEFAULT_MODEL, resolve
from semsearch.encoder.checkpoint import (
    ROLES,
    Checkpoint,
    Role,
    Stage,
    read,
    read_json,
    tokenizer_files,
    understood,
    weight_files,
)
from semsearch.encoder.prompts import family_of, metric_of, prompts_of
from semsearch.errors import ModelError, UsageError
from semsearch.hardware import Compute, bf16_is_fast, settle_threads
from semsearch.types import Metric

if TYPE_CHECKING:
    import torch

    from semsearch.encoder.assemble import ModuleLibrary
    from semsearch.encoder.text_encoder import Stream, TextEncoder

FINGERPRINT_VERSION = 1  # raised when the same checkpoint would give other vectors than before
TWO_TOWERS, EXAMPLE = "images:", "clip-ViT-B-32#clip-ViT-B-32-multilingual-v1"
DTYPES = ("float32", "bfloat16", "float16")


def load_encoder(
    name_or_path: str = DEFAULT_MODEL,
    device: str | None = None,
    dtype: str | None = None,
    *,
    revision: str | None = None,
    truncate_dim: int | None = None,
    prompts: Mapping[str, str] | None = None,
    normalize: bool | None = None,
    batch_tokens: int | None = None,
) -> TextEncoder:
    """Open a text embedding model as its authors meant it.

    Args:
        name_or_path: A folder, a `.zip` by path or URL, `owner/name` of the hub, or a bare name such as
            'all-MiniLM-L6-v2' of the sentence-transformers family.
        device: 'cpu', 'cuda', 'cuda:1', 'mps'; None and 'auto' take the GPU where there is one. Of several, as in
            'cuda:0,cuda:1', each gets a process, and long lists of texts are shared out; a script that asks for several
            needs the guard `if __name__ == "__main__":`, since processes are started anew.
        dtype: 'float32', 'bfloat16' or 'float16' to compute in; None and 'auto' take bfloat16 where the hardware is
            fast in it. Vectors are float32 in any case.
        revision: A branch, tag or commit of a hub repository.
        truncate_dim: Keep that many leading components (models trained for it, "Matryoshka").
        prompts: Other texts to stand before a 'query' or a 'document' than those of the model.
        normalize: Whether vectors are scaled to unit length; None does so for cosine models and leaves others.
        batch_tokens: Tokens of a batch; None takes what suits the device. Changes speed and memory, no vector.

    Raises:
        ModelError: The model is nowhere to be found, or can't be opened faithfully; says why.
        UsageError: An argument can't be.
    """
    settings: dict[str, Any] = {"dtype": dtype, "truncate_dim": truncate_dim, "normalize": normalize}
    settings |= {"prompts": dict(prompts) if prompts is not None else None, "batch_tokens": batch_tokens}
    if name_or_path.startswith(TWO_TOWERS):
        return _two_towers(name_or_path, device, settings)
    devices = Compute(device).devices
    if len(devices) > 1:
        _check_alike(devices)
        from semsearch.encoder.fleet import spread

        return spread(partial(load_encoder, str(name_or_path), revision=revision, **settings), devices)

    def torch_modules() -> ModuleLibrary[Any]:
        settle_threads()
        from semsearch.encoder.torch_modules import TorchModules

        on = device_of(device)
        return TorchModules(dtype_of(dtype, on), on, batch_tokens)

    return open_with(torch_modules, str(name_or_path), revision, truncate_dim, prompts, normalize)


def _two_towers(name: str, device: str | None, settings: Mapping[str, Any]) -> TextEncoder:
    """A text model beside the image tower of another, as `images:IMAGES#TEXTS` names them."""
    from semsearch.encoder.image_text import ImageTextEncoder, beside

    images, texts = named_towers(name)
    shown = load_encoder(images, device, **settings)
    if not isinstance(shown, ImageTextEncoder):
        raise ModelError(f"{images} reads no pictures: before the '#' stands the model of the image tower.")
    return beside(load_encoder(texts, device, **settings), shown, name)


def named_towers(name: str) -> tuple[str, ...]:
    """The models that `images:IMAGES#TEXTS` names; none where it is the name of one."""
    if not name.startswith(TWO_TOWERS):
        return ()
    images, _, texts = name.removeprefix(TWO_TOWERS).partition("#")
    if not images or not texts:
        raise UsageError(f"'{name}' names no two models: write {TWO_TOWERS}IMAGES#TEXTS, as in {TWO_TOWERS}{EXAMPLE}.")
    return images, texts


def open_with(
    library: Callable[[], ModuleLibrary[Any]],
    name_or_path: str,
    revision: str | None = None,
    truncate_dim: int | None = None,
    prompts: Mapping[str, str] | None = None,
    normalize: bool | None = None,
) -> TextEncoder:
    """As `load_encoder`, computed by the modules of a library, which is imported while the files are hashed."""
    source = resolve.find(name_or_path, revision)
    with understood(source.folder):
        checkpoint = read(source.folder)
    with understood(source.folder), ThreadPoolExecutor(1, "hash") as hashing:
        files = {path for role in ROLES for path in files_of(checkpoint.stages_of(role))}
        digests = {path: hashing.submit(digest_of, path) for path in sorted(files)}
        return _open(source, checkpoint, digests, library(), truncate_dim, prompts, normalize)


def _open(
    source: resolve.ModelFolder,
    checkpoint: Checkpoint,
    digests: Mapping[Path, Future[str]],
    library: ModuleLibrary[Any],
    truncate_dim: int | None,
    custom_prompts: Mapping[str, str] | None,
    normalize: bool | None,
) -> TextEncoder:
    from semsearch.encoder.assemble import Assembler, Stack
    from semsearch.encoder.text_encoder import TextEncoder, WindowedTextEncoder

    if source.sha256 is not None:
        found = digests[source.folder / "model.safetensors"].result()
        if found != source.sha256:
            raise ModelError(
                f"{source.folder / 'model.safetensors'} has the SHA-256 {found}, but must have {source.sha256}: "
                f"{source.where} is damaged or not what it says. Reinstall it."
            )
    family = family_of(source.label)
    metric = metric_of(checkpoint, family)
    prompts = prompts_of(checkpoint, family, custom_prompts)
    stacks = Assembler(library).stacks({role: checkpoint.stages_of(role) for role in ROLES})
    full = stacks["document"].dim
    if stacks["query"].dim != full:
        raise ModelError(f"{source.name} gives queries {stacks['query'].dim} components and documents {full}.")
    cut = truncate_dim if truncate_dim is not None else checkpoint.truncate_dim
    if truncate_dim is None and cut is not None and not (isinstance(cut, int) and 1 <= cut <= full):
        raise ModelError(f"{source.folder} says truncate_dim {cut!r:.40}, which must be between 1 and its {full}.")
    if cut is not None and not 1 <= cut <= full:
        raise UsageError(f"truncate_dim must be between 1 and the model's {full} components, not {cut}.")
    unit = normalize if normalize is not None else metric == Metric.COSINE
    ends: list[Any] = []
    if cut is not None and cut < full:
        ends.append(library.truncate(cut, norm_first=family is not None and family.norm_before_cut))
        unit = unit or "Normalize" in stacks["document"].names
    if unit:
        ends.append(library.normalize())

    def stream(stack: Stack[Any]) -> Stream:
        return library.stream(stack.tokenize, [*stack.modules, *ends], cut or full, max_tokens=stack.max_tokens)

    document = stream(stacks["document"])
    same = stacks["query"] is stacks["document"]
    streams: dict[Role, Stream] = {"document": document, "query": document if same else stream(stacks["query"])}
    identity = [
        FINGERPRINT_VERSION,
        {role: stack.identity for role, stack in stacks.items()},
        [prompts.query, prompts.document],
        [type(end).__name__ for end in ends],
        [cut, bool(family is not None and family.norm_before_cut), str(metric)],
    ]
    common: dict[str, Any] = {
        "name": source.name,
        "folder": source.folder,
        "where": source.where,
        "dim": cut or full,
        "metric": metric,
        "prompts": prompts,
        "truncate_dim": cut,
        "normalized": unit or stacks["document"].names[-1:] == ["Normalize"],
        "fingerprint": fingerprint_of(identity, digests),
        "device": library.device,
        "dtype": library.dtype,
        "streams": streams,
        "modules": stacks["document"].names,
        "tokenize": stacks["document"].tokenize,
    }
    reader = stacks["document"].text_tokenizer
    if reader is None or reader.unlimited:
        return TextEncoder(**common)
    window = reader.window(prompts.document)
    first = checkpoint.stages_of("document")[0]
    if first.kind == "clipmodel":
        from semsearch.encoder.image_text import ImageTextEncoder, ImageTower, preparation_of

        model, config = stacks["document"].modules[0].model, read_json(first.folder / "config.json")
        after = [*stacks["document"].modules[1:], *ends]
        tower = ImageTower(model, preparation_of(first.folder, config), after, library.device, library.dtype)
        return ImageTextEncoder(tower=tower, window=window, tokenizer=reader.tokenizer, **common)
    return WindowedTextEncoder(window=window, tokenizer=reader.tokenizer, **common)


def device_of(said: str | None) -> torch.device:
    """The device a person names; None and 'auto' take the GPU where there is one."""
    import torch

    if said is None or said == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(said)
    except RuntimeError as error:
        raise UsageError(f"'{said}' names no device; say auto, cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"'{said}' is not there: torch sees {torch.cuda.device_count()} CUDA devices.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("'mps' is not there: torch sees no Apple GPU.")
    return device


def _check_alike(devices: Sequence[str]) -> None:
    """Several devices are of one kind: numbers to compute with, and so vectors, are then the same on each."""
    kinds = {device_of(name).type if name not in ("", "auto") else name for name in devices}
    if len(kinds) > 1 or kinds & {"", "auto"}:
        raise UsageError(
            f"'{','.join(devices)}' must name devices of one kind, each by its name: cuda:0,cuda:1, or cpu,cpu."
        )


def dtype_of(said: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The numbers to compute with; None and 'auto' take bfloat16 where the hardware has units for it."""
    import torch

    if isinstance(said, torch.dtype):
        said = str(said).removeprefix("torch.")
    if said is not None and said != "auto":
        if said not in DTYPES:
            raise UsageError(f"'{said}' is no dtype to compute in; say auto, {', '.join(DTYPES)}.")
        chosen: torch.dtype = getattr(torch, said)
        return chosen
    return torch.bfloat16 if bf16_is_fast(device) else torch.float32


def files_of(stages: tuple[Stage, ...]) -> set[Path]:
    """The files whose content decides a vector."""
    return {
        path
        for stage in stages
        for path in (*weight_files(stage.folder), *tokenizer_files(stage.folder), stage.file)
        if path is not None
    }


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(identity: Any, digests: Mapping[Path, Future[str]]) -> str:
    """SHA-256 of all that decides a vector: layout, settings, prompts, and the contents of weights and tokenizer."""

    def settled(value: Any) -> Any:
        if isinstance(value, Path):
            return [value.name, digests[value].result()]
        if isinstance(value, Mapping):
            return {str(key): settled(inner) for key, inner in value.items()}
        return [settled(inner) for inner in value] if isinstance(value, list | tuple) else value

    canonical = json.dumps(settled(identity), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
