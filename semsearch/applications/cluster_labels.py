"""Clusters in the metadata: a field that tells each document's, and new documents assigned by those that have it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from semsearch.applications.classification import is_label, label_forms, printed
from semsearch.applications.clusters import Clusters, centres_of, nearest_centre
from semsearch.applications.document_vectors import document_vectors
from semsearch.arguments import kind_of
from semsearch.engine import Engine
from semsearch.errors import UsageError
from semsearch.ingest.label_fields import ALL_LABELS, SOME_LABELS, keep_field, label_fields, values_of_its_own
from semsearch.scratch import gathered
from semsearch.types import Metric
from semsearch.validation import check_text
from semsearch.vectors import score_each

LIKE_MEMBERS = 0.05  # share of the members of a cluster that score less with its centre than a new one must


def check_field(field: object) -> None:
    """Refuse what can't be the name of a field that labels are written into.

    Raises:
        UsageError: It is no text, or empty.
        DataError: It holds a character that is none.
    """
    if not isinstance(field, str) or not field.strip():
        raise UsageError(f"labels go into a field of metadata with a name, such as 'topic', and not {field!r:.40}.")
    check_text(field, "the name of the field that labels go into")


def check_free(engine: Engine, field: object) -> None:
    """Refuse to write labels over values that are none.

    Raises:
        UsageError: `field` is no name of a field, or documents have values in it that no labels were.
    """
    check_field(field)
    if own := values_of_its_own(engine, str(field)):
        raise UsageError(
            f"labels would replace values of '{field:.60}' that documents brought along (documents with one: {own:,}): "
            "name another field."
        )


def label(engine: Engine, found: Clusters, field: str, names: Sequence[str] | None = None) -> int:
    """Write the number of its cluster, or its name, into a field of each document; of those in none the field goes.

    Where there is no cluster at all, nothing is written.

    Returns:
        How many documents are in a cluster.
    """
    count = 0
    if not len(found):
        return count
    keep_field(engine, field, ALL_LABELS)
    for cluster in range(-1, len(found)):
        ids = [found.ids[row] for row in np.flatnonzero(found.labels == cluster).tolist()]
        value = None if cluster < 0 else cluster if names is None else names[cluster]
        written = engine.update_metadata(ids, _setter(field, value))
        count += written if cluster >= 0 else 0
    return count


def _setter(field: str, value: object) -> Callable[[Any], dict[str, Any]]:
    def change(metadata: Any) -> dict[str, Any]:
        kept = {name: old for name, old in metadata.items() if name != field}
        return kept if value is None else {**kept, field: value}

    return change


def assign(engine: Engine, field: str, device: str = "auto") -> dict[str, Any]:
    """The label of the cluster that each document without one belongs to, by the centres of those that have one.

    A document belongs to the nearest centre, if it scores as much with it as 95 % of the members do. Labels that print
    the same, 1 and "1", are of one cluster, and are written in the form that most have.

    Returns:
        Labels by id, written into `field`.

    Raises:
        UsageError: No document has such a field, or one has something in it that is no label.
    """
    check_field(field)
    with engine.view() as view:
        ids, vectors = document_vectors(view)
        metric = Metric.L2 if Metric(view.settings["metric"]) == Metric.L2 else Metric.COSINE
        values: dict[str, Any] = {}
        for document in view.documents():
            value = document.metadata.get(field)
            if is_label(value):
                values[document.id] = value
            elif value is not None:
                raise UsageError(
                    f"document {document.id!r:.60} has {kind_of(value)} in '{field}', where a text or a whole number "
                    "would be a label: name another field, or take that out."
                )
        known = sorted(label_forms(values.values()).values(), key=lambda value: (str(type(value)), value))
        if not known:
            raise UsageError(f"no document has a label in '{field}': cluster them first, with --label-as {field}.")
        numbers = {printed(value): number for number, value in enumerate(known)}
        labels = np.array([numbers[printed(values[one])] if one in values else -1 for one in ids], dtype=np.int64)
        centres = centres_of(vectors, labels, len(known), metric)
        rows = np.flatnonzero(labels >= 0)
        own = score_each(centres, labels[rows], vectors, rows, metric)
        needed = np.array([np.quantile(own[labels[rows] == number], LIKE_MEMBERS) for number in range(len(known))])
        new = np.flatnonzero(labels < 0)
        found: dict[str, Any] = {}
        if len(new):
            nearest, scores = nearest_centre(gathered(vectors, new), centres, metric, device)
            near = scores >= needed[nearest]
            found = {ids[row]: known[at] for row, at in zip(new[near].tolist(), nearest[near].tolist(), strict=True)}
    if found and field not in label_fields(engine.settings):
        keep_field(engine, field, SOME_LABELS)
    for value in known:
        engine.update_metadata([one for one, given in found.items() if given == value], _setter(field, value))
    return found
