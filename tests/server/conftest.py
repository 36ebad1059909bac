"""A server with a model without weights, and a collection in it."""

import pytest

for needed in ("starlette", "uvicorn", "prometheus_client", "pydantic"):
    pytest.importorskip(needed, reason="the extra 'server' is not installed")

from support.named_hash import NAME, NamedHash  # noqa: E402
from support.serving import served  # noqa: E402

ANIMALS = [
    {"id": "cat", "text": "the cat sleeps on the warm sofa", "metadata": {"legs": 4, "kind": "pet"}},
    {"id": "dog", "text": "the dog runs in the park", "title": "Dogs", "metadata": {"legs": 4, "kind": "pet"}},
    {"id": "a/bird", "text": "a bird sings in the old tree", "metadata": {"legs": 2, "tags": ["sky", "song"]}},
]


@pytest.fixture
def models(monkeypatch):
    """The models that were opened, by name."""
    opened = {}

    def encoder(name, compute=None, *, revision=None):
        return opened.setdefault(name, NamedHash(name, dim=8 if name == "other" else 16))

    monkeypatch.setattr("semsearch.models.encoder", encoder)
    return opened


@pytest.fixture
def serve(models, tmp_path):
    """`serve(**options)`: a server of an empty home, as a context."""

    def start(home=None, **options):
        return served(str(tmp_path / "served") if home is None else home, **{"encoders": (NAME, "other"), **options})

    return start


@pytest.fixture
def server(serve):
    """A server with the collection 'animals'."""
    with serve() as running:
        fill(running)
        yield running


def fill(running, name="animals"):
    running.ask("/v1/collections", {"name": name}, 201)
    running.ask(f"/v1/collections/{name}/documents", {"documents": ANIMALS})


@pytest.fixture
def animals():
    """The documents of 'animals'."""
    return ANIMALS


@pytest.fixture(name="fill")
def _fill():
    """`fill(server, name)`: make the collection."""
    return fill
