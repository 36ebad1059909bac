"""The engine of a server keeps the contract, as one on this machine does: it is the same, elsewhere."""

import pytest

pytest.importorskip("starlette", reason="the extra 'server' is not installed")

from support.serving import served

from semsearch.remote.home import RemoteHome
from semsearch.testing import EngineContract


class TestRemoteEngine(EngineContract):
    @pytest.fixture
    def home(self, tmp_path):
        with served(str(tmp_path / "home"), sparse=("words",)) as server:
            yield RemoteHome(server.url)
