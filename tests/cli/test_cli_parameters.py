"""The options of every command are typed: what click reads is what the command declares."""

import inspect
from dataclasses import FrozenInstanceError, dataclass, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import click
import numpy as np
import pytest
from support.command_line import corpus, run, tiny_model

import semsearch
from semsearch.cli import target
from semsearch.cli.main import cli
from semsearch.cli.parameters import ComputeOptions, Minimum, SearchOptions, typed
from semsearch.cli.target import NONE, CreateOptions
from semsearch.errors import CollectionError, UsageError


def declared(command):
    """The parameters that a command's function declares, with their types; those of groups among them."""
    hints = get_type_hints(command.callback)
    hints.pop("return")
    found = {}
    for name in inspect.signature(command.callback).parameters:
        if name != "context":  # click's own
            found |= flat(hints[name]) if is_dataclass(hints[name]) else {name: hints[name]}
    return found


def flat(kind):
    assert kind.__dataclass_params__.frozen, kind
    hints = get_type_hints(kind)
    found = {}
    for field in fields(kind):
        inner = flat(hints[field.name]) if is_dataclass(hints[field.name]) else {field.name: hints[field.name]}
        assert not found.keys() & inner.keys()
        found |= inner
    return found


def read(parameter):
    """The type of what click gives for a parameter; None where only its converter knows."""
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return bool
    kinds = {click.IntRange: int, click.FloatRange: float, click.Choice: str}
    kind = kinds.get(type(parameter.type))
    if isinstance(parameter.type, click.Path):
        kind = parameter.type.type or str
    elif kind is None:
        known = {"text": str, "integer": int, "float": float, "boolean": bool}
        kind = known.get(parameter.type.name)
    return kind


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_option_is_declared_with_its_type(name):
    command = cli.commands[name]
    shown = [kind.kind for kind in inspect.signature(command.callback).parameters.values()]
    assert inspect.Parameter.VAR_KEYWORD not in shown
    hints = declared(command)
    assert sorted(hints) == sorted(parameter.name for parameter in command.params if parameter.expose_value)
    for parameter in [parameter for parameter in command.params if parameter.expose_value]:
        hint, kind = hints[parameter.name], read(parameter)
        optional = get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)
        if parameter.multiple if isinstance(parameter, click.Option) else parameter.nargs == -1:
            assert get_origin(hint) is tuple, parameter.name
            assert kind is None or get_args(hint)[0] is kind, parameter.name
            continue
        if parameter.nargs > 1:  # so many values, or none
            (several,) = (each for each in get_args(hint) if each is not NoneType)
            assert several == tuple[(kind,) * parameter.nargs], parameter.name
            assert optional is not parameter.required, parameter.name
            continue
        if not parameter.required and not (isinstance(parameter, click.Option) and parameter.is_flag):
            without_value = parameter.to_info_dict().get("default") is None
            assert optional is without_value, parameter.name
        else:
            assert not optional, parameter.name
        if kind is not None:
            assert kind in (get_args(hint) if optional else (hint,)), parameter.name
        assert hint is not Any


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    compute: ComputeOptions


def test_a_group_is_taken_out_of_all_and_what_is_left_over_is_a_bug():
    seen = []
    command = typed(Outer)(lambda options: seen.append(options) or 0)
    assert command(device="cpu", name="x", dtype=None) == 0
    assert seen == [Outer("x", ComputeOptions("cpu", None))]
    with pytest.raises(FrozenInstanceError):
        seen[0].name = "y"
    with pytest.raises(TypeError, match="Outer has no field for dytpe"):
        command(device="cpu", name="x", dtype=None, dytpe=1)
    with pytest.raises(KeyError):
        command(name="x", dtype=None)


def test_the_arguments_of_a_search():
    assert SearchOptions().arguments() == {
        "mode": "dense",
        "dense_weight": None,
        "where": None,
        "exact": False,
        "candidates": 100,
        "context": 0,
        "explain": False,
        "group_by": "document",
        "rerank": None,
        "rerank_weight": None,
        "mmr_lambda": None,
        "min_score": None,
        "min_percentile": None,
        "min_probability": None,
    }
    asked = SearchOptions(
        mode="hybrid", where={"a": 1}, rerank="", by_passage=True, min_score=Minimum("percentile", 0.9), mmr_lambda=0.5
    ).arguments()
    assert (asked["rerank"], asked["group_by"], asked["min_percentile"]) == (True, None, 0.9)
    assert (asked["min_score"], asked["mode"], asked["where"], asked["mmr_lambda"]) == (None, "hybrid", {"a": 1}, 0.5)
    assert SearchOptions(rerank="my/model").arguments()["rerank"] == "my/model"


@pytest.mark.parametrize("encoder", ["model", NONE])
def test_a_collection_is_made_with_all_that_was_said(tmp_path, monkeypatch, encoder):
    asked = {}
    monkeypatch.setattr("semsearch.cli.target.semsearch.create", lambda name, **given: asked.update(given, name=name))
    options = CreateOptions(
        encoder=encoder,
        revision="r",
        passages="off",
        language="de,fr",
        language_field="lang",
        sparse="words",
        backend="hnsw",
        index_options=(("M", 8),),
        recall=0.9,
        k=5,
        batch_tokens=64,
        compute=ComputeOptions("cpu", "float32"),
    )
    options.create("x", tmp_path, 7)
    assert asked == {
        "name": "x",
        "home": tmp_path,
        "encoder": None if encoder == NONE else "model",
        "dim": 7 if encoder == NONE else None,
        "revision": "r",
        "passages": False,
        "language": "de,fr",
        "language_field": "lang",
        "sparse": "words",
        "index": "hnsw",
        "options": {"M": 8},
        "recall": 0.9,
        "k": 5,
        "device": "cpu",
        "dtype": "float32",
        "batch_tokens": 64,
    }


def test_there_is_one_translation_into_the_arguments_of_create():
    folder = Path(target.__file__).parent
    assert [path.name for path in folder.glob("*.py") if "semsearch.create(" in path.read_text("utf-8")] == [
        "target.py"
    ]


def test_the_store_is_reached_into_in_one_place():
    folder = Path(target.__file__).parent
    reaching = [path.name for path in folder.glob("*.py") if "collection.store" in path.read_text("utf-8")]
    assert reaching == []


def test_what_was_split_off_is_asked_for_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "home"))
    model = tiny_model(tmp_path / "tiny")
    vectors = tmp_path / "v.npy"
    import numpy as np

    np.save(vectors, np.eye(40, dtype=np.float32))
    given = ("index", corpus(tmp_path), "--name", "own", "--vectors", vectors, "-m", "none", "--passages", "off")
    assert run(*given).code == 0
    assert run(*given).code == 0  # it was "made with passages on" before, whatever had been said
    assert run(*given[:-1], "on").code == 2
    assert run("index", tmp_path / "notes.jsonl", "--name", "own", "-m", model).code == 4
    with semsearch.open("own") as collection:
        assert len(collection) == 40


@pytest.mark.parametrize(
    "words",
    [
        ("index", "docs", "--recall", "nan"),
        ("reindex", "notes", "--recall", "nan"),
        ("tune", "notes", "--recall", "nan"),
        ("query", "notes", "whale", "--min-score", "nan"),
        ("query", "notes", "whale", "--min-score", "nan%"),
        ("query", "notes", "whale", "--mmr-lambda", "nan"),
        ("grep", "whale", "docs", "--min-score", "nan"),
    ],
)
def test_nan_is_no_number(words):
    ended = run(*words)
    assert ended.code == 2
    assert "'nan" in ended.err
    assert "is no number" in ended.err or "is neither a score" in ended.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("query", "notes", "whale", "--min-score", "150%"),
            "'--min-score': '150%' is no percentile: one lies between",
        ),
        (("query", "notes", "whale", "--min-score", "-1%"), "'--min-score': '-1%' is no percentile"),
        (("query", "notes", "whale", "--min-score", "p2"), "'--min-score': 'p2' is no probability: one lies between"),
        (("query", "notes", "whale", "--min-score", "p5%"), "'--min-score': 'p5%' is neither a score"),
        (("query", "notes", "whale", "-k", "ten"), "'-k': 'ten' is no whole number."),
        (("query", "notes", "whale", "--dense-weight", "much"), "'--dense-weight': 'much' is no number."),
        (("index", "a.csv", "--read", "quotes=maybe"), "semsearch: --read quotes must be true or false, not 'maybe'."),
        (("index", "a.csv", "--read=quotes=maybe"), "semsearch: --read quotes must be true or false, not 'maybe'."),
        (
            ("index", "a.md", "--format", "documents", "--read", "seconds=abc"),
            "semsearch: --read seconds must be a number, not 'abc'.",
        ),
        (
            ("index", "a.md", "--format", "documents", "--read", "megabytes=1"),
            "semsearch: --read megabytes must be at least 256, not 1.",
        ),
        (("query", "nowhere", "whale"), "or look in another home (--home)."),
    ],
)
def test_what_is_wrong_is_named_as_it_was_typed(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("text\nwhale\n")
    (tmp_path / "a.md").write_text("whale\n")
    ended = run(*words)
    assert ended.code in (2, 4)
    assert told in ended.err


def test_errors_of_python_speak_of_no_option(tmp_path):
    with pytest.raises(CollectionError) as caught:
        semsearch.open("nowhere", home=tmp_path)
    assert "--" not in str(caught.value)
    assert "look in another home" in str(caught.value)


PATHS = [
    pytest.param(command, parameter, id=f"{name} {parameter.opts[0]}")
    for name, command in cli.commands.items()
    for parameter in command.params
    if isinstance(parameter.type, click.Path)
    or (parameter.metavar or "").strip("[].") in ("FILE", "FOLDER", "PATH", "PLACE", "LOG", "PREFIX")
    if parameter.name != "home"  # of which an empty one is none, as in the environment
]


@pytest.mark.parametrize(("command", "parameter"), PATHS)
def test_an_empty_path_is_not_the_folder_one_is_in(command, parameter):
    with pytest.raises(click.BadParameter, match="it is empty; give the path of a file or folder"):
        parameter.type.convert("", parameter, click.Context(command))


@pytest.mark.parametrize(
    "asked",
    [
        ("index", ""),
        ("encode", "", "--out", "parts"),
        ("classify", "notes", "", "--field", "year"),
        ("bitext", "", ""),
        ("bitext", "notes", "notes", "--moses", ""),
        ("sts", ""),
        ("similarity", "--lines", "", ""),
        ("duplicates", "notes", "--out", ""),
        ("map", "notes", "--out", ""),
        ("export", "notes", ""),
        ("eval", "notes", ""),
        ("grep", "wave", ""),
        ("tune", "notes", "--recall", "0.9", "--queries", ""),
        ("trust", ""),
    ],
)
def test_a_command_with_an_empty_path_reads_nothing(asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path)
    ended = run(*asked)
    assert (ended.code, ended.out) == (2, "")
    assert "it is empty; give the path of a file or folder." in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]


def test_a_folder_of_the_server_without_a_path_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run("serve", "--folder", "papers=", "--home", tmp_path / "home")
    assert ended.code == 2
    assert "there is no folder ''" in ended.err


def test_an_empty_path_is_none_in_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    corpus(tmp_path)
    with semsearch.create("notes", home=tmp_path / "home", encoder=None, dim=2) as made:
        for asked in (
            lambda: semsearch.Source.of(""),
            lambda: semsearch.encode("", out="parts", encoder="none"),
            lambda: semsearch.encode("notes.jsonl", out="", encoder="none"),
            lambda: semsearch.pairs([[1.0, 0.0], [0.0, 1.0]], folder=""),
            lambda: made.export(""),
            lambda: made.backup(""),
            lambda: made.add_from(""),
            lambda: semsearch.restore(""),
        ):
            with pytest.raises(UsageError, match="empty"):
                asked()


def test_an_empty_name_is_not_one_that_was_left_out(tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"text": "a note"}')
    np.savez(tmp_path / "notes.npz", texts=np.array(["a note"]), vectors=np.eye(1, 4, dtype=np.float32))
    with semsearch.create("notes", home=tmp_path / "home", encoder=None, dim=4):
        pass
    for command in (
        ("index", tmp_path / "notes.jsonl", "--name", ""),
        ("import", tmp_path / "notes.npz", "--encoder", "none", "--name", ""),
        ("copy", "notes", "--to", tmp_path / "other", "--as", ""),
    ):
        ended = run(*command, "--home", tmp_path / "home")
        assert (ended.code, "''" in ended.err) == (2, True), ended.err
    assert semsearch.list_collections(home=tmp_path / "home") == ["notes"]


def test_a_copy_goes_somewhere(tmp_path):
    ended = run("copy", "notes", "--to", "", "--home", tmp_path)
    assert (ended.code, "--to needs the home that the copy goes to" in ended.err) == (2, True)
