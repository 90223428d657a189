"""The home page in a facility of 10,000 people and 100,000 past machines: server time and queries, on PostgreSQL.

Run: python -m bench.home. Starts a PostgreSQL and a Redis of its own and takes about a minute.
"""

from __future__ import annotations

import os
import secrets
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.servers import postgresql, redis_server

LIVE = {"none": 0, "three": 3, "twelve": 12}
"""How many live machines each of the three people has whose home page is measured."""

WARM_UP, ROUNDS = 10, 150


@dataclass(frozen=True)
class Home:
    """What one person's home page costs: queries, milliseconds on the clock, and of those our own CPU's (mean)."""

    machines: int
    queries: int
    median: float
    p95: float
    cpu: float


def measure(people: int = 10_000, past: int = 100_000) -> list[Home]:
    """Build the facility on servers of its own, and ask for the home page as each of three people."""
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="visa-bench-")))
        os.environ |= {
            "VISA_HOME": str(folder),
            "VISA_SECRET_KEY": secrets.token_urlsafe(50),
            "VISA_REDIS_SOCKET": str(folder / "redis.sock"),
            "DATABASE_URL": servers.enter_context(postgresql()),
            "DJANGO_SETTINGS_MODULE": "visa_site.settings",
            "VISA_LOG_LEVEL": "ERROR",
        }
        servers.enter_context(redis_server(folder / "redis.sock"))
        return _measure_here(people, past)


def _measure_here(people: int, past: int) -> list[Home]:
    import django  # noqa: PLC0415 - the environment had to be told first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    from bench.seed_scale import seed  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    seed(people, past, {f"bench-{name}": live for name, live in LIVE.items()})
    homes = [_home(f"bench-{name}", live) for name, live in LIVE.items()]
    connection.close()
    return homes


def _home(username: str, live: int) -> Home:
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    from experiments.models import User  # noqa: PLC0415

    client = Client(HTTP_HOST="localhost")
    client.force_login(User.objects.get(username=username))
    for _ in range(WARM_UP):
        assert client.get("/").status_code == 200
    with CaptureQueriesContext(connection) as counted:
        client.get("/")
    queries = len(counted)
    times, cpu = [], time.thread_time()
    for _ in range(ROUNDS):
        began = time.perf_counter()
        client.get("/")
        times.append((time.perf_counter() - began) * 1000)
    cpu = (time.thread_time() - cpu) * 1000 / ROUNDS
    return Home(live, queries, statistics.median(times), statistics.quantiles(times, n=20)[-1], cpu)


def main() -> int:
    began = time.monotonic()
    homes = measure()
    print(f"home page, 10,000 people, 100,000 past machines, PostgreSQL ({time.monotonic() - began:.0f} s in all)")
    print("  live machines  queries  median ms   p95 ms   CPU ms")
    for home in homes:
        print(f"  {home.machines:13}  {home.queries:7}  {home.median:9.1f}  {home.p95:7.1f}  {home.cpu:7.1f}")
    constant = len({home.queries for home in homes}) == 1
    return 0 if constant and max(home.p95 for home in homes) < 100 else 1


if __name__ == "__main__":
    sys.exit(main())
