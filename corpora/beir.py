"""BEIR's layout: a folder with corpus.jsonl, queries.jsonl and judgements under qrels/.

Thakur et al., "BEIR: A Heterogeneous Benchmark for Zero-shot Evaluation of Information Retrieval Models" (2021).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from corpora.files import Entry, StrictReport, open_input, read_lines
from corpora.json_lines import JSONLinesReader, records
from corpora.records import Columns
from semsearch.errors import DataError
from semsearch.types import Document, Report
from semsearch.validation import kind_of


@dataclass(frozen=True)
class NoOptions:
    """BEIR fixes its field names."""


class BEIRReader:
    """The corpus of a BEIR folder; its queries and judgements by `queries` and `qrels`, for evaluation."""

    Options = NoOptions

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Folders that hold corpus.jsonl, or corpus.jsonl.gz."""
        return path.is_dir() and _part(path, "corpus.jsonl") is not None

    @classmethod
    def read(cls, source: Path | BinaryIO, options: NoOptions, report: Report) -> Iterator[Document]:
        """The documents of corpus.jsonl."""
        if not isinstance(source, Path):
            raise DataError("a BEIR corpus is a folder, and can't come from standard input; its corpus.jsonl can.")
        corpus = _part(source, "corpus.jsonl")
        if corpus is None:
            raise DataError(f"{source} is no BEIR folder: it holds neither corpus.jsonl nor corpus.jsonl.gz.")
        yield from JSONLinesReader.read(corpus, Columns(), report)

    @staticmethod
    def queries(path: Path) -> dict[str, str]:
        """Query texts by id, from a BEIR folder or a queries.jsonl (fields `_id` or `id`, and `text`)."""
        found: dict[str, str] = {}
        with open_input(Entry(_file(path, "queries.jsonl"), "")) as data:
            for where, record in records(data, StrictReport()):
                identity, text = record.get("_id", record.get("id")), record.get("text")
                if isinstance(identity, int) and not isinstance(identity, bool):
                    identity = str(identity)
                if not isinstance(identity, str) or not isinstance(text, str) or not text.strip():
                    raise DataError(
                        f"{where}: a query needs '_id' and 'text' that are text; here they are {kind_of(identity)} and "
                        f"{kind_of(text)}."
                    )
                if identity in found:
                    raise DataError(f"{where}: the query {identity!r:.80} is there twice.")
                found[identity] = text
        if not found:
            raise DataError(f"{path} holds no queries.")
        return found

    @staticmethod
    def qrels(path: Path) -> dict[str, dict[str, int]]:
        """Judgements, query id → document id → grade.

        From BEIR's TSV (query-id, corpus-id, score, with a header) or TREC's four columns (query, anything, document,
        grade).
        """
        found: dict[str, dict[str, int]] = {}
        with open_input(Entry(path, "")) as data:
            for number, line in read_lines(data, StrictReport()):
                fields = line.rstrip("\r\n").split("\t") if "\t" in line else line.split()
                if (
                    not fields
                    or fields == [""]
                    or (number == 1 and fields[-1].strip().lower() in ("score", "relevance"))
                ):
                    continue
                where = f"{data.name}, line {number:,}"
                try:
                    query, document, grade = fields if len(fields) == 3 else (fields[0], fields[2], fields[3])
                    value = int(grade)
                except (ValueError, IndexError):
                    raise DataError(
                        f"{where}: expected query, document and a whole grade (or TREC's four columns), "
                        f"not {line.strip()!r:.80}."
                    ) from None
                if found.setdefault(query, {}).setdefault(document, value) != value:
                    raise DataError(f"{where}: document {document!r:.80} is judged twice for query {query!r:.80}.")
        if not found:
            raise DataError(f"{path} holds no judgements.")
        return found


def _part(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _file(path: Path, name: str) -> Path:
    """`path`, or the file of this name in it where it is a folder."""
    return (_part(path, name) or path / name) if path.is_dir() else path
