"""What a collection was made from, held against what it is to take now; and what is left where that breaks off."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from semsearch.errors import ModelMismatch, SemsearchError, UsageError

if TYPE_CHECKING:
    from semsearch.collection import Collection
    from semsearch.home import Home
    from semsearch.ingest.source import Source

NONE = "none"  # instead of a model


def check_source(collection: Collection, source: Source, add: bool) -> None:
    """Refuse a source that the collection does not know, unless it is to be added."""
    known = collection.sources
    if add or not known or json.loads(source.to_json()) in known:
        return
    listed = ", ".join(_described(old) for old in known)
    raise UsageError(
        f"'{collection.name}' was made from {listed}, not from {_described(json.loads(source.to_json()))}. "
        "Choose another collection with --name, or take this source in as well with --add."
    )


def _described(source: dict[str, Any]) -> str:
    place = "standard input" if source.get("path") == "-" else str(source.get("path"))
    read = {key: value for key, value in source.items() if key not in ("path", "options")}
    read |= source.get("options") or {}
    return f"{place} ({', '.join(f'{key} {value}' for key, value in read.items())})"


def check_settings(collection: Collection, given: dict[str, Any]) -> None:
    """Refuse options that contradict what the collection was made with."""
    facts = collection.info()
    made = facts["encoder"] or {}
    model, revision = given["encoder"], given.get("revision")
    if model and (model == NONE) is bool(made):
        has = f"was made with the model {made['name']}" if made else "has no model and is searched by vectors alone"
        raise ModelMismatch(
            f"'{collection.name}' {has}: leave out --encoder, or choose another collection with --name."
        )
    other = model not in (None, NONE, made.get("name"))
    if other or (revision and revision != made.get("revision")):
        from semsearch import models
        from semsearch.hardware import Compute

        compute = Compute(given["device"], given["dtype"], given.get("batch_tokens"))
        wanted = models.encoder(model or made["name"], compute, revision=revision)
        if wanted.fingerprint != made.get("fingerprint"):  # another name of the same model is no contradiction
            raise ModelMismatch(
                f"'{collection.name}' was made with the model {made.get('name')}, not with {wanted.name}: their "
                "vectors don't compare. Leave out --encoder, or choose another collection with --name."
            )
    asked = {
        "passages": given.get("passages"),
        "index": given.get("backend"),
        "recall": given.get("recall"),
        **dict(given.get("settings", ())),
    }
    split = "on" if collection.settings["passages"] else "off"
    wanted_index = facts["index"]["wanted"]
    is_made = {
        "passages": split,
        "index": wanted_index["backend"],
        "recall": wanted_index["recall"],
        **wanted_index["options"],
    }
    for key, value in asked.items():
        if value is not None and value != is_made.get(key):
            change = "" if key == "passages" else f", change it with 'semsearch reindex {collection.name}'"
            raise UsageError(
                f"'{collection.name}' was made with {key} {is_made.get(key)}, not {value}. Leave that option "
                f"out{change}, or choose another collection with --name."
            )


def left(name: str, home: Home, made: bool) -> str:
    """What a broken off `index` leaves, for a person who wonders whether to begin again.

    A collection that it made and that is still empty goes: it would only insist on the settings it was made with.
    """
    import semsearch
    from semsearch.opening import drop

    count = 0
    with suppress(SemsearchError), semsearch.open(name, home=home) as collection:
        count = len(collection)
        if made and not count:
            with collection.engine.hold():  # nobody may commit between the look and the end
                count = len(collection)
                if not count:
                    drop(name, home=home)
    if not count:
        return "Nothing is committed yet; the same command begins again."
    documents = "1 document is" if count == 1 else f"{count:,} documents are"
    return f"{documents} committed in '{name}' and can be searched; the same command goes on from there."
