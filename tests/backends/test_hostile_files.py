"""Files of indexes with right digests and a hostile body: what would end the process is refused before it is read."""

import struct

import numpy as np
import pytest
from support.forgery import disown, forge

from semsearch.errors import IndexDamaged
from semsearch.local.index.generation import open_generation, write_generation
from semsearch.plugins import index_backend
from semsearch.testing import make_keys, make_vectors
from semsearch.types import Metric

COUNT, DIM, OWNER = 700, 10, {"collection": "a-uuid", "model": "a-fingerprint"}
KINDS = [
    ("hnsw", {}, "graph.hnsw"),
    ("annoy", {"trees": 7}, "forest.annoy"),
    ("faiss-ivf", {"storage": "pq"}, "lists.faiss"),
    ("faiss-ivf", {"storage": "sq8"}, "lists.faiss"),
    ("faiss-ivf", {"storage": "flat"}, "lists.faiss"),
    ("exact", {"codes": "int8"}, "codes.npy"),
    ("exact", {"codes": "bf16"}, "facts.npy"),
]
every_kind = pytest.mark.parametrize(
    ("backend", "options", "file"), KINDS, ids=[f"{kind} {options}" for kind, options, _ in KINDS]
)
HUGE = 0x7FFF_FFFF


class Written:
    """An index on disk, with what it was built from."""

    def __init__(self, folder, backend, options, metric=Metric.L2, count=COUNT):
        self.folder, self.backend, self.metric = folder / f"{backend}-1", backend, metric
        self.kind = index_backend(backend)
        self.keys, self.vectors = make_keys(count), make_vectors(metric, count, DIM)
        params = self.kind.Params(**options)
        self.index = self.kind.build(self.keys, self.vectors, metric, params)
        write_generation(self.folder, self.index, self.keys, self.vectors, metric, params, backend=backend, **OWNER)

    def open(self):
        opened, *_ = open_generation(
            self.folder, self.kind, self.keys, self.vectors, self.metric, backend=self.backend, **OWNER
        )
        return opened

    def ask(self, index):
        return index.search(self.vectors[:60], 10)


@every_kind
@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("count", [1, 2, 40, COUNT])
def test_what_somebody_else_built_in_good_faith_is_loaded(tmp_path, backend, options, file, metric, count):
    written = Written(tmp_path, backend, options, metric, count)
    disown(written.folder)
    found, expected = written.ask(written.open()), written.ask(written.index)
    assert found.keys.tolist() == expected.keys.tolist()


@every_kind
def test_only_what_came_from_elsewhere_is_looked_through(tmp_path, backend, options, file, monkeypatch):
    written = Written(tmp_path, backend, options)
    looked = []
    monkeypatch.setattr(written.kind, "verify", classmethod(lambda *arguments: looked.append(arguments)))
    written.open()
    assert not looked
    disown(written.folder)
    written.open()
    assert len(looked) == 1


@every_kind
@pytest.mark.parametrize("seed", range(12))
def test_numbers_changed_at_random(tmp_path, backend, options, file, seed):
    """Most are refused; what is not can be searched, and answers with keys that are there."""
    written = Written(tmp_path, backend, options)
    path, rng = written.folder / file, np.random.default_rng(seed)
    whole = path.read_bytes()
    refused = 0
    for _ in range(12):
        body = bytearray(whole)
        reach = len(body) if seed % 2 else min(len(body), 400)
        for place in rng.integers(0, reach - 8, rng.integers(1, 4)).tolist():
            place -= place % 4 if seed % 3 else 0
            value = rng.choice([-1, HUGE, COUNT, COUNT + 1, 1 << 20, 0, int(rng.integers(0, 1 << 31))])
            struct.pack_into("<i", body, place, int(value))
        path.write_bytes(body)
        forge(written.folder)
        try:
            opened = written.open()
        except IndexDamaged:
            refused += 1
            continue
        found = written.ask(opened)
        assert np.isin(found.keys, [-1, *written.keys]).all()
    assert refused


@every_kind
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.999, 1.001])
def test_files_of_another_length(tmp_path, backend, options, file, share):
    written = Written(tmp_path, backend, options)
    path = written.folder / file
    whole = path.read_bytes()
    path.write_bytes((whole * 2)[: int(len(whole) * share) | 1])
    forge(written.folder)
    with pytest.raises(IndexDamaged, match=r"\.$"):
        written.open()


class Graph:
    """Where what lies in hnswlib's file."""

    def __init__(self, body):
        self.links = struct.unpack_from("<Q", body, 72)[0]
        self.row = 4 * (2 * self.links + 1) + 4 * DIM + 8
        self.upper = 96 + COUNT * self.row

    def tall(self, body):
        """The first block of upper layers: where, and its size."""
        at = self.upper
        while not (size := struct.unpack_from("<I", body, at)[0]):
            at += 4
        return at, size


def graph_changes():
    def put(layout, place, *values):
        return lambda body, graph: struct.pack_into("<" + layout, body, place(graph, body), *values)

    label = lambda graph, body: 96 + graph.row - 8  # noqa: E731
    return {
        "a link beyond the rows": put("I", lambda graph, body: 100, COUNT),
        "a link far beyond the rows": put("I", lambda graph, body: 100, HUGE),
        "more links than there is room for": put("I", lambda graph, body: 96, 0xFFFF),
        "a row marked as deleted": put("B", lambda graph, body: 98, 1),
        "a label beyond the rows": put("Q", label, COUNT),
        "a label of 64 bits": put("Q", label, 1 << 63),
        "a label that comes twice": put("Q", label, 5),
        "an entry beyond the rows": put("I", lambda graph, body: 52, COUNT),
        "an entry without upper layers": put("i", lambda graph, body: 48, 60),
        "a top below none": put("i", lambda graph, body: 48, -1),
        "more rows than there are": put("Q", lambda graph, body: 16, COUNT * 1000),
        "rows of another size": put("Q", lambda graph, body: 24, 8),
        "vectors elsewhere": put("Q", lambda graph, body: 40, 1 << 40),
        "no links at all": put("3Q", lambda graph, body: 56, 0, 0, 0),
        "an upper link beyond the rows": put("I", lambda graph, body: graph.tall(body)[0] + 8, HUGE),
        "an upper link to a row without that layer": lambda body, graph: struct.pack_into(
            "<I", body, graph.tall(body)[0] + 8, lowest(body, graph)
        ),
        "more upper links than there is room for": put("I", lambda graph, body: graph.tall(body)[0] + 4, 0xFFFF),
        "a layer that is cut short": put("I", lambda graph, body: graph.tall(body)[0], 4),
        "layers of gigabytes": put("I", lambda graph, body: graph.tall(body)[0], 0xFFFF_FFF0),
    }


def lowest(body, graph):
    at = graph.upper
    for node in range(COUNT):
        (size,) = struct.unpack_from("<I", body, at)
        if not size:
            return node
        at += 4 + size
    raise AssertionError


@pytest.mark.parametrize("what", graph_changes())
def test_a_graph(tmp_path, what):
    written = Written(tmp_path, "hnsw", {})
    path = written.folder / "graph.hnsw"
    body = bytearray(path.read_bytes())
    graph_changes()[what](body, Graph(body))
    path.write_bytes(body)
    forge(written.folder)
    with pytest.raises(IndexDamaged, match=r"graph\.hnsw was not written by this library"):
        written.open()


def forest_changes():
    """Of a forest by L2: nodes of four numbers and a vector."""

    def splits(nodes):
        return COUNT + np.flatnonzero(nodes[COUNT:, 0] > nodes.shape[1] - 2)

    def leaf(nodes):
        return COUNT + int(np.flatnonzero(nodes[COUNT:, 0] <= nodes.shape[1] - 2)[0])

    def change(at, column, value):
        def into(nodes):
            nodes[at(nodes), column] = value(nodes) if callable(value) else value

        return into

    last = lambda nodes: -1  # noqa: E731
    return {
        "a row beyond the rows in a leaf": change(leaf, 2, COUNT),
        "a negative row in a leaf": change(leaf, 2, -5),
        "a leaf of negative length": change(leaf, 0, -1),
        "an empty leaf": change(leaf, 0, 0),
        "a leaf said to be of one": change(leaf, 0, 0x4000_0000),
        "a root that leads far out": change(last, 2, HUGE),
        "a root that leads before the file": change(last, 3, -HUGE),
        "a root that leads to itself": change(last, 2, lambda nodes: len(nodes) - 1),
        "a circle": change(lambda nodes: splits(nodes)[0], 2, lambda nodes: int(splits(nodes)[-2])),
        "a node that is reached twice": change(last, 3, lambda nodes: int(nodes[-1, 2])),
        "a row that is none": change(lambda nodes: 3, 0, 9),
        "other rows": change(lambda nodes: 3, 6, 0),
        "fewer rows": change(last, 0, 7),
        "a length that is no number": change(lambda nodes: 3, 1, 0x7FC0_0000),
    }


@pytest.mark.parametrize("what", forest_changes())
def test_a_forest(tmp_path, what):
    written = Written(tmp_path, "annoy", {"trees": 7})
    path = written.folder / "forest.annoy"
    nodes = np.fromfile(path, "<i4").reshape(-1, 4 + DIM)
    forest_changes()[what](nodes)
    nodes.tofile(path)
    forge(written.folder)
    with pytest.raises(IndexDamaged, match=r"forest\.annoy was not written by this library"):
        written.open()


@pytest.mark.parametrize("options", [{"storage": "pq"}, {"storage": "sq8"}, {"storage": "flat"}], ids=str)
def test_lists_whose_rows_are_elsewhere(tmp_path, options):
    """Ids stand at the very end of each file or list: each is changed in turn, to what is not there or comes twice."""
    written = Written(tmp_path, "faiss-ivf", options)
    path = written.folder / "lists.faiss"
    whole = path.read_bytes()
    ids = struct.pack("<2q", *rows_of_a_list(written))
    at = whole.index(ids)
    for value in (COUNT, -1, 1 << 40, struct.unpack_from("<q", ids, 8)[0]):
        path.write_bytes(whole[:at] + struct.pack("<q", value) + whole[at + 8 :])
        forge(written.folder)
        with pytest.raises(IndexDamaged, match="a row is missing, or comes twice"):
            written.open()


def rows_of_a_list(written):
    import faiss

    lists = written.index._lists.invlists
    place = next(place for place in range(lists.nlist) if lists.list_size(place) > 1)
    return faiss.rev_swig_ptr(lists.get_ids(place), 2).tolist()


@pytest.mark.parametrize("kind", [b"IxFI", b"IHNf", b"IxPT", b"ILIS", b"Ibin", b"IwPQ", b"null"])
def test_another_kind_of_faiss_index_is_never_read(tmp_path, kind):
    written = Written(tmp_path, "faiss-ivf", {"storage": "flat"})
    path = written.folder / "lists.faiss"
    path.write_bytes(kind + path.read_bytes()[4:])
    forge(written.folder)
    with pytest.raises(IndexDamaged, match="it holds other lists"):
        written.open()


@pytest.mark.parametrize(("file", "change"), [("codes.npy", 1), ("facts.npy", 0.5)])
def test_codes_that_would_hide_a_row(tmp_path, file, change):
    """Exact search is exact whoever wrote the codes: bounds below the true ones are not taken."""
    written = Written(tmp_path, "exact", {"codes": "int8"})
    array = np.load(written.folder / file)
    array[17] = array[17] + change if file == "codes.npy" else array[17] * change
    np.save(written.folder / file, array)
    forge(written.folder)
    with pytest.raises(IndexDamaged, match="its codes are not those of the stored vectors"):
        written.open()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((COUNT, 12), np.float64),
        np.zeros((COUNT, 13), np.int8),
        np.zeros((COUNT, 12, 1), np.int8),
        np.zeros(COUNT, np.int8),
        np.zeros((12, COUNT), np.int8).T,
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_codes_of_another_kind_even_with_a_tag(tmp_path, array, monkeypatch):
    written = Written(tmp_path, "exact", {"codes": "int8"})
    np.save(written.folder / "codes.npy", array)
    forge(written.folder)
    monkeypatch.setattr("semsearch.local.index.generation.built_here", lambda *_: True)
    with pytest.raises(IndexDamaged, match="its codes are of another kind"):
        written.open()
