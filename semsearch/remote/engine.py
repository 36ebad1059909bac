"""A collection of a server as an engine: what is asked here is asked there, of its database, index and model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from semsearch import engine_wire as ew
from semsearch.engine import Capabilities, File, Origin, Settings, Settlement, Written
from semsearch.errors import CollectionClosed, DocumentChanged
from semsearch.records import Entry, Known, Record
from semsearch.remote.connection_to_server import ServerConnection, path_of
from semsearch.remote.long_work import HeldWriters, LongWork, Replies
from semsearch.remote.remote_view import RemoteView
from semsearch.remote.served_encoder import PictureServedEncoder, ServedEncoder, WindowedServedEncoder
from semsearch.search.languages import Languages
from semsearch.types import Encoder, Metadata

PUT_LETTERS = 4_000_000  # of a request, about: a server takes 32 MiB
CHANGED_AT_ONCE = 1_000
CHANGE_TRIES = 5  # of a change of metadata that others change at the same time


class RemoteEngine:
    """See `semsearch.engine.Engine`; what a view sees is one state of each document, not of the collection."""

    capabilities = Capabilities("remote", snapshot="document", scored=True, facets=True)

    def __init__(self, name: str, connection: ServerConnection, about: Mapping[str, Any]) -> None:
        """`about` is what the server says of it; see `opened`."""
        self.name = name
        self.connection = connection
        self._closed = False
        self._held = threading.local()
        self.location = f"{connection.location}/{name}"
        self._versions = _versions(about)
        self.origins = RemoteOrigins(self)

    def ask(self, what: str, **facts: Any) -> Any:
        """What the server's engine says."""
        self.check_open()
        return self.connection.ask("POST", self.path(what), facts)

    def write(self, what: str, **facts: Any) -> Any:
        """What the server's engine says to something that writes; by who holds others off, in a thread that does."""
        self.check_open()
        held: HeldWriters | None = getattr(self._held, "writers", None)
        return self.ask(what, **facts) if held is None else held.write(what, facts)

    def work(self, what: str, answers: Replies, progress: Callable[[int], None] | None = None, **facts: Any) -> Any:
        """How long work at the server's engine ended, which is given what it asks for."""
        self.check_open()
        return LongWork(self.connection, self.name, what, facts).done(answers, progress)

    def path(self, *rest: str) -> str:
        """That of what is asked of it."""
        return path_of(self.name, *rest)

    @contextmanager
    def lines(self, what: str) -> Iterator[Iterator[Any]]:
        """Everything, line by line."""
        self.check_open()
        with self.connection.lines(self.path("lines", what)) as lines:
            yield lines

    @property
    def settings(self) -> Settings:
        """See `Engine.settings`."""
        settings: Settings = self.ask("about")["settings"]
        return settings

    @property
    def versions(self) -> Mapping[str, int]:
        """See `Engine.versions`."""
        self.check_open()
        return self._versions

    def check_open(self) -> None:
        """See `Engine.check_open`."""
        if self._closed:
            raise CollectionClosed(f"collection '{self.name}' was closed: open it again.")

    @contextmanager
    def view(self) -> Iterator[RemoteView]:
        """See `Engine.view`."""
        yield RemoteView(self, self.ask("state"))

    def counts(self) -> tuple[int, int]:
        """See `Engine.counts`."""
        documents, passages = self.ask("counts")
        return int(documents), int(passages)

    def bytes(self) -> int:
        """See `Engine.bytes`."""
        return int(self.ask("bytes"))

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """See `Engine.known`."""
        return {str(one): ew.read_known(known) for one, known in self.ask("known", ids=list(ids)).items()}

    def encoder(self) -> Encoder:
        """See `semsearch.engine.Encodes`."""
        facts = self.ask("model")
        if "tokenizer" not in facts:
            return ServedEncoder(facts, self.ask)
        return (PictureServedEncoder if facts.get("images") else WindowedServedEncoder)(facts, self.ask)

    # Writing

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record] = (),
        *,
        model: str | None = None,
        again: bool = False,
        origin: Callable[[str], Origin] | None = None,
    ) -> Written:
        """See `Engine.put`; what is more than a request holds is committed in several."""
        written = Written(0, 0, 0)
        for own, records in _parts(entries, metadata_only):
            ids = [record.document.id for record in (*(entry.record for entry in own), *records)]
            done = self.write(
                "put",
                entries=list(map(ew.entry_json, own)),
                metadata_only=list(map(ew.record_json, records)),
                model=model,
                again=again,
                origins=None if origin is None else {one: ew.origin_json(origin(one)) for one in ids},
            )
            written = Written(*(before + now for before, now in zip(written, done, strict=True)))
        return written

    def remove(self, ids: Sequence[str]) -> int:
        """See `Engine.remove`."""
        return int(self.write("remove", ids=list(ids)))

    def update_metadata(self, ids: Iterable[str], change: Callable[[Metadata], Metadata]) -> int:
        """See `Engine.update_metadata`; `change` is called here, and again for what others change meanwhile."""
        count, pending = 0, iter(dict.fromkeys(ids))
        while batch := list(islice(pending, CHANGED_AT_ONCE)):
            for left in range(CHANGE_TRIES - 1, -1, -1):
                try:
                    count += self._change(batch, change)
                except DocumentChanged:
                    if not left:
                        raise
                else:
                    break
        return count

    def _change(self, ids: Sequence[str], change: Callable[[Metadata], Metadata]) -> int:
        documents = map(ew.made_document, self.ask("get", ids=list(ids)))
        changes = []
        for document in documents:
            made = Record.of(replace(document, metadata=change(document.metadata)))
            changes.append([document.metadata, made.document.metadata])
        return int(self.write("update_metadata", ids=list(ids), changes=changes))

    def set(self, name: str, value: Any) -> None:
        """See `Engine.set`."""
        self.write("set", name=name, value=value)

    def set_languages(self, languages: Languages, *, found: bool = False) -> bool:
        """See `Engine.set_languages`."""
        return bool(self.write("set_languages", languages=list(languages), found=found))

    def migrate(self) -> list[str]:
        """See `semsearch.engine.Migrated`; it is brought forward at the server, to what that one makes."""
        done = list(map(str, self.work("migrate", {})))
        self._versions = _versions(self.ask("about"))
        return done

    @contextmanager
    def hold(self) -> Iterator[None]:
        """See `Engine.hold`. Who is not heard of for half a minute, since it was ended, say, holds nobody off."""
        if getattr(self._held, "writers", None) is not None:
            yield
            return
        self.check_open()
        held = HeldWriters(LongWork(self.connection, self.name, "hold", {}), self.connection.raised)
        held.begin()
        self._held.writers = held
        try:
            with held.alive():
                yield
        finally:
            self._held.writers = None
            held.end()

    def close(self) -> None:
        """See `Engine.close`."""
        self._closed = True


def _versions(about: Mapping[str, Any]) -> Mapping[str, int]:
    return {str(part): int(version) for part, version in about["versions"].items()}


def opened(name: str, connection: ServerConnection) -> RemoteEngine:
    """The engine of a server's collection, with all that the server's own has.

    Raises:
        CollectionNotFound: There is none of that name.
    """
    from semsearch.remote.looked_after import LookedAfterEngine
    from semsearch.remote.sparse_engine import SparseLookedAfterEngine, SparseRemoteEngine

    about = connection.ask("POST", path_of(name, "about"), {})
    kinds: dict[tuple[bool, bool], type[RemoteEngine]] = {
        (False, False): RemoteEngine,
        (False, True): SparseRemoteEngine,
        (True, False): LookedAfterEngine,
        (True, True): SparseLookedAfterEngine,
    }
    return kinds[about.get("looked_after") is True, about.get("sparse") is True](name, connection, about)


def _parts(entries: Sequence[Entry], records: Sequence[Record]) -> Iterator[tuple[Sequence[Entry], Sequence[Record]]]:
    """As many as a request holds, at a time."""
    own: list[Entry] = []
    letters = 0
    for entry in entries:
        size = len(entry.record.document.text) + len(entry.record.metadata) + 2 * entry.vectors.nbytes
        if own and letters + size > PUT_LETTERS:
            yield own, ()
            own, letters = [], 0
        own.append(entry)
        letters += size
    few: list[Record] = []
    for record in records:
        size = len(record.document.text) + len(record.metadata)
        if (own or few) and letters + size > PUT_LETTERS:
            yield own, few
            own, few, letters = [], [], 0
        few.append(record)
        letters += size
    yield own, few


class RemoteOrigins:
    """See `semsearch.engine.Origins`."""

    def __init__(self, engine: RemoteEngine) -> None:
        self._engine = engine

    def sources(self) -> list[dict[str, Any]]:
        """See `Origins.sources`."""
        return list(self._engine.ask("sources"))

    def find(self, spec: str) -> tuple[int, dict[str, File]] | None:
        """See `Origins.find`."""
        found = self._engine.ask("find", spec=spec)
        return None if found is None else _source(found)

    def register(self, spec: str, names: Sequence[str]) -> tuple[int, dict[str, File]]:
        """See `Origins.register`."""
        return _source(self._engine.write("register", spec=spec, names=list(names)))

    def given(self, source: int, files: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
        """See `Origins.given`."""
        for given in self._engine.ask("given", source=source, files=list(files)):
            yield tuple(given)

    def count(self, source: int, files: Sequence[int] | None = None) -> int:
        """See `Origins.count`."""
        return int(self._engine.ask("given_count", source=source, files=None if files is None else list(files)))

    def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """See `Origins.of`."""
        found = self._engine.ask("origins", ids=list(ids))
        return {identity: (spec, file, position) for identity, (spec, file, position) in found.items()}

    def settle(self, source: int, settlement: Settlement) -> None:
        """See `Origins.settle`."""
        self._engine.write("settle", source=source, settlement=ew.settlement_json(settlement))


def _source(found: Any) -> tuple[int, dict[str, File]]:
    number, files = found
    return int(number), {str(name): ew.read_file_facts(file) for name, file in files.items()}
