"""Pictures: a file or a folder of JPEG, PNG, WebP, GIF and TIFF, and of HEIC where pillow-heif is installed.

Each is a document whose vector is of what it shows. Its text is the name of the file and what is described in it; when,
where and with which camera it was taken is metadata. They are decoded in a process of their own, under limits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from corpora.confined import Confined
from corpora.extraction import PICTURES
from corpora.extraction.parts import FilePart, Lost
from corpora.extraction.picture import words_of
from semsearch.errors import DataError, MissingDependency, UsageError
from semsearch.options import Options, option
from semsearch.reading.documents import Columns, Registrar, read_files
from semsearch.reading.files import CorpusFile, by_name
from semsearch.types import Confidence, Document, ImageDocument, Report
from semsearch.walk import FolderListing

PICTURES_LOOKED_AT = 10_000  # files of a folder, to know what it holds
MOST_PICTURES = 0.5  # from this share on a folder is one of pictures


@dataclass(frozen=True)
class ImagesOptions(Options):
    """What a picture may cost: `seconds`, and `megabytes` of memory."""

    seconds: float = option(60.0, "that a picture may take", low=0.001)
    megabytes: int = option(2048, "of memory that a picture may take", low=256)


class ImagesReader:
    """Pictures under the path of their file."""

    Options = ImagesOptions
    suffixes = tuple(PICTURES)
    forgiving = True

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Files of these kinds, and folders that hold them for the most part."""
        if not path.is_dir():
            return by_name(path, cls.suffixes)
        pictures = others = 0
        for _, inner, names in os.walk(path):
            inner[:] = sorted(name for name in inner if not name.startswith("."))
            seen = [name.lower() for name in names if not name.startswith(".")]
            found = sum(name.endswith(cls.suffixes) for name in seen)
            pictures, others = pictures + found, others + len(seen) - found
            if pictures + others > PICTURES_LOOKED_AT:
                break
        mostly = pictures and pictures / (pictures + others) > MOST_PICTURES
        return Confidence.LIKELY if mostly else Confidence.NONE

    @classmethod
    def read(
        cls, source: Path | BinaryIO | FolderListing, options: ImagesOptions, report: Report
    ) -> Iterator[Document]:
        """The pictures of a file or a folder."""
        if find_spec("PIL") is None:
            raise MissingDependency("pictures need Pillow: pip install 'semsearch[images]'.")
        with Confined(options.seconds, options.megabytes) as confined:

            def documents(file: CorpusFile, registrar: Registrar) -> Iterator[Document]:
                return _pictures(file, confined, registrar, report)

            yield from read_files(source, cls.suffixes, Columns(), report, documents)

    @classmethod
    @contextmanager
    def decoding(cls, options: ImagesOptions) -> Iterator[Callable[[Path], Any]]:
        """What gives the pixels of one file after the other, uint8 `(height, width, 3)`, from one process under limits.

        Raises:
            DataError: A file can't be decoded; the next one can.
        """
        if find_spec("PIL") is None:
            raise MissingDependency("pictures need Pillow: pip install 'semsearch[images]'.")
        with Confined(options.seconds, options.megabytes) as confined:

            def decoded(path: Path) -> Any:
                for part in list(confined.parts(path)):
                    if isinstance(part, FilePart) and part.pixels is not None:
                        return part.pixels
                raise DataError(f"{path.name}: it gave no picture.")

            yield decoded


def _pictures(file: CorpusFile, confined: Confined, registrar: Registrar, report: Report) -> Iterator[Document]:
    if not isinstance(file.source, Path):
        raise UsageError("pictures are read from files, not from standard input.")
    for part in confined.parts(file.source):
        if isinstance(part, Lost) or part.pixels is None:
            raise DataError(f"{file.name}: it gave no picture.")
        text = " ".join(filter(None, [words_of(file.name), part.text]))
        metadata = {"file": file.name, **part.metadata}
        for made in registrar.admitted(
            file.name[:4000], text, file.name, str(file.source), "", metadata, part.position
        ):
            yield ImageDocument(made.id, made.text, made.title, made.metadata, pixels=part.pixels)
    report.progress(file.before + file.size, file.total)
