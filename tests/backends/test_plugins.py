"""A third party's index: found by its entry point, held against what it must say of itself, and then a full citizen."""

import re
from importlib.metadata import EntryPoint, version
from inspect import isfunction
from typing import get_type_hints

import numpy as np
import pytest
from support.backends import BUILT_IN
from support.command_line import run
from support.fakes import HashEncoder

import semsearch
from indexes.exact import ExactIndex
from semsearch import plugins
from semsearch.bench.run import Plan, builds
from semsearch.errors import MissingDependency, UsageError
from semsearch.ingest.estimate import estimate
from semsearch.local.index.generation import read_manifest
from semsearch.options import Options
from semsearch.types import Document, Metric
from semsearch.vector_index import FACTS, REQUIRED_METHODS, Knob, Library, VectorIndex, faults


class Third(ExactIndex):
    """As a third party would write one: exact search under another name, by a library that is there for sure."""

    library = Library("pytest")
    metrics = frozenset({Metric.COSINE, Metric.DOT})
    variants = ({"codes": "none"},)

    @classmethod
    def bytes_per_row(cls, dim, params):
        return 1000 * dim


class Nothing:
    """Says nothing of itself."""


class Careless(Third):
    """Every fact is of the wrong kind, and `build` needs an instance."""

    Params = dict
    library = "pytest"
    metrics = {"cosine"}  # noqa: RUF012
    knob = "ef"
    exact = "yes"
    filterable = None
    variants = ()
    build = ExactIndex.search
    save = None


class Contradictory(Third):
    """Each fact by itself is well."""

    knob = Knob("codes", lambda count: [1])
    variants = ({"ef": 1},)
    filterable = False


@pytest.fixture
def register(monkeypatch):
    """`register("third", Third)`: as if an installed package had this entry point."""

    def registered(name, kind):
        known = dict(plugins._registered("semsearch.indexes"))
        value = f"{kind.__module__}:{kind.__qualname__}" if isinstance(kind, type) else kind
        known[name] = EntryPoint(name, value, "semsearch.indexes")
        monkeypatch.setattr(plugins, "_registered", lambda group: known)

    return registered


def test_what_is_checked_is_what_the_protocol_names():
    hints = {name for name, hint in get_type_hints(VectorIndex).items() if "ClassVar" in str(hint)}
    assert set(FACTS) == hints
    own = {name for name, member in vars(VectorIndex).items() if isinstance(member, classmethod) or isfunction(member)}
    assert set(REQUIRED_METHODS) == {name for name in own if not name.startswith("_") or name == "__len__"}


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_ins_say_what_they_must(name):
    assert faults(plugins.index_backend(name)) == []


def test_every_member_that_is_missing_is_named(register):
    register("third", Nothing)
    with pytest.raises(UsageError) as told:
        plugins.index_backend("third")
    sentence = str(told.value)
    assert "the index 'third'" in sentence
    assert f"'{__name__}:Nothing'" in sentence
    for name in (*FACTS, *REQUIRED_METHODS):
        assert re.search(rf"\b{name}( is missing|\b)", sentence), name
    assert "bytes_per_row is missing" in sentence
    assert "library is missing (a Library)" in sentence


def test_every_member_of_the_wrong_kind_is_named(register):
    register("third", Careless)
    with pytest.raises(UsageError) as told:
        plugins.index_backend("third")
    for fault in (
        "Params must be a dataclass that derives from semsearch.options.Options, not <class 'dict'>",
        "library must be a Library, not 'pytest'",
        "metrics must be a frozenset of Metric, not empty, not {'cosine'}",
        "knob must be a Knob or None, not 'ef'",
        "exact must be True or False, not 'yes'",
        "filterable must be True or False, not None",
        "variants must be a sequence of mappings, not empty, not ()",
        "build must be a classmethod",
        "the method save is missing",
    ):
        assert fault in str(told.value)


def test_facts_that_contradict_one_another_are_named():
    assert faults(Contradictory) == [
        "knob.option names 'codes', which is no tunable option of Params",
        "variants name the option 'ef', which Params hasn't",
        "filterable is False, but there is a method search_allowed",
    ]
    assert faults("Third") == ["it is no class"]


def test_a_filter_that_is_promised_must_be_there():
    class Promising(Nothing):
        Params, library, metrics = Options, Library("pytest"), frozenset(Metric)
        knob, exact, filterable, variants = None, False, True, ({},)
        search = tune = save = __len__ = lambda self, *given: None
        build = load = bytes_per_row = baseline = classmethod(lambda cls, *given: None)

    assert faults(Promising) == ["filterable is True, but the method search_allowed is missing"]
    Promising.search_allowed = lambda self, *given: None
    assert faults(Promising) == []


def test_what_is_inherited_from_the_protocol_alone_is_missing():
    class Empty(VectorIndex):
        pass

    assert [fault for fault in faults(Empty) if "method" in fault] == [
        f"the method {name} is missing" for name in REQUIRED_METHODS
    ]


@pytest.mark.slow
def test_an_entry_point_that_leads_nowhere_is_said(register):
    register("third", "no_such_module:Index")
    with pytest.raises(UsageError, match=r"'third' can't be loaded: its entry point 'no_such_module:Index' fails"):
        plugins.index_backend("third")
    ended = run("doctor")
    assert ended.code == 4
    assert re.search(r"index third\s+broken", ended.out)


def test_a_library_that_is_missing_says_how_to_install_it():
    library = Library("no_such_module", ("no-such-package", "no-such-other"))
    assert not library.installed
    assert library.versions == {}
    with pytest.raises(MissingDependency, match="Install it with: pip install no-such-package"):
        library.load()
    assert Library("x", install="semsearch[faiss]").advice == "pip install 'semsearch[faiss]'"


@pytest.mark.slow
def test_a_third_partys_index_is_a_full_citizen(register, tmp_path):
    """Its library is in the manifest, its bytes in the estimate, its name in help and doctor, its variants in bench."""
    register("third", Third)
    documents = [Document(f"d{n}", f"whale w{n % 50}") for n in range(400)]
    told = {
        index: estimate(iter(documents), HashEncoder(16), passages=True, engine=None, index=index).bytes
        for index in ("third", "exact")
    }
    assert told["third"] - told["exact"] == 400 * 16_000
    with semsearch.create("notes", encoder=HashEncoder(16), index="third", recall=0.9) as collection:
        collection.add(documents)
        (folder,) = (collection.path / "indexes").glob("third-*")
        assert read_manifest(folder).versions["pytest"] == version("pytest")
        assert collection.info()["index"]["contract"]["met"], "by proof: it says that it is exact"
        collection.load_index()
        assert collection.search("whale w7", k=1)[0].document.text == "whale w7"
    assert ("third", {"codes": "none"}) in builds(Plan(), Metric.COSINE, print)
    assert re.search(r"--index INDEX\s+auto, annoy, exact, faiss-ivf, hnsw,\s+third", run("reindex", "--help").out)
    assert "third" in run("index", "--help").out
    assert re.search(rf"index third\s+ok\s+pytest {version('pytest')}", run("doctor").out)


def test_an_index_that_does_not_compare_so_is_refused(register):
    register("third", Third)
    told = []
    assert "third" not in {name for name, _ in builds(Plan(), Metric.L2, told.append)}
    assert told == ["third is left out: it does not compare by l2."]
    with semsearch.create("far", encoder=None, dim=4, metric="l2") as collection:
        collection.add([Document("a", "a"), Document("b", "b")], vectors=np.eye(2, 4, dtype=np.float32))
        with pytest.raises(UsageError, match="'third' compares by cosine, dot, and this collection by l2"):
            collection.reindex("third")
    with pytest.raises(UsageError, match="'third' compares by cosine, dot, and this collection by l2"):
        semsearch.create("further", encoder=None, dim=4, metric="l2", index="third")
