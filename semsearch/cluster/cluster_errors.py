"""What a server says, as one sentence: what was wrong, where, and what to do. No password is in it."""

from __future__ import annotations

from typing import Any

from semsearch.cluster.dialects import ClusterAnswer
from semsearch.errors import (
    CollectionLocked,
    CollectionNotFound,
    EngineUnreachable,
    SemsearchError,
    StorageError,
    UsageError,
)

BUSY = frozenset({"circuit_breaking_exception", "es_rejected_execution_exception", "rejected_execution_exception"})
UNCONNECTED = frozenset(  # a node has gone just now, and the others have not noticed: with status 500
    f"{kind}_exception"
    for kind in (
        *("node_not_connected", "node_disconnected", "node_closed", "no_node_available", "retry_on_primary"),
        *("connect_transport", "send_request_transport", "receive_timeout_transport", "no_shard_available_action"),
    )
)
BLOCKED = "cluster_block_exception"
NO_MORE_INDEXES = "index_create_block_exception"
MISSING_INDEX = "index_not_found_exception"
_ROOM = "FORBIDDEN/12"  # how both name the block that a disk which is nearly full brings


def error_type(body: Any) -> str:
    """By what name the server calls what went wrong; empty where it says nothing of the kind."""
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("type", "")) if isinstance(error, dict) else ""


def error_types(error: Any) -> set[str]:
    """The names of all that went wrong, causes among them."""
    if isinstance(error, list):
        return set[str]().union(*map(error_types, error))
    if not isinstance(error, dict):
        return set()
    own = {error["type"]} if isinstance(error.get("type"), str) else set[str]()
    return own.union(*(error_types(error.get(part)) for part in ("root_cause", "caused_by", "failed_shards", "reason")))


def reason(body: Any) -> str:
    """What the server says of it, in a line."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        causes = [error.get("caused_by"), *(error.get("root_cause") or ()), *(error.get("failed_shards") or ())]
        said = [str(error.get("reason", "")), *(_cause(cause) for cause in causes)]
        error = next((one for one in reversed(said) if one and one != "None"), "")
    lines = str(error or "").strip().splitlines()
    return lines[0][:300].rstrip(".") if lines else "it says no more"


def _cause(cause: Any) -> str:
    if not isinstance(cause, dict):
        return ""
    inner = cause.get("reason")
    return _cause(inner) if isinstance(inner, dict) else str(inner or "")


def is_busy(answer: ClusterAnswer) -> bool:
    """Whether the same request may do in a moment: memory or a queue is full, or a shard is on its way."""
    kind = error_type(answer.body)
    if answer.status == 429:
        return kind != BLOCKED and "point in time" not in reason(answer.body) and "PIT" not in reason(answer.body)
    if answer.status == 500:
        return isinstance(answer.body, dict) and not UNCONNECTED.isdisjoint(error_types(answer.body.get("error")))
    return answer.status in (502, 503, 504) and kind != BLOCKED


def unreachable(location: str, said: str) -> EngineUnreachable:
    """No host answered."""
    if "certificate" in said.lower():
        return EngineUnreachable(
            f"{location} has a certificate that is not trusted here: name the file of the authority that signed it, as "
            "in ?ca_certs=FILE, once you know that it is the right one."
        )
    line = said.strip().splitlines()[-1][:300].rstrip(".") if said.strip() else "it says nothing"
    return EngineUnreachable(
        f"{location} can't be reached, or did not answer in time ({line}). What was acknowledged is there; what was "
        "under way may be, and the same command again does it once."
    )


def garbage(body: Any, location: str) -> StorageError:
    """What answers is no cluster, or something between answers in its place."""
    said = reason(body if isinstance(body, dict | str) else str(body))[:100]
    return StorageError(
        f"{location} answers, and not as a cluster does ({said}): is it one, and on this port? Nothing of this counts "
        "as written."
    )


def sentence(answer: ClusterAnswer, location: str) -> SemsearchError:
    """The error of semsearch's for what a server refused."""
    kind, said, status = error_type(answer.body), reason(answer.body), answer.status
    if status == 0:
        return garbage(answer.body, location)
    if kind in (BLOCKED, NO_MORE_INDEXES):
        return blocked(said, location)
    if status == 401:
        return EngineUnreachable(
            f"{location} does not let you in: the name or the password is wrong, or has expired. They stand in the "
            "URL, as in opensearch+https://user:password@host:9200."
        )
    if status == 403:
        return StorageError(f"the account has no right to do this in {location} ({said}): ask who looks after it.")
    if kind == MISSING_INDEX or "no such index" in said:
        return CollectionNotFound(f"the collection was dropped from {location} just now.")
    if status == 413:
        return StorageError(
            f"{location} takes no request of that size: split the document, or have http.max_content_length raised."
        )
    if "point in time" in said or "PIT" in said:
        return CollectionLocked(f"{location} has as many readers as it takes ({said}): try again.")
    if is_busy(answer):
        return StorageError(
            f"{location} can't do this now ({said}): a node is down, or has too little memory. What was acknowledged "
            "is there. If its health stays red with all nodes back, have its administrator send: "
            "POST _cluster/reroute?retry_failed=true"
        )
    if "serverless" in said.lower() or "Document ID is not supported" in said:
        return UsageError(
            f"{location} is a serverless flavour, which semsearch can't use, for it needs ids and settings of its own "
            f"({said}): take a cluster with nodes, or a folder."
        )
    return StorageError(f"{location} refused a request ({said}; {status}).")


def blocked(said: str, location: str) -> StorageError:
    """What a block says: mostly that a disk is nearly full."""
    if _ROOM in said or "flood" in said or "disk usage" in said or "FORBIDDEN/10" in said:
        return StorageError(
            f"{location} has too little room on its disks and takes no more writes ({said}): free some or add a node; "
            "it takes writes again by itself. Nothing of this was written."
        )
    return StorageError(f"{location} does not take writes now ({said}). Nothing of this was written.")
