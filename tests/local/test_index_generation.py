"""An index generation on disk: whole or not there, and refused for anything but what it was written for."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from semsearch.errors import IndexDamaged, StorageError
from semsearch.local.index.generation import GENERATION_MANIFEST, open_generation, read_manifest, write_generation
from semsearch.local.store.failpoints import arm
from semsearch.plugins import index_backend
from semsearch.testing import make_keys, make_vectors
from semsearch.types import Metric

OWNER = {"backend": "exact", "collection": "a-uuid", "model": "a-fingerprint"}


@pytest.fixture(autouse=True)
def _disarm():
    yield
    arm(None)


@pytest.fixture
def built():
    """An exact index with codes, which has files and needs no optional library."""
    keys, vectors = make_keys(200), make_vectors(Metric.COSINE, 200, 12)
    backend = index_backend("exact")
    params = backend.Params(codes="int8")
    return backend.build(keys, vectors, Metric.COSINE, params), keys, vectors, params


def write(folder, built):
    index, keys, vectors, params = built
    return write_generation(folder, index, keys, vectors, Metric.COSINE, params, **OWNER)


def opened(folder, built, **changes):
    index, keys, vectors, _ = built
    given = {"keys": keys, "vectors": vectors, "metric": Metric.COSINE, **OWNER, **changes}
    return open_generation(folder, type(index), **given)


def test_the_manifest_says_what_the_index_is(tmp_path, built):
    written = write(tmp_path / "exact-1", built)
    assert read_manifest(tmp_path / "exact-1") == written
    assert (written.backend, written.metric, written.dim, written.count) == ("exact", "cosine", 12, 200)
    assert written.highest_key == int(built[1].max())
    assert written.options == {"codes": "int8", "device": "auto"}
    assert "semsearch" in written.versions
    assert sorted(written.files) == ["codes.npy", "facts.npy"]
    assert [path.name for path in tmp_path.iterdir()] == ["exact-1"], "nothing temporary is left"


def test_an_opened_index_has_the_options_it_was_built_with(tmp_path, built):
    write(tmp_path / "g", built)
    index, manifest, _ = opened(tmp_path / "g", built)
    found, expected = index.search(built[2][:5], 3), built[0].search(built[2][:5], 3)
    assert found.keys.tolist() == expected.keys.tolist()
    assert manifest.options["codes"] == "int8"


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("collection", {"collection": "another-uuid"}),
        ("model", {"model": "another-fingerprint"}),
        ("backend", {"backend": "hnsw"}),
        ("metric", {"metric": Metric.DOT}),
        ("dim", {"vectors": np.zeros((200, 13), dtype=np.float32)}),
        ("count", {"keys": make_keys(199), "vectors": np.zeros((199, 12), dtype=np.float32)}),
        ("highest_key", {"keys": np.arange(200)}),
    ],
)
def test_an_index_of_something_else_is_refused(tmp_path, built, what, change):
    write(tmp_path / "g", built)
    with pytest.raises(IndexDamaged, match=f"its {what} is"):
        opened(tmp_path / "g", built, **change)


def test_a_manifest_of_another_format_or_none(tmp_path, built):
    write(tmp_path / "g", built)
    path = tmp_path / "g" / GENERATION_MANIFEST
    text = path.read_text()
    for spoilt in ("", "{}", text[:-3], json.dumps({**json.loads(text), "format": 99}), "[1]"):
        path.write_text(spoilt)
        with pytest.raises(IndexDamaged):
            opened(tmp_path / "g", built)
    path.unlink()
    with pytest.raises(IndexDamaged, match="manifest"):
        opened(tmp_path / "g", built)
    shutil.rmtree(tmp_path / "g")
    with pytest.raises(IndexDamaged):
        opened(tmp_path / "g", built)


def test_a_stop_at_any_durable_step_leaves_all_or_nothing(tmp_path, built):
    """The process ends before each step in turn: the name exists only with everything in it, and a second try works."""
    steps = []
    arm(steps.append)
    write(tmp_path / "counted", built)
    assert len(set(steps)) >= 5

    class Killed(BaseException):
        pass

    for last in range(len(steps)):
        left = iter(range(last))

        def action(name, left=left):
            if next(left, None) is None:
                raise Killed(name)

        folder = tmp_path / f"g{last}"
        arm(action)
        with pytest.raises(Killed):
            write(folder, built)
        arm(None)
        if folder.exists():
            opened(folder, built)
            shutil.rmtree(folder)
        write(folder, built)
        opened(folder, built)


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path, built):
    def full(name):
        if name == "write manifest":
            raise OSError(28, "No space left on device")

    arm(full)
    with pytest.raises(StorageError, match="No space left"):
        write(tmp_path / "g", built)
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_hides_a_failed_write_is_found_out(tmp_path, built):
    """Read back before it counts: an index that loses rows or answers differently on disk is never published."""
    index, keys, vectors, params = built
    kind = type(index)

    class Shorter(kind):
        @classmethod
        def load(cls, folder, keys, vectors, metric, params):
            return kind.build(keys[:-1], vectors[:-1], metric, params)

    class Different(kind):
        @classmethod
        def load(cls, folder, keys, vectors, metric, params):
            return kind.build(keys, np.roll(vectors, 1, axis=0), metric, params)

    for bad, says in ((Shorter, "199 of 200"), (Different, "answers differently")):
        lying = bad.build(keys, vectors, Metric.COSINE, params)
        with pytest.raises(StorageError, match=says):
            write_generation(tmp_path / "g", lying, keys, vectors, Metric.COSINE, params, **OWNER)
        assert list(tmp_path.iterdir()) == []


def test_options_that_this_version_no_longer_has(tmp_path, built):
    written = write(tmp_path / "g", built)
    path = tmp_path / "g" / GENERATION_MANIFEST
    options = {**written.options, "gone": 1}
    path.write_text(json.dumps(dataclasses.asdict(dataclasses.replace(written, options=options))))
    with pytest.raises(IndexDamaged, match="can't be loaded"):
        opened(tmp_path / "g", built)
