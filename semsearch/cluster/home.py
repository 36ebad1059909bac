"""The collections in one cluster."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from semsearch import versions
from semsearch.cluster import cluster_errors
from semsearch.cluster.cluster_address import ClusterAddress
from semsearch.cluster.cluster_connection import DONE, ClusterConnection
from semsearch.cluster.cluster_origins import ClusterOrigins
from semsearch.cluster.collection_state import CollectionState, state_id
from semsearch.cluster.engine import WALK, ClusterEngine
from semsearch.cluster.index_creation import create_index
from semsearch.cluster.index_layout import CLUSTER_SCHEMA, graph_options, home_index
from semsearch.cluster.second_index import made_index, map_vectors, point_alias
from semsearch.engine import IndexSpec
from semsearch.errors import CollectionExists, StorageError, UsageError
from semsearch.home import Home
from semsearch.names import check_name
from semsearch.types import Metric


class ClusterHome(Home):
    """A cluster, in which one index lists the collections, and each collection has one of its own."""

    def __init__(self, place: str) -> None:
        """`place`: `opensearch://host:9200`; see `ClusterAddress`."""
        self._address = ClusterAddress.of(place)
        self.location = self._address.location

    def names(self) -> Sequence[str]:
        """See `Home.names`."""
        connection = self._connected()
        try:
            home = self._address.prefix
            if not self._is_there(connection):
                return []
            pages = connection.pages(home, {"term": {"kind": "collection"}}, ["name"], by="number")
            return sorted(hit["_source"]["name"] for hits in pages for hit in hits)
        finally:
            connection.close()

    def create(
        self, name: str, settings: Mapping[str, Any], dim: int | None, *, device: str | None = None
    ) -> ClusterEngine:
        """See `Home.create`; searches compute on the server."""
        name = check_name(name)
        connection = self._connected()
        try:
            self._make_list(connection)
            home, identity = self._address.prefix, state_id(name)
            if connection.get(home, identity) is not None:
                raise self._there(name)
            most = connection.dialect.most_components
            if dim is not None and dim > most:
                raise UsageError(f"{self._address.flavour} takes vectors of up to {most:,} components, not {dim}.")
            own = str(uuid.uuid4())
            index, _ = made_index(connection, name, own)
            try:
                if dim is not None:
                    graph = graph_options(connection.dialect, IndexSpec.of(settings)) if "index" in settings else {}
                    map_vectors(connection, index, dim, Metric(settings["metric"]), graph)
                state = CollectionState(connection, name, own)
                source = {
                    "kind": "collection",
                    "collection": own,
                    "name": name,
                    "number": uuid.UUID(own).int >> 66,
                    "index": index,
                    "version": 1,
                    "schema": CLUSTER_SCHEMA,
                    "analysis": versions.ANALYSIS,
                    "encoding": versions.ENCODING,
                    "dim": dim,
                    "mapped": dim is not None,
                    "settings": json.dumps({**settings, "uuid": own, WALK: None}),
                }
                if not connection.put(home, identity, source, None) and not self._is_ours(connection, name, own):
                    raise self._there(name)
            except BaseException:
                if not self._is_ours(connection, name, own):
                    connection.ask("DELETE", quote(index), accept=(404,), wanted=DONE)
                raise
            point_alias(connection, name, index)
            connection.refresh(home)
        except BaseException:
            connection.close()
            raise
        return ClusterEngine(name, connection, state)

    def open(self, name: str, *, device: str | None = None) -> ClusterEngine:
        """See `Home.open`; searches compute on the server."""
        name = check_name(name)
        connection = self._connected()
        try:
            stored = connection.get(self._address.prefix, state_id(name))
            if stored is None:
                raise self.missing(name)
            engine = ClusterEngine(name, connection, CollectionState(connection, name, stored["_source"]["collection"]))
            assert engine.settings
        except BaseException:
            connection.close()
            raise
        return engine

    def drop(self, name: str) -> None:
        """See `Home.drop`."""
        name = check_name(name)
        connection = self._connected()
        try:
            home = self._address.prefix
            stored = connection.get(home, state_id(name))
            if stored is None or not connection.delete(home, state_id(name), stored):
                again = connection.get(home, state_id(name)) if stored is not None else None
                if again is None:
                    raise self.missing(name)
                connection.delete(home, state_id(name), again)
            source = stored["_source"]
            second = source.get("second") or {}
            old = [own["index"] for own in source.get("retired") or ()]
            for index in filter(None, (source["index"], second.get("index"), *old)):
                connection.ask("DELETE", quote(index), accept=(404,), wanted=DONE)
            state = CollectionState(connection, name, source["collection"])
            ClusterOrigins(connection, state, _nowhere, _nowhere).forget()
        finally:
            connection.close()

    def _connected(self) -> ClusterConnection:
        return ClusterConnection(self._address)

    def _there(self, name: str) -> CollectionExists:
        return CollectionExists(
            f"a collection '{name}' is there already, in {self.location}: open it, choose another name, or take it "
            f"away with 'semsearch drop {name}'."
        )

    def _is_ours(self, connection: ClusterConnection, name: str, own: str) -> bool:
        """Whether an answer that was lost made it."""
        stored = connection.get(self._address.prefix, state_id(name))
        return stored is not None and stored["_source"]["collection"] == own

    def _is_there(self, connection: ClusterConnection) -> bool:
        """Whether there is a list of collections, and it is semsearch's."""
        answer = connection.ask("GET", f"{self._address.prefix}/_mapping", accept=(404,))
        if answer.status == 404:
            return False
        if not answer.body:
            raise cluster_errors.garbage(answer.body, self.location)
        for own in answer.body.values():
            if own.get("mappings", {}).get("_meta", {}).get("semsearch", {}).get("home") != self._address.prefix:
                raise UsageError(
                    f"{self.location} has an index '{self._address.prefix}' that is not semsearch's: choose another "
                    "prefix, as in ?prefix=search."
                )
        return True

    def _make_list(self, connection: ClusterConnection) -> None:
        if self._is_there(connection):
            return
        home = self._address.prefix
        answer = create_index(connection, f"{home}.home", home_index(home), accept=(400,))
        if answer.status == 400 and "resource_already_exists" not in str(answer.body):
            raise StorageError(f"{self.location} does not let semsearch make its index '{home}.home': {answer.body}.")


def _nowhere() -> Any:
    raise AssertionError("what is dropped has no documents any more")
