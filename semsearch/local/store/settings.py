"""What was fixed when a collection was made or chosen since, a row of JSON each, with a checksum."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection

from semsearch.engine import SPARSE
from semsearch.errors import CollectionDamaged
from semsearch.local.store.checksum import crc32
from semsearch.local.store.database import driver
from semsearch.local.store.database_errors import decoding
from semsearch.search.languages import LANGUAGES, STEMMED, in_turn
from semsearch.types import Metric


@decoding()
def read_settings(connection: Connection) -> dict[str, Any]:
    """All settings.

    Raises:
        CollectionDamaged: One is not what was stored.
    """
    found = {}
    for name, value, crc in driver(connection).execute("SELECT name, value, crc FROM settings"):
        if crc != setting_crc(name, value):
            raise _damaged(f"the setting {name!r} is not what was stored")
        found[name] = json.loads(value)
        if name in _SOUND and not _SOUND[name](found[name]):  # its checksum is right, so somebody else wrote it
            raise _damaged(f"the setting {name!r} is none that semsearch writes")
    return found


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _text(value: object) -> bool:
    return isinstance(value, str) and value.isprintable()


def _encoder(value: Any) -> bool:
    if value is None:
        return True
    return (
        isinstance(value, dict)
        and _text(value.get("fingerprint"))
        and "name" in value
        and all(value.get(key) is None or _text(value[key]) for key in ("name", "class", "revision"))
        and (value["name"] is None or "revision" in value)
        and (value["name"] is not None or "class" in value)
    )


def _index(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) <= {"backend", "options", "recall", "k", "at"}
        and _text(value.get("backend"))
        and isinstance(value.get("options", {}), dict)
        and (value.get("recall") is None or (_number(value["recall"]) and 0 < value["recall"] <= 1))
        and all(isinstance(value[key], int) and value[key] >= 1 for key in ("k", "at") if key in value)
    )


def _calibration(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    scores = value.get("scores")
    return (
        set(value) <= {"model", "passages", "pairs", "scores", "mean_excess", "slope", "intercept", "judged"}
        and isinstance(value.get("model"), str)
        and isinstance(scores, list)
        and len(scores) == QUANTILES
        and {int, float}.issuperset(map(type, scores))
        and all(low <= high for low, high in pairwise(scores))  # never so of what is no number
        and _number(scores[0])
        and _number(scores[-1])
        and all(_number(value.get(key)) for key in ("passages", "pairs", "mean_excess"))
        and value["mean_excess"] > 0
        and all(value.get(key) is None or _number(value[key]) for key in ("slope", "intercept", "judged"))
    )


def _languages(value: Any) -> bool:
    return value is None or (
        isinstance(value, list)
        and all(isinstance(code, str) and code in STEMMED for code in value)
        and tuple(value) == in_turn(value)
    )


def _reencoding(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _count(value.get("generation"))
        and isinstance(value.get("target"), dict)
        and all(value.get(key) is None or _count(value[key]) for key in ("dim", "encoding"))
    )


def _sparse(value: Any) -> bool:
    return _encoder(value) and value is not None and type(value.get("dim")) is int and 1 <= value["dim"] <= MOST_WORDS


def _sparse_index(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"number", "generation", "rows", "digest"}
        and all(_count(value[key]) for key in ("number", "generation", "rows"))
        and _text(value["digest"])
    )


SPARSE_INDEX, SPARSE_WRITES = (
    "sparse_index",
    "sparse_writes",
)  # the index of sparse vectors; how often they were written
MOST_WORDS = 1 << 26  # components of a sparse vector
REENCODING = "reencoding"  # the setting that holds the change of model that is under way
LAST_GENERATION = "last_generation"  # … and the number of a vector file that was given last
QUANTILES = 102  # scores that a calibration keeps: `semsearch.search.calibration.LEVELS`
_SOUND: dict[str, Callable[[Any], bool]] = {
    "encoder": _encoder,
    "metric": lambda value: value in list(Metric),
    "passages": lambda value: isinstance(value, bool),
    "splitting": lambda value: value is None or _text(value),
    "index": _index,
    "created": _text,
    "uuid": _text,
    "description": lambda value: isinstance(value, str),
    "calibration": _calibration,
    "former_encoder": _encoder,
    LANGUAGES: _languages,
    REENCODING: _reencoding,
    LAST_GENERATION: _count,
    SPARSE: _sparse,
    SPARSE_INDEX: _sparse_index,
    SPARSE_WRITES: _count,
}
"""Whether a value can be that of a setting, of those that are taken apart elsewhere."""


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
