"""The plugin that has the fixture ``cluster``: ``pytest_plugins = ["tests.support.real_cluster_fixture"]``."""

from collections.abc import Iterator

import pytest
from tests.support.real_cluster import Cluster, found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The API server of the session."""
    with found(tmp_path_factory.mktemp("kube")) as one:
        yield one
