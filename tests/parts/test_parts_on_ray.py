"""Parts on a Ray cluster of two nodes, one of which is lost: `make ray`, which installs it."""

import numpy as np
import pytest
from support.command_line import corpus, tiny_model

import semsearch
from semsearch import UsageError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # Ray's own
ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed", exc_type=ImportError)


def test_a_lost_node_costs_nothing_but_time(tmp_path, monkeypatch):
    from ray.cluster_utils import Cluster

    model, notes = tiny_model(tmp_path / "tiny"), corpus(tmp_path, count=200)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        told = []

        def progress(done):
            if len(told) == 3:
                cluster.remove_node(nodes[0], allow_graceful=False)
            told.append(done)

        ended = semsearch.encode(
            notes, tmp_path / "parts", parts=24, on="ray://auto", encoder=str(model), progress=progress
        )
        assert (ended.made + ended.there, ended.documents) == (24, 200)
        again = semsearch.encode(notes, tmp_path / "parts", parts=24, on="ray://auto", encoder=str(model))
        assert (again.made, again.there) == (0, 24)
    finally:
        ray.shutdown()
        cluster.shutdown()
    with semsearch.create("plain", encoder=str(model)) as plain, semsearch.create("notes", encoder=str(model)) as other:
        plain.add_from(notes)
        other.add_parts(tmp_path / "parts")
        assert list(other.documents()) == list(plain.documents())
        np.testing.assert_allclose(other.arrays()[1], plain.arrays()[1], atol=3e-7)  # other batches, other last bits


def test_no_cluster_answers(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError, match="no Ray cluster answers"):
        semsearch.encode(corpus(tmp_path), tmp_path / "parts", parts=2, on="ray://auto")
