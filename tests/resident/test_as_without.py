"""Commands run by a resident process, beside the same run by processes of their own: output, errors and exit codes."""

import json
import re
import subprocess
import sys

import pytest
from support.command_line import Ended, corpus, run, tiny_model
from support.residents import place

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident processes are there on Linux only")

# Runs each row in a fork of one process that imported the command line and has run nothing.
ALONE = """
import json, os, sys
from semsearch import process
from support.command_line import run
for words, said, variables, folder in json.load(sys.stdin):
    if not os.fork():
        process.begin()
        os.environ.update(variables)
        os.chdir(folder or ".")
        ended = run(*words, stdin=said.encode("latin-1"))
        print(json.dumps([ended.code, ended.out, ended.err]), flush=True)
        os._exit(0)
    os.wait()
"""
QUESTION = "oven and flour"
HOSTILE = "\x1b[2J\x07 =cmd|' /C calc'!A0 \u202egnp.exe 日本語"
ROWS = {  # words, standard input, variables, the folder of another home
    "plain": (["query", "notes", QUESTION, "-k", "3"],),
    "search": (["search", "notes", QUESTION, "-k", "3"],),
    "only one collection is named": (["query", QUESTION],),
    "json": (["query", "notes", QUESTION, "--json"],),
    "csv": (["query", "notes", QUESTION, "-o", "csv", "--show", "year"],),
    "tsv": (["query", "odd", QUESTION, "-o", "tsv"],),
    "ids": (["query", "notes", QUESTION, "-o", "ids"],),
    "jsonl of a list": (["query", "notes", "-", "--json"], f"{QUESTION}\n\nwheel chain\nsoil seed\n"),
    "a list": (["query", "notes", "-", "-k", "2"], f"{QUESTION}\nnothing known here\n"),
    "a list that is no UTF-8": (["query", "notes", "-"], "oven\n\xff\xfe\n"),
    "a filter": (["query", "notes", QUESTION, "--where", "year >= 2010 and year < 2020"],),
    "a filter that matches nothing": (["query", "notes", QUESTION, "--where", "year > 4000"],),
    "a filter that is none": (["query", "notes", QUESTION, "--where", "year >="],),
    "words": (["query", "notes", '"flour yeast" -crust', "--mode", "lexical"],),
    "diverse, by passage": (["query", "notes", QUESTION, "--mmr-lambda", "0.3", "--by-passage", "--context", "1"],),
    "both": (["query", "notes", QUESTION, "--mode", "hybrid"],),
    "no match": (["query", "notes", QUESTION, "--min-score", "99"],),
    "a hostile question": (["query", "odd", HOSTILE, "--mode", "hybrid"],),
    "hostile documents": (["query", "odd", "oven", "-k", "5"],),
    "several collections": (["query", "notes,odd", QUESTION, "--json"],),
    "no such collection": (["query", "nowhere", QUESTION],),
    "no such option": (["query", "notes", QUESTION, "--top-k", "3"],),
    "an option that can't be": (["query", "notes", QUESTION, "-k", "0"],),
    "an empty question": (["query", "notes", " "],),
    "help": (["query", "--help"],),
    "similar": (["similar", "notes", "d3", "--unlike", "d4", "-k", "3"],),
    "similar to a text": (["similar", "notes", "--query", QUESTION, "--json"],),
    "similar to nothing": (["similar", "notes", "nobody"],),
    "get": (["get", "notes", "d1", "d2"],),
    "get what is not there": (["get", "odd", "d1", "nobody", "--json"],),
    "damaged": (["get", "damaged", "d1"],),
    "grep what is not there": (["grep", QUESTION, "nowhere.txt"],),
    "another home by option": (["query", "notes", "wheel", "--home", "other"],),
    "another home by variable": (["query", "notes", "wheel"], "", {"SEMSEARCH_HOME": "other"}),
    "defaults by variable": (["query", "notes", QUESTION], "", {"SEMSEARCH_QUERY_K": "1"}),
    "defaults of a stranger": (["query", "notes", QUESTION], "", {}, "strange"),
    "a narrow screen without colour": (["get", "notes", "d1"], "", {"COLUMNS": "40", "NO_COLOR": "1"}),
    "colour is forced": (["get", "notes", "d1"], "", {"FORCE_COLOR": "1"}),
}
SLOW_ROWS = {  # they need torch, or a process of their own
    **{name: ROWS[name] for name in ("plain", "json", "a list", "hostile documents", "no such option")},
    "explained": (["query", "notes", QUESTION, "--mode", "hybrid", "--explain"],),
    "grep": (["grep", QUESTION, "notes.txt", "-C", "1"],),
    "grep stdin for vim": (["grep", QUESTION, "--min-score", "-1", "-o", "vimgrep"], "flour yeast\nwheel chain\n"),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A place with collections, among them one with hostile texts and one that is damaged."""
    found = place(tmp_path_factory.mktemp("resident"))
    folder, home = found.folder, found.environment["SEMSEARCH_HOME"]
    model = tiny_model(folder / "model")
    odd = [{"_id": f"d{n}", "title": HOSTILE, "text": f"oven {HOSTILE} flour", "who": HOSTILE} for n in range(3)]
    (folder / "odd.jsonl").write_text("".join(json.dumps(record) + "\n" for record in odd))
    (folder / "notes.txt").write_text("flour yeast dough\nwheel chain pedal\noven crust loaf\nwave tide salt\n")
    for name, source, where in (
        ("notes", corpus(folder), home),
        ("odd", folder / "odd.jsonl", home),
        ("damaged", corpus(folder, "less.jsonl", 4), home),
        ("notes", corpus(folder, "other.jsonl", 8), folder / "other"),
    ):
        ended = run("index", source, "--name", name, "-m", model, "--home", where)
        assert ended.code == 0, ended.err
    (found.folder.parent / "home" / "damaged" / "collection.sqlite").write_bytes(b"no database at all" * 400)
    (folder / "strange").mkdir()
    (folder / "strange" / "semsearch.toml").write_text('[query]\nk = 2\nhome = "elsewhere"\n')
    found.environment["SEMSEARCH_GREP_ENCODER"] = str(model)
    return found


@pytest.fixture(scope="module")
def resident(here):
    with here.resident() as process:
        yield process


@pytest.fixture(scope="module")
def alone(here):
    """How each row ends in a process that knows nothing of residents."""
    rows = [[*row, *[[], "", {}, None][len(row) :]] for row in ROWS.values()]
    rows = [[words, said, variables, folder and str(here.folder / folder)] for words, said, variables, folder in rows]
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        input=json.dumps(rows).encode(),
        env=here.environment,
        cwd=here.folder,
        capture_output=True,
        check=True,
    )
    return dict(zip(ROWS, (Ended(*json.loads(line)) for line in done.stdout.splitlines()), strict=True))


def without_times(ended: Ended) -> Ended:
    return Ended(ended.code, re.sub(r'"timings_ms": {[^}]*}', "", ended.out), ended.err)


@pytest.mark.parametrize("name", ROWS)
def test_a_command_ends_as_it_does_by_itself(name, here, resident, alone):
    words, said, variables, folder = [*ROWS[name], *[[], "", {}, None][len(ROWS[name]) :]]
    before = re.findall(r"took (\w+)", here.log())
    ended = here.run(
        *words, stdin=said.encode("latin-1"), environment=variables, folder=here.folder / folder if folder else None
    )
    assert without_times(ended) == without_times(alone[name])
    assert re.findall(r"took (\w+)", here.log()) == [*before, words[0]], "it went another way"


def test_the_table_has_every_exit_code(alone):
    assert {ended.code for ended in alone.values()} >= {0, 1, 2, 3, 4}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_ROWS)
def test_so_does_a_process_of_its_own(name, here, resident):
    words, said = [*SLOW_ROWS[name], ""][:2]
    cold = here.run(words[0], "--no-resident", *words[1:], stdin=said.encode("latin-1"))
    assert without_times(here.run(*words, stdin=said.encode("latin-1"))) == without_times(cold)


def test_it_says_which_way_it_went(here, resident):
    told = here.run("get", "notes", "d1", "-v").last
    assert re.fullmatch(rf"answered by the resident process {resident.pid}, which has run for [\d,]+ s", told)
    told = here.run("get", "notes", "d1", "-v", "--no-resident").last
    assert told == "answered without a resident process: --no-resident"
    told = here.run("get", "notes", "d1", "-v", environment={"LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"}).last
    assert told == "answered without a resident process: none runs for this environment"


def test_what_is_a_persons_at_a_terminal_is_left_to_the_caller(here, resident):
    ended = here.run("query", "notes", "-v", stdin=b"oven\n:quit\n")
    assert ended.last == "answered without a resident process: an interactive query needs the terminal itself"
    assert ended.code == 0
    assert "\td" in ended.out
    assert ended.out == here.run("query", "notes", "--no-resident", stdin=b"oven\n:quit\n").out


def test_the_callers_umask_and_folder_hold(here, resident, tmp_path):
    code = (
        "import os, sys; os.umask(0o027); os.chdir(sys.argv.pop(1)); "
        "from semsearch.__main__ import main; sys.argv[1:] = ['get', 'notes', 'd1', '--home', 'gone']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=here.environment, capture_output=True, text=True
    )
    assert done.returncode == 4
    assert str(tmp_path / "gone") in done.stderr
