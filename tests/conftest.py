"""What every test may ask for: the run's Redis, a PostgreSQL of its own, and patience."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.utils import translation

from tests.cell.hypervisor import base_image, libvirtd, other_computer, qemu_host, simulated_host  # noqa: F401 - fixtures
from tests.servers import RedisServer, postgresql, redis_server


@pytest.fixture(scope="session", autouse=True)
def redis() -> Iterator[RedisServer]:
    """The Redis that the settings name: cache, sessions, channel layer and queue are real in every test."""
    with redis_server(Path(settings.REDIS_SOCKET)) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """DATABASE_URL of a PostgreSQL for programs that a test starts itself."""
    with postgresql() as url:
        yield url


def pytest_runtest_setup(item: pytest.Item) -> None:
    translation.deactivate()  # a request of the test before may have left its reader's language in this thread
    if item.get_closest_marker("postgres") and connection.vendor != "postgresql":
        pytest.skip("runs on PostgreSQL: .venv/bin/python -m tests.servers .venv/bin/pytest -m postgres")
