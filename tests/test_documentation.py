"""What is written is true: commands and options that are typed are there, Python runs, links lead somewhere."""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

import semsearch
from semsearch.cli.main import cli

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WRITTEN = "\n".join(page.read_text("utf-8") for page in PAGES)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def console_lines(page: Path) -> list[str]:
    """The commands that a page types."""
    lines = [line for block in blocks(page, "console") for line in block.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@every_page
def test_commands_that_are_typed_exist(page):
    for line in (line for line in console_lines(page) if "semsearch " in line):
        typed = line.partition("semsearch ")[2].partition(" | ")[0]
        words = shlex.split(re.sub(r" < [\w.]+(?= |$)", "", typed), comments=True)
        command = cli.commands[words[0]]
        command.make_context(words[0], words[1:])  # raises on an option or argument that is not there


@every_page
def test_targets_of_make_that_are_named_exist(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    named = {line.split()[1] for line in console_lines(page) if line.startswith("make ")}
    named |= set(re.findall(r"`make ([a-z-]+)", page.read_text("utf-8")))
    assert named <= set(targets)


@every_page
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        there = page.parent / target if target else page
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}, anchor


@every_page
def test_files_and_extras_that_are_named_exist(page):
    text = page.read_text("utf-8")
    for path in re.findall(r"`((?:semsearch|indexes|corpora|tests|benchmarks|docs|examples)/[\w/.-]*)`", text):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"`(test_\w+\.py)`", text):
        assert list((ROOT / "tests").rglob(name)), name
    for name in re.findall(r"`(semsearch(?:\.\w+)+)`", text):
        module, _, member = name.rpartition(".")
        if name == "semsearch.toml" or name in PROJECT["entry-points"]:
            continue
        found = importlib.util.find_spec(module)
        assert hasattr(importlib.import_module(module), member) or (found and importlib.util.find_spec(name)), name


def test_every_extra_is_in_the_table():
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "installation.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(table) == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_has_help_and_is_written_of(name):
    command = cli.commands[name]
    assert command.help
    assert command.get_short_help_str()
    assert f"semsearch {name}" in WRITTEN
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts[0]} has no help"


def test_the_readme_shows_the_two_commands_first_and_is_read_in_minutes():
    assert [line.partition(" #")[0].strip() for line in console_lines(README)[:2]] == ["make demo", "make test"]
    assert len(README.read_text("utf-8").split()) < 1000


OF_FRAMEWORKS = ("adaptors.md", "coming-from.md")  # whose blocks tests/adaptors runs, where these are installed


@pytest.mark.real
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if blocks(page, "python") and page.name not in OF_FRAMEWORKS],
    ids=lambda page: page.name,
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch, minilm, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(page, "python"):  # each goes on where the one before ended
        exec(compile(block, page.name, "exec"), names)
    if page == README:
        assert "Water boils" in capsys.readouterr().out


def test_every_fault_is_numbered_and_held_by_a_test():
    text = (ROOT / "docs" / "faults.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| (.*) ?\|$", text, re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(1, len(rows) + 1))
    assert len(rows) > 30
    for number, fault, _, held in rows:
        assert held.strip() or "HTTP" in fault, number
    own = (ROOT / "tests" / "trust" / "test_faults.py").read_text("utf-8")
    told = {int(number) for number, *_, held in rows if held.startswith("faults")}
    assert told == {int(n) for line in re.findall(r"^# ([\d, ]+): ", own, re.MULTILINE) for n in line.split(", ")}


def named_tests(text: str) -> list[tuple[str, str]]:
    """The tests that a text names, as (file, function)."""
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)


def is_test(path: str, name: str) -> bool:
    """Whether the file has a test of that name."""
    file = ROOT / path
    return file.is_file() and re.search(rf"^(?:    )?def {name}\(", file.read_text("utf-8"), re.MULTILINE) is not None


def test_every_line_of_security_names_tests_that_exist():
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    assert [f"{path}::{name}" for path, name in named_tests(text) if not is_test(path, name)] == []
    assert text.count("::") == len(named_tests(text)), "a name that is not written as `tests/file.py::name`"
    rows = re.findall(r"^\| (?!what comes|---)(.*) \|$", text, re.MULTILINE)
    assert [row for row in rows if len(row.split(" | ")) != 3 or not named_tests(row)] == []
    assert len(rows) > 40


def test_a_test_that_is_not_there_is_seen():
    here = "tests/test_documentation.py"
    assert named_tests(f"`{here}::a`, `tests/trust/test_x.py::test_y`") == [
        (here, "a"),
        ("tests/trust/test_x.py", "test_y"),
    ]
    assert is_test(here, "test_a_test_that_is_not_there_is_seen")
    assert not is_test(here, "test_nothing_like_it")
    assert not is_test("tests/test_nowhere.py", "test_a_test_that_is_not_there_is_seen")


@pytest.mark.slow
def test_the_pages_of_the_api_hold_every_public_name(tmp_path):
    subprocess.run([sys.executable, ROOT / "docs" / "api.py", tmp_path], check=True, cwd=ROOT)
    page = (tmp_path / "semsearch.html").read_text("utf-8")
    assert [name for name in semsearch.__all__ if f'id="{name}"' not in page] == []
    assert {"types.html", "errors.html", "testing.html"} <= {path.name for path in (tmp_path / "semsearch").iterdir()}
