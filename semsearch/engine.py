"""What stands behind a collection: the protocols of an engine, wherever it keeps documents and vectors.

The seam lies above the snapshot: an engine is asked for candidates, never for all of its rows. It proposes passages;
the shared pipeline (`semsearch.search.pipeline`) scores them by the stored vectors, fuses, reranks, thins out, weighs
and explains them, so that one rule of the score and of ties holds for every engine:

    The score of a query and a passage is the float64 dot product of the stored float32 vectors, rounded to float32 (L2:
    minus the squared distance); of equal scores the smaller key comes first.

An `Engine` is one collection; a `Home` holds collections and is found by the scheme of its URL. What not every engine
has is a protocol of its own (`Indexed`, `Maintained`) or is declared (`Capabilities`): no method exists only to raise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from semsearch.records import Entry, Known, Record
from semsearch.types import Document, Encoder, Keys, Metadata, Passage, Scores, Vectors

if TYPE_CHECKING:
    from semsearch.search.languages import Languages
    from semsearch.search.query_syntax import Query
    from semsearch.search.recall import Certificate, Synthesis
    from semsearch.search.where import FieldCatalog, Filter
    from semsearch.sparse_vectors import SparseEncoder, SparseVectors

SPARSE = "sparse"  # the setting that tells the sparse model, where there is one
COPIED_FROM = "copied_from"  # the setting that says that a copy is not done, and of which collection it is
JOINED = "joined"  # the setting that says that somebody else than its maker began to fill a collection
Allowed: TypeAlias = Any  # the passages that may be found, in an engine's own form: a mask, a clause of SQL, …
Settings: TypeAlias = Mapping[str, Any]  # JSON values by name
Encode: TypeAlias = Callable[[Sequence[Record]], list[Entry]]  # splits and encodes records


def fingerprint(settings: Settings) -> str:
    """Of the model whose vectors a collection holds; "none" where they were given."""
    described = settings.get("encoder")
    return str(described["fingerprint"]) if described else "none"


# Reading


class Candidates(NamedTuple):
    """The passages that an engine proposes for one query, best first, all of them distinct."""

    keys: Keys  # (m,)
    docs: NDArray[np.int64]  # (m,) the document of each, by a number of the engine's own
    scores: Scores  # (m,)
    found: Sequence[tuple[str, ...]]  # how each was found: see `Hit.found`


class EngineView(Protocol):
    """One state of a collection: what is read through it belongs together, however much is written meanwhile."""

    @property
    def settings(self) -> Settings:
        """What was fixed at creation or chosen since."""
        ...

    @property
    def version(self) -> object:
        """Equal for views of the same state; hashable."""
        ...

    @property
    def dim(self) -> int:
        """Components of a vector; 0 while nobody knows."""
        ...

    @property
    def passages(self) -> int:
        """How many passages there are."""
        ...

    def fields(self) -> FieldCatalog:
        """The metadata fields that there are, with their types."""
        ...

    def allowed(self, where: Filter | None, query: Query | None = None) -> Allowed:
        """The passages of documents that `where` lets through and that hold what `query` requires, nothing it excludes.

        None where all may be found.
        """
        ...

    def dense(self, queries: Vectors, k: int, *, allowed: Allowed, exact: bool, grouped: bool) -> list[Candidates]:
        """For each of `queries` `(q, dim)` the `k` nearest passages.

        Args:
            queries: As they are compared: of unit length where the metric is the cosine.
            k: Candidates to give; fewer come only where fewer are allowed.
            allowed: What `allowed` gave.
            exact: Do without an index.
            grouped: The best passage of each of the `k` best documents.
        """
        ...

    def lexical(self, query: Query, k: int, *, allowed: Allowed, grouped: bool) -> Candidates:
        """The `k` best passages, or documents, that share a word with `query`, by BM25; all scores are above 0."""
        ...

    def present(self, keys: Keys) -> NDArray[np.bool_]:
        """Which of `keys` are of passages that are here `(len(keys),)`; all else is asked of those alone."""
        ...

    def passages_of(self, keys: Keys) -> list[Passage | None]:
        """The passage of each key; None where it is not what was stored, which is then no candidate any more."""
        ...

    def context_of(self, keys: Keys, count: int) -> list[Passage]:
        """Each passage with `count` neighbours before and after it in its document, as one span."""
        ...

    def vectors(self, keys: Keys) -> Vectors:
        """The stored vectors `(len(keys), dim)`, float32 bit for bit."""
        ...

    def arrays(self) -> tuple[Keys, Vectors]:
        """All keys and vectors, mapped where the engine can: for what measures indexes, never for a search."""
        ...

    def keys_of(self, ids: Sequence[str]) -> dict[str, list[int]]:
        """The keys of the passages of documents, in their order; ids that are not there are left out."""
        ...

    def docs_of(self, keys: Keys) -> NDArray[np.int64]:
        """The document of each passage, by a number of the engine's own, as in `Candidates`."""
        ...

    def sample(self, count: int, generator: np.random.Generator) -> Keys:
        """Up to `count` keys, each passage as likely as another, in ascending order."""
        ...

    def get(self, ids: Sequence[str]) -> dict[str, Document]:
        """The documents of `ids` that are there."""
        ...

    def count(self, where: Filter) -> int:
        """How many documents a filter lets through."""
        ...

    def ids(self, where: Filter | None) -> Sequence[str]:
        """The ids of documents in the order they were first added."""
        ...

    def documents(self) -> Iterator[Document]:
        """All documents in the order they were first added, streamed."""
        ...

    def stored(self) -> Iterator[tuple[list[Passage], Vectors]]:
        """All passages with their vectors, in batches; those of one document side by side.

        Raises:
            CollectionDamaged: One is not what was stored.
        """
        ...


@runtime_checkable
class Faceted(Protocol):
    """A view that counts documents by the values of a field, where other engines read them all."""

    def facets(self, name: str, where: Filter | None, most: int) -> list[tuple[str | float | bool, int]]:
        """The `most` frequent values of a field with the number of documents that `where` allows and that have them.

        An element of a list is a value of the field. Of values that are equally frequent, the smaller comes first.
        """
        ...


# Writing


class Written(NamedTuple):
    """What a commit wrote: new and changed documents, and vectors."""

    added: int
    changed: int
    passages: int


class Stamp(NamedTuple):
    """How a file was: its bytes, its time in nanoseconds, a digest of its content."""

    size: int
    mtime: int
    hash: bytes


NEVER = Stamp(-1, -1, b"")  # of a file that was not yet read to its end


class File(NamedTuple):
    """A file of a source as it was read last."""

    number: int
    stamp: Stamp


class Origin(NamedTuple):
    """The numbers of a source and of its file, and where in it a document stands, as `Position.to_json` writes it."""

    source: int
    file: int
    position: str = ""


class Settlement(NamedTuple):
    """What a scan of a source found in the end."""

    given: Iterable[Mapping[str, Origin]]  # where each document is from, by id, some thousand at a time
    unread: AbstractSet[int]  # files that were passed over, since they are as they were
    stamps: Mapping[int, Stamp]  # how files were when they were read
    released: Sequence[str]  # documents that this source gives no more, and another one still does
    gone: Sequence[int]  # files that are no more


class Origins(Protocol):
    """Which source, and which of its files, gave which document; each call is one transaction.

    A document that two sources give belongs to both, and is gone only when neither has it. What was put in without a
    source belongs to none.
    """

    def sources(self) -> list[dict[str, Any]]:
        """All sources in the order in which they were first read."""
        ...

    def find(self, spec: str) -> tuple[int, dict[str, File]] | None:
        """The number of a source and its files as they were read last; None of one that is not known."""
        ...

    def register(self, spec: str, names: Sequence[str]) -> tuple[int, dict[str, File]]:
        """Make a source and files of it known before the first of their documents is stored."""
        ...

    def given(self, source: int, files: Sequence[int]) -> Iterator[tuple[str, int, bool]]:
        """The documents from files of a source: id, file, and whether another source gives it too."""
        ...

    def count(self, source: int, files: Sequence[int] | None = None) -> int:
        """The documents that a source gave, or these files of it."""
        ...

    def of(self, ids: Sequence[str]) -> dict[str, tuple[str, str, str]]:
        """Where documents are from, by id: the source as it was registered, the file's name, the position in it.

        Of several sources that give one, that which was registered first; what no source gave is left out.
        """
        ...

    def settle(self, source: int, settlement: Settlement) -> None:
        """Note what a scan found, at once: until then the next scan comes to the same conclusions.

        A file that was passed over, of which a document has moved to another file, is read again the next time.
        """
        ...


class Engine(Protocol):
    """One collection. Threads may share it; several processes may have the same one open."""

    @property
    def name(self) -> str:
        """The collection's."""
        ...

    @property
    def location(self) -> str:
        """For people: a folder, or a URL without its password."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What differs among engines."""
        ...

    @property
    def origins(self) -> Origins:
        """Where documents came from."""
        ...

    @property
    def settings(self) -> Settings:
        """What was fixed at creation or chosen since, as of now."""
        ...

    @property
    def versions(self) -> Mapping[str, int]:
        """Of what made the collection: its layout, its analysis of words, its splitting and encoding."""
        ...

    def check_open(self) -> None:
        """Raise `CollectionClosed` after `close`."""
        ...

    def view(self) -> AbstractContextManager[EngineView]:
        """The newest state, to be read inside a `with`. No code of a user runs in there."""
        ...

    def counts(self) -> tuple[int, int]:
        """Documents and passages."""
        ...

    def bytes(self) -> int:
        """What the collection takes where it is stored."""
        ...

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """What is stored of those of `ids` that are there."""
        ...

    def put(
        self,
        entries: Sequence[Entry],
        metadata_only: Sequence[Record] = (),
        *,
        model: str | None = None,
        again: bool = False,
        origin: Callable[[str], Origin] | None = None,
    ) -> Written:
        """Commit documents with their vectors, and documents of which only the metadata changed.

        A document is replaced as a whole: no reader ever sees passages of two versions. One whose content is stored
        already is not written again, so a call may be repeated after a failure.

        Args:
            entries: New or changed documents; each passage gets a key that no passage ever had.
            metadata_only: Documents whose text is what is stored.
            model: The fingerprint of what made the vectors, held against the collection's.
            again: Write the entries whatever is stored.
            origin: Tells of an id which source gave it; known as soon as the document is.

        Raises:
            ModelMismatch: The collection has another model by now.
            DimensionMismatch: A vector of another number of components.
            CollectionLocked: Another process kept writing.
        """
        ...

    def remove(self, ids: Sequence[str]) -> int:
        """Commit the removal of documents; how many were there."""
        ...

    def update_metadata(self, ids: Iterable[str], change: Callable[[Metadata], Metadata]) -> int:
        """Commit the metadata that `change` makes of each document's; how many of `ids` were there.

        Raises:
            DataError: What metadata can't hold; names the document. Batches before it are committed.
        """
        ...

    def set(self, name: str, value: Any) -> None:
        """Commit one setting (any JSON value)."""
        ...

    def set_languages(self, languages: Languages, *, found: bool = False) -> bool:
        """Commit the languages of the words together with the words as they are found by them.

        Args:
            languages: See `semsearch.search.languages`; none lets each script's usual one serve.
            found: They were found, and not told: they are left out where the collection has some by now.

        Returns:
            Whether they are the collection's now.
        """
        ...

    def hold(self) -> AbstractContextManager[None]:
        """Keep other writers out meanwhile."""
        ...

    def close(self) -> None:
        """Let go of all resources; whatever is asked afterwards is a `CollectionClosed`."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine says of itself, where engines differ and callers may care.

    Attributes:
        engine: Its name, "local", say.
        snapshot: What a view is one state of: the whole "collection", or each "document" by itself.
        scored: Candidates come under the true scores, so that the pipeline need not compute them again.
        refreshes: A commit is found by searches only after a moment.
        sparse: It keeps sparse vectors beside dense ones.
        facets: It counts documents by the values of a field: its views are `Faceted`.
        devices: A search may run on `device=`.
        tools: What backs it up and restores it, where semsearch does not.
    """

    engine: str
    snapshot: Literal["collection", "document"] = "collection"
    scored: bool = False
    refreshes: bool = False
    sparse: bool = False
    facets: bool = False
    devices: bool = False
    tools: str = "its own tools"


class StateMoved(Exception):
    """A prompt view was of a state that is no more the newest: what was read through it is void, and asked again."""


@runtime_checkable
class Prompt(Protocol):
    """An engine far away that saves round trips by taking for granted what it saw last, until an answer tells."""

    def prompt_view(self) -> AbstractContextManager[EngineView]:
        """As `Engine.view`; anything that is asked of it may raise `StateMoved`.

        An answer that it gives is of the newest state, as another view's is.
        """
        ...


# Sparse vectors


@runtime_checkable
class SparseView(Protocol):
    """A view that finds passages by sparse vectors, exactly."""

    def sparse(self, query: SparseVectors, k: int, *, allowed: Allowed, grouped: bool) -> Candidates:
        """The `k` best passages, or documents, for one vector, under their true scores, all of them above 0.

        The score of a query and a passage is the float64 dot product of the stored float32 vectors, rounded to float32.
        """
        ...

    def sparse_vectors(self, keys: Keys) -> SparseVectors:
        """The stored sparse vectors of passages, in the order of `keys`; of one that has none, nothing but zeros."""
        ...

    def without_sparse(self, after: int, most: int) -> Keys:
        """Some passages that have no sparse vector yet, those behind the key `after`, in ascending order."""
        ...

    @property
    def lacking_sparse(self) -> int:
        """How many passages have none."""
        ...


@runtime_checkable
class SparseStore(Protocol):
    """An engine that keeps sparse vectors beside dense ones; its views are `SparseView`, `Capabilities.sparse` is True.

    Passages are committed without them, and wait: `semsearch.ingest.sparse_filling` gives them theirs.
    """

    def begin_sparse(self, described: Settings) -> None:
        """Commit which model makes them (`name`, `revision`, `fingerprint`, `dim`); those of another are let go."""
        ...

    def put_sparse(self, keys: Keys, vectors: SparseVectors, model: str) -> int:
        """Commit the vectors of passages; how many of these are still there.

        Raises:
            ModelMismatch: The collection has another sparse model than that of the fingerprint `model` by now.
        """
        ...

    def end_sparse(self) -> None:
        """Commit that there are none any more."""
        ...


@runtime_checkable
class Encodes(Protocol):
    """An engine that has the collection's model at hand, so that it need not be opened here."""

    def encoder(self) -> Encoder:
        """The model that the collection has now.

        Raises:
            ModelMismatch: It was made with an object, which the engine has not.
        """
        ...


@runtime_checkable
class EncodesSparse(Protocol):
    """An engine that has the collection's sparse model at hand, and gives passages their sparse vectors itself."""

    def sparse_encoder(self) -> SparseEncoder:
        """The sparse model that the collection has now.

        Raises:
            UsageError: It has none.
        """
        ...

    def fill_sparse(self, progress: Callable[[int], None] | None = None) -> int:
        """Encode every passage that has no sparse vector; how many got one.

        Args:
            progress: Called with the number of passages encoded so far.
        """
        ...


# Indexes and maintenance


@dataclass(frozen=True, slots=True)
class IndexSpec:
    """The index that a collection is to have, as it was asked for; kept in its settings.

    Attributes:
        backend: Its name, or "auto".
        options: The backend's options.
        recall: What it must find of the true `k` nearest, on average.
        k: Neighbours that the recall is counted among.
    """

    backend: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    recall: float | None = None
    k: int = 10

    @classmethod
    def of(cls, settings: Settings) -> IndexSpec:
        """What a collection's settings say; older ones call `k` "at"."""
        return cls(**{"k" if name == "at" else name: value for name, value in settings["index"].items()})


@runtime_checkable
class Indexed(Protocol):
    """An engine whose approximate index can be chosen, built anew and set to a recall."""

    def rebuild(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate | None:
        """Build the index anew beside readers and writers, set it to the recall that `spec` asks for, swap it in.

        Args:
            spec: What to build.
            queries: Queries to measure on, or what makes some; None lets vectors stand in.
        """
        ...

    def tune(self, spec: IndexSpec, queries: Vectors | Synthesis | None) -> Certificate:
        """Set the present index to a recall without building it anew."""
        ...

    def kept_queries(self) -> list[str]:
        """The real queries that the recall was certified on, to certify on them again; none where vectors stood in."""
        ...

    def keep_queries(self, queries: Sequence[str]) -> None:
        """Keep these instead."""
        ...

    def load_index(self) -> None:
        """Load the index now rather than behind the coming searches."""
        ...

    def index_info(self) -> dict[str, Any]:
        """What there is to know of the index, as JSON values."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what, and the way to fix it."""

    part: str  # "database", "vectors", "index", "words", "full text", "documents"
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did."""

    rows: int  # removed rows whose bytes were given back
    bytes_before: int
    bytes_after: int
    erased: bool  # False while a reader still holds the old state or an old file: compact again later


@runtime_checkable
class Maintained(Protocol):
    """An engine that is looked after through semsearch, where others have their database's own tools."""

    def maintain(self, queries: Callable[[], Vectors | Synthesis | None]) -> None:
        """Compact, build anew or certify anew, if too much has changed since the last time.

        Args:
            queries: Encodes the queries that the recall is to be measured on.
        """
        ...

    def check(self, *, deep: bool = False) -> list[Problem]:
        """What is wrong, and what fixes each thing; nothing is changed. `deep` reads everything."""
        ...

    def repair(self, encode: Encode | None, queries: Callable[[], Vectors | Synthesis | None]) -> list[str]:
        """Mend what `check` finds, as far as it can be; what was done, in sentences.

        Args:
            encode: Makes vectors of stored documents; None where vectors were given and can't be made again.
            queries: As in `maintain`.
        """
        ...

    def compact(self) -> Compacted:
        """Give back what removed documents took, and erase them everywhere."""
        ...

    def reencode(
        self, target: Settings, dim: int, encode: Encode, progress: Callable[[int], None] | None = None
    ) -> int:
        """Encode every document anew and switch over in one commit; how many were encoded by this call.

        Args:
            target: The settings that the new model brings.
            dim: Components of the new vectors.
            encode: Splits and encodes records with the new model.
            progress: Called with the number of documents encoded so far.
        """
        ...


@runtime_checkable
class Migrated(Protocol):
    """An engine whose collections are brought forward by a step of its own, since other versions may be using them.

    Engines that are none bring them forward when they are opened, or have it done where they are.
    """

    def migrate(self) -> list[str]:
        """Bring the collection to what this semsearch makes, which older ones refuse; what was done, in sentences.

        Raises:
            CollectionError: A newer semsearch made it, or brought it forward.
        """
        ...


@runtime_checkable
class Refreshing(Protocol):
    """An engine whose searches see a commit only after a moment, or once they are told to: `Capabilities.refreshes`.

    Its own views see what was committed through it.
    """

    def refresh(self) -> None:
        """Have all searches, of every process, see what was committed through this engine."""
        ...


@runtime_checkable
class BackedUp(Protocol):
    """An engine that writes a collection into a file, where others have their database's own tools."""

    def backup(self, file: Path) -> int:
        """Write everything, as of one commit, into one file; its size in bytes."""
        ...


@runtime_checkable
class Watchable(Protocol):
    """An engine that one process at a time keeps in step with what it was read from."""

    def keep_watch(self) -> AbstractContextManager[None]:
        """Keep others from doing so meanwhile, and nobody from writing; it ends with the process at the latest.

        Raises:
            CollectionLocked: Another process does it; names it.
        """
        ...


@runtime_checkable
class Restoring(Protocol):
    """A home that makes a collection from what `BackedUp.backup` wrote."""

    def restore(self, file: Path, name: str | None = None) -> str:
        """Make a collection of a backup, under another name than it had if one is given; its name.

        Raises:
            DataError: The file is no backup, or was damaged or cut short.
            CollectionExists: There is a collection of that name.
        """
        ...
