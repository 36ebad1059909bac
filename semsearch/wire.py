"""The JSON of hits, documents, changes, certificates, problems and errors: one shape for all that speaks to programs.

A *message* is a whole answer and carries the number of its schema; what it holds, and each line of a stream of them, is
a *record* without one. A new key leaves the schema as it is, a key that goes or means something else raises it. Every
number is finite: what is not (a score beyond float32) is null. Texts are UTF-8, whatever a file's name held, and what
would drive a terminal is written as an escape.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from semsearch.arguments import kind_of
from semsearch.controls import escaped_in_json
from semsearch.errors import DataError, SemsearchError
from semsearch.types import Document, Explanation, Hit, Part
from semsearch.validation import check_document

if TYPE_CHECKING:
    from semsearch.engine import Problem
    from semsearch.ingest.ingestion import IngestResult
    from semsearch.ingest.source import ReadReport
    from semsearch.ingest.sync import Synced
    from semsearch.places import Place
    from semsearch.search.calibration import Calibration
    from semsearch.search.matches import QueryWords
    from semsearch.search.recall import Certificate

SCHEMA = 1


def dumps(value: Any) -> str:
    """`value` as one line of JSON."""
    text = escaped_in_json(json.dumps(plain(value), ensure_ascii=False, allow_nan=False))
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair, in the name of a file say


def plain(value: Any) -> Any:
    """`value` in what JSON knows: numpy's numbers and arrays and any mapping as Python's, None for NaN and infinity.

    >>> plain({"scores": np.array([0.5, np.inf]), "span": (0, 3)})
    {'scores': [0.5, None], 'span': [0, 3]}
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:  # as nearly all are
        return value
    if kind is dict:
        return {key if type(key) is str else str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def message(**parts: Any) -> dict[str, Any]:
    """A whole answer of these parts, under the number of the schema."""
    return {"schema": SCHEMA, **{name: plain(part) for name, part in parts.items()}}


# ------------------------------------------------------------------------------------------------------------ messages


def answer(
    query: str, hits: Sequence[Hit], timings: Mapping[str, float], words: QueryWords | None = None
) -> dict[str, Any]:
    """What was found for a query, and what is to be said of it.

    Args:
        query: Its text.
        hits: What was found.
        timings: Milliseconds by stage.
        words: The query's, to tell where hits have them.
    """
    spent = {stage: round(milliseconds, 3) for stage, milliseconds in timings.items()}
    notes = list(getattr(hits, "notes", ()))
    return message(query=query, hits=[hit(one, words) for one in hits], notes=notes, timings_ms=spent)


def info(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `Collection.info` tells."""
    return message(**facts)


def error(error: SemsearchError) -> dict[str, Any]:
    """An error that is meant for people: its kind, its sentence, and the exit code that the command line ends with."""
    facts = {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
    return message(error=facts | {"notes": list(getattr(error, "__notes__", ()))})


# ------------------------------------------------------------------------------------------------------------- records


def hit(hit: Hit, words: QueryWords | None = None) -> dict[str, Any]:
    """One answer; `start` and `end` are the passage's place in its document, in characters, as are all in its text."""
    facts: dict[str, Any] = {
        "id": hit.id,
        "rank": hit.rank,
        "score": hit.score,
        "scores": hit.scores,
        "title": hit.title,
        "text": hit.text,
        "start": hit.start,
        "end": hit.end,
        "metadata": hit.metadata,
    }
    if hit.collection is not None:
        facts["collection"] = hit.collection
    if (stands := hit.place) is not None:
        facts["place"] = place(stands)
    if words is not None:
        in_text = [[hit.start + place for place in span] for span in words.within(hit.text)]
        facts["matches"] = {"title": [list(span) for span in words.within(hit.title)], "text": in_text}
    if hit.percentile is not None:
        facts["percentile"] = hit.percentile
    if hit.probability is not None:
        facts["probability"] = hit.probability
    if hit.context is not None:
        facts["context"] = {"start": hit.context.start, "end": hit.context.end, "text": hit.context.text}
    if hit.explanation is not None:
        facts["explanation"] = _explanation(hit, hit.explanation)
    return _record(facts)


def place(place: Place) -> dict[str, Any]:
    """Where a passage stands: the path of its file, and the line, page, slide and the like where there is one."""
    return {"path": place.path, **place.within}


def _explanation(hit: Hit, explanation: Explanation) -> dict[str, Any]:
    """How a hit came about; the weights of `parts` add up to `cosine`."""
    facts: dict[str, Any] = {"way": explanation.way, "found": hit.found, "ranks": hit.ranks}
    if hit.balance is not None:
        facts["balance"] = hit.balance._asdict()
    if explanation.terms is not None:
        facts["terms"] = [{"term": term, "weight": weight} for term, weight in explanation.terms]
    if explanation.pairs is not None:
        facts["pairs"] = [{"query": asked, **_part(part)} for asked, part in explanation.pairs]
    if hit.rerank_weight is not None:
        facts["rerank_weight"] = hit.rerank_weight
    if explanation.parts is None:
        return {**facts, "parts": None, "why": explanation.why}
    parts = [_part(part) for part in explanation.parts]
    return {**facts, "cosine": explanation.cosine, "difference": explanation.difference, "parts": parts}


def _part(part: Part) -> dict[str, Any]:
    return {"field": part.field, "start": part.start, "end": part.end, "weight": part.weight}


def document(document: Document) -> dict[str, Any]:
    """A document; `read_document` takes it back."""
    return _record({"id": document.id, "title": document.title, "text": document.text, "metadata": document.metadata})


def read_document(value: object, where: str = "document") -> Document:
    """The document of a JSON object with `id` and `text`, and with `title` and `metadata` where it has them.

    Raises:
        DataError: It is no such object; begins with `where` it came from.
    """
    if not isinstance(value, Mapping):
        raise DataError(f"{where}: it must be an object with 'id' and 'text', but is {kind_of(value)}.")
    known = ("id", "text", "title", "metadata")
    for name in value:
        if name not in known:
            raise DataError(f"{where}: a document has no {name!r:.60}; it has {', '.join(known)}.")
    for name in known[:2]:
        if name not in value:
            raise DataError(f"{where}: the {name} is missing.")
    metadata = value.get("metadata", {})
    if not isinstance(metadata, Mapping):
        raise DataError(f"{where}: the metadata must be an object, but is {kind_of(metadata)}.")
    read = Document(value["id"], value["text"], value.get("title", ""), dict(metadata))
    check_document(read, where)
    return read


def ingested(changes: IngestResult) -> dict[str, Any]:
    """What an `add` did, in documents, and the passages that it encoded."""
    return {
        "added": changes.added,
        "changed": changes.changed,
        "unchanged": changes.unchanged,
        "skipped": changes.skipped,
        "passages": changes.passages,
        "truncated": changes.truncated,
        "vanished": changes.vanished,
    }


def unread(report: ReadReport) -> dict[str, Any]:
    """What a reading left out: records, files and parts of files, each with its reason; files of no known kind.

    `errors` has all reasons, `records`, `files` and `parts` have them apart.
    """
    report.ends()
    return {
        "skipped": report.left_out,
        "errors": [str(error) for error in report.errors],
        "records": [str(error) for error in report.records.errors],
        "files": [str(error) for error in report.files.errors],
        "parts": [str(error) for error in report.parts.errors],
        "empty": list(report.empty_names),
        "odd_names": list(report.odd_names),
        "kinds": dict(sorted(report.kinds.items())),
        "outside": report.outside,
    }


def synced(synced: Synced) -> dict[str, Any]:
    """What a `sync` did, in documents: as `ingested`, what was taken out or kept though it vanished, and links left."""
    return {
        **ingested(synced.changes),
        "removed": synced.removed,
        "kept": synced.kept,
        "outside": synced.outside,
        "notes": list(synced.notes),
    }


def certificate(certificate: Certificate) -> dict[str, Any]:
    """What recall was promised and measured, on what, and the curve of the knob (milliseconds, queries a second)."""
    curve = [
        {"value": point.value, "recall": point.recall, "p50": point.p50, "p99": point.p99, "qps": point.qps}
        for point in certificate.curve
    ]
    return _record(
        {
            "target": certificate.target,
            "k": certificate.k,
            "met": certificate.met,
            "knob": certificate.knob,
            "value": certificate.value,
            "recall": certificate.recall,
            "certified": certificate.certified,
            "queries": certificate.queries,
            "source": certificate.source,
            "curve": curve,
            "summary": certificate.summary,
        }
    )


def problem(problem: Problem) -> dict[str, Any]:
    """One thing that is wrong with a collection, and what fixes it."""
    return {"part": problem.part, "what": problem.what, "fix": problem.fix}


def calibration(calibration: Calibration) -> dict[str, Any]:
    """What scores mean: quantiles of random pairs' scores, the tail beyond them, and the curve of probability."""
    return _record(
        {
            "model": calibration.model,
            "passages": calibration.passages,
            "pairs": calibration.pairs,
            "scores": calibration.scores,
            "mean_excess": calibration.mean_excess,
            "slope": calibration.slope,
            "intercept": calibration.intercept,
            "judged": calibration.judged,
        }
    )


def _record(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in facts.items()}
