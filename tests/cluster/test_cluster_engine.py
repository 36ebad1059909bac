"""The engine on a cluster keeps the contract, on either server."""

import pytest

from semsearch.testing import EngineContract

pytestmark = pytest.mark.cluster


class ClusterContract(EngineContract):
    @pytest.fixture
    def home(self, url):
        from semsearch.cluster.home import ClusterHome

        return ClusterHome(url)


class TestOpenSearchEngine(ClusterContract):
    @pytest.fixture
    def server(self, opensearch):
        return opensearch


class TestElasticsearchEngine(ClusterContract):
    @pytest.fixture
    def server(self, elasticsearch):
        return elasticsearch
