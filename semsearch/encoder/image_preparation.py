"""From a picture's pixels to what an image tower reads, as its `preprocessor_config.json` says: by Pillow and numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.encoder.sizes import size_of
from semsearch.errors import DataError, MissingDependency, ModelError

Pixels = NDArray[np.uint8]
MOST_SIDE = 4_096  # pixels that any image tower reads
RESAMPLINGS = {0: "NEAREST", 1: "LANCZOS", 2: "BILINEAR", 3: "BICUBIC", 4: "BOX", 5: "HAMMING"}


@dataclass(frozen=True)
class ImagePreparation:
    """Scaling, a crop of the middle, and the colours' means and deviations; each where it is said."""

    height: int  # that a picture is scaled to …
    width: int
    shorter: int  # … or what its shorter side is scaled to, in proportion; 0: both sides
    crop: tuple[int, int] | None  # height and width of what is cut out of the middle
    resampling: str
    scale: float  # that each component is multiplied by; 1 for none
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, said: Mapping[str, Any], folder: Path, usual: ImagePreparation) -> ImagePreparation:
        """What a configuration says; what it doesn't is that of its family."""
        said = said.get("image_processor", said)
        size, crop = said.get("size"), said.get("crop_size")
        size = {"shortest_edge": size} if isinstance(size, int) else size
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
        height, width, shorter = usual.height, usual.width, usual.shorter
        if isinstance(size, dict):
            shorter = _side(size, "shortest_edge", folder) if "shortest_edge" in size else 0
            if not shorter:
                height, width = (_side(size, name, folder) for name in ("height", "width"))
        if not said.get("do_resize", True):
            raise ModelError(f"{folder} reads pictures of any size, which is not done here.")
        cut = usual.crop
        if isinstance(crop, dict):
            cut = (_side(crop, "height", folder), _side(crop, "width", folder))
        if not said.get("do_center_crop", cut is not None):
            cut = None
        if said.get("do_pad") or said.get("patch_size"):
            raise ModelError(f"{folder} pads pictures, or reads them in patches of its own, which is not done here.")
        resampling = RESAMPLINGS.get(said.get("resample", -1), usual.resampling)
        scale = float(said.get("rescale_factor", usual.scale)) if said.get("do_rescale", True) else 1.0
        mean, deviation = _colours(said, "image_mean", usual.mean), _colours(said, "image_std", usual.deviation)
        if not said.get("do_normalize", True):
            mean, deviation = (0.0,) * 3, (1.0,) * 3
        return cls(height, width, shorter, cut, resampling, scale, mean, deviation)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of what comes out."""
        return self.crop or (self.height, self.width)

    def __call__(self, pixels: Pixels) -> NDArray[np.float32]:
        """`(height, width, 3)` to `(3, height, width)`."""
        from PIL import Image

        height, width = pixels.shape[:2]
        goal = (self.height, self.width)
        if self.shorter:
            long = int(self.shorter * max(height, width) / min(height, width))
            goal = (self.shorter, long) if height <= width else (long, self.shorter)
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if goal != (height, width):
            image = image.resize(goal[::-1], Image.Resampling[self.resampling])
        made = np.asarray(image)
        if self.crop is not None:
            made = _middle(made, *self.crop)
        colours: NDArray[np.float32] = made.astype(np.float32) * np.float32(self.scale)
        mean: NDArray[np.float32] = np.array(self.mean, dtype=np.float32)
        deviation: NDArray[np.float32] = np.array(self.deviation, dtype=np.float32)
        whole: NDArray[np.float32] = np.divide(np.subtract(colours, mean), deviation)
        return np.ascontiguousarray(whole.transpose(2, 0, 1))


CLIP_PREPARATION = ImagePreparation(
    224, 224, 224, (224, 224), "BICUBIC", 1 / 255,
    (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711),
)  # fmt: skip
SIGLIP_PREPARATION = ImagePreparation(224, 224, 0, None, "BICUBIC", 1 / 255, (0.5,) * 3, (0.5,) * 3)


def checked_pixels(images: Sequence[Any]) -> list[Pixels]:
    """Pictures as uint8 `(height, width, 3)`: such arrays, or Pillow's images.

    Raises:
        DataError: One is something else; says which.
    """
    try:
        import PIL.Image  # noqa: F401
    except ImportError as error:
        raise MissingDependency("pictures need Pillow: pip install 'semsearch[images]'.") from error
    made = []
    for place, image in enumerate(images):
        pixels = (
            image if isinstance(image, np.ndarray) else np.asarray(image.convert("RGB")) if _is_image(image) else None
        )
        if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise DataError(
                f"image {place} must be an array of uint8 (height, width, 3) or a Pillow image, and is "
                f"{type(image).__name__}{getattr(image, 'shape', '')}; semsearch.read_image(PATH) reads a file."
            )
        made.append(pixels)
    return made


def _is_image(image: Any) -> bool:
    from PIL.Image import Image

    return isinstance(image, Image)


def _side(said: Mapping[str, Any], name: str, folder: Path) -> int:
    return size_of(said, name, folder, most=MOST_SIDE)


def _colours(said: Mapping[str, Any], name: str, usual: tuple[float, ...]) -> tuple[float, ...]:
    given = said.get(name)
    if given is None:
        return usual
    values = [float(value) for value in given]
    if len(values) != 3 or (name == "image_std" and 0 in values):
        raise ValueError(f"{name} is {given}")
    return tuple(values)


def _middle(pixels: Pixels, height: int, width: int) -> Pixels:
    """The middle of a picture; what is smaller than it is laid on black."""
    own_height, own_width = pixels.shape[:2]
    if own_height < height or own_width < width:
        ground = np.zeros((max(height, own_height), max(width, own_width), 3), np.uint8)
        top, left = -(-(len(ground) - own_height) // 2), -(-(ground.shape[1] - own_width) // 2)
        ground[top : top + own_height, left : left + own_width] = pixels
        pixels, (own_height, own_width) = ground, ground.shape[:2]
    top, left = (own_height - height) // 2, (own_width - width) // 2
    return pixels[top : top + height, left : left + width]
