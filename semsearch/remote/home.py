"""The collections of a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from semsearch.engine import Engine
from semsearch.errors import CollectionExists, CollectionNotFound
from semsearch.home import Home
from semsearch.names import check_name
from semsearch.remote.connection_to_server import ServerConnection, path_of
from semsearch.remote.engine import RemoteEngine, opened


class RemoteHome(Home):
    """A server of `semsearch serve`, by its address."""

    def __init__(self, place: str) -> None:
        """`place`: `http://host:port`, `https://…`, or `unix:PATH`; a key stands in SEMSEARCH_SERVER_KEY."""
        self._connection = ServerConnection(place)
        self.location = self._connection.location

    def names(self) -> Sequence[str]:
        """See `Home.names`."""
        return sorted(map(str, self._connection.ask("GET", "/v1/engine")))

    def create(
        self, name: str, settings: Mapping[str, Any], dim: int | None, *, device: str | None = None
    ) -> RemoteEngine:
        """See `Home.create`; a model is one that the server was started with."""
        name = check_name(name)
        try:
            self._connection.ask("POST", path_of(name), {"settings": dict(settings), "dim": dim})
        except CollectionExists:
            raise CollectionExists(f"a collection '{name}' is there already, in {self.location}.") from None
        return opened(name, self._connection)

    def open(self, name: str, *, device: str | None = None) -> RemoteEngine:
        """See `Home.open`; the server has chosen its device."""
        name = check_name(name)
        try:
            return opened(name, self._connection)
        except CollectionNotFound:
            raise self.missing(name) from None

    def drop(self, name: str) -> None:
        """See `Home.drop`."""
        name = check_name(name)
        try:
            self._connection.ask("DELETE", path_of(name))
        except CollectionNotFound:
            raise self.missing(name) from None

    def drop_unused(self, engine: Engine) -> bool:
        """See `Home.drop_unused`; the server holds the others off."""
        return bool(self._connection.ask("POST", path_of(engine.name, "drop_unused"), {}))
