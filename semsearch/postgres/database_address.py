"""The URL of a database: what libpq is told, and what people may see of it."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from semsearch.errors import UsageError

CATALOG = "schema"  # the parameter of the URL that names the schema in which the list of collections is kept
SERVERS_OWN = ("pg_", "information_schema")  # with what the names of schemas begin that the server keeps for itself
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,39}")
STANDBYS = ("prefer-standby", "standby", "read-only")  # what an address asks for whose reads go to standbys
SECRETS = {"password", "sslpassword", "oauth_client_secret"}
DEFAULTS: dict[str, Any] = {
    "connect_timeout": 10,  # seconds, for each host
    "application_name": "semsearch",
    "keepalives_idle": 30,  # seconds after which a silent connection is tried …
    "tcp_user_timeout": 30_000,  # … and milliseconds after which what was sent to nobody is an error
}


def _known() -> set[str]:
    """The parameters of a connection that this libpq has, and those that it takes in a URL beside them."""
    return {option.keyword.decode() for option in Conninfo.get_defaults()} | {"ssl"}


class DatabaseAddress:
    """A database, and the schema in it that lists the collections.

    Attributes:
        parameters: Of the connection, as libpq names them; a password may be among them.
        writing: Of one that writes: to the primary, where the address prefers standbys.
        schema: Where the collections are listed; those of each are kept in schemas of their own beside it.
        location: For people: a URL without its password.
    """

    def __init__(self, url: str) -> None:
        """`url`: `postgresql://user@host/database`, with any parameter of libpq, and `schema`."""
        place, _, query = url.partition("?")
        given = parse_qsl(query, keep_blank_values=True)
        named = [value for name, value in given if name == CATALOG]
        rest = urlencode([(name, value) for name, value in given if name != CATALOG], quote_via=quote)
        self.schema = named[-1] if named else "semsearch"
        if not _SCHEMA.fullmatch(self.schema):
            raise UsageError(
                "the schema of a PostgreSQL home is at most 40 small letters of ASCII, digits and '_', as in "
                "postgresql://user@host/database?schema=semsearch."
            )
        if self.schema.startswith(SERVERS_OWN):
            raise UsageError(
                f"the schema '{self.schema}' is the server's own, as all whose names begin with pg_ and the "
                "information_schema are: name another, or leave ?schema= out for 'semsearch'."
            )
        try:
            self.parameters = DEFAULTS | conninfo_to_dict(f"{place}?{rest}" if rest else place)
        except ProgrammingError:  # its message repeats the URL, which may have a password in it
            names = {name for name, _ in given if name != CATALOG}
            unknown = sorted(names - _known())
            if unknown and not names & SECRETS:  # of which it may be a part, cut at an '&'
                near = get_close_matches(unknown[0], _known(), 1)
                raise UsageError(
                    f"libpq knows no parameter '{unknown[0]:.40}', which stands behind the '?' in the URL of the "
                    f"PostgreSQL home{f': did you mean {near[0]!r}?' if near else '.'} There are host, port, sslmode, "
                    "connect_timeout, target_session_attrs and more, beside semsearch's own 'schema'."
                ) from None
            raise UsageError(
                "the address of the PostgreSQL home can't be read: write it as postgresql://user@host:port/database, "
                "with libpq's parameters behind a '?'; signs like '@', '/' and '%' in a name or a password as %40, "
                "%2F and %25."
            ) from None
        standby = self.parameters.get("target_session_attrs") in STANDBYS
        self.writing = {**self.parameters, "target_session_attrs": "read-write"} if standby else self.parameters
        self.location = self._shown()

    def _shown(self) -> str:
        told = self.parameters
        user = f"{quote(str(told['user']), safe='')}@" if "user" in told else ""
        hosts = str(told.get("host", "")).split(",")
        ports = str(told.get("port", "")).split(",")
        if len(ports) < len(hosts):
            ports = ports * len(hosts)
        at = ",".join(
            f"{quote(host, safe='[]:')}{f':{port}' if port else ''}" for host, port in zip(hosts, ports, strict=False)
        )
        schema = "" if self.schema == "semsearch" else f"?{CATALOG}={self.schema}"
        return f"postgresql://{user}{at}/{quote(str(told.get('dbname', '')), safe='')}{schema}"
