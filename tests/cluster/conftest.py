"""A server of each kind for the tests of this folder, and a home of each test's own in it."""

import itertools
import os
from importlib.util import find_spec

import pytest
from support.cluster import FLAVOURS, cluster, java, place

NUMBERS = itertools.count()
CLIENTS = {"opensearch": "opensearchpy", "elasticsearch": "elasticsearch"}


def _started(flavour):
    for module in (CLIENTS[flavour], "orjson"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    found = place(flavour)
    if found is None:
        pytest.skip(f"SEMSEARCH_CLUSTER names no archive and no address of {flavour}")
    if not isinstance(found, str) and java(flavour) is None:
        pytest.skip(f"there is no Java for {flavour}")
    return cluster(flavour)


@pytest.fixture(scope="session")
def opensearch():
    """One OpenSearch for all tests of this process."""
    with _started("opensearch") as own:
        yield own


@pytest.fixture(scope="session")
def elasticsearch():
    """One Elasticsearch for all tests of this process."""
    with _started("elasticsearch") as own:
        yield own


@pytest.fixture(params=FLAVOURS)
def server(request):
    """Either."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def url(server):
    """The URL of an empty home, which all tests of a process share one after the other."""
    import semsearch

    place = server.url(f"t{os.getpid()}", replicas=0, shards=1)
    yield place
    for name in semsearch.list_collections(home=place):
        semsearch.drop(name, home=place)
