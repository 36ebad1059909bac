"""Where documents come from: a path or standard input, read by the reader of its format.

A `Source` is what a collection remembers of where its documents came from, and plain JSON: read again, it gives the
same ids for the same records.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from semsearch import plugins
from semsearch.arguments import as_list
from semsearch.errors import DataError, UsageError
from semsearch.ingest.ids import IdRegister
from semsearch.names import check_name, check_path, escaped, is_utf8
from semsearch.places import Position
from semsearch.plain_files import special
from semsearch.types import Confidence, Document
from semsearch.validation import check_document
from semsearch.walk import FolderListing, walk

GROUP = "semsearch.corpora"
STDIN = "-"


@dataclass(slots=True)
class Unusable:
    """What of one kind can't be used: how many there were, and the first of them."""

    one: str  # in a sentence, behind its number
    many: str
    count: int = 0
    errors: list[DataError] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.count:,} {self.one if self.count == 1 else self.many}"


class ReadReport:
    """What was not read, and why: raises at the first bad record, or (`skip=True`) counts them and keeps the first."""

    def __init__(self, *, skip: bool = False, keep: int = 10) -> None:
        self.skip = skip
        self.keep = keep
        self.errors: list[DataError] = []  # the first of what is told below, in their order
        self.records = Unusable("bad record skipped", "bad records skipped")
        self.files = Unusable("file that can't be read to its end", "files that can't be read to their end")
        self.parts = Unusable("part of a file that is lost", "parts of files that are lost")
        self.same = 0  # records that were the same document as one before
        self.kinds: Counter[str] = Counter()  # files that can't be read, by extension
        self.odd = 0  # files whose names are not UTF-8
        self.odd_names: list[str] = []  # the first of them, printable
        self.outside = 0  # links of a folder to files that lie elsewhere
        self.empty = 0  # files of a folder that were read and gave nothing
        self.empty_names: list[str] = []  # the first of them
        self.file = ""  # of a folder: the one that is being read
        self._gave = True  # it gave a document, or a word why it doesn't
        self.doubtful: set[str] = set()  # files with bad records: what they lack may be there in truth
        self.ids = IdRegister()
        self._registered: set[str] = set()  # ids of documents that are still to come
        self.done = 0  # bytes read so far
        self.total = 0  # bytes in all; 0 where nobody knows it

    def bad(self, error: DataError, *, file: bool = False) -> None:
        """Raise `error`, or count it."""
        self._tell(error, self.files if file else self.records)
        self.doubtful.add(self.file)

    def lost(self, error: DataError, *, failed: bool = False) -> None:
        """Raise `error`, or count it; the file was read to its end all the same."""
        self._tell(error, self.parts)
        if failed:
            self.doubtful.add(self.file)

    def _tell(self, error: DataError, kind: Unusable) -> None:
        self._gave = True
        if not self.skip:
            raise error
        kind.count += 1
        for kept in (self.errors, kind.errors):
            if len(kept) < self.keep:
                kept.append(error)

    @property
    def skipped(self) -> int:
        """How many records, files and parts of files could not be used."""
        return self.records.count + self.files.count + self.parts.count

    def unread(self, path: Path) -> None:
        """Count a file of a kind that can't be read, or whose name can't be remembered."""
        if not is_utf8(str(path)):
            self.odd += 1
            if len(self.odd_names) < self.keep:
                self.odd_names.append(escaped(str(path)))
            return
        if path.is_symlink() and os.path.isdir(path):  # noqa: PTH112  (Path's own raise where one may not look)
            kind = "links to folders"
        elif path.is_symlink() and not os.path.exists(path):  # noqa: PTH110
            kind = "broken links"
        elif os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113
            kind = "not regular (pipes, sockets, devices)"
        else:
            kind = "".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]).lower()
        self.kinds[kind or "files without extension"] += 1

    def enters(self, name: str) -> None:
        """Note which file of a folder comes next."""
        self.ends()
        self.file = name
        self._gave = False

    def ends(self) -> None:
        """Note that the file of a folder that was read last is at its end; whether it gave anything."""
        if not self._gave:
            self._gave = True
            self.empty += 1
            if len(self.empty_names) < self.keep:
                self.empty_names.append(self.file)

    def begins(self) -> None:
        """Forget the ids of an earlier reading."""
        self.ids = IdRegister()
        self._registered.clear()
        self._gave = True

    def register(self, identity: str, where: str, position: Position | None = None) -> str | None:
        """Note that the document that comes next has this id, and its place; where another was given it, or None."""
        self._gave = True
        earlier = self.ids.add(identity, self.file, where, "" if position is None else position.to_json())
        if earlier is None:
            self._registered.add(identity)
        return earlier

    def admits(self, document: Document, place: str) -> bool:
        """Whether a document is good: one that its reader registered was checked then, another is checked now."""
        self._gave = True
        if isinstance(document.id, str) and document.id in self._registered:
            self._registered.remove(document.id)
            return True
        try:
            check_document(document, place)
            if (earlier := self.ids.add(document.id, self.file, place)) is not None:
                raise DataError(f"{place}: the id {document.id!r:.80} was given before, at {earlier}.")
        except DataError as error:
            self.bad(error)
            return False
        return True

    def merged(self) -> None:
        """Count a record that is the same document as one before."""
        self._gave = True
        self.same += 1

    def progress(self, done: int, total: int) -> None:
        """Note how far the reading is."""
        self.done, self.total = done, total

    def named_oddly(self) -> str:
        """How many files have names that are not UTF-8, and the first of them."""
        names = ", ".join(self.odd_names) + ", …" * (self.odd > len(self.odd_names))
        return f"files not read, because their names are not UTF-8 (rename them): {self.odd:,}: {names}"

    @property
    def left_out(self) -> int:
        """How many records, parts and files of the kinds that can be read gave nothing."""
        return self.skipped + self.odd + self.empty

    def without_text(self) -> str:
        """How many files hold no text, and the first of them."""
        names = ", ".join(self.empty_names) + ", …" * (self.empty > len(self.empty_names))
        return f"files that hold no text: {self.empty:,}: {names}"

    def left_outside(self) -> str:
        """How many links lead to files that lie elsewhere."""
        return f"links to files out of the folder, not followed: {self.outside:,} (--follow-links reads them)."

    def sentences(self) -> list[str]:
        """What a person should know in the end, a sentence each; empty if everything was read."""
        said = []
        for kind in (self.records, self.files, self.parts):
            if kind.count:
                first = ", the first" if kind.count > len(kind.errors) else ""
                said.append(f"{kind}{first}:" if kind.errors else f"{kind}.")
                said.extend(f"  {error}" for error in kind.errors)
        return said + self.notes() + ([self.left_outside()] if self.outside else [])

    def notes(self) -> list[str]:
        """What `sentences` says of files in the folder that gave nothing though nothing is wrong with them."""
        said = []
        if self.empty:
            said.append(f"{self.without_text()}.")
        if self.kinds:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.kinds.items()))
            said.append(f"files not read, because no reader here knows their kind: {kinds}.")
        if self.odd:
            said.append(f"{self.named_oddly()}.")
        return said


class CallbackReport(ReadReport):
    """A report that tells somebody else of what is bad; nobody: it raises."""

    def __init__(self, on_error: Callable[[DataError], None] | None) -> None:
        super().__init__(skip=on_error is not None)
        self._on_error = on_error

    def _tell(self, error: DataError, kind: Unusable) -> None:
        super()._tell(error, kind)
        if self._on_error is not None:
            self._on_error(error)


@dataclass(frozen=True)
class Source:
    """A corpus and how it is read. Make one with `Source.of`.

    >>> source = Source("/data/films.csv.gz", "csv", {"text": ["plot"]})
    >>> source.name
    'films'
    """

    path: str  # absolute, or '-' for standard input
    format: str  # the registered reader
    options: Mapping[str, Any] = field(default_factory=dict)  # those that are not the default; JSON values
    include: Sequence[str] = field(default_factory=list)  # patterns as in .gitignore, of the files of a folder
    exclude: Sequence[str] = field(default_factory=list)
    ignore: bool = True  # leave out what git would ignore
    follow_links: bool = False  # read files out of the folder that links in it lead to
    vectors: str = ""  # the file of the records' vectors, where they were made elsewhere: this one's path, or another
    column: str = ""  # of the vectors in a Parquet file

    @classmethod
    def of(
        cls,
        path: str | Path,
        format: str | None = None,  # noqa: A002
        options: Mapping[str, Any] | None = None,
        *,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        ignore: bool = True,
        follow_links: bool = False,
    ) -> Self:
        """The source at `path` (`-`: standard input), its format recognised from the path where it is not given."""
        if str(path) == STDIN:
            place = STDIN
            if format is None:
                raise UsageError(
                    f"standard input has no name to know its format by: say --format {' or '.join(formats())}."
                )
        else:
            found = Path(check_path(str(path))).expanduser()
            if not found.exists():
                raise UsageError(f"there is no file or folder '{path}'.")
            if (kind := special(found)) not in ("", "a pipe"):  # a pipe is read once, as long as somebody writes
                raise UsageError(f"'{path}' is {kind}, which holds no documents: give a file, a folder or a pipe.")
            # a shell's <(command) is a pipe, whose link leads nowhere
            place = check_path(str(found.resolve() if found.is_file() or found.is_dir() else found.absolute()))
        chosen = format or _recognise(Path(place))
        included, excluded = (
            as_list(include, "include takes a list of patterns"),
            as_list(exclude, "exclude takes a list of patterns"),
        )
        if (included or excluded or follow_links) and not (Path(place).is_dir() and _file_wise(chosen)):
            raise UsageError(
                f"--include, --exclude and --follow-links choose among the files of a folder, which '{path}' is not."
            )
        read = _chosen_options(chosen, options or {})
        return cls(place, chosen, read, included, excluded, ignore, follow_links)

    def to_json(self) -> str:
        """All that identifies the source, as JSON with sorted keys."""
        choice = {name: value for name, value in dataclasses.asdict(self).items() if value or name == "options"}
        if choice.pop("ignore", False) is not True:
            choice["ignore"] = False
        return json.dumps(choice, sort_keys=True, ensure_ascii=False)

    @property
    def beside(self) -> str:
        """The file of vectors, where it is another one."""
        return self.vectors if self.vectors != self.path else ""

    def with_vectors(self, file: str, column: str | None = None) -> Self:
        """This source with the vectors in `file`; or in a column of that name, where it is a Parquet file itself."""
        path = Path(check_path(file)).expanduser()
        if path.is_file():
            if column and path.suffix != ".parquet":
                raise UsageError(f"--vector-column names a column of a Parquet file, which '{file}' is not.")
            return dataclasses.replace(self, vectors=check_path(str(path.resolve())), column=column or "")
        if self.path.endswith(".parquet") and Path(self.path).is_file():
            return dataclasses.replace(self, vectors=self.path, column=file)
        raise UsageError(f"'{file}' is no file." if path.exists() else f"there is no file '{file}'.")

    @property
    def name(self) -> str:
        """A name for the collection: the path's stem.

        Raises:
            UsageError: It can't be one; says which comes near.
        """
        path = Path(self.path)
        stem = path.name if path.is_dir() else Path(path.name.removesuffix(".gz")).stem
        if self.path == STDIN or not stem:
            what = "standard input" if self.path == STDIN else f"'{self.path}'"
            raise UsageError(f"{what} gives the collection no name: choose one with --name.")
        return check_name(stem, "--name")

    @property
    def forgiving(self) -> bool:
        """Whether it holds files of so many makers that a bad one is no surprise."""
        return plugins.corpus_reader(self.format).forgiving

    def listing(self) -> FolderListing | None:
        """The files as they are now, where it is a folder whose files are read one by one."""
        path = Path(self.path)
        if self.path == STDIN or not path.is_dir() or not _file_wise(self.format):
            return None
        suffixes = plugins.corpus_reader(self.format).suffixes
        return walk(path, self.include, self.exclude, self.ignore, self.follow_links).ending(suffixes)

    def read(self, report: ReadReport | None = None) -> Iterator[Document]:
        """The documents, one at a time, each checked and under an id of its own.

        Raises:
            DataError: at the first bad record unless `report` skips them; in the end if there was no document at all.
        """
        report = report or ReadReport()
        empty = True
        for document in self.documents(report, self.listing()):
            empty = False
            yield document
        if empty:
            raise self.nothing(report)

    def documents(self, report: ReadReport, listing: FolderListing | None) -> Iterator[Document]:
        """As `read`, of these files only, and no document at all is no error."""
        reader = plugins.corpus_reader(self.format)
        place = sys.stdin.buffer if self.path == STDIN else listing or Path(self.path)
        report.begins()
        report.outside = 0 if listing is None else len(listing.outside)
        for document in reader.read(place, reader.Options(**self.options), report):
            if report.admits(document, report.file or self.path):
                yield document
        report.ends()

    def nothing(self, report: ReadReport) -> DataError:
        """The error for a source without a document."""
        place = "standard input" if self.path == STDIN else self.path
        return DataError(f"{place} holds no documents{_why_empty(report)}")


def _file_wise(reader: str) -> bool:
    return bool(plugins.corpus_reader(reader).suffixes)


def formats() -> list[str]:
    """The formats that can be read, by the name that `--format` takes."""
    return plugins.names(GROUP)


def _recognise(path: Path) -> str:
    """The format whose reader is surest of `path`."""
    sure = {name: plugins.corpus_reader(name).recognises(path) for name in formats()}
    best = max(sure.values())
    found = [name for name, confidence in sure.items() if confidence == best]
    if best == Confidence.NONE:
        raise UsageError(f"how to read '{path}' can't be told from its name: say --format {' or '.join(formats())}.")
    if len(found) > 1:
        raise UsageError(f"'{path}' could be read as {' or '.join(found)}: choose with --format.")
    return found[0]


def _chosen_options(reader: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that differ from the reader's defaults, checked, as JSON values."""
    kind = plugins.corpus_reader(reader).Options
    usual, chosen = kind().as_dict(), kind.parse(options, f"format '{reader}'").as_dict()
    given: dict[str, Any] = json.loads(
        json.dumps({name: value for name, value in chosen.items() if value != usual[name]})
    )
    return given


def _why_empty(report: ReadReport) -> str:
    reasons = []
    for kind in (report.records, report.files, report.parts):
        if kind.count:
            first = ", the first" if kind.count > 1 else ""
            reasons.append(f"{kind}{first}: {kind.errors[0]}" if kind.errors else f"{kind}.")
    if report.empty:
        reasons.append(f"{report.without_text()}.")
    if report.kinds:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.kinds.items()))
        reasons.append(f"files of other kinds: {kinds}; --format chooses another reader.")
    if report.odd:
        reasons.append(f"{report.named_oddly()}.")
    if report.outside:
        reasons.append(report.left_outside())
    return ": " + " ".join(reasons) if reasons else "."
