"""An engine in memory: the smallest that does what `EngineContract` asks, to test against and to read first.

`semsearch.create("notes", home=":memory:")` makes a collection that lives as long as the process. A commit makes a new
state in place of the old, which nobody changes any more: a view is simply the state that there was.
"""

from __future__ import annotations

import json
import math
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semsearch.engine import NEVER, Candidates, Capabilities, File, Origin, Settings, Settlement, Written, fingerprint
from semsearch.errors import CollectionClosed, CollectionExists, DimensionMismatch, ModelMismatch
from semsearch.home import Home
from semsearch.names import check_name
from semsearch.records import Entry, Known, Record
from semsearch.search.analysis import analysed, asked, holds, places_of_phrase
from semsearch.search.fields import MemoryFields
from semsearch.search.languages import LANGUAGES, Languages, languages_of, to_be_found
from semsearch.search.query_syntax import Query
from semsearch.search.where import Filter, matches
from semsearch.types import Document, Keys, Metadata, Metric, Passage, Scores, Span, Vectors
from semsearch.vectors import score_pairs, top_k
from semsearch.versions import ANALYSIS, ENCODING

Mask = NDArray[np.bool_]  # (n,) of the passages of a state

K1, B = 1.2, 0.75  # of BM25: Robertson & Zaragoza, "The Probabilistic Relevance Framework" (2009)


@dataclass(frozen=True)
class State:
    """All of one commit. Passages are in the order of their keys; those of a document are side by side."""

    version: int
    settings: Settings
    dim: int | None
    records: Mapping[int, Record] = field(default_factory=dict)  # by document number, in the order they were added
    numbers: Mapping[str, int] = field(default_factory=dict)  # of documents, by id
    keys: Keys = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    docs: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    spans: Sequence[Span] = ()
    vectors: Vectors = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))

    def rows_of(self, keys: Keys) -> NDArray[np.intp]:
        """The rows that hold `keys`, all of which are there."""
        return np.searchsorted(self.keys, keys)

    def passage(self, row: int) -> Passage:
        """The passage in a row."""
        return Passage.of(self.records[int(self.docs[row])].document, *self.spans[row])


class MemoryView:
    """See `semsearch.engine.EngineView`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.settings = state.settings
        self.version: object = state.version
        self.dim = state.dim or 0
        self.passages = len(state.keys)

    def fields(self) -> MemoryFields:
        """See `EngineView.fields`."""
        return MemoryFields(record.document.metadata for record in self._state.records.values())

    def allowed(self, where: Filter | None, query: Query | None = None) -> Mask | None:
        """See `EngineView.allowed`."""
        if where is None and (query is None or query.plain):
            return None
        docs = {doc for doc in self._state.records if where is None or doc in self._matching(where)}
        mask = np.isin(self._state.docs, list(docs))
        if query is not None:
            for phrase in query.required:
                if terms := analysed(phrase, stemmed=False):
                    mask &= self._holding(terms, stemmed=False)
            for phrase in query.excluded:
                if terms := analysed(phrase, languages_of(self.settings)):
                    mask &= ~np.isin(self._state.docs, self._state.docs[self._holding(terms, stemmed=True)])
        return mask

    def dense(self, queries: Vectors, k: int, *, allowed: Mask | None, exact: bool, grouped: bool) -> list[Candidates]:
        """See `EngineView.dense`; it is always exact."""
        state, metric = self._state, Metric(self.settings["metric"])
        rows = np.arange(len(state.keys)) if allowed is None else np.flatnonzero(allowed)
        if not len(rows):
            return [Candidates(state.keys[:0], state.docs[:0], np.empty(0, dtype=np.float32), ())] * len(queries)
        return [
            self._best(rows, score_pairs(query, state.vectors[rows], metric), k, grouped, ("exact",))
            for query in queries
        ]

    def lexical(self, query: Query, k: int, *, allowed: Mask | None, grouped: bool) -> Candidates:
        """See `EngineView.lexical`."""
        mask = self.allowed(None, query)
        languages = languages_of(self.settings)
        texts = [analysed(text, languages).split() for text in self._texts()]
        counts = [Counter(text) for text in texts]
        phrases = [terms for phrase in query.phrases if (terms := analysed(phrase, stemmed=False))]
        frequencies = [[own[word] for own in counts] for word in set(asked(query.text, languages))]
        frequencies += [self._holding(phrase, stemmed=False).astype(int).tolist() for phrase in phrases]
        mean = sum(map(len, texts)) / max(len(texts), 1)
        scores = np.zeros(len(texts), dtype=np.float32)
        for frequency in frequencies:
            df = sum(map(bool, frequency))
            idf = math.log(1 + (len(texts) - df + 0.5) / (df + 0.5))
            for row, tf in enumerate(frequency):
                scores[row] += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len(texts[row]) / mean)) if tf else 0
        for one in (mask, allowed):
            if one is not None:
                scores[~one] = 0
        rows = np.flatnonzero(scores > 0)
        return self._best(rows, scores[rows], k, grouped, ("lexical",))

    def present(self, keys: Keys) -> Mask:
        """See `EngineView.present`."""
        return np.isin(keys, self._state.keys)

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """See `EngineView.passages_of`."""
        return [self._state.passage(row) for row in self._state.rows_of(keys).tolist()]

    def context_of(self, keys: Keys, count: int) -> list[Passage]:
        """See `EngineView.context_of`."""
        state, found = self._state, []
        for row in state.rows_of(keys).tolist():
            near = np.arange(max(row - count, 0), min(row + count + 1, len(state.keys)))
            near = near[state.docs[near] == state.docs[row]]
            document = state.records[int(state.docs[row])].document
            found.append(Passage.of(document, state.spans[near[0]].start, state.spans[near[-1]].end))
        return found

    def vectors(self, keys: Keys) -> Vectors:
        """See `EngineView.vectors`."""
        return self._state.vectors[self._state.rows_of(keys)]

    def docs_of(self, keys: Keys) -> NDArray[np.int64]:
        """See `EngineView.docs_of`."""
        return self._state.docs[self._state.rows_of(keys)]

    def arrays(self) -> tuple[Keys, Vectors]:
        """See `EngineView.arrays`."""
        return self._state.keys, self._state.vectors

    def keys_of(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """See `EngineView.keys_of`."""
        state = self._state
        return {i: state.keys[state.docs == state.numbers[i]].tolist() for i in ids if i in state.numbers}

    def sample(self, count: int, generator: np.random.Generator) -> Keys:
        """See `EngineView.sample`."""
        keys = self._state.keys
        return np.sort(generator.choice(keys, min(count, len(keys)), replace=False))

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """See `EngineView.get`."""
        state = self._state
        return {i: state.records[state.numbers[i]].document for i in ids if i in state.numbers}

    def count(self, where: Filter) -> int:
        """See `EngineView.count`."""
        return len(self._matching(where))

    def ids(self, where: Filter | None) -> Sequence[str]:
        """See `EngineView.ids`."""
        docs = self._state.records if where is None else self._matching(where)
        return [self._state.records[doc].document.id for doc in docs]

    def documents(self) -> Iterator[Document]:
        """See `EngineView.documents`."""
        return (record.document for record in self._state.records.values())

    def stored(self) -> Iterator[tuple[list[Passage], Vectors]]:
        """See `EngineView.stored`."""
        if len(self._state.keys):
            yield [self._state.passage(row) for row in range(len(self._state.keys))], self._state.vectors

    def _matching(self, where: Filter) -> list[int]:
        """The documents that a filter allows, in their order."""
        return [doc for doc, record in self._state.records.items() if matches(where, record.document.metadata)]

    def _texts(self) -> list[str]:
        """The title and text of each passage, as its words are found in them."""
        passages = map(self._state.passage, range(len(self._state.keys)))
        return [f"{passage.title}\n\n{passage.text}" for passage in passages]

    def _holding(self, phrase: str, *, stemmed: bool) -> Mask:
        """The passages whose title or text holds a phrase, alone or with those beside them in their document."""
        state, languages = self._state, languages_of(self.settings)
        mask = np.array(
            [holds(analysed(text, languages, stemmed=stemmed), phrase) for text in self._texts()], dtype=np.bool_
        )
        for doc, record in state.records.items():
            rows = np.flatnonzero(state.docs == doc).tolist()
            text = record.document.text if len(rows) > 1 else ""
            for first, last in places_of_phrase(text, phrase, languages, stemmed=stemmed):
                mask[[row for row in rows if state.spans[row].start < last and first < state.spans[row].end]] = True
        return mask

    def _best(self, rows: NDArray[np.intp], scores: Scores, k: int, grouped: bool, way: tuple[str, ...]) -> Candidates:
        """The `k` best of `rows`, or the best of each of the `k` best documents."""
        state = self._state
        order = top_k(state.keys[rows], scores, len(rows))
        if grouped:
            _, first = np.unique(state.docs[rows[order]], return_index=True)
            order = order[np.sort(first)]
        best = order[:k]
        found = rows[best]
        return Candidates(state.keys[found], state.docs[found], scores[best], [way] * len(best))


class MemoryEngine:
    """See `semsearch.engine.Engine`; a `Handle` of it is what is opened and closed."""

    capabilities = Capabilities("memory", scored=True)

    def __init__(self, name: str, settings: Settings, dim: int | None) -> None:
        self.name = name
        self.location = ":memory:"
        self.origins = MemoryOrigins(self)
        self.state = State(0, {**settings, "uuid": str(uuid.uuid4())}, dim)
        self._next_key = self._next_doc = 1
        self._lock = threading.RLock()

    @property
    def settings(self) -> Settings:
        """See `Engine.settings`."""
        return self.state.settings

    @property
    def versions(self) -> Mapping[str, int]:
        """See `Engine.versions`."""
        return {"schema": 1, "analysis": ANALYSIS, "encoding": ENCODING}

    @contextmanager
    def view(self) -> Iterator[MemoryView]:
        """See `Engine.view`."""
        yield MemoryView(self.state)

    def counts(self) -> tuple[int, int]:
        """See `Engine.counts`."""
        return len(self.state.records), len(self.state.keys)

    def bytes(self) -> int:
        """See `Engine.bytes`."""
        state = self.state
        return state.vectors.nbytes + sum(len(record.document.text.encode()) for record in state.records.values())

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """See `Engine.known`."""
        state = self.state
        found = {i: (doc, state.records[doc]) for i in ids if (doc := state.numbers.get(i)) is not None}
        return {i: Known(doc, record.hash, record.metadata) for i, (doc, record) in found.items()}

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record] = (),
        *,
        model: str | None = None,
        again: bool = False,
        origin: Callable[[str], Origin] | None = None,
    ) -> Written:
        """See `Engine.put`."""
        with self._lock:
            state = self.state
            if model is not None and model != fingerprint(state.settings):
                raise ModelMismatch(
                    f"collection '{self.name}' was encoded anew with another model meanwhile; run the same command "
                    "again."
                )
            known = self.known([record.document.id for record in [*(e.record for e in entries), *metadata_only]])
            fresh, same = [], list(metadata_only)
            for entry in entries:
                old = known.get(entry.record.document.id)
                if again or old is None or old.hash != entry.record.hash:
                    fresh.append(entry)
                else:
                    same.append(entry.record)
            for entry in fresh:
                if state.dim is not None and entry.vectors.shape[1] != state.dim:
                    raise DimensionMismatch(
                        f"document {entry.record.document.id!r}: its vector has {entry.vectors.shape[1]} components, "
                        f"those of collection '{self.name}' have {state.dim}."
                    )
            changed = [
                record
                for record in same
                if (old := known.get(record.document.id)) is not None
                and old.hash == record.hash
                and old.metadata != record.metadata
            ]
            if not fresh and not changed:
                return Written(0, 0, 0)
            replaced = [known[entry.record.document.id].doc for entry in fresh if entry.record.document.id in known]
            records, numbers = dict(state.records), dict(state.numbers)
            records |= {numbers[record.document.id]: record for record in changed}
            keep = ~np.isin(state.docs, replaced)
            spans = [span for span, kept in zip(state.spans, keep.tolist(), strict=True) if kept]
            docs = []
            for entry in fresh:
                identity = entry.record.document.id
                if identity not in numbers:
                    numbers[identity], self._next_doc = self._next_doc, self._next_doc + 1
                records[numbers[identity]] = entry.record
                docs += [numbers[identity]] * len(entry.spans)
                spans += entry.spans
                if origin is not None:
                    self.origins.note(origin(identity), numbers[identity])
            keys = np.arange(self._next_key, self._next_key + len(docs), dtype=np.int64)
            self._next_key += len(docs)
            parts = [state.vectors[keep], *(entry.vectors for entry in fresh)]
            vectors = np.concatenate([part for part in parts if len(part)]) if len(spans) else state.vectors[:0]
            self.state = replace(
                state,
                version=state.version + 1,
                dim=vectors.shape[1] if len(vectors) else state.dim,
                records=records,
                numbers=numbers,
                keys=np.concatenate([state.keys[keep], keys]),
                docs=np.concatenate([state.docs[keep], np.asarray(docs, dtype=np.int64)]),
                spans=spans,
                vectors=np.ascontiguousarray(vectors, dtype=np.float32),
            )
            return Written(len(fresh) - len(replaced), len(replaced) + len(changed), len(docs))

    def remove(self, ids: Sequence[str]) -> int:
        """See `Engine.remove`."""
        with self._lock:
            state = self.state
            gone = {state.numbers[identity] for identity in ids if identity in state.numbers}
            keep = ~np.isin(state.docs, list(gone))
            self.origins.forget_documents(gone)
            self.state = replace(
                state,
                version=state.version + 1,
                records={doc: record for doc, record in state.records.items() if doc not in gone},
                numbers={identity: doc for identity, doc in state.numbers.items() if doc not in gone},
                keys=state.keys[keep],
                docs=state.docs[keep],
                spans=[span for span, kept in zip(state.spans, keep.tolist(), strict=True) if kept],
                vectors=state.vectors[keep],
            )
            return len(gone)

    def update_metadata(self, ids: Iterable[str], change: Callable[[Metadata], Metadata]) -> int:
        """See `Engine.update_metadata`."""
        with self._lock:
            state = self.state
            docs = [state.numbers[identity] for identity in dict.fromkeys(ids) if identity in state.numbers]
            changed = {}
            for doc in docs:
                old = state.records[doc]
                made = Record.of(replace(old.document, metadata=change(old.document.metadata)))
                changed[doc] = made._replace(hash=old.hash)  # that of a given vector is not the text's alone
            self.state = replace(state, version=state.version + 1, records={**state.records, **changed})
            return len(docs)

    def set(self, name: str, value: Any) -> None:
        """See `Engine.set`."""
        with self._lock:
            settings = {**self.state.settings, name: json.loads(json.dumps(value))}
            self.state = replace(self.state, version=self.state.version + 1, settings=settings)

    def set_languages(self, languages: Languages, *, found: bool = False) -> bool:
        """See `Engine.set_languages`; words are found when they are asked for."""
        with self._lock:
            if found and not to_be_found(self.settings):
                return False
            self.set(LANGUAGES, list(languages))
            return True

    @contextmanager
    def hold(self) -> Iterator[None]:
        """See `Engine.hold`."""
        with self._lock:
            yield


class Handle:
    """One opening of a `MemoryEngine`: `close` ends this one, the collection stays."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        self.check_open()
        return getattr(self._engine, name)

    def check_open(self) -> None:
        """See `Engine.check_open`."""
        if self._closed:
            raise CollectionClosed(f"collection '{self._engine.name}' was closed: open it again.")

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True


class MemoryOrigins:
    """See `semsearch.engine.Origins`."""

    def __init__(self, engine: MemoryEngine) -> None:
        self._engine = engine
        self._specs: list[str] = []
        self._files: list[tuple[int, str, File] | None] = []  # by number: source, name, file
        self._given: dict[tuple[int, int], int] = {}  # the file, by document and source
        self._positions: dict[tuple[int, int], str] = {}  # in it

    def note(self, origin: Origin, doc: int) -> None:
        """That a file gave a document, and no other file of that source."""
        self._given[doc, origin.source] = origin.file
        self._positions[doc, origin.source] = origin.position

    def forget_documents(self, docs: set[int]) -> None:
        """Documents that are gone."""
        self._given = {place: file for place, file in self._given.items() if place[0] not in docs}

    def sources(self) -> list[dict[str, Any]]:
        """See `Origins.sources`."""
        return [json.loads(spec) for spec in self._specs]

    def find(self, spec: str) -> tuple[int, dict[str, File]] | None:
        """See `Origins.find`."""
        if spec not in self._specs:
            return None
        number = self._specs.index(spec)
        return number, {one[1]: one[2] for one in self._files if one is not None and one[0] == number}

    def register(self, spec: str, names: Sequence[str]) -> tuple[int, dict[str, File]]:
        """See `Origins.register`."""
        with self._engine.hold():
            if spec not in self._specs:
                self._specs.append(spec)
            number, known = self.find(spec) or (0, {})
            for name in names:
                if name not in known:
                    self._files.append((number, name, File(len(self._files), NEVER)))
            return self.find(spec) or (number, {})

    def given(self, source: int, files: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
        """See `Origins.given`."""
        ids = {doc: record.document.id for doc, record in self._engine.state.records.items()}
        for doc, identity in ids.items():
            file = self._given.get((doc, source))
            if file is not None and file in files:
                yield identity, file, any(own == doc and other != source for own, other in self._given)

    def count(self, source: int, files: Sequence[int] | None = None) -> int:
        """See `Origins.count`."""
        own = [file for (_, other), file in self._given.items() if other == source]
        return len(own) if files is None else sum(file in files for file in own)

    def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """See `Origins.of`."""
        numbers, found = self._engine.state.numbers, {}
        for identity in ids:
            for source, spec in enumerate(self._specs):
                file = self._given.get((numbers.get(identity, -1), source))
                known = None if file is None else self._files[file]
                if known is not None:
                    found[identity] = (spec, known[1], self._positions[numbers[identity], source])
                    break
        return found

    def settle(self, source: int, settlement: Settlement) -> None:
        """See `Origins.settle`."""
        with self._engine.hold():
            numbers, stamps = self._engine.state.numbers, dict(settlement.stamps)
            for batch in settlement.given:
                for identity, origin in batch.items():
                    if identity in numbers:
                        before = self._given.get((numbers[identity], source), origin.file)
                        if before != origin.file and before in settlement.unread:  # it may have it: look next time
                            stamps[before] = NEVER
                        self.note(origin, numbers[identity])
            for number, stamp in stamps.items():
                known = self._files[number]
                if known is not None:
                    self._files[number] = (known[0], known[1], File(number, stamp))
            for identity in settlement.released:
                self._given.pop((numbers.get(identity, -1), source), None)
            for number in settlement.gone:
                self._files[number] = None
            gone = set(settlement.gone)
            self._given = {place: file for place, file in self._given.items() if file not in gone}


class MemoryHome(Home):
    """The collections of this process."""

    lasting = False
    _engines: dict[str, MemoryEngine] = {}  # noqa: RUF012  (one for all, as long as the process lives)

    def __init__(self, place: str = ":memory:") -> None:
        self.location = place

    def names(self) -> Sequence[str]:
        """See `Home.names`."""
        return sorted(self._engines)

    def create(self, name: str, settings: Settings, dim: int | None, *, device: str | None = None) -> Any:
        """See `Home.create`."""
        name = check_name(name)
        engine = MemoryEngine(name, settings, dim)
        if self._engines.setdefault(name, engine) is not engine:
            raise CollectionExists(f"a collection '{name}' is there already, in {self.location}.")
        return Handle(engine)

    def open(self, name: str, *, device: str | None = None) -> Any:
        """See `Home.open`."""
        self.require(name)
        return Handle(self._engines[check_name(name)])

    def drop(self, name: str) -> None:
        """See `Home.drop`."""
        self.require(name)
        del self._engines[check_name(name)]
