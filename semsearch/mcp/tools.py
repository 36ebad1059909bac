"""What assistants can do with the collections of a home: search, read, find similar documents, list collections."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from semsearch import wire
from semsearch.collection import Collection
from semsearch.errors import DocumentNotFound, SemsearchError, UsageError
from semsearch.federation import Federation
from semsearch.mcp.answers import (
    DATA,
    MAX_PASSAGE,
    Collections,
    Listed,
    MetadataField,
    Result,
    SearchResults,
    Text,
    size,
)
from semsearch.mcp.asker import Asker
from semsearch.open_collections import OpenCollections
from semsearch.types import Hit, Hits

ToolResult = TypeVar("ToolResult")

MAX_BYTES = 24_000  # of an answer: clients take 25,000 tokens at most, and some much less
NOTE_BYTES = 100  # of an answer, for the sentence that says what was left out
MAX_RESULTS = 50
MAX_DEPTH = 500  # results that cursors lead to
MAX_TITLE = 300  # characters
MAX_FIELDS = 40  # of a collection, that are listed
LISTED = 20  # collections that the instructions name
LISTING = {"tool": "list_collections"}  # what its cursors are of

QueryParam = Annotated[str, Field(description="A question or a text, in plain words.")]
NamesParam = Annotated[
    list[str] | None,
    Field(description="Which collections to search; all of them without. `list_collections` has names."),
]
CountParam = Annotated[int, Field(description="Results to give.", ge=1, le=MAX_RESULTS)]
ModeParam = Annotated[
    Literal["hybrid", "dense", "lexical"],
    Field(description="By meaning and words, by meaning alone, or by words alone (of a single collection)."),
]
WhereParam = Annotated[
    str | None,
    Field(description='A filter on metadata, as in "year >= 1990 and genre = \'drama\'" or "created last 30 days".'),
]
RerankParam = Annotated[bool, Field(description="Let a cross-encoder order the best: slower.")]
CursorParam = Annotated[str | None, Field(description="What the same search gave as `next_cursor`.")]
NameParam = Annotated[str, Field(description="Of the collection.")]
IdParam = Annotated[str, Field(description="Of the document, as a result has it.")]
FirstLineParam = Annotated[int | None, Field(description="From this line of its text, counted from 1.", ge=1)]
LastLineParam = Annotated[int | None, Field(description="To this line, inclusive.", ge=1)]
StartParam = Annotated[int | None, Field(description="From this character of its text, counted from 0.", ge=0)]
EndParam = Annotated[int | None, Field(description="To this character, exclusive.", ge=1)]


class Tools:
    """The tools, on the collections of a home that whoever asks may see."""

    def __init__(self, collections: OpenCollections, asker: Asker, max_bytes: int = MAX_BYTES) -> None:
        """`max_bytes`: of an answer, in UTF-8."""
        self.asker = asker
        self._collections, self._max_bytes = collections, max_bytes

    def _shown(self) -> list[str]:
        """The names of the collections there are now."""
        return [name for name in self._collections.home.names() if self.asker.covers(name)]

    def _use(self, names: Sequence[str], work: Callable[[list[Collection]], ToolResult]) -> ToolResult:
        """What `work` makes of collections that are shown."""
        shown = self._shown()
        for name in names:
            if name not in shown:
                there = f"there are {', '.join(shown)}" if shown else "there is none yet"
                raise UsageError(f"there is no collection {name!r:.80}; {there}.")
        return self._collections.use(names, work)

    def instructions(self) -> str:
        """What an assistant should know before it asks: which collections there are, in their owner's words."""
        said = [
            "semsearch finds passages in the collections of documents that its owner has indexed. Use "
            "`search` to find passages and `get` to read on in a document. Ask several questions in different words if "
            "the first finds little; low percentiles mean that nothing good was found.",
            DATA,
        ]
        names = self._shown()
        lines = []
        for name in names[:LISTED]:
            try:
                lines.append(self._use([name], _line))
            except SemsearchError as error:
                lines.append(f"- {name}: can't be opened ({self._said(error)})")
        if len(names) > LISTED:
            lines.append(f"- and {len(names) - LISTED} more: see `list_collections`")
        said.append("Collections:\n" + "\n".join(lines) if lines else "There is no collection yet.")
        return "\n\n".join(said)

    def search(
        self,
        query: QueryParam,
        collections: NamesParam = None,
        k: CountParam = 5,
        mode: ModeParam = "hybrid",
        where: WhereParam = None,
        rerank: RerankParam = False,
        cursor: CursorParam = None,
    ) -> SearchResults:
        """Search documents by meaning and by words. Gives the best passage of each document.

        Ask in plain words, as one would ask a person; a phrase in quotation marks counts more, and a filter on
        metadata narrows the search. Results say where the passage stands in its document: `get` reads around it.
        """
        names, notes = self._names(collections)
        asked = {"query": query, "collections": names, "mode": mode, "where": where, "rerank": rerank}
        first = _offset(cursor, asked)

        def work(opened: list[Collection]) -> SearchResults:
            several = opened[0] if len(opened) == 1 else Federation(opened)
            hits = several.search(query, first + k + 1, mode=mode, where=where, rerank=self.asker.reranker(rerank))
            hits.notes += notes
            return self._fitting(hits, opened, asked, first, k)

        return self._use(names, work)

    def more_like_this(
        self,
        collection: NameParam,
        id: IdParam,  # noqa: A002
        k: CountParam = 5,
        where: WhereParam = None,
        cursor: CursorParam = None,
    ) -> SearchResults:
        """Find the documents of a collection that are most like one of it."""
        asked = {"collection": collection, "id": id, "where": where}
        first = _offset(cursor, asked)
        return self._use(
            [collection],
            lambda opened: self._fitting(opened[0].similar([id], first + k + 1, where=where), opened, asked, first, k),
        )

    def get(
        self,
        collection: NameParam,
        id: IdParam,  # noqa: A002
        first_line: FirstLineParam = None,
        last_line: LastLineParam = None,
        start: StartParam = None,
        end: EndParam = None,
    ) -> Text:
        """Read a document: all of it, some lines, or some characters (as `start` and `end` of a result).

        What is longer than an answer may be is cut, and `next_start` says where to go on.
        """
        if (first_line or last_line) and (start is not None or end is not None):
            raise ToolError("say lines or characters, not both.")
        (document,) = self._use([collection], lambda opened: opened[0].get([id]))
        if document is None:
            raise ToolError(f"there is no document {id!r:.200} in collection '{collection}'.")
        text = document.text
        begins, ends = start or 0, len(text) if end is None else min(end, len(text))
        if first_line or last_line:
            begins, ends = _lines(text, first_line or 1, last_line)
        if begins >= ends and text:
            raise ToolError(f"there is nothing from {begins:,} to {ends:,}: the text has {len(text):,} characters.")
        part = Text(
            collection=collection,
            id=id,
            title=_short(document.title),
            metadata=wire.plain(document.metadata),
            text="",
            start=begins,
            end=ends,
            characters=len(text),
            lines=text.count("\n") + 1,
            first_line=text.count("\n", 0, begins) + 1,
            last_line=1,
            next_start=ends,
            notes=[],
        )
        if size(part) > self._max_bytes // 2:
            part.metadata = {}
            part.notes.append("the metadata are left out: they fill most of an answer.")
        left = self._max_bytes - size(part)
        cut = begins + _characters(text[begins:ends], left)
        if cut == begins and ends > begins:
            raise ToolError("the id of the document fills the whole answer; no text of it can be given.")
        return part.model_copy(
            update={
                "text": text[begins:cut],
                "end": cut,
                "last_line": text.count("\n", 0, max(cut - 1, begins)) + 1,
                "next_start": cut if cut < ends else None,
            }
        )

    def list_collections(self, cursor: CursorParam = None) -> Collections:
        """The collections there are: what they hold, how many documents, and the metadata that filters can ask for."""
        names = self._shown()
        first = _offset(cursor, LISTING, len(names))
        answer = Collections(collections=[], notes=[], next_cursor=_cursor(len(names), LISTING))
        left = self._max_bytes - size(answer) - NOTE_BYTES
        answer.next_cursor = None
        for place, name in enumerate(names[first:], first):
            listed, notes = self._listed_or_not(name)
            left -= _added(listed, notes)
            if left < 0 and place == first and listed is not None:
                listed.fields, listed.folders = [], {}
                notes = [f"{name}: its fields and folders are left out: they fill a whole answer."]
            elif left < 0 and place > first:
                answer.next_cursor = _cursor(place, LISTING)
                answer.notes.append(f"{place - first} of {len(names)} collections fill an answer: go on with `cursor`.")
                break
            answer.collections += [] if listed is None else [listed]
            answer.notes += notes
        return answer

    def _listed_or_not(self, name: str) -> tuple[Listed | None, list[str]]:
        """What there is to say of a collection, and what it lacks."""
        try:
            listed = self._use([name], self._listed)
        except SemsearchError as error:
            return None, [f"{name}: {self._said(error)}"]
        notes = [f"{name}: there may be more fields than the {MAX_FIELDS} that are listed."]
        return listed, notes if len(listed.fields) == MAX_FIELDS else []

    def text_of(self, collection: str, id: str) -> str:  # noqa: A002
        """The whole text of a document."""
        (document,) = self._use([collection], lambda opened: opened[0].get([id]))
        if document is None:
            raise DocumentNotFound(f"there is no document {id!r:.200} in collection '{collection}'.")
        return document.text

    def _names(self, asked: list[str] | None) -> tuple[list[str], tuple[str, ...]]:
        """Those that are asked, and what is said of those that can't be where all are meant."""
        if asked is not None:
            if not asked:
                raise UsageError("name a collection at least, or leave `collections` away to ask all.")
            return asked, ()
        names, errors = self._collections.that_open(self._shown())
        if not names and errors:
            raise next(iter(errors.values()))
        if not names:
            raise UsageError("there is no collection yet: 'semsearch index FOLDER' makes one.")
        return names, tuple(f"{name} is left out: {self._said(error)}" for name, error in errors.items())

    def _fitting(
        self, hits: Hits, opened: list[Collection], asked: Mapping[str, Any], first: int, k: int
    ) -> SearchResults:
        """As many of `k` hits behind the first as fit into an answer."""
        found = SearchResults(results=[], notes=list(hits.notes), next_cursor=_cursor(first + k, asked))
        left = self._max_bytes - size(found) - NOTE_BYTES
        found.next_cursor = None
        folders = {collection.name: collection.described_folders for collection in opened}
        for hit in hits[first : first + k]:
            name = hit.collection or opened[0].name
            result = self._result(hit, name, folders[name])
            left -= size(result) + 1
            if left < 0 and not found.results:
                result.metadata, result.about = {}, []
                found.notes.append("the metadata of this result are left out: they fill the whole answer.")
            elif left < 0:
                break
            found.results.append(result)
        given = first + len(found.results)
        if given < len(hits) and given < MAX_DEPTH:
            found.next_cursor = _cursor(given, asked)
        if given < min(len(hits), first + k):
            found.notes.append(
                f"{len(found.results)} of {min(len(hits) - first, k)} results fill an answer: go on with `cursor`."
            )
        return found

    def _said(self, error: SemsearchError) -> str:
        return self.asker.sentence(error) or type(error).__name__

    def _listed(self, opened: list[Collection]) -> Listed:
        (collection,) = opened
        documents, passages = collection.engine.counts()
        fields = [
            MetadataField(name=name, types=sorted(collection.field_types(name)))
            for name in collection.fields()[:MAX_FIELDS]
        ]
        return Listed(
            name=collection.name,
            description=collection.description,
            documents=documents,
            passages=passages,
            model=self._model(collection),
            fields=fields,
            folders={self.asker.shown_path(folder): said for folder, said in collection.described_folders.items()},
        )

    def _model(self, collection: Collection) -> str | None:
        name = (collection.settings["encoder"] or {}).get("name")
        return None if name is None else self.asker.shown_model(name)

    def _result(self, hit: Hit, collection: str, folders: Mapping[str, str]) -> Result:
        place = hit.place
        cut = len(hit.text) > MAX_PASSAGE
        return Result(
            collection=collection,
            id=hit.id,
            title=_short(hit.title),
            passage=hit.text[:MAX_PASSAGE],
            passage_is_cut=cut,
            start=hit.start,
            end=hit.end,
            score=hit.score,
            percentile=hit.percentile,
            probability=hit.probability,
            place=None if place is None else {**wire.place(place), "path": self.asker.shown_path(place.path)},
            metadata=wire.plain(hit.metadata),
            about=[] if place is None else [said for folder, said in folders.items() if _within(place.path, folder)],
        )


def _added(listed: Listed | None, notes: Sequence[str]) -> int:
    """The bytes that a collection and what is noted of it add to an answer."""
    quoted = sum(len(json.dumps(note, ensure_ascii=False).encode()) + 1 for note in notes)
    return quoted + (0 if listed is None else size(listed) + 1)


def _line(opened: list[Collection]) -> str:
    (collection,) = opened
    described = f": {collection.description}" if collection.description else ""
    return f"- {collection.name} ({len(collection):,} documents){described}"


def _short(title: str) -> str:
    return title if len(title) <= MAX_TITLE else title[: MAX_TITLE - 1] + "…"


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _lines(text: str, first: int, last: int | None) -> tuple[int, int]:
    """Where the lines from `first` to `last` (from 1, inclusive) begin and end in a text."""
    begins = [0, *(place + 1 for place, letter in enumerate(text) if letter == "\n"), len(text)]
    if first >= len(begins):
        raise ToolError(f"there is no line {first:,}: the text has {len(begins) - 1:,}.")
    if last is not None and last < first:
        raise ToolError(f"the last line ({last:,}) comes before the first ({first:,}).")
    return begins[first - 1], begins[min(last or len(begins), len(begins) - 1)]


def _characters(text: str, left: int) -> int:
    """How many characters of a text have room in `left` bytes of JSON."""
    low, high = 0, min(len(text), max(left, 0))
    while low < high:  # the longest that fits
        middle = (low + high + 1) // 2
        if len(json.dumps(text[:middle], ensure_ascii=False).encode("utf-8", "backslashreplace")) - 2 <= left:
            low = middle
        else:
            high = middle - 1
    return low


def _cursor(offset: int, asked: Mapping[str, Any]) -> str:
    """Where a search goes on, good for the same search alone."""
    return base64.urlsafe_b64encode(f"{offset}:{_digest(asked)}".encode()).decode()


def _offset(cursor: str | None, asked: Mapping[str, Any], most: int = MAX_DEPTH) -> int:
    if cursor is None:
        return 0
    try:
        offset, digest = base64.urlsafe_b64decode(cursor.encode()).decode().split(":")
        number = int(offset)
    except (ValueError, binascii.Error, UnicodeError):
        raise UsageError("that is no cursor: give `next_cursor` of an answer as it is, or none.") from None
    if digest != _digest(asked) or not 0 <= number <= most:
        raise UsageError("the cursor is of another search: give it with the same query, collections and filter.")
    return number


def _digest(asked: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(asked, sort_keys=True).encode(), digest_size=8).hexdigest()
