"""What somebody else's reader needs, and what happens where it falls short."""

import ast
import threading
from importlib.metadata import EntryPoint
from itertools import repeat
from pathlib import Path

import pytest

import corpora
from corpora.beir import NoOptions
from corpora.office import DocumentsReader
from corpora.text import TextReader
from semsearch import plugins
from semsearch.errors import DataError, StorageError, UsageError
from semsearch.ingest.ids import IdRegister
from semsearch.ingest.source import ReadReport, Source
from semsearch.options import Options
from semsearch.reading.documents import Columns
from semsearch.types import Confidence, Document

PUBLIC = {
    "semsearch.dates",
    "semsearch.errors",
    "semsearch.metadata_values",
    "semsearch.options",
    "semsearch.parquet_metadata",
    "semsearch.places",
    "semsearch.reading.files",
    "semsearch.reading.documents",
    "semsearch.reading.json_objects",
    "semsearch.reading.packed",
    "semsearch.types",
    "semsearch.validation",
    "semsearch.walk",
}


def test_the_built_in_readers_import_what_is_public_and_nothing_else():
    used = set()
    for path in Path(corpora.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("semsearch"):
                used.add(node.module)
            elif isinstance(node, ast.Import):
                used |= {name.name for name in node.names if name.name.startswith("semsearch")}
    assert used
    assert used <= PUBLIC


class Notes:
    """A folder format of somebody else's: a document a file of its 'pages', unregistered and unchecked."""

    Options = NoOptions
    suffixes = ()
    forgiving = False
    documents = (Document("1", "one"), Document("2", "two"))

    @classmethod
    def recognises(cls, path):
        return Confidence.CERTAIN if (path / "pages").is_dir() else Confidence.NONE

    @classmethod
    def read(cls, source, options, report):
        yield from cls.documents


@pytest.fixture
def registered(monkeypatch):
    """Registers a class as the reader 'notes'."""
    known = plugins._registered("semsearch.corpora")

    def register(reader):
        class Point(EntryPoint):
            def load(self):
                return reader

        point = Point("notes", "my_package.notes:Notes", "semsearch.corpora")
        monkeypatch.setattr(plugins, "_registered", lambda group: {**known, "notes": point})

    return register


@pytest.mark.parametrize("member", ["Options", "suffixes", "forgiving", "recognises", "read"])
def test_a_reader_that_lacks_a_member_is_named_when_it_is_loaded(registered, member):
    kind = type("Half", (), {name: value for name, value in vars(Notes).items() if name != member})
    registered(kind)
    with pytest.raises(UsageError, match=rf"the corpus reader 'notes' \(my_package.notes:Notes\) has no '{member}':"):
        plugins.corpus_reader("notes")


def test_a_folder_format_needs_to_know_no_other(tmp_path, registered):
    registered(Notes)
    (tmp_path / "pages").mkdir()
    assert Source.of(tmp_path).format == "notes"  # text would take every folder
    (tmp_path / "a.html").write_text("<p>a")
    assert Source.of(tmp_path).format == "notes"  # documents would take this one
    (tmp_path / "corpus.jsonl").write_text("")
    with pytest.raises(UsageError, match="could be read as beir or notes: choose with --format"):
        Source.of(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", "x", "text"),
        ("a.md", "x", "documents"),
        ("f/a.txt", "x", "text"),
        ("f/a.md", "x", "text"),
        ("f/a.html", "x", "documents"),
        ("f/corpus.jsonl", "{}", "beir"),
        ("f/a.jsonl", "{}", "jsonl"),
    ],
)
def test_the_surest_reader_reads(tmp_path, name, content, kind):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    assert Source.of(tmp_path / "f" if name.startswith("f/") else path).format == kind
    (tmp_path / "g").mkdir()
    assert (TextReader.recognises(tmp_path / "g"), DocumentsReader.recognises(tmp_path / "g")) == (1, 0)


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([Document("1", "one"), Document("1", "again")], "the id '1' was given before"),
        ([Document("1", "one"), Document("2", "a\0b")], "the text holds a NUL"),
        ([Document("1", "one"), Document(7, "two")], "the id must be text"),
        ([Document("1", "one"), Document(["x"], "two")], "the id must be text"),
        ([Document("1", "one"), Document("2", " ")], "the text is empty"),
    ],
)
def test_what_a_reader_does_not_register_is_checked_for_it(tmp_path, registered, documents, said):
    registered(type("Sloppy", (Notes,), {"documents": documents}))
    source = Source.of(tmp_path, "notes")
    with pytest.raises(DataError, match=said):
        list(source.read())
    report = ReadReport(skip=True)
    assert [document.id for document in source.read(report)] == ["1"]
    assert report.skipped == 1
    assert [document.id for document in source.read(report)] == ["1"], "a report can see a second reading"


# --- options


def test_options_come_from_text_json_and_python_alike():
    assert Columns.parse({"text": "plot", "id": "k"}, "it") == Columns(text=("plot",), id="k")
    assert Columns.parse({"text": ["a", "b"]}, "it") == Columns(text=("a", "b"))
    assert Columns(text="plot").text == ("plot",)
    kind = plugins.corpus_reader("csv").Options
    assert kind.parse({"quotes": "no", "types": {"year": "int"}}, "it") == kind(quotes=False, types={"year": "int"})
    assert plugins.corpus_reader("documents").Options.parse({"seconds": "1.5"}, "it").seconds == 1.5
    assert kind().types is not kind().types
    for name in plugins.names("semsearch.corpora"):
        assert issubclass(plugins.corpus_reader(name).Options, Options)


@pytest.mark.parametrize(
    ("reader", "options", "said"),
    [
        (
            "csv",
            {"qoutes": "no"},
            r"format 'csv' has no option 'qoutes'\. Did you mean 'quotes'\? It has: text \(field",
        ),
        ("csv", {"quotes": "perhaps"}, "the option 'quotes' must be true or false, not 'perhaps'"),
        ("csv", {"text": 5}, "the option 'text' must be of type .*str.*, not 5"),
        ("csv", {"id": ["a"]}, r"the option 'id' must be of type str \| None, not \['a'\]"),
        ("csv", {"types": {"a": 1}}, "the option 'types' must be of type .*Mapping"),
        ("csv", {"types": "year"}, "the option 'types' must be of type .*Mapping"),
        ("text", {"unit": "page"}, "the option 'unit' must be one of line, paragraph, file, not 'page'"),
        ("documents", {"seconds": 0}, "the option 'seconds' must be at least 0.001, not 0"),
        ("documents", {"seconds": float("nan")}, "the option 'seconds' must be at least 0.001, not nan"),
        ("documents", {"megabytes": "12"}, "the option 'megabytes' must be at least 256, not 12"),
        ("jsonl", {"text": ["a", "a"]}, "a text column is named twice: a, a"),
    ],
)
def test_wrong_options_are_sentences(tmp_path, reader, options, said):
    with pytest.raises(UsageError, match=said):
        Source.of(tmp_path, reader, options)


# --- the register of ids


def test_an_id_is_known_with_its_file_and_place():
    ids = IdRegister()
    assert ids.add("a", "x.txt", "line 1") is None
    assert ids.add("日本", "y.txt", "line 2") is None
    assert ids.add("a", "y.txt", "line 3") == "line 1"
    assert [ids.file(identity) for identity in ("a", "日本", "b")] == ["x.txt", "y.txt", None]
    assert list(ids.batches()) == [{"a": ("x.txt", ""), "日本": ("y.txt", "")}]
    found = []
    thread = threading.Thread(target=lambda: found.append(ids.file("a")))
    thread.start()
    thread.join()
    assert found == ["x.txt"], "it may be asked from another thread than the one that reads"
    many = IdRegister()
    for number in range(10_000):
        many.add(str(number), "", "")
    assert sum(map(len, many.batches())) == 10_000


def test_a_full_temporary_folder_is_a_sentence():
    ids = IdRegister()
    ids._database.execute("PRAGMA max_page_count = 8")
    with pytest.raises(StorageError, match=r"the ids so far can't be kept in the temporary folder: .*full"):
        list(map(ids.add, (f"{number:040}" for number in range(10_000)), repeat(""), repeat("")))
