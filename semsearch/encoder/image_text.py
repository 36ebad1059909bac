"""Models of pictures and texts (CLIP, SigLIP): two towers whose vectors compare.

Radford et al., 2021 (CLIP); Zhai et al., 2023 (SigLIP). Both are transformers' own models. A text passes the text tower
as other texts pass their transformer; pictures pass the image tower some at a time. The text tower may be another
model's, trained to give vectors of the same space (multilingual ones are).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from semsearch.encoder.checkpoint import IMAGE_TEXT, Role, first_line, read_json
from semsearch.encoder.features import Features
from semsearch.encoder.image_preparation import (
    CLIP_PREPARATION,
    SIGLIP_PREPARATION,
    ImagePreparation,
    Pixels,
    checked_pixels,
)
from semsearch.encoder.inference import on_host
from semsearch.encoder.sizes import check_sizes
from semsearch.encoder.text_encoder import Stream, TextEncoder, WindowedTextEncoder
from semsearch.encoder.transformers_model import open_by_transformers
from semsearch.errors import EncodingFailed, ModelError, UsageError
from semsearch.types import Vectors

PICTURES_TOGETHER = 32  # pictures that pass the tower at a time
PREPARATIONS = {"clip": CLIP_PREPARATION, "siglip": SIGLIP_PREPARATION}


class TextTower(nn.Module):
    """The text tower of a model; sets `sentence`."""

    shares_rows = False

    def __init__(self, model: nn.Module, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.model: Any = model
        inner = config.get("text_config") or {}
        self.whole = config["model_type"] == "siglip"  # its last place is what counts, so that all have all places
        self.window = int(inner.get("max_position_embeddings", 64 if self.whole else 77))
        pad = inner.get("pad_token_id", 1)
        widths = (config.get("projection_dim"), inner.get("projection_size"), inner.get("hidden_size"))
        self.dim = int(next(width for width in (widths[1:] if self.whole else widths) if width))
        self.padding = pad if isinstance(pad, int) and pad >= 0 else 0

    def forward(self, features: Features) -> Features:
        """Sets `sentence` (n, dim)."""
        rows = features.rows
        assert rows is not None, "a pipeline plans rows"
        count, length = rows.count, self.window if self.whole else rows.length
        owner = torch.arange(count, device=features.ids.device).repeat_interleave(
            features.lengths, output_size=len(features.ids)
        )
        slots = owner * length + rows.positions
        ids = features.ids.new_full((count * length,), self.padding).index_copy_(0, slots, features.ids)
        arguments: dict[str, Tensor] = {"input_ids": ids.view(count, length)}
        if not self.whole:
            place = torch.arange(length, device=ids.device)
            arguments["attention_mask"] = (place[None, :] < features.lengths[:, None]).long()
        features.sentence = _pooled(self.model.get_text_features(**arguments))
        return features


class ImageTower:
    """The image tower of a model: pictures to vectors.

    Args:
        model: Has `get_image_features`.
        prepare: What is done to a picture first.
        ends: Modules that its vectors pass, as those of texts do.
        device: Where it computes.
        dtype: In what.
    """

    def __init__(
        self,
        model: Any,
        prepare: ImagePreparation,
        ends: Sequence[nn.Module],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.prepare, self.ends = model, prepare, tuple(ends)
        self.device, self.dtype = device, dtype

    def encode(self, images: Sequence[Pixels]) -> Vectors:
        """Float32 `(n, dim)`; of each picture the same whatever the others are.

        Raises:
            EncodingFailed: A vector is not finite.
        """
        made: list[Tensor] = []
        for start in range(0, len(images), PICTURES_TOGETHER):
            prepared = np.stack([self.prepare(pixels) for pixels in images[start : start + PICTURES_TOGETHER]])
            made.append(on_host(self.vectors(torch.from_numpy(prepared).to(self.device, non_blocking=True))))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # the only wait
        vectors: Vectors = np.concatenate([part.numpy() for part in made])
        unsound = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(unsound):
            raise EncodingFailed(f"the model gave NaN or infinite numbers for image {unsound[0]}: try float32.")
        return vectors

    @torch.inference_mode()
    def vectors(self, prepared: Tensor) -> Tensor:
        """`(n, 3, height, width)` to float32 `(n, dim)`, on the device."""
        vectors = _pooled(self.model.get_image_features(pixel_values=prepared.to(self.dtype)))
        features = Features(*(torch.empty(0),) * 3, sentence=vectors.float())
        for module in self.ends:
            features = module(features)
        assert features.sentence is not None
        return features.sentence


class ImageTextEncoder(WindowedTextEncoder):
    """A model of pictures and texts, opened: `encode_images` gives pictures vectors beside those of texts.

    >>> encoder = semsearch.load_encoder("sentence-transformers/clip-ViT-B-32")                  # doctest: +SKIP
    >>> encoder.encode_images([semsearch.read_image("dog.jpg")]).shape                           # doctest: +SKIP
    (1, 512)
    """

    def __init__(self, *, tower: ImageTower, **rest: Any) -> None:
        super().__init__(**rest)
        self.tower: ImageTower | None = tower

    def encode_images(self, images: Sequence[Any]) -> Vectors:
        """Float32 `(n, dim)` of pictures: Pillow's, or arrays of uint8 `(height, width, 3)`.

        Raises:
            DataError: One is no picture.
            EncodingFailed: The model gave NaN or infinite numbers.
        """
        if self.tower is None:
            raise UsageError(f"{self.name} reads pictures on one device: leave the others out.")
        if not len(images):
            return np.empty((0, self.dim), np.float32)
        return self.tower.encode(checked_pixels(images))

    def description(self) -> dict[str, Any]:
        """As a text encoder's, and that it reads pictures."""
        return super().description() | {"images": True}

    def over(self, streams: Mapping[Role, Stream]) -> Self:
        """The same model for texts alone: an image tower stays where it is."""
        other = super().over(streams)
        other.tower = None
        return other


def load_towers(folder: Path, config: Mapping[str, Any], dtype: torch.dtype, device: torch.device) -> Any:
    """The model in a folder.

    Raises:
        ModelError: It is of another kind, or its weights don't fit it.
    """
    kind = config.get("model_type")
    if kind not in IMAGE_TEXT:
        raise ModelError(f"{folder} holds a model of pictures and texts of a kind ('{kind}') that is not opened here.")
    if config.get("auto_map"):
        raise ModelError(f"{folder} needs code of its own, and semsearch runs no code from checkpoints.")
    for part in ("text_config", "vision_config"):
        check_sizes(config.get(part) or {}, folder)
    from transformers import AutoModel

    try:
        model, report = open_by_transformers(AutoModel, folder, dtype)
    except Exception as error:  # transformers raises what its parts raise
        raise ModelError(f"the model in {folder} ('{kind}') can't be opened: {first_line(error)}.") from error
    wrong = sorted(str(entry[0]) for entry in report.get("mismatched_keys", ()))
    missing = sorted(name for name in report["missing_keys"] if not name.endswith("position_ids"))
    if missing or wrong:
        fault = f"missing are {', '.join(missing[:5])}" if missing else f"of another shape are {', '.join(wrong[:5])}"
        raise ModelError(f"the weights in {folder} are not those that its config.json describes: {fault}.")
    return model.to(device).eval().requires_grad_(False)


def preparation_of(folder: Path, config: Mapping[str, Any]) -> ImagePreparation:
    """What a checkpoint does to pictures."""
    said = read_json(folder / "preprocessor_config.json") or read_json(folder / "processor_config.json")
    return ImagePreparation.of(said, folder, PREPARATIONS[config["model_type"]])


def beside(text: TextEncoder, images: ImageTextEncoder, name: str) -> ImageTextEncoder:
    """A text tower that was trained to give vectors of an image tower's space, with that tower.

    Raises:
        ModelError: Their vectors have other numbers of components.
    """
    if text.dim != images.dim or not isinstance(text, WindowedTextEncoder):
        raise ModelError(
            f"{text.name} gives vectors of {text.dim} components and {images.name} of {images.dim}: they are not "
            "of one space. Take the text model that its authors trained beside the other."
        )
    assert images.tower is not None
    digest = hashlib.sha256(f"{text.fingerprint} {images.fingerprint}".encode()).hexdigest()
    own = {field: getattr(text, field) for field in ("folder", "where", "dim", "metric", "prompts", "truncate_dim")}
    own |= {
        field: getattr(text, field)
        for field in ("normalized", "device", "dtype", "modules", "window", "tokenizer", "tokenize")
    }
    streams: dict[Role, Stream] = {"query": text.stream("query"), "document": text.stream("document")}
    return ImageTextEncoder(tower=images.tower, name=name, fingerprint=digest, streams=streams, **own)


def _pooled(found: Any) -> Tensor:
    """The vectors among what a tower gives, which depends on the version of transformers."""
    vectors: Tensor = getattr(found, "pooler_output", found)
    return vectors
