"""The observer at scale: 20 hosts and 1,000 machines, of which 50 are started or stopped behind its back each second.

Run: python -m bench.scale [seconds]. Needs root, as it starts its libvirtds as nobody. Every host is a libvirtd of its
own with libvirt's test driver: no guests, but real sockets, calls and events. The observer is `manage.py observe_hosts`
as in production, on a PostgreSQL and a Redis of its own. A change counts from before it is made until its row says so.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from tests.servers import postgresql, redis_server, wait_until

if TYPE_CHECKING:
    from instances.models import Host, Plan

HOSTS, MACHINES, RATE = 20, 1000, 50
SECONDS = 60
P99_LIMIT, CPU_LIMIT = 1.0, 0.5
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Change:
    """Somebody with virsh starts or stops a machine; `at` is just before."""

    machine: int
    to: str
    at: datetime


@dataclass(frozen=True)
class Seen:
    """Seconds until each change stood in its row; those that never did; cores of the observer at work and at rest."""

    after: list[float]
    missed: int
    cores: float
    cores_at_rest: float

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.after, n=100)[-1]


@contextmanager
def libvirtd(folder: Path) -> Iterator[str]:
    """A libvirtd apart from all others; its URI for the test driver."""
    folder.mkdir()
    shutil.chown(folder, "nobody", "nogroup")
    homes = ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"]
    words = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "env"]
    words += [f"{name}={folder}" for name in homes] + ["libvirtd", "--pid-file", str(folder / "pid")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=log, stderr=log)
    try:
        wait_until((folder / "libvirt" / "libvirt-sock").exists, f"libvirtd in {folder}", 60)
        yield f"test+unix:///default?socket={folder}/libvirt/libvirt-sock"
    finally:
        process.terminate()
        process.wait(30)


def measure(seconds: float) -> Seen:
    with ExitStack() as servers:
        folder = Path(servers.enter_context(tempfile.TemporaryDirectory(prefix="visa-bench-")))
        folder.chmod(0o755)
        os.environ |= {
            "VISA_HOME": str(folder),
            "VISA_SECRET_KEY": secrets.token_urlsafe(50),
            "VISA_DEPLOYMENT": str(uuid4()),
            "VISA_REDIS_SOCKET": str(folder / "redis.sock"),
            "DATABASE_URL": servers.enter_context(postgresql()),
            "DJANGO_SETTINGS_MODULE": "visa_site.settings",
            "VISA_LOG_LEVEL": "ERROR",
        }
        servers.enter_context(redis_server(folder / "redis.sock"))
        uris = [servers.enter_context(libvirtd(folder / f"host-{number}")) for number in range(HOSTS)]
        import django  # noqa: PLC0415 - the environment had to be told first

        django.setup()
        return _measure_here(folder, uris, seconds)


def _measure_here(folder: Path, uris: list[str], seconds: float) -> Seen:
    from django.core.management import call_command  # noqa: PLC0415

    from instances.drivers import open_host  # noqa: PLC0415
    from instances.models import Instance  # noqa: PLC0415
    from instances.specs import host_spec  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    hosts = _facility(folder, uris)
    stop = Event()
    with ExitStack() as kept:  # libvirt's test driver forgets its machines with the last connection
        for host in hosts:
            kept.enter_context(closing(open_host(host_spec(host))))
        with ThreadPoolExecutor(HOSTS) as makers:
            list(makers.map(_build, hosts))
        pid = kept.enter_context(observing())
        wait_until(lambda: not Instance.objects.exclude(power="running").exists(), "a first look at all hosts", 120)
        cores_at_rest = _cores(pid, 20)
        desktops = Thread(target=_show_desktops, args=(stop,))
        desktops.start()
        with ThreadPoolExecutor(HOSTS) as operators:
            work = [operators.submit(_operate, host, seconds) for host in hosts]
            cores = _cores(pid, seconds)
            changes = [change for done in work for change in done.result()]
        time.sleep(5)
        stop.set()
        desktops.join()
    after = [_written(change) for change in changes]
    return Seen([one for one in after if one is not None], after.count(None), cores, cores_at_rest)


@contextmanager
def observing() -> Iterator[int]:
    """The observer's process, by its id."""
    process = subprocess.Popen([sys.executable, "manage.py", "observe_hosts"], cwd=ROOT)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


def _facility(folder: Path, uris: list[str]) -> list[Host]:
    from django.utils import timezone  # noqa: PLC0415

    from experiments.models import User  # noqa: PLC0415
    from instances.models import Host, Instance  # noqa: PLC0415
    from instances.states import State  # noqa: PLC0415

    owner, plan, now = User.objects.create(username="owner"), _plan(folder), timezone.now()
    hosts = [
        Host.objects.create(name=f"host-{number}", uri=uri, virtualisation="qemu", pool_path=str(folder / "pool"))
        for number, uri in enumerate(uris)
    ]
    size = {"vcpus": 1, "memory_mib": 64, "disk_gib": 1}
    Instance.objects.bulk_create(
        Instance(owner=owner, name=f"Machine {number}", plan=plan, host=hosts[number % HOSTS], state=State.ACTIVE,
                 state_since=now, built_at=now, desktop_ready_at=now, **size)
        for number in range(MACHINES)
    )  # fmt: skip
    return hosts


def _plan(folder: Path) -> Plan:
    from instances.models import Flavour, Image, Plan  # noqa: PLC0415
    from tests.instances.drivers.machines import blank_image  # noqa: PLC0415

    blank = blank_image(folder / "blank.qcow2")
    image = Image.objects.create(name="Blank", version="1", path=blank.path, sha256=blank.sha256, virtual_size_gib=1)
    flavour = Flavour.objects.create(name="Small", vcpus=1, memory_mib=64, disk_gib=1)
    return Plan.objects.create(image=image, flavour=flavour, preset=True)


def _build(host: Host) -> None:
    from django.db import connection  # noqa: PLC0415

    from instances.drivers import open_host  # noqa: PLC0415
    from instances.specs import host_spec, instance_spec  # noqa: PLC0415

    specs = [instance_spec(machine) for machine in host.instances.select_related("owner", "plan__image")]
    where = host_spec(host)
    connection.close()
    with closing(open_host(where)) as driver:
        for spec in specs:
            driver.create(spec)
            driver.start(spec.uuid)


def _operate(host: Host, seconds: float) -> list[Change]:
    """Start and stop the host's machines one after the other, at its share of the rate and at uneven moments."""
    from django.db import connection  # noqa: PLC0415

    from instances.drivers import open_host  # noqa: PLC0415
    from instances.specs import host_spec  # noqa: PLC0415

    chance = random.Random(host.pk)
    machines: list[tuple[int, UUID]] = list(host.instances.values_list("pk", "uuid"))
    where = host_spec(host)
    connection.close()
    until, runs = time.monotonic() + seconds, dict.fromkeys(machines, True)
    changes: list[Change] = []
    with closing(open_host(where)) as driver:
        while time.monotonic() < until:
            one = machines[len(changes) % len(machines)]
            changes.append(Change(one[0], "stopped" if runs[one] else "starting", datetime.now(UTC)))
            if runs[one]:
                driver.stop(one[1], force=True)
            else:
                driver.start(one[1])
            runs[one] = not runs[one]
            time.sleep(chance.expovariate(RATE / HOSTS))
    return changes


def _show_desktops(stop: Event) -> None:
    """What the guests' desktops would do: whatever starts is ready a little later."""
    from django.db import connection  # noqa: PLC0415

    from instances.models import Instance  # noqa: PLC0415
    from instances.states import State  # noqa: PLC0415

    while not stop.wait(1):
        Instance.objects.filter(state=State.STARTING, power="running").update(state=State.ACTIVE)
    connection.close()


def _cores(pid: int, seconds: float) -> float:
    """How many cores the process keeps busy in that time."""
    begun, used = time.monotonic(), _cpu_seconds(pid)
    time.sleep(seconds)
    return (_cpu_seconds(pid) - used) / (time.monotonic() - begun)


def _cpu_seconds(pid: int) -> float:
    fields: list[Any] = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _written(change: Change) -> float | None:
    from instances.models import Transition  # noqa: PLC0415

    moves = Transition.objects.filter(instance=change.machine, to=change.to, at__gte=change.at)
    at = moves.order_by("at").values_list("at", flat=True).first()
    return (at - change.at).total_seconds() if at else None


def table(seen: Seen, seconds: float) -> str:
    made = len(seen.after) + seen.missed
    reached = "reached" if seen.p99 < P99_LIMIT and seen.cores < CPU_LIMIT and not seen.missed else "NOT reached"
    return "\n".join([
        f"{HOSTS} hosts, {MACHINES} machines, {made / seconds:.0f} changes a second behind the observer's back",
        f"  {'seen after, median':<28} {statistics.median(seen.after) * 1000:7.0f} ms",
        f"  {'seen after, p99':<28} {seen.p99 * 1000:7.0f} ms   (under {P99_LIMIT * 1000:.0f})",
        f"  {'seen after, longest':<28} {max(seen.after) * 1000:7.0f} ms",
        f"  {'never seen':<28} {seen.missed:7}      of {made}",
        f"  {'observer at work':<28} {seen.cores:7.2f} cores (under {CPU_LIMIT})",
        f"  {'observer at rest':<28} {seen.cores_at_rest:7.2f} cores",
        f"  {reached}",
    ])  # fmt: skip


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    seen = measure(seconds)
    print(table(seen, seconds))
    return 0 if seen.p99 < P99_LIMIT and seen.cores < CPU_LIMIT and not seen.missed else 1


if __name__ == "__main__":
    sys.exit(main())
