"""The tests' own house: helpers are apart, and no test leans on another."""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TESTS = sorted(FOLDER.rglob("test_*.py"))
HELPERS = sorted((FOLDER / "support").glob("*.py"))


def imported(path):
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [*TESTS, *HELPERS], ids=lambda path: str(path.relative_to(FOLDER)))
def test_nothing_imports_a_test(path):
    names = {test.stem for test in TESTS} | {"conftest"}
    assert [module for module in imported(path) if names & set(module.split("."))] == []


def test_an_import_of_a_test_is_seen(tmp_path):
    for number, line in enumerate(
        ("import test_a", "from test_a import x", "from tests.b import test_a", "from . import test_a")
    ):
        path = tmp_path / f"{number}.py"
        path.write_text(f"def late():\n    {line}\n")
        assert any("test_a" in module for module in imported(path)), line


def test_every_helper_serves_somebody():
    used = {
        module for path in [*TESTS, *HELPERS, FOLDER / "conftest.py", FOLDER / "wheel.py"] for module in imported(path)
    }
    scripts = {"soak", "preloaded"}  # run by make; loaded by name into the server that others are forked from
    assert {path.stem for path in HELPERS if f"support.{path.stem}" not in used} <= scripts | {"__init__"}


def test_every_test_has_a_name_of_its_own():
    """Test modules are imported by their bare names."""
    assert len({path.name for path in TESTS}) == len(TESTS)


def test_what_is_slow_by_design_is_marked():
    quick = {"test_golden.py", "test_platform.py", "test_versions.py"}
    trust = [path for path in TESTS if path.parent.name == "trust"]
    assert {path.name for path in trust if "pytest.mark.trust" not in path.read_text("utf-8")} == quick
