"""Fields of metadata that semsearch writes labels into: they stay when their documents are read again.

A source knows nothing of labels that were written into its documents. One whose content is what is stored keeps them;
one whose content changed has none until it is labelled anew.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Final, Literal

from semsearch.engine import Engine, Settings
from semsearch.records import Known, Record
from semsearch.search.where import Exists

LABEL_SETTING = "labels in "  # of a setting: one a field, so that two writers of two fields never undo each other's
ALL_LABELS: Final = "all"  # every value of the field is a label
SOME_LABELS: Final = "some"  # it had values of its own, by which the other documents were labelled


def label_fields(settings: Settings) -> set[str]:
    """Those of a collection with these settings."""
    return {
        name.removeprefix(LABEL_SETTING) for name, how in settings.items() if how and name.startswith(LABEL_SETTING)
    }


def keep_field(engine: Engine, field: str, how: Literal["all", "some"]) -> None:
    """Commit that `field` has labels from now on: that all of its values are, or some."""
    if engine.settings.get(LABEL_SETTING + field) != how:
        engine.set(LABEL_SETTING + field, how)


def values_of_its_own(engine: Engine, field: str) -> int:
    """How many documents have a value in `field`, where labels would replace what is none."""
    with engine.view() as view:
        return 0 if view.settings.get(LABEL_SETTING + field) == ALL_LABELS else view.count(Exists(field))


def with_labels(fields: Set[str], records: Mapping[str, Record], known: Mapping[str, Known]) -> dict[str, Record]:
    """`records` by id, those whose content is stored with the labels that are stored in `fields` and that they lack."""
    kept = dict(records)
    for identity, record in records.items() if fields else ():
        old, given = known.get(identity), record.document.metadata
        if old is not None and old.hash == record.hash and old.metadata != record.metadata:
            stored = json.loads(old.metadata)
            labels = {name: stored[name] for name in fields & stored.keys() if given.get(name) is None}
            document = replace(record.document, metadata={**given, **labels})
            kept[identity] = Record.of(document, checked=True)._replace(hash=record.hash)
    return kept


def note_values(engine: Engine, fields: Set[str], records: Mapping[str, Record], known: Mapping[str, Known]) -> None:
    """Commit in which of `fields` the `records`, which are about to be stored, have values of their own."""
    for field in fields:
        for identity, record in records.items():
            given, old = record.document.metadata.get(field), known.get(identity)
            if given is not None and (old is None or given != json.loads(old.metadata).get(field)):
                keep_field(engine, field, SOME_LABELS)
                break
