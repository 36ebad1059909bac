"""TREC's files: runs (query, Q0, document, rank, score, name) and topics (id, tab, text)."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from semsearch.errors import DataError, UsageError
from semsearch.local.store.platform import storage_error

_UNSAFE = re.compile(r"\s")


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """The documents of each query with their scores; packed with gzip or not."""
    run: dict[str, dict[str, float]] = {}
    for where, line in _lines(path):
        fields = line.split()
        try:
            query, _, document, _, score, _ = fields
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
    """Write a run; documents by falling score, of equals in the order given."""
    lines = []
    for query, documents in run.items():
        ranked = sorted(documents.items(), key=lambda entry: -entry[1])
        for rank, (document, score) in enumerate(ranked, start=1):
            for what, identity in (("query", query), ("document", document)):
                if not identity or _UNSAFE.search(identity):
                    raise UsageError(
                        f"the {what} id {identity!r:.80} holds white space, which separates the columns of a TREC run: "
                        "do without --run-out."
                    )
            lines.append(f"{query} Q0 {document} {rank} {score!r} {name}\n")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise storage_error(error, "writing", path) from error


def read_topics(path: Path) -> dict[str, str]:
    """Query texts by id, from lines of id, tab and text."""
    found: dict[str, str] = {}
    for where, line in _lines(path):
        identity, tab, text = line.rstrip("\r\n").partition("\t")
        if not tab or not identity.strip() or not text.strip():
            raise DataError(f"{where}: expected an id, a tab and the text of a query, not {line.strip()!r:.80}.")
        if identity in found:
            raise DataError(f"{where}: the query {identity!r:.80} is there twice.")
        found[identity] = text.strip()
    if not found:
        raise DataError(f"{path} holds no queries.")
    return found


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """The lines that aren't empty, each with its place."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number:,}", line
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} can't be read as text ({error}).") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}.") from error
