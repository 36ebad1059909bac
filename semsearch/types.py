"""The vocabulary: documents, passages, hits, neighbours, and the protocols of the exchangeable parts.

Arrays pass between layers, objects live only at the edge. Shapes: `n` vectors of `dim` components, `q` queries, `k`
neighbours of each. Scores: higher is better, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    BinaryIO,
    ClassVar,
    NamedTuple,
    NoReturn,
    Protocol,
    Self,
    TypeAlias,
    runtime_checkable,
)

import numpy as np
from numpy.typing import NDArray

from semsearch.arguments import kind_of
from semsearch.errors import DataError, SemsearchError, UsageError
from semsearch.places import Place, Position, Provenance
from semsearch.tabular import Tabular

if TYPE_CHECKING:
    from semsearch import options
    from semsearch.walk import FolderListing

Vectors: TypeAlias = NDArray[np.float32]  # (n, dim), C-contiguous
Keys: TypeAlias = NDArray[np.int64]  # (n,)
Scores: TypeAlias = NDArray[np.float32]  # (n,)
Metadata: TypeAlias = Mapping[str, Any]  # JSON values; lists of scalars are searchable by membership


class Metric(StrEnum):
    """How two vectors are compared. COSINE vectors are stored at unit length; DOT vectors never are."""

    COSINE = "cosine"
    DOT = "dot"
    L2 = "l2"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        said = f"{value!r:.60}" if isinstance(value, str) else f"what is {kind_of(value)}"
        raise UsageError(f"{said} is no metric; they are {', '.join(cls)}.")

    @classmethod
    def of(cls, value: object) -> Metric:
        """The one that is named; what is no text is refused before it is compared with a name, as arrays can't be.

        Raises:
            UsageError: It is none.
        """
        return cls(value) if isinstance(value, str) else cls._missing_(value)


@dataclass(frozen=True, slots=True)
class Document:
    """What a person put in: a text under an id of their own, with a title and metadata.

    >>> Document("d1", "Water boils at 100 °C at sea level.", title="Water", metadata={"year": 1990})
    Document(id='d1', text='Water boils at 100 °C at sea level.', title='Water', metadata={'year': 1990})
    """

    id: str
    text: str
    title: str = ""
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True)
class ImageDocument(Document):
    """A document that is a picture: encoded by what it shows, where its text is what there is to say of it in words.

    The pixels are not stored. A document of a collection that was made of one has `image_format` in its metadata.
    """

    pixels: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)  # (h, w, 3), upright


IMAGE_FORMAT = "image_format"  # of metadata: that the document is a picture, and of what format its file is


class Span(NamedTuple):
    """A passage's place in its document's text: `text[start:end]`, in characters."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one token adds to a cosine.

    `field` says where it stands: "title" or "text" of the document, `document.text[start:end]` being its characters,
    or "special" for what the model itself puts around a text.
    """

    field: str
    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a hit came about.

    `parts` is None where the model's score can't be split, and `why` says so; else they add up to `cosine`, the score
    of passage and query encoded again in float32, which differs from the stored score by `difference`. `terms` add up
    to the score by the sparse model, where there is one; the weights of `pairs` to the score of a reranker that
    compares tokens, or to its multiple where that is a mean.
    """

    way: str  # a sentence
    cosine: float | None = None
    difference: float | None = None  # the stored score less `cosine`
    parts: Sequence[Part] | None = None
    why: str = ""
    terms: Sequence[tuple[str, float]] | None = None  # of a sparse score: its words and what they add, the most first
    pairs: Sequence[tuple[str, Part]] | None = None  # of a MaxSim: what of the query met which token, the likest first


class Passage(NamedTuple):
    """A span of a document, as an engine gives it: `text` is `document.text[start:end]`.

    `size` is the length of the document's whole text in characters; `source` the document itself where it was at hand,
    else what reads it.
    """

    id: str  # of the document
    title: str
    metadata: Metadata
    text: str
    start: int
    end: int
    size: int
    source: Document | Callable[[], Document]

    @classmethod
    def of(cls, document: Document, start: int, end: int) -> Self:
        """The passage `document.text[start:end]`."""
        text = document.text
        # past the constructor, which takes as long as all the rest: every hit of every search is made here
        return tuple.__new__(
            cls, (document.id, document.title, document.metadata, text[start:end], start, end, len(text), document)
        )

    @property
    def document(self) -> Document:
        """The whole document; read, and held against its checksum, when it is asked for."""
        return self.source if isinstance(self.source, Document) else self.source()


class Balance(NamedTuple):
    """What meaning and words count in a fused score."""

    weight: float  # the share of meaning, from 0 to 1; the rest is that of words
    dense: float  # its contrast: how far its best hit stands out, from 0 to 1
    lexical: float  # that of words
    asked: bool = False  # whether the weight was asked for, whatever the contrasts


class BalanceOfThree(NamedTuple):
    """What meaning, words and a sparse model count in a fused score."""

    weight: float  # the share of meaning, from 0 to 1
    dense: float  # its contrast, as in `Balance`
    lexical: float  # that of words
    asked: bool  # whether the weight was asked for
    sparse: float  # the contrast of the sparse model's list …
    sparse_weight: float  # … and its share; words have what is left


@dataclass(slots=True)
class Hit:
    """One answer: the best passage of a document (or one passage, when passages are asked for).

    `score` is the score the answers are ordered by; `scores` holds the one of each stage ("dense", "lexical", "fused",
    "rerank"). `rank` counts from 1.
    """

    passage: Passage
    score: float
    scores: Mapping[str, float]
    rank: int
    key: int  # the passage's key in the collection: never reused, never another vector
    found: tuple[str, ...] = field(default=(), compare=False)  # "exact", "index", "fresh" (newer than it), "lexical"
    ranks: Mapping[str, int] = field(default_factory=dict)  # in the list of each stage, where there are several
    percentile: float | None = None  # the share of random pairs that score less, from 0 to 1, once calibrated
    probability: float | None = None  # of being relevant, once calibrated on judgements
    balance: Balance | BalanceOfThree | None = None  # what meaning and words counted, where both did
    rerank_weight: float | None = None  # what a reranker counted, where one did; the rest is the first stage's
    context: Passage | None = None  # the passage with its neighbours in the document, where asked for
    explanation: Explanation | None = None  # where asked for
    collection: str | None = None  # that gave it, where several were asked
    locate: Callable[[Hit], Provenance | None] | None = field(default=None, repr=False, compare=False)

    @property
    def place(self) -> Place | None:
        """Where the passage stands: file, and line, page, slide and the like, as known when the file was read.

        The line is that of the passage which has most words of the query; where none has any, the first. It is looked
        up when it is asked for, for all hits of an answer together. None for a document that came from no file.
        """
        provenance = None if self.locate is None else self.locate(self)
        if provenance is None:
            return None
        path, position, offset = provenance
        return position.place(path, self._line(offset) if position.runs else 0)

    def _line(self, offset: int) -> int | None:
        """The line of the document's text, counted from 0, that begins at `offset` of the passage."""
        text = self.passage.text
        number = text.count("\n", 0, offset or len(text) - len(text.lstrip()))
        if self.start:
            try:
                number += self.document.text.count("\n", 0, self.start)
            except SemsearchError:  # changed or damaged since it was found: then nobody knows
                return None
        return number

    @property
    def id(self) -> str:
        """The document's id."""
        return self.passage.id

    @property
    def title(self) -> str:
        """The document's title."""
        return self.passage.title

    @property
    def metadata(self) -> Metadata:
        """The document's metadata."""
        return self.passage.metadata

    @property
    def text(self) -> str:
        """The passage that was found, `document.text[start:end]`."""
        return self.passage.text

    @property
    def start(self) -> int:
        """Where the passage begins in the document's text, in characters."""
        return self.passage.start

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.passage.end

    @property
    def document(self) -> Document:
        """The whole document, read when it is asked for."""
        return self.passage.document

    def _repr_html_(self) -> str:
        """The hit as a notebook shows it."""
        from semsearch.rich_display import hits_table

        return hits_table([self])


class Hits(list[Hit], Tabular):
    """The answers to one query, best first, with what is to be said of them; `to_pandas()` and its like give a frame.

    `notes` are sentences: what was required or left out, which words of the query were not read, what could not be
    done.
    """

    def __init__(self, hits: Iterable[Hit] = (), notes: Iterable[str] = ()) -> None:
        super().__init__(hits)
        self.notes = tuple(notes)

    def _repr_html_(self) -> str:
        """The hits as a notebook shows them."""
        from semsearch.rich_display import hits_table

        return hits_table(self, self.notes)

    def _columns(self) -> dict[str, list[Any]]:
        """What every hit has, and each field of metadata; one that is called as another column is `metadata.NAME`."""
        always = ("id", "rank", "score", "title", "text", "start", "end")
        columns: dict[str, list[Any]] = {name: [getattr(hit, name) for hit in self] for name in always}
        for name in ("collection", "percentile", "probability"):
            values = [getattr(hit, name) for hit in self]
            if any(value is not None for value in values):
                columns[name] = values
        own = set(columns)
        for name in dict.fromkeys(name for hit in self for name in hit.metadata):
            columns[f"metadata.{name}" if name in own else name] = [hit.metadata.get(name) for hit in self]
        return columns


@dataclass(frozen=True, slots=True)
class Neighbors:
    """The nearest keys of each query, best first, padded with key -1 and score -inf."""

    keys: NDArray[np.int64]  # (q, k)
    scores: NDArray[np.float32]  # (q, k)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[tuple[Keys, Scores]]:
        """The keys and scores of each query in turn, without the padding."""
        counts = (self.keys >= 0).sum(axis=1)  # padding comes last; of few keys this is sooner than to count them
        for keys, scores, count in zip(self.keys, self.scores, counts.tolist(), strict=True):
            yield keys[:count], scores[:count]


class Encoder(Protocol):
    """Turns texts into vectors. Anything with these members serves; semsearch's own is `load_encoder(name)`.

    Roles are apart because most retrieval models want other prompts for questions than for documents.
    """

    @property
    def dim(self) -> int:
        """Components of a vector."""
        ...

    @property
    def metric(self) -> Metric:
        """How this model's vectors are meant to be compared."""
        ...

    @property
    def fingerprint(self) -> str:
        """A digest of all that decides a vector; equal fingerprints, interchangeable vectors."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)` of texts to be found; where many are taken in, asked in a thread of its own."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Vectors `(len(texts), dim)` of questions."""
        ...


@runtime_checkable
class Windowed(Protocol):
    """An encoder that reads at most `window` tokens of a text: longer documents are split to fit it."""

    @property
    def window(self) -> int:
        """Tokens of a text that the model sees, special tokens and document prompt taken off."""
        ...

    @property
    def tokenizer(self) -> Any:
        """The `tokenizers.Tokenizer` that counts them (without truncation or padding)."""
        ...


@runtime_checkable
class Reranker(Protocol):
    """Scores texts against a query, reading both together.

    One that has a `weight`, from 0 to 1, counts so much beside the first stage, where a search says nothing else.
    """

    def score(self, query: str, texts: Sequence[str]) -> Scores:
        """One score for each text, higher is better; the order stays the caller's."""
        ...


class Report(Protocol):
    """What a reader says while it reads; semsearch's own is `semsearch.ingest.source.ReadReport`."""

    def bad(self, error: DataError, *, file: bool = False) -> None:
        """What can't be used: raises `error`, or counts it and returns, and the reader goes on behind it.

        Args:
            error: Says what it is, where, and why.
            file: It is a whole file or folder, or all the rest of one; else a record.
        """
        ...

    def lost(self, error: DataError, *, failed: bool = False) -> None:
        """As `bad`, of a part of a file (a page, an attachment) whose other parts are read.

        Args:
            error: As above.
            failed: Its library failed, and may succeed another time; else the part holds no text for anybody.
        """
        ...

    def unread(self, path: Path) -> None:
        """A file of a kind that the reader can't read."""
        ...

    def enters(self, name: str) -> None:
        """What is read from now on is in this file of the folder; never called for a single file or a stream."""
        ...

    def register(self, identity: str, where: str, position: Position | None = None) -> str | None:
        """The document that comes next has this id, and stands at `position` in its file.

        The place where another was given the id, or None if it is new.
        """
        ...

    def merged(self) -> None:
        """A record without an id whose content came before: the same document, not given again."""
        ...

    def progress(self, done: int, total: int) -> None:
        """So many of the source's bytes are read; `total` is 0 where nobody knows it."""
        ...


class Confidence(IntEnum):
    """How sure a reader is that a path is of its kind: the surest reads it, and of two equally sure ones a person says.

    A file's suffix or a layout of its own makes CERTAIN; LIKELY is what a folder merely holds; FALLBACK reads what
    nobody knows better.
    """

    NONE = 0
    FALLBACK = 1
    LIKELY = 2
    CERTAIN = 3


class CorpusReader(Protocol):
    """Turns one kind of file or folder into documents, one at a time: a corpus is never held in memory.

    Built-in and third-party readers are found by the entry point group `semsearch.corpora`, whose values are classes
    with these members, and hold no state: `read` is a function of its arguments. `semsearch.reading.documents` and
    `semsearch.reading.files` do most of the work of one, and `semsearch.testing.ReaderContract` tests it.

    A document's id is the one its record carries; for a file in a folder without one, its relative path; else its path
    and a hash of its content, never its line number: a line put in above must not shift ids. No id comes twice.
    """

    Options: ClassVar[type[options.Options]]  # of a frozen dataclass, all with defaults
    suffixes: ClassVar[tuple[str, ...]]  # a folder is its files with these; none: it is read as a whole
    forgiving: ClassVar[bool]  # its files have so many makers that a bad one is no surprise, and is skipped by default

    @classmethod
    def recognises(cls, path: Path) -> Confidence:
        """How surely `path`, an existing file or folder, is of this kind, as far as its name and place tell."""
        ...

    @classmethod
    def read(cls, source: Path | BinaryIO | FolderListing, options: Any, report: Report) -> Iterator[Document]:
        """The documents of a path or of a stream of bytes; whatever is wrong with a record goes to `report.bad`.

        A reader with `suffixes` is also given a listing: some files of a folder, of which it tells the report one by
        one. So what is unchanged need not be read, and it is known which file a document came from.
        """
        ...
