"""The applications over a database."""

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from support.applications_contract import ApplicationsContract

pytestmark = pytest.mark.postgres


class TestPostgresApplications(ApplicationsContract):
    @pytest.fixture
    def place(self, url):
        return url
