"""Does the relay leak? Ten thousand visits and a thousand dead machines, and what is left of them afterwards.

Run: python -m bench.soak [visits] [dead]. The whole site as production serves it, with a SQLite and a Redis of its own,
in one process with its viewers, so that tasks can be counted; a fifth of the visitors may only watch.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosedError

from tests.servers import redis_server

if TYPE_CHECKING:
    from tests.desktops.conftest import House

VISITS, DEAD, WARM_UP = 10_000, 1_000, 1_000
AT_ONCE = 8
WATCHER_EVERY = 5
MEMORY_LIMIT = 1.05
PATIENCE = 60.0
NO_ANSWER = 4502

Visit = Callable[[int], Awaitable[None]]


@dataclass(frozen=True)
class Left:
    """What the process holds: open descriptors, asyncio tasks, resident memory in KiB."""

    descriptors: int
    tasks: int
    memory: int


def held() -> Left:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Left(len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks()), pages * os.sysconf("SC_PAGE_SIZE") // 1024)


async def many(visit: Visit, number: int) -> None:
    """`number` visits, `AT_ONCE` at a time; a task for each would itself be what is left of memory afterwards."""
    numbers = iter(range(number))

    async def some() -> None:
        for index in numbers:
            await visit(index)

    async with asyncio.TaskGroup() as group:
        for _place in range(AT_ONCE):
            group.create_task(some())


async def settled(before: Left) -> Left:
    """What is held once it is no more than before, or after a minute: the owner's grace rings half a minute later."""
    deadline = time.monotonic() + PATIENCE
    while (now := held()).tasks > before.tasks or now.descriptors > before.descriptors:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    return now


async def measure(house: House, visits: int, dead: int) -> list[tuple[str, Left]]:
    """What is held after a warm-up, after the visits, and after the dead machines."""
    from tests.desktops.conftest import in_database, sign_in  # noqa: PLC0415 - the environment had to be told first
    from tests.desktops.viewers import viewing  # noqa: PLC0415

    _, owner = await sign_in(house.people.alice)
    _, guest = await sign_in(house.gwen)

    async def visit(index: int) -> None:
        headers = owner if index % WATCHER_EVERY else guest
        while not await _looked(house, headers):
            pass

    async def knock(index: int) -> None:
        async with viewing(house.port, house.path(), additional_headers=owner) as viewer:
            code, _ = await viewer.ended()
            assert code == NO_ANSWER, code

    # Redis' reader comes with the first visit, and each thread's connection to the database with its first query.
    idle = Left(sys.maxsize, held().tasks + 1, 0)
    await many(visit, min(WARM_UP, visits))
    rows = [("after the warm-up", await settled(idle))]
    await many(visit, visits)
    rows.append((f"after {visits:,} visits", await settled(rows[0][1])))
    await in_database(_unplug, house)
    await many(knock, dead)
    rows.append((f"after {dead:,} dead machines", await settled(rows[0][1])))
    return rows


async def _looked(house: House, headers: dict[str, str]) -> bool:
    """Whether the screen was seen: where a busy host answers too late, the visitor comes again, as the page does."""
    from tests.desktops.viewers import viewing  # noqa: PLC0415

    try:
        async with viewing(house.port, house.path(), additional_headers=headers) as viewer:
            await viewer.shake_hands()
    except ConnectionClosedError as closed:
        if closed.rcvd is None or closed.rcvd.code != NO_ANSWER:
            raise
        return False
    return True


def _unplug(house: House) -> None:
    """A port on which nobody listens."""
    from instances.models import ImageProtocol  # noqa: PLC0415

    ImageProtocol.objects.filter(kind="vnc").update(port=1)


async def soak(visits: int, dead: int) -> list[tuple[str, Left]]:
    from tests.desktops.conftest import furnished, in_database, populated  # noqa: PLC0415

    people, gwen = await in_database(populated)
    async with furnished(people, gwen) as house:
        return await measure(house, visits, dead)


def main() -> int:
    visits, dead = [int(word) for word in sys.argv[1:3]] or [VISITS, DEAD]
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="visa-bench-")))
        os.environ |= {
            "VISA_HOME": str(folder),
            "VISA_SECRET_KEY": secrets.token_urlsafe(50),
            "VISA_REDIS_SOCKET": str(folder / "redis.sock"),
            "DJANGO_SETTINGS_MODULE": "visa_site.settings",
            "VISA_LOG_LEVEL": "ERROR",
        }
        servers.enter_context(redis_server(folder / "redis.sock"))
        import django  # noqa: PLC0415 - the environment had to be told first

        django.setup()
        from django.core.management import call_command  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        return show(asyncio.run(soak(visits, dead)))


def show(rows: list[tuple[str, Left]]) -> int:
    """Print the table; 1 where something is left."""
    print(f"{'':<28} descriptors  tasks  memory KiB")
    for name, left in rows:
        print(f"  {name:<26} {left.descriptors:>11} {left.tasks:>6} {left.memory:>11,}")
    first, last = rows[0][1], rows[-1][1]
    clean = last.descriptors <= first.descriptors and last.tasks <= first.tasks
    clean = clean and last.memory <= first.memory * MEMORY_LIMIT
    verdict = "nothing is left behind" if clean else "SOMETHING IS LEFT BEHIND"
    print(f"  {verdict}: memory {last.memory / first.memory:.3f}")
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
