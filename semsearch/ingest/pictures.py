"""Pictures among the documents that are taken in: which they are, and that the encoder reads them."""

from __future__ import annotations

import io
import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from semsearch import plugins
from semsearch.encoder.image_preparation import Pixels
from semsearch.errors import DataError, UsageError
from semsearch.ingest.source import ReadReport
from semsearch.names import check_path
from semsearch.types import IMAGE_FORMAT, Document, Encoder, ImageDocument, Vectors
from semsearch.vectors import normalise

PICTURE_FIELDS = {IMAGE_FORMAT, "file", "width", "height"}  # of metadata, by the reader of pictures
MOST_DECODED = 2  # of pictures that are sent, at once: each may take gigabytes
_turns = threading.BoundedSemaphore(MOST_DECODED)
BYTES_A_CHARACTER = 100  # of pixels: a batch is bounded by what it takes in memory


@runtime_checkable
class ReadsImages(Protocol):
    """An encoder that gives pictures vectors beside those of texts."""

    def encode_images(self, images: Sequence[Any]) -> Vectors:
        """Float32 vectors `(n, dim)` of pictures, each uint8 `(height, width, 3)`."""
        ...


def is_picture(document: Document) -> bool:
    """Whether a document is a picture, or was made of one."""
    return isinstance(document, ImageDocument) or document.metadata.keys() >= PICTURE_FIELDS


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


def read_image(path: str | os.PathLike[str]) -> Pixels:
    """The picture in a file, upright, as uint8 `(height, width, 3)`; decoded in a process of its own, under limits.

    Raises:
        UsageError: There is no such file, or it is of no kind that is read.
        DataError: It can't be decoded; says why.
    """
    name = check_path(os.fspath(path))
    if not Path(name).is_file():
        raise UsageError(f"there is no file '{name}'.")
    reader = plugins.corpus_reader("images")
    if not Path(name).name.lower().endswith(tuple(reader.suffixes)):
        raise UsageError(f"'{name}' is no picture by its name: {', '.join(reader.suffixes)} are read.")
    for document in reader.read(Path(name), reader.Options(), ReadReport()):
        return pixels_of(document)
    raise DataError(f"'{name}' gave no picture.")


def shown(image: Any) -> Any:
    """What a picture shows: read where it is a file, else as it is."""
    return read_image(image) if isinstance(image, str | os.PathLike) else image


def sent_image(content: bytes, decode: Callable[[Path], Pixels] = read_image) -> Pixels:
    """The picture in the bytes of a file, as `read_image` reads it, or what `decode` makes of a file.

    Raises:
        DataError: It can't be decoded; says why.
    """
    with tempfile.TemporaryDirectory(prefix="semsearch-") as folder:
        file = Path(folder) / "image.png"  # of what kind it is, its first bytes say
        file.write_bytes(content)
        try:
            with _turns:
                return decode(file)
        except DataError as error:
            raise DataError(str(error).replace(str(file), "the picture").replace(file.name, "the picture")) from None


def small_jpeg(pixels: Pixels, side: int) -> bytes:
    """A picture brought to at most `side` pixels in either direction, as the bytes of a JPEG file."""
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def vector_of_image(encoder: Encoder, image: Any, query: str | None) -> Vectors:
    """The vector `(dim,)` of a picture, or of a picture and a text: the mean of both, each of unit length.

    Raises:
        UsageError: The encoder reads no pictures.
        DataError: It is no picture, or can't be decoded.
    """
    reads = reader_of_pictures(encoder)
    pixels = shown(image)
    vector: Vectors = normalise(reads.encode_images([pixels]))[0]
    if query is None:
        return vector
    both: Vectors = (vector + normalise(encoder.encode_queries([query]))[0]) / 2
    return both


def weight_of(document: Document) -> int:
    """What a document counts in the size of a batch, in characters."""
    pixels = getattr(document, "pixels", None)
    return len(document.text) + (0 if pixels is None else pixels.nbytes // BYTES_A_CHARACTER)
