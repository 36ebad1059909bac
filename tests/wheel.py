"""`make check` runs this: the wheel holds the three packages and nothing else, and works without what developers have.

The wheel is installed in an environment that sees only what its own metadata asks for: each distribution in the closure
of its requirements is linked from the running environment, so nothing is downloaded, and an import that only a
developer's environment satisfies fails here.
"""

import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from support.command_line import corpus, tiny_model

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"semsearch", "indexes", "corpora"}


def call(*command: object) -> str:
    """What a command prints; a failure ends the script."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel; offline where the build backend is installed."""
    here = ["--no-isolation"] if find_spec("hatchling") else []
    call(sys.executable, "-m", "build", "--wheel", *here, "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


def check_content(wheel: Path) -> None:
    """Exactly the three packages, whole."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    extra = {top for top in tops if not top.endswith(".dist-info")} ^ PACKAGES
    if extra:
        sys.exit(f"the wheel should hold {sorted(PACKAGES)}, and differs in {sorted(extra)}")
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and path.suffix != ".pyc" and name not in names:
                sys.exit(f"the wheel lacks {name}")


def requirements(of: Distribution) -> set[str]:
    """The names that a distribution needs here, extras left out."""
    from packaging.requirements import Requirement

    wanted = map(Requirement, of.requires or [])
    return {each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})}


def closure(names: set[str]) -> dict[str, Distribution]:
    """These distributions and all that they need, in turn."""
    found: dict[str, Distribution] = {}
    pending = list(names)
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name not in found:
            try:
                found[name] = distribution(name)
            except PackageNotFoundError:
                sys.exit(f"{name} is required, and not installed here")
            pending.extend(requirements(found[name]))
    return found


def link(needed: dict[str, Distribution], site: Path) -> None:
    """Make the distributions importable from `site`, and no others."""
    for each in needed.values():
        for top in {Path(file).parts[0] for file in each.files or []} - {"..", "__pycache__"}:
            target = Path(str(each.locate_file(top))).resolve()
            if not (site / top).exists() and target.exists():
                (site / top).symlink_to(target, target_is_directory=target.is_dir())


def main() -> None:
    """Build, look, install, run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build(folder)
        check_content(wheel)
        venv.create(folder / "env", with_pip=False)
        python = folder / "env" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        site = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        call(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", wheel)
        installed = Distribution.at(next(site.glob("semsearch-*.dist-info")))
        link(closure(requirements(installed)), site)
        semsearch = python.with_name("semsearch")
        for module in ("pytest", "sentence_transformers"):
            found = call(python, "-c", f"import importlib.util as u; print(u.find_spec('{module}') is not None)")
            if found.strip() != "False":
                sys.exit(f"the isolated environment sees {module}, so it proves nothing")
        call(python, "-c", "import semsearch")
        call(semsearch, "--help")
        home = ("--home", folder / "home")
        said = call(semsearch, "index", corpus(folder), "-m", tiny_model(folder / "model"), *home)
        if "added 40, changed 0, unchanged 0, skipped 0" not in said:
            sys.exit(f"the installed wheel indexed wrongly: {said}")
        found = call(semsearch, "query", "notes", "bread dough", "-k", "1", *home)
        if "On the bread" not in found:
            sys.exit(f"the installed wheel answered wrongly: {found}")
        print(f"{wheel.name}: holds {', '.join(sorted(PACKAGES))}; installs and runs without development packages")  # noqa: T201


if __name__ == "__main__":
    main()
