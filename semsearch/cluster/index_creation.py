"""Indexes as they were asked for, whatever templates an administrator has put in place for names like theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from semsearch.cluster.cluster_connection import DONE, ClusterConnection
from semsearch.cluster.dialects import Clause, ClusterAnswer
from semsearch.errors import UsageError

UNPIPED: Mapping[str, str] = {"default_pipeline": "_none", "final_pipeline": "_none"}  # else one may change documents

CHANGING = ("normalizer", "ignore_above", "null_value", "copy_to", "index", "doc_values")  # what a field becomes


def create_index(connection: ClusterConnection, index: str, body: Clause, accept: Sequence[int] = ()) -> ClusterAnswer:
    """Make an index, which is what `body` says or is not there.

    Raises:
        UsageError: A template has made something else of it.
    """
    body = {**body, "settings": {"index": {**body["settings"]["index"], **UNPIPED}}}
    answer = connection.ask("PUT", quote(index), body, accept=accept, wanted=DONE)
    if answer.status >= 300:
        return answer
    said = connection.ask("GET", f"{quote(index)}/_mapping", wanted=(index,)).body[index]["mappings"]
    different = mapping_differences(body["mappings"], said)
    if different:
        connection.ask("DELETE", quote(index), accept=(404,), wanted=DONE)
        raise UsageError(
            f"a template of {connection.location} changes the indexes that semsearch makes ({', '.join(different)}): "
            f"have its administrator leave those out whose names begin with '{connection.address.prefix}', or choose "
            "another prefix, as in ?prefix=search. Nothing was made."
        )
    return answer


def mapping_differences(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> list[str]:
    """What of mappings is not as it was wanted, by its name; fields that nothing writes do no harm."""
    source = made.get("_source", {})
    left_out = wanted.get("_source", {}).get("excludes", [])
    kept = str(source.get("enabled", True)).lower() == "true" and not source.get("includes")
    found = [] if kept and sorted(source.get("excludes", [])) == sorted(left_out) else ["_source"]
    if str(made.get("_routing", {}).get("required", False)).lower() == "true":
        found.append("_routing")
    if str(made.get("dynamic")).lower() != "false":
        found.append("dynamic")
    properties = made.get("properties", {})
    return found + [name for name, own in wanted["properties"].items() if not _is(own, properties.get(name, {}))]


def _is(wanted: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether a field is of its type, and nothing that was asked for, or that changes it, is otherwise."""
    if made.get("type") != wanted["type"] or any(name in made and name not in wanted for name in CHANGING):
        return False
    return all(str(made.get(name, value)).lower() == str(value).lower() for name, value in wanted.items())
