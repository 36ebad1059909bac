"""Pictures among the documents that are taken in: which they are, and that the encoder reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from semsearch.errors import DataError, UsageError
from semsearch.types import IMAGE_FORMAT, Document, Encoder, ImageDocument, Vectors

BYTES_A_CHARACTER = 100  # of pixels: a batch is bounded by what it takes in memory
Pixels = NDArray[np.uint8]


@runtime_checkable
class ReadsImages(Protocol):
    """An encoder that gives pictures vectors beside those of texts."""

    def encode_images(self, images: Sequence[Any]) -> Vectors:
        """Float32 vectors `(n, dim)` of pictures, each uint8 `(height, width, 3)`."""
        ...


def is_picture(document: Document) -> bool:
    """Whether a document is a picture, or was made of one."""
    return isinstance(document, ImageDocument) or IMAGE_FORMAT in document.metadata


def pixels_of(document: Document) -> Pixels:
    """What a picture shows.

    Raises:
        DataError: It was stored, and its pixels were not.
    """
    pixels = getattr(document, "pixels", None)
    if pixels is None:
        raise DataError(
            f"document {document.id!r} is a picture, which is encoded from its file: index its folder again (of "
            "documents that are none, take another name than "
            f"'{IMAGE_FORMAT}' for what their metadata says)."
        )
    return pixels  # type: ignore[no-any-return]


def reader_of_pictures(encoder: Encoder) -> ReadsImages:
    """The encoder, if it reads pictures.

    Raises:
        UsageError: It doesn't.
    """
    if isinstance(encoder, ReadsImages):
        return encoder
    name = getattr(encoder, "name", type(encoder).__name__)
    raise UsageError(
        f"{name} reads texts alone, and no pictures. Make the collection with a model that reads both: --encoder "
        "sentence-transformers/clip-ViT-B-32 or google/siglip-base-patch16-224."
    )


def weight_of(document: Document) -> int:
    """What a document counts in the size of a batch, in characters."""
    pixels = getattr(document, "pixels", None)
    return len(document.text) + (0 if pixels is None else pixels.nbytes // BYTES_A_CHARACTER)
