"""Names of collections: every script, one form, and a way into engines that take only ASCII."""

import re
import string
import unicodedata
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st
from support.fakes import HashEncoder

import semsearch
from semsearch import home
from semsearch.cli.main import cli
from semsearch.errors import CollectionExists, CollectionNotFound, UsageError
from semsearch.ingest.source import Source
from semsearch.local.home import LocalHome
from semsearch.names import check_name, from_ascii, is_name, name_from, to_ascii

COMPOSED, DECOMPOSED = "Übersicht", "U\u0308bersicht"

characters = st.characters(categories=["L", "N", "M"], include_characters="._-")
names = st.text(characters, max_size=100).map(name_from).filter(bool)


@pytest.mark.parametrize(
    "name",
    [
        "notes",
        "my-notes_2.old",
        "_x",
        "9",
        "Übersicht",
        "книги",
        "書籍",
        "हिन्दी",
        "שלום",
        "𒀀",
        "٣",
        "a" * 100,
        "ü" * 100,
    ],
)
def test_a_name_may_be_in_every_script(name):
    assert check_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".hidden",
        "-rf",
        "..",
        "a/b",
        "a\\b",
        "a b",
        "a\0",
        "a\n",
        "a\u200bb",  # no width
        "a\u200db",  # joiner
        "\u202eabc",  # right to left from here on
        "a\u2066b",
        "a\ufeff",
        "\u3164",  # a letter that is not seen
        "a\ufe0f",
        "a\u034fb",
        "\u0301a",  # combines with what is before
        "\ud800",
        "a\ue000",  # private use
        "a" * 101,
        "書" * 67,  # 201 bytes
        "🦊",
        "a:b",
        "a*",
    ],
)
def test_what_is_not_seen_or_not_safe_is_no_name(name):
    with pytest.raises(UsageError, match="can't name a collection") as caught:
        check_name(name)
    assert str(caught.value).isprintable()


def test_one_name_in_two_forms_is_one_collection(tmp_path):
    with semsearch.create(DECOMPOSED, encoder=HashEncoder(4), home=tmp_path) as collection:
        assert collection.name == COMPOSED
    for form in (COMPOSED, DECOMPOSED):
        with semsearch.open(form, home=tmp_path, encoder=HashEncoder(4)) as collection:
            assert collection.name == COMPOSED
        with pytest.raises(CollectionExists, match="is there already"):
            semsearch.create(form, encoder=HashEncoder(4), home=tmp_path)
    semsearch.drop(DECOMPOSED, home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_name_the_file_system_decomposed_is_found(tmp_path):
    semsearch.create(COMPOSED, encoder=HashEncoder(4), home=tmp_path).close()
    (tmp_path / COMPOSED).rename(tmp_path / DECOMPOSED)
    assert semsearch.list_collections(home=tmp_path) == [COMPOSED]
    with semsearch.open(COMPOSED, home=tmp_path, encoder=HashEncoder(4)) as collection:
        assert len(collection) == 0
    semsearch.drop(COMPOSED, home=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_by_capitals_where_the_file_system_does_not_tell_them_apart(tmp_path, monkeypatch):
    semsearch.create("Films", encoder=HashEncoder(4), home=tmp_path).close()
    exists = Path.exists

    def blind(path, **how):
        return exists(path.with_name("Films") if path.name == "films" else path, **how)

    monkeypatch.setattr(home.Path, "exists", blind)
    with pytest.raises(CollectionExists, match="'films' and 'Films' are one folder"):
        LocalHome(str(tmp_path)).create("films", {}, 4)
    with pytest.raises(CollectionNotFound, match="There is: Films"):
        LocalHome(str(tmp_path)).find("films")


@given(st.text())
@example("my notes (old)")
@example("\u0301-.\u0301x")
@example("e\u034f\u0301")
@example("書" * 80)
@example("a" * 99 + "q\u0301")
def test_every_text_gives_a_name_or_nothing(text):
    name = name_from(text)
    assert name == "" or is_name(name)
    assert unicodedata.is_normalized("NFC", name)


@pytest.mark.parametrize(
    ("text", "name"),
    [("my notes (old)", "my-notes-old"), (COMPOSED, COMPOSED), ("Книги и  журналы", "Книги-и-журналы")],
)
def test_a_name_stays_as_near_as_it_can(text, name):
    assert name_from(text) == name


@pytest.mark.parametrize(
    ("name", "mapped"),
    [
        ("notes", "notes"),
        ("my-notes_2", "my-notes_2"),
        ("Übersicht", "u--bersicht-xxa"),
        ("u--x", "u--u--x-"),
        ("書籍", "u--rovu88b"),
    ],
)
def test_the_ascii_of_a_name(name, mapped):
    assert (to_ascii(name), from_ascii(mapped)) == (mapped, name)


@given(names)
@example("書" * 66)
@example("Ω.ж" * 33)
@example("A" * 100)
@example("-".join("äÄöÖ" * 10))
def test_the_ascii_of_a_name_leads_back(name):
    mapped = to_ascii(name)
    assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", mapped)
    assert len(mapped) <= 255
    assert from_ascii(mapped) == name


@given(names, names)
def test_two_names_have_two_asciis(one, other):
    assert (to_ascii(one) == to_ascii(other)) == (one == other)


@pytest.mark.slow
@given(st.text(string.ascii_lowercase + string.digits + "_-", min_size=1).filter(is_name))
def test_what_is_plain_stays_as_it_is(name):
    assert to_ascii(name) == name or name.startswith(("u--", "_"))


def test_a_source_in_another_script_names_its_collection(tmp_path):
    folder = tmp_path / DECOMPOSED
    folder.mkdir()
    (folder / "a.txt").write_text("wale singen")
    assert Source.of(str(folder)).name == COMPOSED


def test_the_shell_completes_names_of_every_script(tmp_path):
    semsearch.create(COMPOSED, encoder=HashEncoder(4), home=tmp_path).close()
    for begun in ("Ü", "U\u0308"):
        completed = CliRunner().invoke(
            cli,
            [],
            prog_name="semsearch",
            env={
                "_SEMSEARCH_COMPLETE": "bash_complete",
                "COMP_WORDS": f"semsearch info {begun}",
                "COMP_CWORD": "2",
                "SEMSEARCH_HOME": str(tmp_path),
            },
        )
        assert COMPOSED in completed.output
