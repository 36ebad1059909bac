"""A view of a server's collection: one state of each document, read anew by each question."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semsearch import engine_wire as ew
from semsearch.engine import Candidates, Settings
from semsearch.errors import StorageError, UsageError
from semsearch.scratch import Arriving
from semsearch.search.fields import Kind
from semsearch.search.query_syntax import Query
from semsearch.search.where import Filter
from semsearch.types import Document, Keys, Passage, Vectors

if TYPE_CHECKING:
    from semsearch.remote.engine import RemoteEngine


class Restriction(NamedTuple):
    """What may be found: what the server makes its own form of."""

    where: Filter | None
    query: Query | None

    def said(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "where": None if self.where is None else ew.filter_json(self.where),
            "ruled": None if self.query is None else ew.query_json(self.query),
        }


def _said(allowed: Restriction | None) -> dict[str, Any]:
    return {} if allowed is None else allowed.said()


class RemoteView:
    """See `semsearch.engine.EngineView`."""

    def __init__(self, engine: RemoteEngine, state: Mapping[str, Any]) -> None:
        self._engine = engine
        self.settings: Settings = state["settings"]
        self.version: object = str(state["version"])
        self.dim = int(state["dim"])
        self.passages = int(state["passages"])

    def fields(self) -> RemoteFields:
        """See `EngineView.fields`."""
        return RemoteFields(self._engine)

    def allowed(self, where: Filter | None, query: Query | None = None) -> Restriction | None:
        """See `EngineView.allowed`."""
        ruled = None if query is None or query.plain else query
        return None if where is None and ruled is None else Restriction(where, ruled)

    def dense(
        self, queries: Vectors, k: int, *, allowed: Restriction | None, exact: bool, grouped: bool
    ) -> list[Candidates]:
        """See `EngineView.dense`."""
        found = self._engine.ask(
            "dense",
            queries=ew.pack(queries),
            dim=int(queries.shape[1]),
            k=k,
            exact=exact,
            grouped=grouped,
            **_said(allowed),
        )
        return list(map(ew.read_candidates, found))

    def lexical(self, query: Query, k: int, *, allowed: Restriction | None, grouped: bool) -> Candidates:
        """See `EngineView.lexical`."""
        return ew.read_candidates(
            self._engine.ask("lexical", query=ew.query_json(query), k=k, grouped=grouped, **_said(allowed))
        )

    def facets(self, name: str, where: Filter | None, most: int) -> list[tuple[str | float | bool, int]]:
        """See `semsearch.engine.Faceted`."""
        said = None if where is None else ew.filter_json(where)
        return [(value, count) for value, count in self._engine.ask("facets", name=name, where=said, most=most)]

    def present(self, keys: Keys) -> NDArray[np.bool_]:
        """See `EngineView.present`."""
        return np.asarray(self._engine.ask("present", keys=ew.pack(keys)), dtype=np.bool_)

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """See `EngineView.passages_of`."""
        if not len(keys):
            return []
        found = self._engine.ask("passages", keys=ew.pack(keys))
        return [None if one is None else self._passage(one, key) for one, key in zip(found, keys.tolist(), strict=True)]

    def context_of(self, keys: Keys, count: int) -> list[Passage]:
        """See `EngineView.context_of`."""
        if not len(keys):
            return []
        found = self._engine.ask("context", keys=ew.pack(keys), count=count)
        return [self._passage(one, key) for one, key in zip(found, keys.tolist(), strict=True)]

    def _passage(self, said: Any, key: int) -> Passage:
        identity, title, metadata, text, start, end, size = said
        source: Document | Callable[[], Document]
        if start == 0 and end == size:
            source = Document(identity, text, title, metadata)
        else:
            source = UnreadDocument(self._engine, key, Document(identity, "", title, metadata))
        return Passage(identity, title, metadata, text, start, end, size, source)

    def vectors(self, keys: Keys) -> Vectors:
        """See `EngineView.vectors`."""
        if not len(keys):
            return np.empty((0, self.dim), dtype=np.float32)
        return ew.unpack_vectors(self._engine.ask("vectors", keys=ew.pack(keys)), self.dim)

    def arrays(self) -> tuple[Keys, Vectors]:
        """See `EngineView.arrays`; all of them cross the network."""
        known = [np.empty(0, dtype=np.int64)]
        try:
            with Arriving(self.dim) as arriving, self._engine.lines("vectors") as lines:
                for keys, rows, dim in lines:
                    known.append(ew.unpack_keys(keys))
                    arriving.add(ew.unpack_vectors(rows, dim))
                vectors = arriving.whole()
        except UsageError:  # a server of before, which sends all of them in one answer
            found, rows, dim = self._engine.ask("arrays")
            return ew.unpack_keys(found), ew.unpack_vectors(rows, dim or self.dim)
        found = np.concatenate(known)
        if len(found) != len(vectors):
            raise StorageError(f"the server sent {len(found):,} keys and {len(vectors):,} vectors: ask again.")
        return found, vectors

    def keys_of(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """See `EngineView.keys_of`."""
        return dict(self._engine.ask("keys_of", ids=list(ids)))

    def docs_of(self, keys: Keys) -> NDArray[np.int64]:
        """See `EngineView.docs_of`."""
        return ew.unpack(self._engine.ask("docs", keys=ew.pack(keys)), "int64")

    def sample(self, count: int, generator: np.random.Generator) -> Keys:
        """See `EngineView.sample`."""
        return ew.unpack_keys(self._engine.ask("sample", count=count, seed=int(generator.integers(1 << 62))))

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """See `EngineView.get`."""
        documents = map(ew.made_document, self._engine.ask("get", ids=list(ids)))
        return {document.id: document for document in documents}

    def count(self, where: Filter) -> int:
        """See `EngineView.count`."""
        return int(self._engine.ask("count", where=ew.filter_json(where)))

    def ids(self, where: Filter | None) -> Sequence[str]:
        """See `EngineView.ids`."""
        return list(self._engine.ask("ids", where=None if where is None else ew.filter_json(where)))

    def documents(self) -> Iterator[Document]:
        """See `EngineView.documents`."""
        with self._engine.lines("documents") as lines:
            yield from map(ew.made_document, lines)

    def stored(self) -> Iterator[tuple[list[Passage], Vectors]]:
        """See `EngineView.stored`."""
        with self._engine.lines("stored") as lines:
            for passages, vectors, dim in lines:
                yield [self._passage(one, -1) for one in passages], ew.unpack_vectors(vectors, dim)


class UnreadDocument:
    """A document as a search found it, its text not read until it is called for."""

    __slots__ = ("_engine", "_found", "_key")

    def __init__(self, engine: RemoteEngine, key: int, found: Document) -> None:
        self._engine = engine
        self._key = key
        self._found = found

    def __call__(self) -> Document:
        """Read it, as it was found: a passage has its key as long as its document has that text.

        Raises:
            DocumentChanged: It has another text by now, or is gone.
        """
        key: Keys = np.asarray([self._key], dtype=np.int64)
        text = self._engine.ask("text", keys=ew.pack(key))
        found = self._found
        return Document(found.id, str(text), found.title, found.metadata)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnreadDocument) and (self._key, self._found) == (other._key, other._found)

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Callable[..., Document], tuple[Document]]:
        """A copy is the document itself: what reads it stays in this process."""
        return _as_it_is, (self(),)


def _as_it_is(document: Document) -> Document:
    return document


class RemoteFields:
    """See `semsearch.search.where.FieldCatalog`; what was asked once is known for this view."""

    def __init__(self, engine: RemoteEngine) -> None:
        self._engine = engine
        self._types: dict[tuple[str, bool], frozenset[Kind]] = {}

    def names(self) -> Sequence[str]:
        """See `FieldCatalog.names`."""
        return list(self._engine.ask("fields"))

    def types(self, name: str, element: bool) -> frozenset[Kind]:
        """See `FieldCatalog.types`."""
        known = self._types.get((name, element))
        if known is None:
            known = frozenset(self._engine.ask("fields", types=name, element=element))
            self._types[name, element] = known
        return known

    def values(self, name: str, begins: str, most: int) -> Sequence[str | float | bool]:
        """See `FieldCatalog.values`."""
        return list(self._engine.ask("fields", values=name, begins=begins, most=most))
