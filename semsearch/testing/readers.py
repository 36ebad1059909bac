"""What every corpus reader must do, as tests that a third party's reader inherits.

::

    from semsearch.testing import ReaderContract
    from my_package import FeatherReader

    class TestFeatherReader(ReaderContract):
        reader = FeatherReader
        file = "corpus.feather"

        def content(self, texts, ids=None):
            ...  # the bytes of such a file, a record a text

Needs pytest.
"""
# ruff: noqa: D102  (a test's name says what it holds)

from __future__ import annotations

import dataclasses
import gzip
import io
import os
import random
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from semsearch.errors import DataError, SemsearchError, UsageError
from semsearch.ingest.source import ReadReport
from semsearch.options import Options
from semsearch.places import Position
from semsearch.types import Confidence, CorpusReader, Document
from semsearch.validation import check_document
from semsearch.walk import walk

# texts of one line, which keep every character: no white space at the ends, no mark of any format
SCRIPTS = (
    "Bees dance to tell where the flowers are",
    "Крит лежит южнее Греции",
    "日本語の文章は空白で区切られない",
    "اللغة العربية تكتب من اليمين إلى اليسار",
    "हिन्दी देवनागरी में लिखी जाती है",
    "emoji 👩‍🔬 join, 🇬🇷 pair and e\u0301 combines",
    "𝔊othic letters lie beyond 16 bits",
)


class RecordedReport:
    """A report that keeps what it is told; with `skip` bad records are kept too, else the first is raised."""

    def __init__(self, *, skip: bool = False) -> None:
        self.skip = skip
        self.errors: list[DataError] = []
        self.files: list[str] = []  # as they were entered
        self.unknown: list[str] = []
        self.same = 0
        self.steps: list[tuple[int, int]] = []  # of progress
        self.places: dict[str, str] = {}  # of ids
        self.positions: dict[str, Position | None] = {}

    def bad(self, error: DataError, *, file: bool = False) -> None:
        """Keep it, or raise it."""
        if not self.skip:
            raise error
        self.errors.append(error)

    def lost(self, error: DataError, *, failed: bool = False) -> None:
        """As `bad`."""
        self.bad(error)

    def unread(self, path: Path) -> None:
        """Keep its name."""
        self.unknown.append(path.name)

    def enters(self, name: str) -> None:
        """Keep the name."""
        self.files.append(name)

    def register(self, identity: str, where: str, position: Position | None = None) -> str | None:
        """Keep it with its place, or tell where it was given before."""
        if identity in self.places:
            return self.places[identity]
        self.places[identity] = where
        self.positions[identity] = position
        return None

    def merged(self) -> None:
        """Count it."""
        self.same += 1

    def progress(self, done: int, total: int) -> None:
        """Keep both."""
        self.steps.append((done, total))


class ReaderContract:
    """Inherit, name the class and a file of its kind, write `content`, and run pytest."""

    reader: ClassVar[type[CorpusReader]]
    file: ClassVar[str]  # a name by which such a file is known
    options: ClassVar[Mapping[str, object]] = {}
    ids: ClassVar[bool] = True  # `content` can give records ids of their own
    streams: ClassVar[bool] = True  # it reads streams too
    textual: ClassVar[bool] = True  # `content` is UTF-8 in lines
    packed: ClassVar[bool] = True  # it reads such a file packed with gzip
    spoiled: ClassVar[Sequence[bytes]] = ()  # what a file begins with "first", ends with "last" and has bad between
    damages: ClassVar[int] = 60  # damaged files that are tried
    foreign: ClassVar[Sequence[str]] = ("corpus.xyz", "corpus.zip", "corpus.png", "README", "corpus")

    def content(self, texts: Sequence[str], ids: Sequence[str] | None = None) -> bytes:
        """The bytes of a file that holds a record for each text, in that order, under these ids or none."""
        raise NotImplementedError

    def corpus(self, folder: Path, content: bytes) -> Path:
        """Where `content` lies in an empty folder, as the reader wants it; by default in `file`."""
        (folder / self.file).write_bytes(content)
        return folder / self.file

    def read(self, source: Any, report: RecordedReport | None = None) -> list[Document]:
        """The documents, each checked; no id twice."""
        options = self.reader.Options(**self.options)
        documents = list(self.reader.read(source, options, report if report is not None else RecordedReport()))
        for document in documents:
            check_document(document)
        assert len({document.id for document in documents}) == len(documents), "an id came twice"
        return documents

    def write(self, folder: Path, texts: Sequence[str], ids: Sequence[str] | None = None) -> Path:
        """A corpus in a new folder."""
        folder.mkdir(parents=True)
        return self.corpus(folder, self.content(texts, ids))

    # ------------------------------------------------------------------ what it is

    def test_its_options_say_what_they_are_and_unknown_ones_are_a_sentence(self) -> None:
        kind = self.reader.Options
        assert issubclass(kind, Options)
        assert kind() == kind(), "every option has a default"
        assert isinstance(self.reader.suffixes, tuple)
        assert isinstance(self.reader.forgiving, bool)
        with pytest.raises(UsageError, match=r"format 'mine' has no option 'unheard_of'\. It has: "):
            kind.parse({"unheard_of": "1"}, "format 'mine'")
        for option in dataclasses.fields(kind):
            assert option.metadata["about"], f"the option '{option.name}' does not say what it is"
            with pytest.raises(UsageError, match=f"Did you mean '{option.name}'"):
                kind.parse({f"{option.name}x": "1"}, "format 'mine'")

    def test_it_recognises_its_kind_and_nothing_else(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "mine", SCRIPTS)
        assert self.reader.recognises(path) == Confidence.CERTAIN
        (tmp_path / "other").mkdir()
        assert self.reader.recognises(tmp_path / "other") <= Confidence.FALLBACK, "an empty folder is of no kind"
        for name in self.foreign:
            (tmp_path / "other" / name).write_bytes(self.content(SCRIPTS))
            assert self.reader.recognises(tmp_path / "other" / name) == Confidence.NONE, name
        assert self.reader.recognises(tmp_path / "other" / f"nowhere{self.file}") == Confidence.NONE

    # ------------------------------------------------------------------ records and ids

    def test_no_record_is_lost_and_texts_in_every_script_are_kept(self, tmp_path: Path) -> None:
        texts = [f"{SCRIPTS[i % len(SCRIPTS)]} {i}" for i in range(1500)]
        assert [document.text for document in self.read(self.write(tmp_path / "a", texts))] == texts

    def test_ids_are_kept(self, tmp_path: Path) -> None:
        if not self.ids:
            pytest.skip("its records carry no ids")
        ids = ["7", "0012", "Å/b c", "日本"]
        assert [document.id for document in self.read(self.write(tmp_path / "a", SCRIPTS[:4], ids))] == ids

    def test_an_id_that_comes_twice_is_told_with_both_places(self, tmp_path: Path) -> None:
        if not self.ids:
            pytest.skip("its records carry no ids")
        path = self.write(tmp_path / "a", ["one", "two", "three"], ["1", "2", "1"])
        report = RecordedReport(skip=True)
        assert [document.text for document in self.read(path, report)] == ["one", "two"]
        assert len(report.errors) == 1
        assert str(report.errors[0]).count(self.file) == 2
        with pytest.raises(DataError, match="'1' was given before"):
            self.read(path)

    def test_ids_do_not_move_with_the_order_or_what_comes_above(self, tmp_path: Path) -> None:
        texts = [f"{text} {i}" for i in range(8) for text in SCRIPTS]
        ways = {
            "before": texts,
            "turned": texts[::-1],
            "above": ["A new record", *texts],
            "below": [*texts, "A new one"],
        }
        mixed = list(texts)
        random.Random(0).shuffle(mixed)
        ways["mixed"] = mixed
        found = {
            name: {document.text: document.id for document in self.read(self.write(tmp_path / name, way))}
            for name, way in ways.items()
        }
        for name, ids in found.items():
            assert found["before"].items() <= ids.items(), name

    def test_a_record_without_an_id_that_comes_twice_is_one_document(self, tmp_path: Path) -> None:
        report = RecordedReport()
        documents = self.read(self.write(tmp_path / "a", ["one", "two", "one"]), report)
        texts = [document.text for document in documents]
        assert set(texts) == {"one", "two"}
        assert len(texts) + report.same == 3, "a record that is not given is counted"

    def test_every_document_is_registered_before_it_is_given(self, tmp_path: Path) -> None:
        report = RecordedReport()
        options = self.reader.Options(**self.options)
        for document in self.reader.read(self.write(tmp_path / "a", SCRIPTS), options, report):
            assert document.id in report.places

    # ------------------------------------------------------------------ a function of its source

    def test_it_gives_the_same_again_and_to_several_at_once(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a", SCRIPTS)
        first = self.read(path)
        options = self.reader.Options(**self.options)
        one, other = (self.reader.read(path, options, RecordedReport()) for _ in range(2))
        assert list(zip(one, other, strict=True)) == list(zip(first, first, strict=True))
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(lambda _: self.read(path), range(8))) == [first] * 8

    def test_who_leaves_early_leaves_nothing_open(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "a", SCRIPTS)
        opened = _open_files(path)
        reading = self.reader.read(path, self.reader.Options(**self.options), RecordedReport())
        assert next(reading).text == SCRIPTS[0]
        reading.close()  # type: ignore[attr-defined]
        assert _open_files(path) == opened

    def test_a_stream_gives_what_the_file_gives(self, tmp_path: Path) -> None:
        content = self.content(SCRIPTS)
        if not self.streams:
            with pytest.raises(SemsearchError):
                self.read(io.BytesIO(content))
            return
        stream = io.BytesIO(content)
        assert [document.text for document in self.read(stream)] == list(SCRIPTS)
        assert not stream.closed, "a stream is its owner's to close"

    def test_a_packed_file_is_the_same_corpus(self, tmp_path: Path) -> None:
        if not self.packed:
            pytest.skip("its files are not packed")
        (tmp_path / "packed").mkdir()
        plain = self.read(self.write(tmp_path / "plain", SCRIPTS))
        packed = tmp_path / "packed" / f"{self.file}.gz"
        packed.write_bytes(gzip.compress(self.content(SCRIPTS)))
        assert self.reader.recognises(packed) == Confidence.CERTAIN
        assert [document.text for document in self.read(packed)] == [document.text for document in plain]

    # ------------------------------------------------------------------ folders

    def test_a_folder_is_its_files_told_one_by_one(self, tmp_path: Path) -> None:
        if not self.reader.suffixes:
            pytest.skip("a folder is one thing to it")
        folder = tmp_path / "folder"
        for name, texts in (("b", SCRIPTS[:2]), ("a", SCRIPTS[2:4]), ("sub/c", SCRIPTS[4:])):
            path = folder / f"{name}-{self.file}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.content(texts))
        (folder / "other.xyz").write_bytes(b"?")
        report = RecordedReport()
        seen: dict[str, str] = {}
        for document in self.reader.read(folder, self.reader.Options(**self.options), report):
            seen[document.id] = report.files[-1]
        assert report.files == [f"a-{self.file}", f"b-{self.file}", f"sub/c-{self.file}"]
        assert report.unknown == ["other.xyz"]
        assert set(seen.values()) == set(report.files)
        done, total = zip(*report.steps, strict=True)
        size = sum(path.stat().st_size for path in folder.rglob(f"*{self.file}"))
        assert set(total) == {size}
        assert list(done) == sorted(done)
        assert done[-1] == size
        listing = walk(folder)
        some = dataclasses.replace(listing, files=[entry for entry in listing.files if entry.name.startswith("b")])
        assert {document.id for document in self.read(some)} == {
            identity for identity, name in seen.items() if name.startswith("b")
        }, "of a listing only its files are read, and ids stay"

    # ------------------------------------------------------------------ bad data

    def test_a_file_of_a_folder_that_gives_nothing_is_named_and_counted(self, tmp_path: Path) -> None:
        if not self.reader.suffixes:
            pytest.skip("a folder is one thing to it")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / f"a-{self.file}").write_bytes(self.content(SCRIPTS))
        (tmp_path / "full" / f"b-{self.file}").write_bytes(self.content([]))
        report = ReadReport(skip=True)
        documents = list(self.reader.read(tmp_path / "full", self.reader.Options(**self.options), report))
        report.ends()
        assert [document.text for document in documents] == list(SCRIPTS)
        assert report.left_out == 1
        assert f"b-{self.file}" in " ".join(report.sentences())

    def test_bad_records_are_told_with_their_place_and_cost_only_themselves(self, tmp_path: Path) -> None:
        if not self.spoiled:
            pytest.skip("it names no bad records")
        for number, content in enumerate(self.spoiled):
            (tmp_path / str(number)).mkdir()
            path = self.corpus(tmp_path / str(number), content)
            report = RecordedReport(skip=True)
            texts = [document.text for document in self.read(path, report)]
            assert texts == ["first", "last"], content[:200]
            assert len(report.errors) == 1, content[:200]
            said = str(report.errors[0])
            assert self.file in said, "the place is told"
            assert "\n" not in said
            said.encode()
            with pytest.raises(DataError) as caught:
                self.read(path)
            assert str(caught.value) == said

    def test_an_empty_file_is_no_document_or_a_sentence(self, tmp_path: Path) -> None:
        for number, content in enumerate((b"", self.content([]))):
            (tmp_path / str(number)).mkdir()
            report = RecordedReport(skip=True)
            assert self.read(self.corpus(tmp_path / str(number), content), report) == []
            assert all(self.file in str(error) for error in report.errors)

    def test_a_byte_order_mark_and_other_line_ends_change_nothing(self, tmp_path: Path) -> None:
        if not self.textual:
            pytest.skip("its files are no text")
        content = self.content(SCRIPTS)
        plain = self.read(self.write(tmp_path / "plain", SCRIPTS))
        for name, changed in (("mark", b"\xef\xbb\xbf" + content), ("ends", content.replace(b"\n", b"\r\n"))):
            (tmp_path / name).mkdir()
            assert self.read(self.corpus(tmp_path / name, changed)) == plain, name

    def test_no_nul_comes_through(self, tmp_path: Path) -> None:
        content = self.content(["first", "middle", "last"]).replace(b"middle", b"mi\0dle")
        (tmp_path / "a").mkdir()
        report = RecordedReport(skip=True)
        texts = [document.text for document in self.read(self.corpus(tmp_path / "a", content), report)]
        assert not any("\0" in text for text in texts)
        assert report.errors or len(texts) == 3, "what is left out is told"
        if self.spoiled:
            assert {"first", "last"} <= set(texts)

    def test_a_huge_record_is_read_or_told_and_the_others_are_there(self, tmp_path: Path) -> None:
        huge = "x" * (40 * 2**20)
        report = RecordedReport(skip=True)
        texts = [document.text for document in self.read(self.write(tmp_path / "a", ["first", huge, "last"]), report)]
        assert texts == ["first", huge, "last"] or (report.errors and set(texts) <= {"first", "last"})
        assert not report.errors or all(self.file in str(error) and len(str(error)) < 1000 for error in report.errors)

    def test_whatever_comes_gives_documents_or_sentences(self, tmp_path: Path) -> None:
        generator = random.Random(0)
        content = self.content([f"{text} {i}" for i in range(4) for text in SCRIPTS])
        for number in range(self.damages):
            damaged = bytearray(content[: generator.randrange(len(content))] if number % 2 else content)
            for _ in range(generator.randrange(1, 20)):
                if damaged:
                    damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            (tmp_path / str(number)).mkdir()
            report = RecordedReport(skip=True)
            self.read(self.corpus(tmp_path / str(number), bytes(damaged)), report)
            for error in report.errors:
                str(error).encode()


def _open_files(path: Path) -> int:
    """How often this process has a file open, or one of a folder, where the system tells."""
    if not Path("/proc/self/fd").is_dir():
        return 0
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208  (iterdir would open one of its own)
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith(str(path))  # noqa: PTH115
        except OSError:
            continue
    return count
