"""Nothing a stranger wrote drives the terminal: not in a document, an id, a file's name, a log message or an error."""

import ast
import csv
import io
import json
import logging
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from support.command_line import SUBJECTS, run, tiny_model

import semsearch
from semsearch import wire
from semsearch.cli import formats, messages, render
from semsearch.cli.render import Answer
from semsearch.controls import CONTROLS, one_line, printable, printable_cells, printable_same_length
from semsearch.types import Document, Hit, Passage

# What may not reach a screen, as Unicode and ECMA-48 have it: written out, so that the test is no copy of the code.
DRIVING = [
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"),
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f",
    *"\u2028\u2029\ufeff\ufff9\ufffa\ufffb",
]
NASTY = "\x1b[2J\x1b]0;owned\x07\x9b31m\x9d0;x\x9c\u202egnp\u061c\u200f\u2067\x7f\x08\x85\r"
CLI = Path(render.__file__).parent


def driving(text):
    return sorted({f"U+{ord(character):04X}" for character in text if character in set(DRIVING)})


@pytest.mark.parametrize("character", DRIVING, ids=lambda character: f"U+{ord(character):04X}")
def test_each_of_them_is_replaced_and_in_json_escaped(character):
    text = f"a{character}b"
    assert CONTROLS.fullmatch(character)
    assert printable(text) == printable_same_length(text) == one_line(text) == "a\ufffdb"
    assert printable_cells(text) == (text if character == "\r" else "a\ufffdb")
    told = wire.dumps({text: [text]})
    assert driving(told) == []
    assert json.loads(told) == {text: [text]}


def test_letters_of_every_script_stay():
    text = "Übung שלום سلام\u200cها 水 🏴\U000e0067\U000e0062\U000e007f 👩\u200d👩\u200d👧 e\u0301\t\n"
    assert printable(text) == printable_cells(text) == text
    assert json.loads(wire.dumps(text)) == text
    assert "水" in wire.dumps(text)
    assert printable_cells("a\r\nb") == "a\r\nb"
    assert printable("a\r\nb") == "a\nb"


def test_a_line_of_json_is_one_line_to_every_program():
    text = "a\u2028b\u2029c\x85d\x0be"
    assert len(wire.dumps(text).splitlines()) == 1
    assert json.loads(wire.dumps(text)) == text


@pytest.fixture
def nasty(tmp_path, monkeypatch):
    """A collection of which everything that a stranger can write is hostile, and the folder it was read from."""
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tmp_path / "model")
    source = tmp_path / "corpus"
    source.mkdir()
    bad = "bad\n"
    try:
        for number, (subject, words) in enumerate(SUBJECTS.items()):
            record = {
                "_id": f"{number}{NASTY}\nforged line",
                "title": f"{subject} {NASTY}",
                "text": f"{words} {NASTY}\n{words}",
                f"field{NASTY}": f"value {NASTY}",
            }
            (source / f"{subject}\x1b[31m\u202e\n.jsonl").write_text(f"{json.dumps(record)}\n{bad}")
    except OSError:  # a system that has no such names
        pytest.skip("no file can be called so here")
    ended = run("index", source, "--format", "jsonl", "--name", "nasty", "-m", model, "--on-error", "skip")
    assert ended.code == 0, ended.err
    assert driving(ended.out + ended.err) == []
    return source


COMMANDS = [
    ("query", "nasty", f"oven {NASTY}".replace("\0", "")),
    ("query", "nasty", "oven", "--explain", "--context", 1),
    ("query", "nasty", "oven", "--compare-exact"),
    ("query", "nasty", "oven", "--json"),
    *(("query", "nasty", "oven", "-o", form) for form in formats.FORMATS),
    ("query", "nasty", "oven", "--where", f"'field{NASTY}' = 1"),
    ("query", "nasty", "oven", "--where", '{"nothing\\u001b[2J\\u202e": 1}'),
    ("query", f"{NASTY}", "oven"),
    ("get", "nasty", f"0{NASTY}\nforged line", f"9{NASTY}\nforged"),
    ("get", "nasty", f"0{NASTY}\nforged line", "--json"),
    ("similar", "nasty", f"0{NASTY}\nforged line"),
    ("similar", "nasty", f"9{NASTY}"),
    ("list",),
    ("info", "nasty"),
    ("info", "nasty", "--json"),
    ("check", "nasty", "--deep"),
    ("sync", "nasty", "--dry-run"),
    ("sync", "nasty"),
    ("index", "corpus", "--format", "jsonl", "--name", "other", "-m", "model"),
    ("index", "corpus", "--format", "jsonl", "--name", "other", "-m", "model", "--dry-run", "--on-error", "skip"),
    ("index", f"nowhere{NASTY}", "--name", "other"),
    ("import", f"nowhere{NASTY}", "-m", "model"),
    ("export", "nasty", f"out{NASTY}"),
    ("restore", f"nowhere{NASTY}"),
    ("eval", "nasty", f"nowhere{NASTY}"),
    ("models", f"task{NASTY}"),
    ("grep", "oven", "corpus", "-m", "model", "--no-cache", "-C", 1),
    ("grep", "oven", "corpus", "-m", "model", "--no-cache", "-l"),
    ("grep", "oven", f"nowhere{NASTY}", "-m", "model", "--no-cache"),
    (f"command{NASTY}",),
    ("query", f"--option{NASTY}"),
    ("remove", "nasty", f"9{NASTY}"),
]


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True])
def test_no_command_passes_them_on(nasty, monkeypatch, terminal):
    monkeypatch.setattr(render, "on_terminal", lambda: terminal)
    for command in COMMANDS:
        ended = run(*command)
        cells = command[-1] == "csv"  # which may hold ends of lines: a program that reads them gets them back
        assert driving(ended.out.replace("\r", "") if cells and not terminal else ended.out) == [], command
        assert driving(ended.err) == [], command
        told = ended.err.splitlines() if cells else ended.lines + ended.err.splitlines()
        assert not any(line.startswith("forged") for line in told), command


def test_what_is_changed_and_gone_is_told_without_them(nasty):
    for path in list(nasty.iterdir())[:2]:
        path.unlink()
    for path in nasty.iterdir():
        path.write_text(path.read_text().replace("value", "other"))
    ended = run("sync", "nasty", "--dry-run")
    assert {line.split("\t")[0] for line in ended.lines} == {"change", "remove"}
    assert driving(ended.out + ended.err) == []


def test_the_interactive_query_passes_none_on(nasty):
    lines = f"oven\n:open 1\n:info\n:explain\n:k {NASTY}\n:mode {NASTY}\n:where {NASTY} = 1\n:{NASTY}\n:min {NASTY}\n"
    ended = run("query", "nasty", stdin=lines.replace("\r\n", "\n").encode())
    assert ended.code == 0
    assert len(ended.err.splitlines()) == 6, "a sentence for each slip, and why the file is shown and not opened"
    assert driving(ended.out + ended.err) == []


def test_problems_found_and_mended_are_a_line_each(nasty, monkeypatch):
    from semsearch.engine import Problem

    problem = Problem(f"part{NASTY}", f"what{NASTY}\nforged", f"fix{NASTY}\nforged")
    monkeypatch.setattr(semsearch.collection.Collection, "check", lambda self, deep=False: [problem])
    monkeypatch.setattr(semsearch.collection.Collection, "repair", lambda self: [f"mended {NASTY}\nforged"])
    for command in ("check", "repair"):
        ended = run(command, "nasty")
        assert len(ended.lines) == 1
        assert driving(ended.out) == []


def test_a_question_to_the_person_holds_none(monkeypatch):
    asked = []
    monkeypatch.setattr("click.confirm", lambda question, err: asked.append(question))
    render.confirmed(f"remove {NASTY}\nforged?")
    assert driving(asked[0]) == []
    assert "\n" not in asked[0]


def test_log_messages_and_warnings_hold_none(monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with messages.said(), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.getLogger("semsearch").warning("the document '%s'", f"d{NASTY}\nforged")
        logging.getLogger("another").error(f"failed {NASTY}")
        warnings.warn(f"beware {NASTY}", UserWarning, stacklevel=1)
    assert logging.getLogger().handlers == []
    said = capsys.readouterr().err
    assert "the document" in said
    assert "failed" in said
    assert "UserWarning: beware" in said
    assert driving(said) == []


@pytest.mark.slow
def test_a_traceback_holds_none():
    code = (
        "from semsearch.cli import main\n"
        "main.execute = lambda: (_ for _ in ()).throw(RuntimeError('\\x1b[2J\\u202e broke'))\n"
        "main.main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    said = ended.stderr.decode()
    assert ended.returncode == 1
    assert "RuntimeError: \ufffd[2J\ufffd broke" in said
    assert driving(said) == []


def test_a_name_that_is_none_is_not_completed(monkeypatch):
    from semsearch.cli import parameters

    class Odd:
        @staticmethod
        def names():
            return ["notes", "no\x1b[2Jte", "no\u202ete"]

    monkeypatch.setattr("semsearch.cli.parameters.Home.of", lambda given: Odd)
    import click

    context = click.Context(click.Command("query"))
    assert parameters.collections(context, click.Option(["--name"]), "no") == ["notes"]


def test_only_one_module_prints():
    """So that nothing goes to a screen past its functions."""
    found = set()
    for path in CLI.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("print", "sys.stdout.write", "sys.stderr.write") or called.startswith(
                    ("click.echo", "click.secho", "click.confirm", "click.prompt")
                ):
                    found.add((path.name, called))
    assert found == {
        ("render.py", "print"),
        ("render.py", "sys.stdout.write"),  # a picture, as the terminal's own protocol draws it
        ("render.py", "click.confirm"),
        ("viewer.py", "click.echo"),  # the pages of a document that render drew
        ("viewer.py", "click.echo_via_pager"),
    }


# -------------------------------------------------------------------------------------------------------- spreadsheets

FORMULAS = ['=cmd|"/C calc"!A0', "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"]


def hits(text):
    document = Document(text, text, text, {"key": text})
    return [Hit(Passage.of(document, 0, len(text)), -0.5, {"dense": -0.5}, 1, 1)]


def row(text, kind, safe):
    lines = list(formats.lines(Answer(text, hits(text), {}), None, kind, spreadsheet_safe=safe))
    if kind == "tsv":
        return lines[0].split("\t")
    ((*cells,),) = csv.reader(io.StringIO(lines[0], newline=""))
    return cells


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_a_formula(text):
    for kind in ("csv", "tsv"):
        cells = row(text, kind, True)
        kept = one_line(f"'{text}") if kind == "tsv" else f"'{text}"
        assert [cells[at] for at in (0, 3, 4, 5)] == [kept] * 4
        assert cells[2] == "-0.500000", "a number is none"
        assert cells[8].startswith("{")
    assert row(text, "csv", False)[3] == text


def test_what_is_no_formula_is_left_alone():
    assert row("a=1, 'b'", "csv", True)[3] == "a=1, 'b'"


@pytest.mark.parametrize(
    ("terminal", "flag", "expected"),
    [
        (False, (), "=1 oven"),
        (True, (), "'=1 oven"),
        (False, ("--spreadsheet-safe",), "'=1 oven"),
        (True, ("--no-spreadsheet-safe",), "=1 oven"),
    ],
)
def test_formulas_are_met_where_a_person_looks_or_it_is_asked_for(tmp_path, monkeypatch, terminal, flag, expected):
    (tmp_path / "cells.jsonl").write_text(json.dumps({"_id": "a", "text": "=1 oven"}) + "\n")
    assert run("index", tmp_path / "cells.jsonl", "-m", tiny_model(tmp_path / "model")).code == 0
    for module in (render, sys.modules["semsearch.cli.query"]):
        monkeypatch.setattr(module, "on_terminal", lambda: terminal)
    rows = list(csv.DictReader(io.StringIO(run("query", "cells", "oven", "-o", "csv", *flag).out)))
    assert [row["text"] for row in rows] == [expected]
