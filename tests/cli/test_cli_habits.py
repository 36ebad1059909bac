"""Defaults and where they come from, formats for other programs, completion, and the doctor."""

import csv
import importlib.metadata
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import click.shell_completion
import pytest
from support.command_line import corpus, run, tiny_model

import semsearch
from semsearch import trusted
from semsearch.cli.main import cli


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def notes(tmp_path, monkeypatch, model):
    """A collection, and a folder to be in."""
    run("index", corpus(tmp_path), "-m", model)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def own_defaults(text):
    """Write a file of defaults here, and say that it is one's own."""
    Path("semsearch.toml").write_text(text)
    trusted.trust_defaults(Path("semsearch.toml"))


def found(*options):
    return len(run("query", "notes", "oven", *options).lines)


def test_a_flag_goes_over_the_environment_over_the_file_here_over_the_home(notes, monkeypatch):
    assert found() == 10
    (notes / "home" / "semsearch.toml").write_text("[query]\nk = 7\n")
    assert found() == 7
    Path("semsearch.toml").write_text("[query]\nk = 6\n")
    assert found() == 6
    assert len(run("search", "notes", "oven").lines) == 6
    monkeypatch.setenv("SEMSEARCH_QUERY_K", "5")
    assert found() == 5
    assert found("-k", 4) == 4
    monkeypatch.setenv("SEMSEARCH_VERSION", "of something else")
    shown = {line.split("\t")[0]: line.split("\t")[1:] for line in run("info", "--config").lines}
    assert shown["query --k"] == ["5", "environment (SEMSEARCH_QUERY_K)"]
    assert shown["search --k"] == ["5", "environment (SEMSEARCH_QUERY_K)"]
    monkeypatch.delenv("SEMSEARCH_QUERY_K")
    lines = run("info", "--config").lines
    assert f"search --k\t6\t{Path('semsearch.toml').absolute()}" in lines
    monkeypatch.setenv("SEMSEARCH_DROP_YES", "1")  # what deletes must be said
    assert run("drop", "notes").code == 2
    assert shown["reindex --at"] == ["10", "built-in"]
    assert shown["query --home"] == [str(notes / "home"), "environment (SEMSEARCH_HOME)"]


def test_what_stands_at_the_top_is_for_all_commands(notes, model):
    own_defaults(f'encoder = "{model}"\ndevice = "cpu"\n')
    assert run("index", corpus(notes, "more.jsonl")).code == 0
    assert json.loads(run("info", "more", "--json").out)["encoder"]["name"] == str(model)
    lines = [json.loads(line) for line in run("info", "--config", "--json").lines]
    assert {line["option"] for line in lines if line["value"] == "cpu"} >= {"index --device", "query --device"}


def test_a_variable_is_named_after_what_is_typed():
    names = {option.envvar[0] for option in cli.commands["index"].params if getattr(option, "envvar", None)}
    typed = {"NAME", "ADD", "ENCODER", "FORMAT", "TEXT", "ID", "TYPE", "READ", "OPTION", "INDEX", "RECALL", "HOME"}
    assert {f"SEMSEARCH_INDEX_{one}" for one in typed} <= names
    assert {option.name: option.envvar for option in cli.commands["query"].params}["k"] == ["SEMSEARCH_QUERY_K"]
    assert not [name for name in names if name.endswith("_")]


def test_the_environments_home_goes_over_that_of_the_file(homes, monkeypatch):
    (homes / "here").mkdir()
    monkeypatch.chdir(homes / "here")
    own_defaults(f'home = "{homes / "two"}"\n')
    assert "films" in run("list").out
    assert f"list --home\t{homes / 'one'}\tenvironment (SEMSEARCH_HOME)" in run("info", "--config").lines
    monkeypatch.delenv("SEMSEARCH_HOME")
    assert "other" in run("list").out
    assert f"list --home\t{homes / 'two'}\t{homes / 'here' / 'semsearch.toml'}" in run("info", "--config").lines


@pytest.mark.parametrize(
    "where",
    [
        "'year < 2004'",
        """'{"year": {"$lt": 2004}}'""",
        '{year = {"$lt" = 2004}}',
        '{"$not" = {year = {"$gte" = 2004}}}',
    ],
)
def test_a_filter_in_the_file_is_a_text_or_a_table(notes, where):
    own_defaults(f"[query]\nwhere = {where}\n")
    assert found() == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[query]\nwhere = 'year <'", "can't be read at character 7, at the end"),
        ('[query]\nwhere = {year = {"$about" = 1}}', "where.year.$about is no operator"),
        ("[query]\nwhere = 5", "must be a mapping"),
        ("k = 'x", "can't be read"),
        ("colour = 1", "there is no option 'colour'"),
        ("[qurey]\nk = 1", "there is no command 'qurey'; did you mean 'query'?"),
        ("[query]\ndevise = 1", "'query' has no option 'devise' to be set here; did you mean 'device'?"),
        ("[drop]\nyes = true", "'drop' has no option 'yes' to be set here"),
        ("yes = true", "there is no option 'yes'"),
        ("[query]\nk = 'many'", "'many' is no whole number"),
    ],
)
def test_a_slip_in_the_file_is_said(notes, text, said):
    own_defaults(text)
    ended = run("query", "notes", "oven")
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_results_in_the_formats_of_other_programs(notes):
    hits = json.loads(run("query", "notes", "oven", "-k", 3, "--json").out)["hits"]
    assert json.loads(run("query", "notes", "oven", "-k", 3, "-o", "json").out)["hits"] == hits
    lines = [json.loads(line) for line in run("query", "notes", "oven", "-k", 3, "-o", "jsonl").lines]
    assert lines == [{"query": "oven", **hit} for hit in hits]
    assert run("query", "notes", "oven", "-k", 3, "-o", "ids").lines == [hit["id"] for hit in hits]
    assert run("query", "notes", "oven", "-k", 3, "-o", "trec").lines == [
        f"1 Q0 {hit['id']} {hit['rank']} {hit['score']:.6f} semsearch" for hit in hits
    ]
    for kind, delimiter in (("csv", ","), ("tsv", "\t")):
        rows = list(
            csv.DictReader(io.StringIO(run("query", "notes", "oven", "-k", 3, "-o", kind).out), delimiter=delimiter)
        )
        assert [(row["query"], row["id"], row["text"], json.loads(row["metadata"])) for row in rows] == [
            ("oven", hit["id"], hit["text"], hit["metadata"]) for hit in hits
        ]
    many = run("query", "notes", "-", "-k", 1, "-o", "trec", stdin=b"oven\n\nwhale\n").lines
    assert [line.split()[0] for line in many] == ["1", "3"]
    assert run("query", "notes", "-", "-k", 1, "-o", "csv", stdin=b"oven\n\nwhale\n").out.count("query,rank") == 1
    assert run("query", "notes", "-o", "ids").code == 2
    assert run("query", "notes", "oven", "-o", "ids", "--json").code == 2


@pytest.mark.parametrize("text", ["oven\nwith crust", "oven\rwith crust", "oven\r\nwith crust", 'the "oven", hot'])
def test_a_csv_reader_gets_texts_back_to_the_letter(tmp_path, model, text):
    (tmp_path / "lines.jsonl").write_text(json.dumps({"_id": "a", "text": text}) + "\n")
    assert run("index", tmp_path / "lines.jsonl", "-m", model).code == 0
    rows = list(csv.DictReader(io.StringIO(run("query", "lines", "oven", "-o", "csv").out, newline="")))
    assert [(row["id"], row["text"], row["metadata"]) for row in rows] == [("a", text, "{}")]


def test_no_colour_where_none_is_wanted(monkeypatch):
    from semsearch.cli.render import screen

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    for variable, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", variable)
        console = screen()
        with console.capture() as captured:
            console.print("red", style="red")
        assert ("31m" in captured.get()) is coloured


@pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")
@pytest.mark.parametrize(
    ("shell", "place"), [("zsh", ".zfunc/_semsearch"), ("fish", ".config/fish/completions/semsearch.fish")]
)
def test_completion_is_installed_by_one_command(tmp_path, monkeypatch, shell, place):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    for _ in range(2):
        assert run("completion").code == 0
    assert "_SEMSEARCH_COMPLETE" in (tmp_path / place).read_text()
    if shell == "zsh":
        assert (tmp_path / ".zshrc").read_text().count("compinit  # semsearch") == 1
    assert run("completion", shell, "--print").out.strip() == (tmp_path / place).read_text().strip()
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run("completion").code == 2


@pytest.mark.slow
def test_the_completion_script_is_answered():
    answer = subprocess.run(
        [sys.executable, "-c", "from semsearch.cli.main import main; main()"],
        env={**os.environ, "_SEMSEARCH_COMPLETE": "zsh_complete", "COMP_WORDS": "semsearch rein", "COMP_CWORD": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "reindex" in answer.stdout.split()


NAMED = [
    name
    for name, command in cli.commands.items()
    if any(isinstance(param, click.Argument) and param.name == "name" for param in command.params)
]


def completed(*words, shell="zsh", cwd=None, **environment):
    """What the shell would offer for the last word, and the answer's own words."""
    place = {"COMP_WORDS": " ".join(["semsearch", *map(str, words)]), "COMP_CWORD": str(len(words))}
    if shell == "fish":
        place["COMP_CWORD"] = str(words[-1])
    answer = subprocess.run(
        [sys.executable, "-c", "from semsearch.cli.main import main; main()"],
        env={**os.environ, **place, **environment, "_SEMSEARCH_COMPLETE": f"{shell}_complete"},
        capture_output=True, text=True, check=False, cwd=cwd,
    )  # fmt: skip
    lines = answer.stdout.splitlines()
    found = lines[1::3] if shell == "zsh" else [line.partition(",")[2].split("\t")[0] for line in lines if line]
    return found, answer.stderr


def offered(*words):
    """As `completed`, in this process and without a shell's ways."""
    completer = click.shell_completion.get_completion_class("zsh")(cli, {}, "semsearch", "_SEMSEARCH_COMPLETE")
    *before, begun = map(str, words)
    return [item.value for item in completer.get_completions(before, begun)]


@pytest.fixture
def homes(tmp_path, monkeypatch):
    """Two homes with collections, the first chosen by the environment."""
    for home, names in (("one", ("films", "notes", "notes-old")), ("two", ("other",))):
        for name in names:
            semsearch.create(name, home=tmp_path / home, encoder=None, dim=2).close()
        (tmp_path / home / "no-collection").mkdir()
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "one"))
    return tmp_path


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use can't be deleted there")
def test_a_folder_that_is_gone_is_said(homes, monkeypatch):
    (homes / "gone").mkdir()
    monkeypatch.chdir(homes / "gone")
    (homes / "gone").rmdir()
    for command in (("list",), ("query", "notes", "x"), ("index", "a.txt")):
        ended = run(*command)
        assert (ended.code, ended.out) == (2, "")
        assert "the folder you are in is gone" in ended.err
    assert offered("drop", "f") == ["films"]
    monkeypatch.chdir(homes)
    monkeypatch.setenv("_SEMSEARCH_COMPLETE", "")  # nobody asks
    assert "films" in run("list").out


def test_every_command_completes_the_names_of_collections(homes):
    assert len(NAMED) > 15
    for command in [*NAMED, "query", "search"]:
        assert offered(command, "") == ["films", "notes", "notes-old"], command
        assert offered(command, "no") == ["notes", "notes-old"], command
        assert offered(command, "--home", homes / "two", "") == ["other"], command
        assert offered(command, "--home", homes / "nowhere", "") == [], command
    assert offered("index", "--name", "f") == ["films"]
    assert offered("query", "notes", "fi") == []  # those are words to look for
    assert "films" not in offered("get", "notes", "fi")
    assert offered("index", "--dev") == ["--device"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_is_offered_collections_and_never_shown_a_traceback(homes, shell):
    assert completed("drop", "not", shell=shell) == (["notes", "notes-old"], "")
    assert completed("drop", "--home", homes / "two", "o", shell=shell) == (["other"], "")
    (homes / "file").write_text("no folder")
    assert completed("drop", "x", shell=shell, SEMSEARCH_HOME=str(homes / "file")) == ([], "")
    (homes / "one" / "semsearch.toml").write_text("[nonsense")
    assert completed("drop", "f", shell=shell) == (["films"], "")
    (homes / "three").mkdir()
    (homes / "three" / "semsearch.toml").write_text(f'home = "{homes / "two"}"\n')
    assert completed("drop", "o", shell=shell, cwd=homes / "three", SEMSEARCH_HOME="") == ([], "")  # a stranger's
    trusted.trust_defaults(homes / "three" / "semsearch.toml")
    (homes / "one" / "semsearch.toml").unlink()
    assert completed("drop", "o", shell=shell, cwd=homes / "three", SEMSEARCH_HOME="") == (["other"], "")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None or sys.platform == "win32", reason="asks bash itself")
def test_bash_completes_by_the_installed_script(homes, monkeypatch):
    monkeypatch.setenv("HOME", str(homes))
    assert run("completion", "bash").code == 0
    program = homes / "bin" / "semsearch"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "from semsearch.cli.main import main; main()" "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    def asked(*words):
        script = (
            f'source "{homes}/.local/share/bash-completion/completions/semsearch"; '
            f"COMP_WORDS=({' '.join(map(str, words))}); COMP_CWORD={len(words) - 1}; "
            "_semsearch_completion semsearch; echo ${COMPREPLY[@]}"
        )
        answer = subprocess.run(
            ["bash", "--norc", "-c", script],
            env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return answer.stdout.split()

    assert asked("semsearch", "info", "no") == ["notes", "notes-old"]
    assert asked("semsearch", "info", "--home", "=", homes / "two", "o") == ["other"]  # as bash splits --home=FOLDER
    assert asked("semsearch", "index", "a.txt", "--name", "=", "fi") == ["films"]


@pytest.mark.slow
def test_the_doctor_looks_at_everything(monkeypatch):
    ended = run("doctor", "--json")
    findings = {finding["what"]: finding for finding in map(json.loads, ended.lines)}
    assert findings["torch"]["state"] == findings["cpu"]["state"] == findings["home"]["state"] == "ok"
    import torch

    assert findings["torch"]["found"] == torch.__version__
    assert all(finding["advice"] for finding in findings.values() if finding["state"] != "ok")
    assert {finding["state"] for finding in findings.values()} <= {"ok", "missing"}
    assert ended.code == 0
    for hidden in ("pyarrow", "nltk"):
        monkeypatch.setitem(sys.modules, hidden, None)
    ended = run("doctor")
    lines = ended.lines
    assert ended.code == 0  # what is merely not installed is fine
    assert "extra documents\tmissing\tno module pyarrow\tpip install 'semsearch[documents]'" in lines
    assert any(line.startswith("extra words\tmissing") for line in lines)


@pytest.mark.slow
def test_the_doctor_knows_every_requirement_and_extra_of_the_package():
    project = tomllib.loads((Path(semsearch.__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    findings = {finding["what"]: finding for finding in map(json.loads, run("doctor", "--json").lines)}
    extras = {what.removeprefix("extra ") for what in findings if what.startswith("extra ")}
    assert extras == {*project["optional-dependencies"]} - {"all", "gpu"}  # of two builds of faiss one
    for name in ("click", "lark", "numpy", "platformdirs", "rich", "sqlalchemy", "torch"):
        assert findings[name]["state"] == "ok"


@pytest.mark.slow
def test_the_doctor_names_a_package_that_is_absent_or_too_old(monkeypatch):
    real = importlib.metadata.distribution
    versions = {"click": "1.0", "pypdf": "0.1"}

    def distribution(name):
        if name in ("lark", "nltk"):
            raise importlib.metadata.PackageNotFoundError(name)
        found = real(name)
        return types.SimpleNamespace(
            version=versions.get(name, found.version), files=found.files, metadata=found.metadata
        )

    monkeypatch.setattr("importlib.metadata.distribution", distribution)
    ended = run("doctor", "--json")
    findings = {finding["what"]: finding for finding in map(json.loads, ended.lines)}
    assert ended.code == 4
    assert findings["lark"]["found"] == "not installed"
    assert findings["extra words"]["state"] == "missing"
    assert findings["extra words"]["found"] == "no package nltk"
    assert findings["click"]["state"] == findings["extra documents"]["state"] == "broken"
    assert findings["click"]["found"] == "1.0, which semsearch can't use"
    assert findings["click"]["advice"].startswith("pip install 'click>=8")
    assert findings["extra documents"]["found"].startswith("pypdf 0.1, which")


def test_the_version_stands_in_one_place():
    project = tomllib.loads((Path(semsearch.__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "semsearch/__init__.py"


@pytest.mark.slow
def test_the_doctor_finds_what_is_broken(tmp_path, monkeypatch):
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path and real(path, mode))
    ended = run("doctor", "--home", tmp_path)
    assert f"home\tbroken\t{tmp_path} can't be written\tchoose another with --home or SEMSEARCH_HOME" in ended.lines
    assert ended.code == 4


@pytest.mark.parametrize("name", sorted({*cli.commands} - {"search"}))
def test_every_help_has_an_example(name):
    assert re.search(rf"^ +(.* \| )?semsearch {name}\b", run(name, "--help").out, re.MULTILINE)
