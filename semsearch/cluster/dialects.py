"""Where OpenSearch and Elasticsearch differ: the type of a vector, the clause that walks to the nearest, the client."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson

from semsearch.cluster.cluster_address import ClusterAddress
from semsearch.errors import EngineUnreachable, MissingDependency
from semsearch.types import Metric, Vectors

Clause: TypeAlias = dict[str, Any]  # a part of a request, as JSON
CONNECTIONS_OF_HOST = 16  # of a process to each host
VECTOR_PATH = "p.v"


class RequestTimeout(EngineUnreachable):
    """No answer came in the time that there is; what was asked for may be done."""


class ClusterAnswer(NamedTuple):
    """What a server said."""

    status: int
    body: Any


class ClusterDialect(ABC):
    """One of the two kinds of servers, reached through its makers' client."""

    flavour: str
    most_components: int  # of a vector
    left_out: Sequence[str] = ()  # of what is kept of a document as it was sent
    flat = False  # whether it keeps vectors that no graph is built of
    light_sources = False  # whether texts are read without unpacking the vectors beside them
    changeable_settings: Mapping[str, Any] = {}  # of indexes of vectors, which decide on answers

    @abstractmethod
    def send(self, method: str, path: str, body: bytes | None, lines: bool) -> ClusterAnswer:
        """Ask; whatever the server says is an answer.

        Raises:
            EngineUnreachable: No host said anything, in the time that there is.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of all connections."""

    @abstractmethod
    def vector_field(self, dim: int, metric: Metric, graph: Mapping[str, int] | None) -> Clause:
        """How a vector is mapped, by the options of its graph; None where it is `flat` and to have none."""

    @abstractmethod
    def nearest(self, query: Vectors, k: int, among: Clause) -> Clause:
        """The clause that finds the documents of the `k` nearest passages that `among` allows."""

    @abstractmethod
    def source(self, fields: Sequence[str]) -> Any:
        """What of each hit is wanted, vectors among it."""

    def index_settings(self) -> Clause:
        """What an index needs for vectors."""
        return dict(self.changeable_settings)


class OpenSearchDialect(ClusterDialect):
    """OpenSearch with its k-NN plugin, whose engine is Lucene."""

    flavour = "opensearch"
    most_components = 16_000

    def __init__(self, address: ClusterAddress) -> None:
        from opensearchpy import OpenSearch, SerializationError, Urllib3HttpConnection
        from opensearchpy.serializer import Serializer

        from semsearch.cluster.bounded_answers import bound

        class Connection(Urllib3HttpConnection):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                bound(self.pool)

        class Bytes(Serializer):
            mimetype = "application/json"

            def loads(self, s: str) -> Any:
                try:
                    return orjson.loads(s)
                except ValueError as error:
                    raise SerializationError(s, error) from error

            def dumps(self, data: Any) -> Any:
                return data  # bytes already

        secure: dict[str, Any] = {"ca_certs": address.ca_certs} if address.ca_certs else {}
        self._client = OpenSearch(
            list(address.hosts),
            http_auth=(address.user, address.password) if address.user else None,
            serializer=Bytes(),
            connection_class=Connection,
            timeout=address.timeout,
            pool_maxsize=CONNECTIONS_OF_HOST,
            max_retries=max(3, len(address.hosts)),
            **secure,
        )

    def send(self, method: str, path: str, body: bytes | None, lines: bool) -> ClusterAnswer:
        """See `ClusterDialect.send`."""
        from opensearchpy import exceptions

        headers = {"content-type": "application/x-ndjson" if lines else "application/json"}
        try:
            return ClusterAnswer(200, self._client.transport.perform_request(method, path, body=body, headers=headers))
        except exceptions.ConnectionTimeout as error:
            raise RequestTimeout(str(error.info or error)) from error
        except exceptions.ConnectionError as error:
            raise EngineUnreachable(str(error.info or error)) from error
        except exceptions.TransportError as error:
            return ClusterAnswer(int(error.status_code), error.info)
        except exceptions.SerializationError as error:
            return ClusterAnswer(0, str(error))

    def close(self) -> None:
        """See `ClusterDialect.close`."""
        self._client.close()

    def vector_field(self, dim: int, metric: Metric, graph: Mapping[str, int] | None) -> Clause:
        """See `ClusterDialect.vector_field`."""
        space = "l2" if metric == Metric.L2 else "innerproduct"
        method = {"name": "hnsw", "engine": "lucene", "space_type": space, "parameters": dict(graph or {})}
        return {"type": "knn_vector", "dimension": dim, "doc_values": False, "method": method}

    def nearest(self, query: Vectors, k: int, among: Clause) -> Clause:
        """See `ClusterDialect.nearest`."""
        return _nested({"knn": {VECTOR_PATH: {"vector": query, "k": k, "filter": among}}})

    def source(self, fields: Sequence[str]) -> Any:
        """See `ClusterDialect.source`."""
        return {"includes": list(fields)}

    def index_settings(self) -> Clause:
        """See `ClusterDialect.index_settings`.

        A source that is derived of the vectors would keep them once, and loses shards: with it no operation that fills
        a gap can be written, so up to 3.2 no copy can become a primary after a node was lost amid writes, ever (k-NN's
        issues 2880 and 3401).
        """
        return {"knn": True, "knn.derived_source.enabled": False, "codec": "best_compression"}


class ElasticsearchDialect(ClusterDialect):
    """Elasticsearch from 9.2 on."""

    flavour = "elasticsearch"
    most_components = 4096
    # By its default, "acorn", walks with a filter miss much: of the ten nearest of 137,351 questions, 200 deep, they
    # found 0.918 where a tenth was left, and 0.805 where a twentieth was. By this they find all.
    changeable_settings: Mapping[str, Any] = {"dense_vector.hnsw_filter_heuristic": "fanout"}
    left_out = ("words", "codes")
    flat = True
    light_sources = True

    def __init__(self, address: ClusterAddress) -> None:
        from elastic_transport import OrjsonSerializer, Urllib3HttpNode
        from elasticsearch import Elasticsearch

        from semsearch.cluster.bounded_answers import bound

        class Node(Urllib3HttpNode):
            def __init__(self, config: Any) -> None:
                super().__init__(config)
                bound(self.pool)

        secure: dict[str, Any] = {"ca_certs": address.ca_certs} if address.ca_certs else {}
        self._timeout = address.timeout
        self._client = Elasticsearch(
            list(address.hosts),
            basic_auth=(address.user, address.password) if address.user else None,
            connections_per_node=CONNECTIONS_OF_HOST,
            max_retries=max(3, len(address.hosts)),
            retry_on_timeout=False,
            node_class=Node,
            serializers={"application/json": OrjsonSerializer()},
            **secure,
        )

    def send(self, method: str, path: str, body: bytes | None, lines: bool) -> ClusterAnswer:
        """See `ClusterDialect.send`."""
        from elastic_transport import ConnectionTimeout, SerializationError, TransportError

        headers = {"accept": "application/json"}
        if body is not None:
            headers["content-type"] = "application/x-ndjson" if lines else "application/json"
        try:
            said = self._client.transport.perform_request(
                method,
                path,
                body=body,
                headers={**self._client._headers, **headers},
                request_timeout=self._timeout,  # the transport knows nothing of the client's
            )
        except SerializationError as error:
            return ClusterAnswer(0, str(error))
        except ConnectionTimeout as error:
            raise RequestTimeout(error.message) from error
        except TransportError as error:
            raise EngineUnreachable(error.message) from error
        return ClusterAnswer(said.meta.status, said.body)

    def close(self) -> None:
        """See `ClusterDialect.close`."""
        self._client.close()

    def vector_field(self, dim: int, metric: Metric, graph: Mapping[str, int] | None) -> Clause:
        """See `ClusterDialect.vector_field`; by its name, for the server's own choice is a quantised one."""
        similarity = "l2_norm" if metric == Metric.L2 else "max_inner_product"
        kind: Clause = {"type": "flat"} if graph is None else {"type": "hnsw", **graph}
        return {"type": "dense_vector", "dims": dim, "index": True, "similarity": similarity, "index_options": kind}

    def nearest(self, query: Vectors, k: int, among: Clause) -> Clause:
        """See `ClusterDialect.nearest`."""
        asked = {"field": VECTOR_PATH, "query_vector": query, "k": k, "num_candidates": k, "filter": among}
        return _nested({"knn": asked})

    def source(self, fields: Sequence[str]) -> Any:
        """See `ClusterDialect.source`; without being asked the server leaves vectors out."""
        return {"includes": list(fields), "exclude_vectors": False}


def _nested(query: Clause) -> Clause:
    return {"nested": {"path": "p", "score_mode": "max", "query": query}}


def dialect_of(address: ClusterAddress) -> ClusterDialect:
    """The client of a cluster's kind.

    Raises:
        MissingDependency: It is not installed.
    """
    for name in ("opensearch", "elastic_transport"):  # a warning for each document that is not there
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        return OpenSearchDialect(address) if address.flavour == "opensearch" else ElasticsearchDialect(address)
    except ImportError as error:
        raise MissingDependency(
            f"the engine for '{address.flavour}://' needs {error.name}: pip install 'semsearch[{address.flavour}]'."
        ) from error
