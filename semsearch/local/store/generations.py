"""The numbers of vector files: each is given once, by one transaction, whoever asks and whatever became of it."""

from __future__ import annotations

from sqlalchemy import Connection

from semsearch.local.store.settings import LAST_GENERATION, REENCODING, put_setting, read_settings


def reserve(connection: Connection) -> int:
    """A number that no vector file of the collection has or had, inside the caller's transaction."""
    known = connection.exec_driver_sql("SELECT generation FROM state UNION SELECT generation FROM segments").scalars()
    settings = read_settings(connection)
    begun = settings.get(REENCODING)  # an older semsearch noted its number nowhere else
    number: int = 1 + max(*known, settings.get(LAST_GENERATION, 0), begun["generation"] if begun else 0)
    put_setting(connection, LAST_GENERATION, number)
    return number
