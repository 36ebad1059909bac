"""Every built-in reader does what any reader must, and the contract catches those that don't."""

import csv
import hashlib
import io
import json
from pathlib import Path
from typing import ClassVar

import pytest

from corpora.beir import BEIRReader
from corpora.delimited import DelimitedReader
from corpora.json_lines import JSONLinesReader
from corpora.office import DocumentsReader
from corpora.parquet import ParquetReader
from corpora.text import TextReader
from semsearch.testing import ReaderContract
from semsearch.types import Document


def records(texts, ids):
    return [{"text": text} | ({"id": ids[i]} if ids else {}) for i, text in enumerate(texts)]


def spoiled_lines(*bad: bytes) -> list[bytes]:
    return [b'{"text": "first"}\n' + line + b'\n{"text": "last"}\n' for line in bad]


class TestJSONLinesReader(ReaderContract):
    reader = JSONLinesReader
    file = "corpus.jsonl"
    spoiled = spoiled_lines(b"{", b"[]", b'{"text": 1}', b'{"text": "a\\u0000"}', b'{"text": "\xff"}', b'{"x": 1}')

    def content(self, texts, ids=None):
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records(texts, ids)).encode()


class TestBEIRReader(TestJSONLinesReader):
    reader = BEIRReader
    streams = packed = False

    def corpus(self, folder, content):
        super().corpus(folder, content)
        return folder


class TestDelimitedReader(ReaderContract):
    reader = DelimitedReader
    file = "corpus.tsv"
    options: ClassVar = {"delimiter": "\t"}  # a stream has no name to tell it by
    spoiled = (b"text\nfirst\na\tb\nlast\n", b"text\nfirst\na\0b\nlast\n", b"text\nfirst\n\xff\nlast\n")

    def content(self, texts, ids=None):
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, ["id", "text"] if ids else ["text"], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records(texts, ids))
        return table.getvalue().encode()


class TestLines(ReaderContract):
    reader = TextReader
    file = "corpus.txt"
    options: ClassVar = {"unit": "line"}
    ids = False
    spoiled = (b"first\na\0b\nlast\n", b"first\n\xff\nlast\n")

    def content(self, texts, ids=None):
        return "".join(f"{text}\n" for text in texts).encode()


class TestParagraphs(TestLines):
    options: ClassVar = {"unit": "paragraph"}
    spoiled = (b"first\n\na\0b\n\nlast\n",)

    def content(self, texts, ids=None):
        return "\n".join(f"{text}\n" for text in texts).encode()


@pytest.mark.slow
class TestParquetReader(ReaderContract):
    reader = ParquetReader
    file = "corpus.parquet"
    textual = packed = False

    def content(self, texts, ids=None):
        import pyarrow
        from pyarrow import parquet

        names = ["text", "id"] if ids else ["text"]
        table = pyarrow.table({name: pyarrow.array([r[name] for r in records(texts, ids)], "string") for name in names})
        out = io.BytesIO()
        parquet.write_table(table, out)
        return out.getvalue()

    @property
    def spoiled(self):
        return (self.content(["first", "a\0b", "last"]), self.content(["first", " ", "last"]))


def contributing() -> str:
    """The reader that CONTRIBUTING shows."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    return next(block for block in text.split("```python\n") if "class QuotesReader" in block).partition("```")[0]


shown: dict = {}
exec(contributing(), shown)


class TestReaderOfContributing(ReaderContract):
    reader = shown["QuotesReader"]
    file = "corpus.quotes"
    ids = False
    spoiled = (b"first -- A\na\0b -- B\nlast -- C\n", b"first -- A\n\xff\nlast -- C\n")

    def content(self, texts, ids=None):
        return "".join(f"{text} -- Anonymous\n" for text in texts).encode()


@pytest.mark.slow
class TestDocumentsReader(ReaderContract):
    """A section of Markdown is a record; its heading makes its id."""

    reader = DocumentsReader
    file = "corpus.md"
    ids = streams = False
    damages = 5  # each may cost a process

    def content(self, texts, ids=None):
        return "".join(f"# {hashlib.md5(text.encode()).hexdigest()}\n\n{text}\n\n" for text in texts).encode()

    def test_a_record_without_an_id_that_comes_twice_is_one_document(self, tmp_path):
        """Sections of one name are told apart by their number: the same text twice is two documents."""
        documents = self.read(self.write(tmp_path / "a", ["one", "two", "one"]))
        assert [document.text for document in documents] == ["one", "two", "one"]


# --- readers that break a promise, and the test that notices


class ByNumber(JSONLinesReader):
    """Ids from line numbers."""

    @classmethod
    def read(cls, source, options, report):
        for number, document in enumerate(JSONLinesReader.read(source, options, report)):
            report.register(str(number), "")
            yield Document(str(number), document.text)


class LosesTheLast(JSONLinesReader):
    @classmethod
    def read(cls, source, options, report):
        documents = list(JSONLinesReader.read(source, options, report))
        yield from documents[:-1]


class SwallowsErrors(JSONLinesReader):
    @classmethod
    def read(cls, source, options, report):
        from semsearch.reading.files import NullReport

        class Deaf(NullReport):
            register = staticmethod(report.register)

        yield from JSONLinesReader.read(source, options, Deaf())


class StripsMarks(JSONLinesReader):
    """Loses what ASCII can't hold."""

    @classmethod
    def read(cls, source, options, report):
        for document in JSONLinesReader.read(source, options, report):
            text = document.text.encode("ascii", "ignore").decode()
            yield Document(document.id, text or "?")


class TakesEverything(JSONLinesReader):
    @classmethod
    def recognises(cls, path):
        from semsearch.types import Confidence

        return Confidence.CERTAIN


class KeepsState(JSONLinesReader):
    given: ClassVar = set()

    @classmethod
    def read(cls, source, options, report):
        for document in JSONLinesReader.read(source, options, report):
            if document.id not in cls.given:
                cls.given.add(document.id)
                yield document


@pytest.mark.parametrize(
    ("reader", "test"),
    [
        (ByNumber, "test_ids_do_not_move_with_the_order_or_what_comes_above"),
        (LosesTheLast, "test_no_record_is_lost_and_texts_in_every_script_are_kept"),
        (SwallowsErrors, "test_bad_records_are_told_with_their_place_and_cost_only_themselves"),
        (StripsMarks, "test_no_record_is_lost_and_texts_in_every_script_are_kept"),
        (TakesEverything, "test_it_recognises_its_kind_and_nothing_else"),
        (KeepsState, "test_it_gives_the_same_again_and_to_several_at_once"),
    ],
)
def test_the_contract_catches_a_reader_that_breaks_it(tmp_path, reader, test):
    checked = type("Checked", (TestJSONLinesReader,), {"reader": reader})()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(checked, test)(tmp_path)
