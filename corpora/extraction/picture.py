"""Pictures: what they show as upright RGB, and what their files say of them: when, where and with which camera.

A file is opened only as one of a few formats. How large it would be is looked at before it is decoded, an animation
gives its first frame, and what ends too early is said to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePath
from typing import Any, BinaryIO

import numpy as np

from corpora.extraction.parts import FilePart, ReadPart, Unreadable

PICTURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF")
MOST_PIXELS = 1 << 27  # of a picture that is decoded: 134 millions, some 400 MB
SHORTER = 1_024  # pixels of the shorter side, at most, of what a picture shows to a model
LONGER = 8 * SHORTER  # and of the longer one
HEIC_BRANDS = frozenset(b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"))
DATED, MADE, CAMERA, ORIENTATION, DESCRIPTION, EXIF, GPS = 0x9003, 0x010F, 0x0110, 0x0112, 0x010E, 0x8769, 0x8825
WHEN = re.compile(r"(\d{4})[:-](\d\d)[:-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


def picture(file: BinaryIO) -> Iterator[ReadPart]:
    """The one part of a picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the bound is below, as a sentence
    formats = PICTURE_FORMATS + _heif()
    try:
        opened = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        raise Unreadable(_unidentified(file, formats)) from None
    with opened as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise Unreadable(
                f"it is {width:,} by {height:,} pixels, more than {MOST_PIXELS:,}, which are decoded: make it smaller."
            )
        facts = _facts(image)
        try:
            image.seek(0)
            shown = ImageOps.exif_transpose(image).convert("RGB")
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            what = "it ends too early" if "truncated" in str(error) else f"it can't be decoded ({error!s:.120})"
            raise Unreadable(f"{what}: copy it anew, or save it again.") from error
        shown = _smaller(shown)
        description = facts.pop("description", "")
    yield FilePart("", description, "", facts, pixels=np.asarray(shown, dtype=np.uint8))


def _smaller(image: Any) -> Any:
    """A picture of at most so many pixels, its sides in proportion."""
    from PIL import Image

    width, height = image.size
    factor = min(1.0, SHORTER / min(width, height), LONGER / max(width, height))
    if factor == 1.0:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _facts(image: Any) -> dict[str, Any]:
    """What the file says of the picture, as metadata."""
    facts: dict[str, Any] = {"image_format": str(image.format), "width": image.width, "height": image.height}
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        facts["frames"] = int(frames)
    with suppress(Exception):  # what is written there in another way is left out, and the picture is read
        exif = image.getexif()
        inner = exif.get_ifd(EXIF)
        facts |= _when(inner.get(DATED)) | _camera(exif) | _where(exif.get_ifd(GPS))
        turned = exif.get(ORIENTATION, 1)
        if turned in range(2, 9):
            facts["orientation"] = int(turned)
        if turned in range(5, 9):
            facts["width"], facts["height"] = image.height, image.width
        facts |= _text("description", exif.get(DESCRIPTION))
    return facts


def _when(said: Any) -> dict[str, str]:
    found = WHEN.match(str(said or ""))
    if found is None or found[1] == "0000":
        return {}
    year, month, day, hour, minute, second = found.groups()
    return {"taken": f"{year}-{month}-{day}T{hour}:{minute}:{second}"}


def _camera(exif: Any) -> dict[str, str]:
    maker, model = (_text("x", exif.get(tag)).get("x", "") for tag in (MADE, CAMERA))
    return _text("camera", model if model.lower().startswith(maker.lower()) else f"{maker} {model}")


def _text(name: str, value: Any) -> dict[str, str]:
    cleaned = " ".join(str(value or "").replace("\0", " ").split())[:1_000]
    return {name: cleaned} if cleaned else {}


def _where(gps: Any) -> dict[str, float]:
    """Degrees north and east."""
    found = {}
    for name, tag, negative in (("latitude", 2, "S"), ("longitude", 4, "W")):
        if tag in gps:
            degrees, minutes, seconds = (float(part) for part in gps[tag])
            value = degrees + minutes / 60 + seconds / 3600
            if 0 <= value <= 180:
                found[name] = round(-value if str(gps.get(tag - 1, "")).upper().startswith(negative) else value, 6)
    return found if len(found) == 2 else {}


def _unidentified(file: BinaryIO, formats: tuple[str, ...]) -> str:
    """Why a file is not read, which none of the formats is."""
    file.seek(4)
    reads_heic = "HEIF" in formats
    if not reads_heic and file.read(8) in HEIC_BRANDS:
        return "it is HEIC, which pillow-heif reads: pip install 'semsearch[heic]'."
    return f"it is no picture of a kind that is read (JPEG, PNG, WebP, GIF, TIFF{', HEIC' * reads_heic})."


def _heif() -> tuple[str, ...]:
    """The formats of a plug-in for HEIC, where it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return ()
    register_heif_opener()
    return ("HEIF",)


def words_of(name: str) -> str:
    """What a file's path says in words."""
    path = PurePath(name)
    return " ".join([*path.parts[:-1], path.stem]).replace("_", " ").replace("-", " ").strip() or name
