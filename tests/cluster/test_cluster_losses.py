"""What a cluster can lose is one sentence within a bounded time, and nothing that was acknowledged: `make cluster`."""

import time
from contextlib import contextmanager

import pytest

pytest.importorskip("orjson", reason="the extra 'opensearch' is not installed")

from support.cluster import FLAVOURS, cluster, java, place

import semsearch
from semsearch.errors import StorageError
from semsearch.testing.encoder import HashEncoder
from semsearch.types import Document

pytestmark = [pytest.mark.cluster, pytest.mark.long]
WATERMARKS = ("low", "high", "flood_stage")
CATS = [Document(f"c{number}", f"cat number {number}") for number in range(30)]
BOUNDED = 180.0  # seconds, on a machine that does much else
SETTINGS = ("cluster.routing.allocation.disk.threshold_enabled=false",)


@pytest.fixture(params=FLAVOURS)
def three(request):
    """Three nodes of either kind."""
    found = place(request.param)
    if found is None or isinstance(found, str) or java(request.param) is None:
        pytest.skip(f"SEMSEARCH_CLUSTER names no archive of {request.param}, or there is no Java for it")
    with cluster(request.param, nodes=3, settings=SETTINGS) as own:
        yield own


@contextmanager
def bounded():
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < BOUNDED


def until(what, wanted):
    deadline = time.monotonic() + BOUNDED
    while not wanted():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_a_shard_without_a_copy_and_the_majority_lost_and_back(three):
    home = three.url("lost", shards=3, replicas=0)
    with semsearch.create("cats", home=home, encoder=HashEncoder()) as cats:
        cats.add(CATS)
        before = found(cats)
        assert len(before) == 30
        three.ask("PUT", "/lost.home/_settings", {"index": {"number_of_replicas": 2}})
        until("a list on all nodes", lambda: three.ask("GET", "/_cluster/health/lost.home").get("status") == "green")
        for lost in ((2,), (1, 2)):
            for node in lost:
                three.kill(node)
            with bounded(), pytest.raises(StorageError, match=r"no copy that works|can't do this now|can't be reached"):
                cats.search("cat number 7", k=30)
            with bounded(), pytest.raises(StorageError):
                cats.add([Document(f"new{number}", "a new cat") for number in range(20)])
            for node in lost:
                three.start(node)
            three.ask("POST", "/_cluster/reroute?retry_failed=true")
            until("green", lambda: three.ask("GET", "/_cluster/health").get("status") in ("green", "yellow"))
            assert {document.id for document in CATS} <= set(cats.ids())
            assert found(cats) == before
            cats.add([Document(f"new{number}", "a new cat") for number in range(20)])
            assert cats.check(deep=True) == []
            assert cats.remove([f"new{number}" for number in range(20)]) == 20


def test_a_shard_that_is_slow(three):
    """Its node hangs: a sentence in the time that there is, and all of the answers once it goes on."""
    home = three.url("slow", shards=3, replicas=0, timeout=5)
    with semsearch.create("cats", home=home, encoder=HashEncoder()) as cats:
        cats.add(CATS)
        before = found(cats)
        three.hang(2)
        try:
            for ask in (
                lambda: cats.search("cat number 7", k=30),
                lambda: cats.search("cat number 7", k=30, mode="lexical"),
                lambda: cats.add([Document(f"new{number}", "a new cat") for number in range(20)]),
            ):
                with bounded(), pytest.raises(StorageError, match=r"in time|part of the collection|can't do this now"):
                    ask()
        finally:
            three.go_on(2)
        until("all answers again", lambda: found(cats) == before)
        until("writes again", lambda: _writes(cats))
        assert cats.check(deep=True) == []


def found(collection):
    """Ids and scores of the first documents; None where there is no answer."""
    try:
        hits = collection.search("cat number 7", k=60)
    except StorageError:
        return None
    return [(hit.id, hit.score) for hit in hits if hit.id.startswith("c")]


def test_a_disk_that_is_full(server, url):
    """The server takes no writes, and says so; reads go on, and writes once there is room."""

    def limits(**own):
        settings = {f"cluster.routing.allocation.disk.{name}": value for name, value in own.items()}
        return server.ask("PUT", "/_cluster/settings", {"transient": settings, "persistent": {}})

    marks = {f"watermark.{name}": "100tb" for name in WATERMARKS}
    with semsearch.create("cats", home=url, encoder=HashEncoder()) as cats:
        cats.add(CATS)
        server.ask("PUT", "/_cluster/settings", {"transient": {"cluster.info.update.interval": "10s"}})
        assert "error" not in limits(threshold_enabled="true", **marks)
        try:
            until("a refusal", lambda: not _writes(cats))
            with pytest.raises(StorageError, match="too little room on its disks"):
                cats.add([Document("more", "one more")])
            with bounded(), pytest.raises(StorageError, match="too little room on its disks"):
                cats.remove(["c1"])
            with bounded(), pytest.raises(StorageError):
                semsearch.create("more", home=url, encoder=HashEncoder())
            with bounded(), pytest.raises(StorageError):
                cats.change_language("de")
            assert len(cats.search("cat", k=100)) == 31
        finally:
            limits(threshold_enabled=None, **dict.fromkeys(marks))
            server.ask("PUT", "/_cluster/settings", {"transient": {"cluster.info.update.interval": None}})
            blocks = {"index.blocks.read_only_allow_delete": None}
            server.ask("PUT", "/_all/_settings", blocks)
        until("room again", lambda: _writes(cats))
        assert cats.check(deep=True) == []


def _writes(collection):
    try:
        return bool(collection.add([Document("again", f"there is room {time.monotonic()}")], maintain=False))
    except StorageError:
        return False
