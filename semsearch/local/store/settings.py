"""What was fixed when a collection was made or chosen since, a row of JSON each, with a checksum."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection

from semsearch.errors import CollectionDamaged
from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import decoding


@decoding()
def read_settings(connection: Connection) -> dict[str, Any]:
    """All settings.

    Raises:
        CollectionDamaged: One is not what was stored.
    """
    found = {}
    for name, value, crc in connection.exec_driver_sql("SELECT name, value, crc FROM settings"):
        if crc != setting_crc(name, value):
            raise _damaged(f"the setting {name!r} is not what was stored")
        found[name] = json.loads(value)
    return found


def check_settings(settings: Mapping[str, Any], names: Collection[str]) -> None:
    """Raise `CollectionDamaged` if one of `names`, which every collection has, is missing."""
    if lost := sorted(set(names) - settings.keys()):
        raise _damaged(f"it lacks the settings {', '.join(lost)}")


def put_setting(connection: Connection, name: str, value: Any) -> None:
    """Write one setting inside the caller's transaction."""
    text = json.dumps(value)
    connection.exec_driver_sql(
        "INSERT INTO settings VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET value = excluded.value, crc = excluded.crc",
        (name, text, setting_crc(name, text)),
    )


def setting_crc(name: str, value: str) -> int:
    """The checksum of a setting's row."""
    return crc32(f"{name}\0{value}".encode())


def _damaged(what: str) -> CollectionDamaged:
    return CollectionDamaged(
        f"the database of the collection is damaged: {what}. Restore it from a backup with 'semsearch restore', or "
        "index the sources anew under another name; the vector and index files were left alone."
    )
