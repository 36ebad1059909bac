"""The engine on this machine keeps the contract."""

import pytest

from semsearch.local.home import LocalHome
from semsearch.testing import EngineContract


class TestLocalEngine(EngineContract):
    @pytest.fixture
    def home(self, tmp_path):
        return LocalHome(str(tmp_path / "home"))
