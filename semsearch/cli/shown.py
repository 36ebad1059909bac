"""The metadata that is shown with hits: which fields a person wants to see of a collection, and what they hold.

It is the person's choice and no part of the collection, which a query never writes to: it is remembered in their own
state folder, a file for each collection.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from semsearch import wire
from semsearch.errors import UsageError
from semsearch.plain_files import read_plain
from semsearch.search.fields import listed_fields
from semsearch.state import state_folder
from semsearch.types import Hit

if TYPE_CHECKING:
    from pathlib import Path

    from semsearch.federation import Searchable

SAYS_NOTHING: tuple[Any, ...] = ("", [], {})
NO_FIELDS = ("", "none", "off")


def chosen(text: str, collection: Searchable) -> tuple[str, ...]:
    """The fields in a list with commas, remembered for the collection; none for 'none'.

    Raises:
        UsageError: The collection has no such field; says which there are.
    """
    names = () if text.strip().lower() in NO_FIELDS else tuple(filter(None, map(str.strip, text.split(","))))
    known = collection.fields()
    for name in names:
        if name not in known:
            raise UsageError(f"'{collection.name}' has no field '{name}'; {listed_fields(name, known)}")
    _remember(collection, names)
    return names


def remembered(collection: Searchable) -> tuple[str, ...]:
    """The fields that were chosen last."""
    file = _file(collection)
    with suppress(OSError, ValueError, TypeError, KeyError):
        if file is not None and (known := json.loads(read_plain(file)))["place"] == collection.location:
            return tuple(name for name in known["fields"] if isinstance(name, str))
    return ()


def values(hit: Hit, names: Sequence[str]) -> list[tuple[str, str]]:
    """The fields that a hit has, and what they hold in words."""
    found = []
    for name in names:
        value = value_of(hit.metadata, name)
        if value is not None and value not in SAYS_NOTHING:
            found.append((name, in_words(value)))
    return found


def value_of(metadata: Mapping[str, Any], name: str) -> Any:
    """What a field holds; within maps by its dotted name, as filters call it. None where there is none."""
    if name in metadata:
        return metadata[name]
    for end in range(len(name)):
        if name[end] == "." and isinstance(inner := metadata.get(name[:end]), Mapping):
            found = value_of(inner, name[end + 1 :])
            if found is not None:
                return found
    return None


def in_words(value: Any) -> str:
    """A value as people read it: the elements of a list with commas between."""
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value))
    return value if isinstance(value, str) else wire.dumps(value)


def _file(collection: Searchable) -> Path | None:
    folder = state_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(os.fsencode(collection.location)).hexdigest()[:32]
    return folder / "shown" / f"{digest}.json"


def _remember(collection: Searchable, names: Sequence[str]) -> None:
    if names == remembered(collection):
        return
    file = _file(collection)
    try:
        if file is None:
            raise PermissionError(0, "there is no folder that can be written; name one with SEMSEARCH_STATE")
        file.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(wire.dumps({"place": collection.location, "fields": list(names)}), "utf-8")
        os.replace(temporary, file)  # noqa: PTH105  (Path.replace is the same call)
    except OSError as error:
        from semsearch.cli.render import say

        say(f"the fields to show hold for this time only: {error.strerror}.")
