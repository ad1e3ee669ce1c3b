"""Fixtures of the tests that decide on a real Redis: ``tests/support/stepped.py`` says what they are."""

import pytest
from tests.support.stepped import SteppedWorker, stepped_leaders


@pytest.fixture
def make_leader(redis_client):
    """A factory of stepped leaders; what they leave in Redis is checked at the end of the test."""
    with stepped_leaders(redis_client) as make:
        yield make


@pytest.fixture
def worker(redis_client):
    """A stepped worker."""
    return SteppedWorker(redis_client)
