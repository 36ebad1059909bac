"""Clients that are killed at a few of their exchanges with the server; `make kill-clients` takes all of them."""

import random

import pytest

pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")

from support import client_kills

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.mark.parametrize("operation", client_kills.OPERATIONS)
def test_killed_at_an_exchange(server, operation):
    generator = random.Random(operation)

    def homes():
        return server.url(schema=f"k{next(client_kills.NUMBERS)}")

    wrong, kills = client_kills.rounds(homes, operation, lambda points: generator.sample(points, 1))
    assert wrong == []
    assert kills == 1
