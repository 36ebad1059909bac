"""The engine on PostgreSQL keeps the contract."""

import pytest

from semsearch.testing import EngineContract

pytestmark = pytest.mark.postgres


class TestPostgresEngine(EngineContract):
    @pytest.fixture
    def home(self, url):
        from semsearch.postgres.home import PostgresHome

        return PostgresHome(url)
