"""The house: a name means one thing; the tests' helpers are apart, and no test leans on another."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
TESTS = sorted(FOLDER.rglob("test_*.py"))
HELPERS = sorted((FOLDER / "support").glob("*.py"))
CODE = sorted(
    path for package in ("semsearch", "indexes", "corpora") for path in (FOLDER.parent / package).rglob("*.py")
)

# Names that may stand in several places, since they mean the same in each.
SAME_MODULES = {
    "bitext": "sentences that translate each other, and the command",
    "build": "builds an index: of vectors, of words",
    "catalog": "the catalogue of models, and the command that prints it",
    "engine": "the protocol, and the engine on SQLite that keeps it",
    "filters": "filters as SQLite masks, and what every engine's filters must do",
    "home": "where collections are, and where those on SQLite are",
    "load": "opens a model: an encoder, a reranker",
    "origins": "where documents came from: as an engine's part, and its rows",
    "clusters": "documents in clusters, and the command",
    "duplicates": "documents that say what another one says, and the command",
    "topics": "what a collection is about, and the command",
    "pairs": "the most alike pairs, and the command",
    "sts": "how scores agree with people's, and the command",
    "sync": "what `sync` does, and the command",
    "train": "what training does, and the command",
}
SAME_NAMES = {
    "TYPE_CHECKING": "typing's, where importing typing takes longer than all else",
    "COMMANDS": "the commands of a module of the command line",
    "Mask": "the passages of one state that may be found, in two engines that know nothing of each other",
    **dict.fromkeys(
        ("Pooling", "Dense", "LayerNorm", "Normalize", "Truncate", "Dropout", "StaticEmbedding", "WordEmbeddings"),
        "the module of that kind, by torch and by numpy",
    ),
    "TESTED": "the versions of a framework that its adaptor was tested with",
    "SemsearchVectorStore": "what LangChain and LlamaIndex both call such a store",
    "_LAZY": "what a package exports, and the module that is imported when it is asked for",
}


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


@pytest.mark.slow
def test_every_helper_serves_somebody():
    used = {
        module for path in [*TESTS, *HELPERS, FOLDER / "conftest.py", FOLDER / "wheel.py"] for module in imported(path)
    }
    scripts = {
        "soak",
        "preloaded",
        "cluster_growth",
        "cluster_kills",
        "part_kills",
    }  # run by make; loaded by name into the server that others are forked from
    assert {path.stem for path in HELPERS if f"support.{path.stem}" not in used} <= scripts | {"__init__"}


def test_every_test_has_a_name_of_its_own():
    """Test modules are imported by their bare names."""
    assert len({path.name for path in TESTS}) == len(TESTS)


def test_what_is_slow_by_design_is_marked():
    quick = {"test_golden.py", "test_platform.py", "test_versions.py"}
    trust = [path for path in TESTS if path.parent.name == "trust"]
    assert {path.name for path in trust if "pytest.mark.trust" not in path.read_text("utf-8")} == quick


def modules(paths):
    """The places of each module's name."""
    places = defaultdict(list)
    for path in paths:
        if path.name != "__init__.py":
            places[path.stem].append(path)
    return places


def defined(paths):
    """The places of each class, constant and alias of a type that a module defines."""
    places = defaultdict(list)
    for path in paths:
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(path)
            for target in node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]:
                if (
                    isinstance(target, ast.Name)
                    and target.id.lstrip("_")[:1].isupper()
                    and getattr(node, "value", None)
                ):
                    places[target.id].append(path)
    return places


def twice(places):
    """Those that stand in several places, with these."""
    root = FOLDER.parent
    return {
        name: [str(path.relative_to(root)) if path.is_relative_to(root) else path.name for path in paths]
        for name, paths in places.items()
        if len(paths) > 1
    }


@pytest.mark.slow
@pytest.mark.parametrize(("find", "same"), [(modules, SAME_MODULES), (defined, SAME_NAMES)], ids=["modules", "names"])
def test_a_name_means_one_thing(find, same):
    found = twice(find(CODE))
    assert {name: places for name, places in found.items() if name not in same} == {}
    assert same.keys() - found.keys() == set(), "what stands once needs no leave"


def test_a_name_of_two_things_is_seen(tmp_path):
    for place, text in {
        "a": "class Task: ...",
        "b": "Task = int | str",
        "c": "MOST: int = 3",
        "d": "MOST = _LEAST = 4",
    }.items():
        (tmp_path / place).mkdir()
        (tmp_path / place / "rows.py").write_text(text + "\nlower = 1\n")
    paths = sorted(tmp_path.rglob("*.py"))
    assert twice(defined(paths)).keys() == {"Task", "MOST"}
    assert twice(modules(paths)).keys() == {"rows"}
