"""The engine of a server keeps the contract, as one on this machine does: it is the same, elsewhere."""

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra 'server' is not installed")

from support import tiny
from support.serving import served

import semsearch
from semsearch.errors import UsageError
from semsearch.remote.home import RemoteHome
from semsearch.server import engine_routes
from semsearch.testing import EngineContract


class TestRemoteEngine(EngineContract):
    @pytest.fixture
    def home(self, tmp_path):
        with served(str(tmp_path / "home"), sparse=("words",)) as server:
            yield RemoteHome(server.url)


def test_vectors_come_in_parts_and_from_a_server_of_before_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_routes, "VECTORS_A_LINE", 3)
    vectors = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    with served(str(tmp_path / "home")) as server:
        home = RemoteHome(server.url)
        with semsearch.create("notes", home=home, encoder=None, dim=5, metric="dot") as notes:
            notes.add([semsearch.Document(str(at), "text") for at in range(8)], vectors=vectors)
            keys, found = notes.arrays()
            assert (keys.tolist(), found.tobytes()) == (list(range(keys[0], keys[0] + 8)), vectors.tobytes())
            with notes.engine.lines("vectors") as lines:
                assert len(list(lines)) == 3
            before = {what: made for what, made in engine_routes.READ_WHOLE.items() if what != "vectors"}
            monkeypatch.setattr(engine_routes, "READ_WHOLE", before)
            with pytest.raises(UsageError, match="there are 'documents', 'stored'"), notes.engine.lines("vectors"):
                pass
            assert notes.arrays()[1].tobytes() == vectors.tobytes()


def test_words_that_a_servers_model_does_not_know(tmp_path):
    """Its tokenizer is here, too: what it does not know makes no duplicates."""
    model = str(tiny.bert(tmp_path / "model"))
    with served(str(tmp_path / "home"), encoders=(model,)) as server:
        with semsearch.create("notes", home=RemoteHome(server.url), encoder=model) as notes:
            notes.add([semsearch.Document(str(at), f"the {sign} sleeps") for at, sign in enumerate("😀😢")])
        with semsearch.open("notes", home=RemoteHome(server.url)) as notes:  # with the server's model, not one of here
            found = notes.duplicates(min_score=0.9, wording=False)
            assert list(found) == []
            assert [note.partition(" that ")[0] for note in found.notes] == ["not counted: 1 pair"]
