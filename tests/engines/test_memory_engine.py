"""The engine in memory keeps the contract, so that there is a second one behind it."""

import pytest

from semsearch.testing import EngineContract
from semsearch.testing.memory import MemoryHome


class TestMemoryEngine(EngineContract):
    indexed = maintained = False

    @pytest.fixture
    def home(self, monkeypatch):
        monkeypatch.setattr(MemoryHome, "_engines", {})
        return MemoryHome()
