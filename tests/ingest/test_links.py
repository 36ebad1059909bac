"""Links in a folder: what lies elsewhere was not given, and is read only where that is asked for."""

import json
import os
import sys

import pytest
from support.command_line import run, tiny_model

from semsearch.errors import DataError, UsageError
from semsearch.ingest.source import ReadReport, Source
from semsearch.walk import walk

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links of POSIX")


@pytest.fixture
def folder(tmp_path):
    """A folder with files, links to them, and links to what is not in it."""
    inside = tmp_path / "notes"
    (inside / "deep").mkdir(parents=True)
    (inside / "own.txt").write_text("oven dough")
    (inside / "deep" / "own.txt").write_text("whale tide")
    (tmp_path / "notes-of-others").mkdir()
    (tmp_path / "notes-of-others" / "secret.txt").write_text("secret chain")
    (inside / "inside.txt").symlink_to("deep/own.txt")
    (inside / "deep" / "up.txt").symlink_to("../own.txt")
    (inside / "out.txt").symlink_to(tmp_path / "notes-of-others" / "secret.txt")
    (inside / "deep" / "relative.txt").symlink_to("../../notes-of-others/secret.txt")
    (inside / "by-way.txt").symlink_to("out.txt")
    (inside / "out.bin").symlink_to("/etc/hostname")
    (inside / "itself.txt").symlink_to("itself.txt")
    (inside / "round").symlink_to(".")
    (inside / "elsewhere").symlink_to(tmp_path / "notes-of-others")
    return inside


INSIDE = ["deep/own.txt", "deep/up.txt", "inside.txt", "own.txt"]
OUTSIDE = ["by-way.txt", "deep/relative.txt", "out.txt"]


def test_a_file_that_lies_elsewhere_is_read_only_where_it_is_asked_for(folder):
    listing = walk(folder).ending((".txt",))
    assert [file.name for file in listing.files] == INSIDE
    assert listing.outside == OUTSIDE
    listing = walk(folder, follow_links=True).ending((".txt",))
    assert [file.name for file in listing.files] == sorted(INSIDE + OUTSIDE)
    assert listing.outside == []
    assert {"elsewhere", "itself.txt", "round"} <= set(listing.others), "links to folders are not followed"


def test_a_folder_that_is_reached_by_a_link_is_that_folder(folder, tmp_path):
    (tmp_path / "by-link").symlink_to(folder)
    assert [file.name for file in walk(tmp_path / "by-link").ending((".txt",)).files] == INSIDE


def test_what_is_left_out_is_said_once_in_the_end(folder, tmp_path):
    model = tiny_model(tmp_path / "model")
    said = "links to files out of the folder, not followed: 3 (--follow-links reads them)."
    ended = run("index", folder, "--format", "text", "-m", model)
    assert ended.out.startswith("added 4,")
    assert ended.err.count(said) == 1
    assert "secret" not in run("query", "notes", "secret chain", "--json").out.partition('"hits"')[2]
    assert run("index", folder, "--format", "text", "-m", model, "--dry-run").err.count(said) == 1
    followed = run("index", folder, "--format", "text", "-m", model, "--follow-links", "--name", "all")
    assert followed.out.startswith("added 7,")
    assert "not followed" not in followed.err
    assert run("sync", "all").out == "added 0, changed 0, removed 0, unchanged 7\n"
    found = run("grep", "secret chain", folder, "-m", model, "--no-cache")
    assert "secret" not in found.out
    assert "not followed: 4" in found.err


def test_a_folder_of_nothing_but_such_links_says_so(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "notes" / "a.txt").symlink_to(tmp_path / "secret.txt")
    source = Source.of(tmp_path / "notes", "text")
    with pytest.raises(DataError, match=r"not followed: 1 \(--follow-links reads them\)"):
        list(source.read(ReadReport()))
    with pytest.raises(UsageError, match="--follow-links choose among the files of a folder"):
        Source.of(tmp_path / "secret.txt", follow_links=True)


def test_following_belongs_to_what_is_remembered_of_a_source(folder):
    source = Source.of(folder, "text", follow_links=True)
    assert [document.id for document in source.read()] == sorted(INSIDE + OUTSIDE)
    assert Source(**json.loads(source.to_json())) == source
    assert "follow_links" not in Source.of(folder, "text").to_json(), "as sources were remembered before"


@pytest.mark.parametrize("name", [".gitignore", ".git"])
def test_patterns_are_read_from_files_alone(folder, name):
    os.mkfifo(folder / name)  # nobody writes into it
    assert [file.name for file in walk(folder).ending((".txt",)).files] == INSIDE
    (folder / name).unlink()
    (folder / name).symlink_to("/dev/zero")
    assert [file.name for file in walk(folder).ending((".txt",)).files] == INSIDE


def test_a_file_that_became_a_link_out_of_the_folder_is_taken_out(folder, tmp_path):
    run("index", folder, "--format", "text", "-m", tiny_model(tmp_path / "model"))
    (folder / "own.txt").unlink()
    (folder / "own.txt").symlink_to(tmp_path / "notes-of-others" / "secret.txt")
    ended = run("sync", "notes", "--yes")
    assert ended.out == "added 0, changed 0, removed 2, unchanged 2\n", "with the link to it"
    assert ended.err == "links to files out of their folder, not followed: 5.\n"


def test_a_corpus_of_beir_that_lies_elsewhere_is_named(tmp_path):
    (tmp_path / "beir").mkdir()
    (tmp_path / "other.jsonl").write_text('{"_id": "a", "text": "secret"}\n')
    (tmp_path / "beir" / "corpus.jsonl").symlink_to("../other.jsonl")
    with pytest.raises(
        DataError, match=r"corpus\.jsonl is a link to a file out of the folder.*read .*other\.jsonl itself"
    ):
        list(Source.of(tmp_path / "beir").read())
    (tmp_path / "beir" / "inside.jsonl").write_text('{"_id": "a", "text": "own"}\n')
    (tmp_path / "beir" / "corpus.jsonl").unlink()
    (tmp_path / "beir" / "corpus.jsonl").symlink_to("inside.jsonl")
    assert [document.text for document in Source.of(tmp_path / "beir").read()] == ["own"]
