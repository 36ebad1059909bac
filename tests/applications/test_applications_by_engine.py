"""The applications over the engines that need no database; PostgreSQL's are with its other tests."""

import pytest

pytest.importorskip("starlette", reason="the extra 'server' is not installed")

from support.applications_contract import ApplicationsContract
from support.serving import served

pytestmark = pytest.mark.slow


class TestRemoteApplications(ApplicationsContract):
    @pytest.fixture
    def place(self, tmp_path):
        with served(str(tmp_path / "served"), encoders=(str(tmp_path / "model"),)) as server:
            yield server.url


class TestMemoryApplications(ApplicationsContract):
    @pytest.fixture
    def place(self, monkeypatch):
        from semsearch.testing.memory import MemoryHome

        monkeypatch.setattr(MemoryHome, "_engines", {})
        monkeypatch.setattr(MemoryHome, "lasting", True)  # of this process, in which the commands run
        return "memory://"
