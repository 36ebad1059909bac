"""What users see first: a light import, a complete list of public names, a README that is true."""

import inspect
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

import semsearch
from semsearch.cli.main import cli

README = Path(__file__).parents[2] / "README.md"
HEAVY = {
    "annoy",
    "faiss",
    "hnswlib",
    "huggingface_hub",
    "prompt_toolkit",
    "rich",
    "safetensors",
    "sqlalchemy",
    "tokenizers",
    "torch",
    "transformers",
}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in memory after a statement, in a fresh interpreter."""
    script = f"import sys, json; {statement}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)


def console_lines() -> list[str]:
    """The commands that the README types."""
    return [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "]


def test_import_is_light():
    assert not loaded_by("import semsearch") & (HEAVY | {"click", "sqlite3"})


def test_the_command_line_starts_light():
    assert not loaded_by("import semsearch.cli.main") & HEAVY


def test_all_is_sorted_and_complete():
    public = {
        name
        for name, value in vars(semsearch).items()
        if not name.startswith("_") and not inspect.ismodule(value) and name not in ("annotations", "import_module")
    }
    public -= {"Any", "TYPE_CHECKING"}
    assert semsearch.__all__ == sorted(semsearch.__all__)
    assert public <= set(semsearch.__all__)
    for name in semsearch.__all__:
        assert getattr(semsearch, name) is not None
    assert dir(semsearch) == semsearch.__all__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = semsearch.nothing


def test_public_classes_and_functions_are_documented():
    for name in semsearch.__all__:
        value = getattr(semsearch, name)
        assert inspect.getdoc(value), f"{name} has no docstring"
        for part, member in vars(value).items() if inspect.isclass(value) else ():
            if not part.startswith("_") and callable(member):
                assert inspect.getdoc(member), f"{name}.{part} has no docstring"


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_has_help_and_is_in_the_readme(name):
    command = cli.commands[name]
    assert command.help
    assert command.get_short_help_str()
    assert f"semsearch {name}" in README.read_text()
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts[0]} has no help"


def test_the_readme_types_commands_that_exist():
    lines = [line for line in console_lines() if "semsearch " in line]
    assert len(lines) >= len(cli.commands)
    for line in lines:
        typed = line.partition("semsearch ")[2].partition(" | ")[0]
        words = shlex.split(re.sub(r" < [\w.]+(?= |$)", "", typed), comments=True)
        command = cli.commands[words[0]]
        command.make_context(words[0], words[1:])  # raises on an option or argument that is not there


def test_the_readme_shows_the_two_commands_first():
    assert [line.partition(" #")[0].strip() for line in console_lines()[:2]] == ["make demo", "make test"]


@pytest.mark.real
def test_the_readmes_python_runs(tmp_path, monkeypatch, minilm, capsys):
    monkeypatch.chdir(tmp_path)
    examples = blocks("python")
    assert examples
    for example in examples:
        exec(compile(example, "README.md", "exec"), {})
    assert "Water boils" in capsys.readouterr().out


def test_info_tells_how_the_model_reads(tmp_path):
    from support import tiny
    from support.command_line import run

    folder = tiny.bert(tmp_path / "e5-small-v2")
    with semsearch.create("corpus", encoder=str(folder)) as collection:
        facts, fingerprint = collection.info()["encoder"], collection.encoder.fingerprint
    assert facts == {
        "name": str(folder),
        "revision": None,
        "fingerprint": fingerprint,
        "window": 60,
        "prompts": {"query": "query: ", "document": "passage: "},
        "prompts_from": "the table of families (E5)",
        "truncate_dim": None,
        "normalized": True,
        "modules": ["Transformer (bert)", "Pooling"],
    }
    shown = run("info", "corpus").out.splitlines()
    assert "encoder.prompts.query\tquery:" in [line.rstrip() for line in shown]
    assert "encoder.prompts.document\tpassage:" in [line.rstrip() for line in shown]
