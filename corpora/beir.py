"""BEIR's layout: a folder with corpus.jsonl, queries.jsonl and judgements under qrels/.

Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval Models" (2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from corpora.json_lines import JSONLinesReader, JSONOptions, read_json
from semsearch.errors import DataError
from semsearch.options import Options
from semsearch.types import Confidence, Document, Report
from semsearch.walk import FolderListing


@dataclass(frozen=True)
class NoOptions(Options):
    """BEIR fixes its field names."""


class BEIRReader:
    """The corpus of a BEIR folder; for its queries and judgements see `semsearch.evaluation.judgements`."""

    Options = NoOptions
    suffixes = ()
    forgiving = False

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """Folders that hold corpus.jsonl, or corpus.jsonl.gz."""
        return Confidence.CERTAIN if path.is_dir() and _corpus(path) is not None else Confidence.NONE

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: NoOptions, report: Report) -> Iterator[Document]:
        """The documents of corpus.jsonl."""
        if not isinstance(source, Path):
            raise DataError("a BEIR corpus is a folder, and can't come from standard input; its corpus.jsonl can.")
        corpus = _corpus(source)
        if corpus is None:
            raise DataError(f"{source} is no BEIR folder: it holds neither corpus.jsonl nor corpus.jsonl.gz.")
        if not corpus.resolve().is_relative_to(source.resolve()):
            raise DataError(
                f"{corpus} is a link to a file out of the folder, which is not followed: read {corpus.resolve()} "
                "itself."
            )
        return read_json(corpus, JSONLinesReader.suffixes, JSONOptions(), report, corpus.name)


def _corpus(folder: Path) -> Path | None:
    return next((path for path in (folder / "corpus.jsonl", folder / "corpus.jsonl.gz") if path.is_file()), None)
