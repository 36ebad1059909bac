"""Queries, judgements and runs from files: BEIR's folders, TREC's files, lines of id and text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from semsearch.arguments import kind_of
from semsearch.errors import DataError, StorageError, UsageError
from semsearch.reading.files import CorpusFile, StrictReport, open_input, read_lines
from semsearch.reading.json_objects import read_objects

_SPACE = re.compile(r"\s")


def read_queries(path: Path) -> dict[str, str]:
    """Query texts by id.

    Args:
        path: A BEIR folder, its queries.jsonl (fields `_id` or `id`, and `text`), or lines of id, tab and text. All may
            be packed with gzip.

    Raises:
        DataError: A line that is no query, an id that comes twice, or no queries at all.
    """
    file = _packed_or_not(path / "queries.jsonl") or path / "queries.jsonl" if path.is_dir() else path
    objects = file.name.removesuffix(".gz").endswith(("jsonl", "json"))
    found: dict[str, str] = {}
    for where, identity, text in _objects(file) if objects else _topics(file):
        if identity in found:
            raise DataError(f"{where}: the query {identity!r:.80} is there twice.")
        found[identity] = text
    if not found:
        raise DataError(f"{path} holds no queries.")
    return found


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Judgements, query → document → grade.

    Args:
        path: BEIR's TSV (query-id, corpus-id, score, under a header) or TREC's four columns (query, anything, document,
            grade), packed with gzip or not.

    Raises:
        DataError: A line that is no judgement, two grades for one pair, or no judgements at all.
    """
    found: dict[str, dict[str, int]] = {}
    for number, where, line in _lines(path):
        fields = line.split("\t") if "\t" in line else line.split()
        if number == 1 and fields[-1].strip().lower() in ("score", "relevance"):
            continue
        try:
            query, document, grade = fields if len(fields) == 3 else (fields[0], fields[2], fields[3])
            value = int(grade)
        except (ValueError, IndexError):
            raise DataError(
                f"{where}: expected query, document and a whole grade (or TREC's four columns), not "
                f"{line.strip()!r:.80}."
            ) from None
        if found.setdefault(query, {}).setdefault(document, value) != value:
            raise DataError(f"{where}: document {document!r:.80} is judged twice for query {query!r:.80}.")
    if not found:
        raise DataError(f"{path} holds no judgements.")
    return found


def qrels_file(folder: Path, split: str) -> Path:
    """The file of a BEIR folder that holds the judgements of a split.

    Raises:
        UsageError: There is none; the error names those there are.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}.")
    file = _packed_or_not(folder / "qrels" / f"{split}.tsv")
    if file is None:
        there = ", ".join(sorted(path.name.partition(".")[0] for path in (folder / "qrels").glob("*.tsv*")))
        raise UsageError(f"{folder} has no judgements '{split}' under qrels/; there are: {there or 'none'}.")
    return file


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """The documents of each query with their scores, from a TREC run (query, Q0, document, rank, score, name).

    Raises:
        DataError: A line that is none, a document that comes twice for a query, or no run at all.
    """
    run: dict[str, dict[str, float]] = {}
    for _, where, line in _lines(path):
        try:
            query, _, document, _, score, _ = line.split()
            value = float(score)
            if not math.isfinite(value):
                raise ValueError
        except ValueError:
            raise DataError(
                f"{where}: expected query, Q0, document, rank, a score and the run's name, not {line.strip()!r:.80}."
            ) from None
        documents = run.setdefault(query, {})
        if document in documents:
            raise DataError(f"{where}: document {document!r:.80} is there twice for query {query!r:.80}.")
        documents[document] = value
    if not run:
        raise DataError(f"{path} holds no run.")
    return run


def write_run(path: Path, run: Mapping[str, Mapping[str, float]], name: str) -> None:
    """Write a TREC run; documents by falling score, of equals in the order given.

    Raises:
        UsageError: An id holds white space.
        StorageError: The file can't be written.
    """
    lines = []
    for query, documents in run.items():
        ranked = sorted(documents.items(), key=lambda scored: -scored[1])
        for rank, (document, score) in enumerate(ranked, start=1):
            for what, identity in (("query", query), ("document", document)):
                if not identity or _SPACE.search(identity):
                    raise UsageError(
                        f"the {what} id {identity!r:.80} holds white space, which separates the columns of a TREC run: "
                        "do without --run-out."
                    )
            lines.append(f"{query} Q0 {document} {rank} {score!r} {name}\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"writing {path} failed: {error.strerror or error}. Choose another place with --run-out."
        ) from error


def _objects(file: Path) -> Iterator[tuple[str, str, str]]:
    """Place, id and text of each query of a queries.jsonl."""
    with open_input(CorpusFile(file, "")) as data:
        for where, _, record in read_objects(data, StrictReport()):
            identity, text = record.get("_id", record.get("id")), record.get("text")
            if isinstance(identity, int) and not isinstance(identity, bool):
                identity = str(identity)
            if not isinstance(identity, str) or not isinstance(text, str) or not text.strip():
                raise DataError(
                    f"{where}: a query needs '_id' and 'text' that are text; here they are {kind_of(identity)} and "
                    f"{kind_of(text)}."
                )
            yield where, identity, text


def _topics(file: Path) -> Iterator[tuple[str, str, str]]:
    """Place, id and text of each line of id, tab and text."""
    for _, where, line in _lines(file):
        identity, tab, text = line.partition("\t")
        if not tab or not identity.strip() or not text.strip():
            raise DataError(f"{where}: expected an id, a tab and the text of a query, not {line.strip()!r:.80}.")
        yield where, identity, text.strip()


def _lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """The lines that aren't empty, each with its number and place, without its ending."""
    with open_input(CorpusFile(path, "")) as data:
        for number, line in read_lines(data, StrictReport()):
            if not line.isspace():
                yield number, f"{data.name}, line {number:,}", line.rstrip("\r\n")


def _packed_or_not(path: Path) -> Path | None:
    return next((file for file in (path, path.with_name(f"{path.name}.gz")) if file.is_file()), None)
