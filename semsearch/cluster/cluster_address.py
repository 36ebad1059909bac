"""The URL of a cluster: its hosts, how it lets one in, and what people may see of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from semsearch.errors import UsageError

Flavour = Literal["opensearch", "elasticsearch"]
FLAVOURS: tuple[Flavour, ...] = ("opensearch", "elasticsearch")
CLUSTER_PORT = 9200
PREFIX = "semsearch"
_PREFIX = re.compile(r"[a-z][a-z0-9_]{0,39}")  # without '-', so that no prefix begins another's indexes
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:@/\s]+)(?::(\d{1,5}))?")
_PARAMETERS = ("prefix", "shards", "replicas", "ca_certs", "timeout")


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """A cluster, and the prefix of the indexes in it that are semsearch's.

    Attributes:
        flavour: Which server it is.
        hosts: As URLs, without a password.
        user: And `password`: how the cluster lets one in; empty where it lets everybody in.
        prefix: What the names of all indexes begin with.
        shards: Of a new collection; None leaves it to the cluster.
        replicas: Of a new collection; None leaves it to the cluster.
        ca_certs: A file of certificates to trust beside the usual ones.
        timeout: Seconds that a request may take.
        location: For people: a URL without its password.
    """

    flavour: Flavour
    hosts: tuple[str, ...]
    user: str
    password: str
    prefix: str
    shards: int | None
    replicas: int | None
    ca_certs: str | None
    timeout: float
    location: str

    @classmethod
    def of(cls, url: str) -> ClusterAddress:
        """What a URL says: `opensearch+https://user:password@host:9200,other:9200?prefix=semsearch&shards=3`.

        Raises:
            UsageError: It can't be read; the message does not repeat it, for there may be a password in it.
        """
        try:
            parts = urlsplit(url)
            given = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError:
            raise _unreadable() from None
        flavour, _, secure = parts.scheme.partition("+")
        login, _, places = parts.netloc.rpartition("@")
        found = [_HOST.fullmatch(place) for place in places.split(",")]
        if flavour not in FLAVOURS or parts.path.strip("/") or parts.fragment or not all(found):
            raise _unreadable()
        if unknown := sorted(set(given) - set(_PARAMETERS)):
            raise UsageError(
                f"the address of a cluster has no parameter '{unknown[0]:.40}': there are {', '.join(_PARAMETERS)}."
            )
        told = {name: values[-1] for name, values in given.items()}
        prefix = told.get("prefix", PREFIX)
        if not _PREFIX.fullmatch(prefix):
            raise UsageError(
                "the prefix of a cluster's indexes is at most 40 small letters of ASCII, digits and '_', as in "
                f"{flavour}://host:9200?prefix=semsearch."
            )
        trusted = told.get("ca_certs")
        if trusted is not None and (secure != "https" or not Path(trusted).is_file()):
            raise UsageError(
                "'ca_certs' in the address of a cluster is a file with certificates, and for "
                f"{flavour}+https:// alone: there is no such file, or no TLS in this address."
            )
        user, _, password = login.partition(":")
        hosts = [f"{one[1]}:{one[2] or CLUSTER_PORT}" for one in found if one is not None]
        shown = f"{parts.scheme}://{f'{user}@' if user else ''}{','.join(hosts)}"
        shown += "" if prefix == PREFIX else f"?prefix={quote(prefix)}"
        return cls(
            flavour,
            tuple(f"{'https' if secure == 'https' else 'http'}://{host}" for host in hosts),
            unquote(user),
            unquote(password),
            prefix,
            _whole(told, "shards", 1),
            _whole(told, "replicas", 0),
            trusted,
            float(_whole(told, "timeout", 1) or 60),
            shown,
        )


def _whole(told: dict[str, str], name: str, least: int) -> int | None:
    text = told.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= 100_000:
        raise UsageError(f"'{name}' in the address of a cluster is a whole number from {least} on.")
    return int(text)


def _unreadable() -> UsageError:
    return UsageError(
        "the address of the cluster can't be read: write it as opensearch://host:9200, or "
        "elasticsearch+https://user:password@host:9200,other:9200?ca_certs=FILE; signs like '@', '/' and '%' in a "
        "name or a password as %40, %2F and %25."
    )
