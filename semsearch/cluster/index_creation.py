"""Indexes as they were asked for, whatever templates an administrator has put in place for names like theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from semsearch.cluster.cluster_connection import ClusterConnection
from semsearch.cluster.dialects import Clause, ClusterAnswer
from semsearch.errors import UsageError

UNPIPED: Mapping[str, str] = {"default_pipeline": "_none", "final_pipeline": "_none"}  # else one may change documents


def create_index(connection: ClusterConnection, index: str, body: Clause, accept: Sequence[int] = ()) -> ClusterAnswer:
    """Make an index, which is what `body` says or is not there.

    Raises:
        UsageError: A template has made something else of it.
    """
    body = {**body, "settings": {"index": {**body["settings"]["index"], **UNPIPED}}}
    answer = connection.ask("PUT", quote(index), body, accept=accept)
    if answer.status >= 300:
        return answer
    said = connection.ask("GET", f"{quote(index)}/_mapping").body[index]["mappings"]
    different = _differences(body["mappings"], said)
    if different:
        connection.ask("DELETE", quote(index), accept=(404,))
        raise UsageError(
            f"a template of {connection.location} changes the indexes that semsearch makes ({', '.join(different)}): "
            f"have its administrator leave those out whose names begin with '{connection.address.prefix}', or choose "
            "another prefix, as in ?prefix=search. Nothing was made."
        )
    return answer


def _differences(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """What of mappings is not as it was wanted, by its name; fields that nothing writes do no harm."""
    found = [name for name in ("_routing", "_source") if _told(made.get(name, {})) != _told(wanted.get(name, {}))]
    if str(made.get("dynamic")).lower() != "false":
        found.append("dynamic")
    properties = made.get("properties", {})
    return found + [name for name, own in wanted["properties"].items() if _told(properties.get(name)) != _told(own)]


def _told(mapping: Any) -> Any:
    """A part of mappings with its values as texts, without what is empty."""
    if isinstance(mapping, Mapping):
        told = {name: _told(value) for name, value in mapping.items()}
        return {name: value for name, value in told.items() if value not in (None, [], {})}
    if isinstance(mapping, list):
        return [_told(value) for value in mapping]
    return None if mapping is None else str(mapping).lower()
