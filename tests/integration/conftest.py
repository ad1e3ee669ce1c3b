"""Fixtures of the tests that decide on a real Redis: ``tests/support/leader.py`` says what they are."""

import pytest
from tests.support.leader import Hand, desks


@pytest.fixture
def desk(redis_client):
    """Makes desks; what they leave in Redis is checked at the end of the test."""
    with desks(redis_client) as make:
        yield make


@pytest.fixture
def hand(redis_client):
    """A worker's hand."""
    return Hand(redis_client)
