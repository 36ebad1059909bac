"""`semsearch doctor` and `semsearch completion`: what works on this machine, and what to do about what doesn't."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from semsearch import __version__, plugins, wire
from semsearch.cli import parameters
from semsearch.cli.render import out, say, show_table, size
from semsearch.errors import Untrusted, UsageError
from semsearch.home import Home

if TYPE_CHECKING:
    from packaging.requirements import Requirement

INSTEAD = {"faiss": "gpu", "gpu": "faiss"}  # two builds of one library, of which only one may be installed


class Finding(NamedTuple):
    """One thing that was looked at."""

    what: str
    state: str  # "ok", "missing" or "broken"
    found: str
    advice: str = ""


@click.command(short_help="Show versions, hardware and what works here.")
@parameters.as_json
@parameters.home
def doctor(as_json: bool, home: str | None) -> int:
    r"""Show versions, hardware, which extras and GPUs work, and what to do about what doesn't.

    The exit code is 4 if something is broken; what is merely not installed is fine.

    \b
    semsearch doctor
    semsearch doctor --json
    """
    findings = list(_findings(home))
    if as_json:
        for finding in findings:
            out(wire.dumps(finding._asdict()))
    else:
        show_table(("what", "state", "found", "advice"), findings)
    return 4 if any(finding.state == "broken" for finding in findings) else 0


def _findings(home: str | None) -> Iterator[Finding]:
    yield Finding("semsearch", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    yield Finding("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Finding("system", "ok", f"{platform.platform()}, {os.cpu_count()} cores")
    needed, extras = _requirements()
    for requirement in needed:
        yield _package(requirement)
    yield from _compute()
    yield from _indexes()
    found = {extra: _extra(extra, requirements) for extra, requirements in extras.items()}
    for extra, finding in found.items():
        other = found.get(INSTEAD.get(extra, ""))
        if finding.state != "missing" or other is None or (other.state == "missing" and extra < INSTEAD[extra]):
            yield finding
    yield _home(home)


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """What semsearch needs on this platform, and what each of its extras needs besides."""
    from packaging.requirements import Requirement

    metadata = importlib.metadata.metadata("semsearch")
    stated = [Requirement(line) for line in metadata.get_all("Requires-Dist") or ()]
    stated = [requirement for requirement in stated if requirement.name != "semsearch"]  # as the extra "all" does

    def needed(extra: str) -> list[Requirement]:
        return [one for one in stated if one.marker is None or one.marker.evaluate({"extra": extra})]

    always = needed("")
    extras = {
        extra: [one for one in needed(extra) if one not in always] for extra in metadata.get_all("Provides-Extra") or ()
    }
    return always, {extra: requirements for extra, requirements in extras.items() if requirements and extra != "all"}


def _package(requirement: Requirement) -> Finding:
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(requirement.name, "broken", "not installed", "pip install --force-reinstall semsearch")
    if not requirement.specifier.contains(version, prereleases=True):
        line = f"pip install '{requirement.name}{requirement.specifier}'"
        return Finding(requirement.name, "broken", f"{version}, which semsearch can't use", line)
    return Finding(requirement.name, "ok", version)


def _compute() -> Iterator[Finding]:
    """What the model runs on: tried, not only looked for."""
    try:
        import torch
    except Exception as error:  # a library that is half there fails in many ways
        yield Finding("torch runs", "broken", str(error)[:200], "reinstall torch: pytorch.org/get-started")
        return
    from semsearch.encoder.load import dtype_of
    from semsearch.hardware import settle_threads

    fast = str(dtype_of(None, torch.device("cpu"))).removeprefix("torch.")
    kind = torch.backends.cpu.get_cpu_capability()
    settle_threads()
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


def _indexes() -> Iterator[Finding]:
    """Every index that is registered, a third party's too, and the library under it."""
    for name in plugins.names("semsearch.indexes"):
        try:
            library = plugins.index_backend(name).library
        except UsageError as error:
            yield Finding(f"index {name}", "broken", str(error), "upgrade or uninstall the package that brings it")
            continue
        if not library.installed:
            yield Finding(f"index {name}", "missing", f"no module {library.module}", library.advice)
            continue
        try:
            library.load()
        except Exception as error:  # as above
            yield Finding(f"index {name}", "broken", f"{library.module}: {str(error)[:200]}", library.advice)
            continue
        versions = ", ".join(f"{package} {version}" for package, version in library.versions.items())
        yield Finding(f"index {name}", "ok", versions or library.module)


def _extra(extra: str, requirements: list[Requirement]) -> Finding:
    """An extra's libraries, imported."""
    what, line = f"extra {extra}", f"pip install 'semsearch[{extra}]'"
    found = []
    for requirement in requirements:
        try:
            package = importlib.metadata.distribution(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return Finding(what, "missing", f"no package {requirement.name}", line)
        for name in _modules(package):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                return Finding(what, "missing", f"no module {name}", line)
            except Exception as error:  # as above
                line = f"pip install --force-reinstall 'semsearch[{extra}]'"
                return Finding(what, "broken", f"{name}: {str(error)[:200]}", line)
        if not requirement.specifier.contains(package.version, prereleases=True):
            stale = f"{requirement.name} {package.version}, which semsearch can't use"
            return Finding(what, "broken", stale, f"pip install --upgrade 'semsearch[{extra}]'")
        found.append(f"{requirement.name} {package.version}")
    return Finding(what, "ok", ", ".join(found))


def _modules(package: importlib.metadata.Distribution) -> list[str]:
    """What is imported of a package: the module of its name, else the public ones that it brings."""
    files = package.files or ()
    brought = {str(inspect.getmodulename(file.name) if len(file.parts) == 1 else file.parts[0]) for file in files}
    named = re.sub(r"[-.]+", "_", package.metadata["Name"]).lower()
    public = [name for name in sorted(brought) if name.isidentifier() and not name.startswith("_") and name != "None"]
    return [named] if named in brought else public


def _home(place: str | None) -> Finding:
    try:
        home = Home.of(place)
    except Untrusted as error:
        return Finding("home", "not trusted", str(error).partition("\n")[0], "semsearch trust, or --home")
    folder = home.folder
    if folder is None:
        return Finding("home", "ok", f"{home.location}: {len(home.names())} collections")
    if not folder.is_dir():
        return Finding("home", "ok", f"{folder} (nothing there yet)")
    if not os.access(folder, os.W_OK):
        return Finding("home", "broken", f"{folder} can't be written", "choose another with --home or SEMSEARCH_HOME")
    free = size(shutil.disk_usage(folder).free)
    return Finding("home", "ok", f"{folder}: {len(home.names())} collections, {free} free")


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
