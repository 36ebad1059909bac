"""A server of each kind for the tests of this folder, and a home of each test's own in it."""

import itertools
import os

import pytest
from support.cluster import FLAVOURS, server_or_skip

NUMBERS = itertools.count()


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
