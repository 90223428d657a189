"""Cold start: from the press on Create to a drawn desktop, against the same domain started by hand with virsh.

Run: python -m bench.cold_start. It enters namespaces of its own (tests/cell) and runs a whole VISA there with the small
image. By hand means: disk, seed and domain lie ready, and only `virsh start` to the drawn desktop is timed; through us
everything from the request on is timed. The two take turns, so that both see the same host.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from instances import screen
from instances.drivers import open_host
from instances.drivers.base import BaseImage, Driver, HostSpec, InstanceSpec, Persona, Virtualisation
from tests.flows.installation import IMAGES, Installation, Person
from tests.servers import wait_until

ROUNDS = 5
LIMIT = 1.10
PASSWORD = "bare-one"
VNC = 5901
PATIENCE = 300.0
CELL = Path(__file__).parents[1] / "tests" / "cell" / "enter"


@dataclass(frozen=True)
class Times:
    """Seconds to a drawn desktop, one for each round."""

    by_hand: list[float]
    through_us: list[float]

    @property
    def ratio(self) -> float:
        return statistics.median(self.through_us) / statistics.median(self.by_hand)


def measure(rounds: int = ROUNDS) -> Times:
    """Run both in turns. Only inside tests/cell/enter."""
    with tempfile.TemporaryDirectory(prefix="visa-bench-") as folder:
        visa = Installation(Path(folder))
        visa.start()
        try:
            alice = Person(visa, "alice")
            with closing(open_host(_host())) as driver:
                driver.prepare()
                driver.provide(_image())
                spec = _spec(alice)
                pairs = [(_by_hand(driver, spec), _through_us(alice)) for _ in range(rounds)]
        finally:
            visa.stop()
    return Times([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def _host() -> HostSpec:
    """The same libvirt as the installation's, with a pool and a network beside its own."""
    return HostSpec(
        uri="qemu:///system",
        deployment=uuid4(),
        pool_name="bench",
        pool_path="/var/lib/libvirt/images/bench",
        network_name="bench",
        network_cidr="10.214.0.0/24",
        virtualisation=Virtualisation.EMULATION,
    )


def _image() -> BaseImage:
    made = json.loads((IMAGES / "ci.json").read_text())
    return BaseImage(str(IMAGES / made["file"]), made["sha256"], made["virtual_size_gib"])


def _spec(person: Person) -> InstanceSpec:
    """A machine of the size that Alice gets when she names none."""
    size = next(plan["flavour"] for plan in person.get("plans/")["results"] if plan["preset"])
    persona = Persona("bench", "alice", "Alice", 20001, 20001, 1280, 800, "us", "Europe/Paris", "en", PASSWORD, "token")
    return InstanceSpec(
        uuid4(), 1, "bench", _image(), size["vcpus"], size["memory_mib"], size["disk_gib"], "console!", persona
    )


def _by_hand(driver: Driver, like: InstanceSpec) -> float:
    spec = replace(like, uuid=uuid4())
    driver.create(spec)
    begun = time.monotonic()
    subprocess.run(["virsh", "-q", "-c", "qemu:///system", "start", f"visa-{spec.uuid}"], check=True)
    wait_until(lambda: _drawn(driver, spec), "a drawn desktop", PATIENCE, every=0.3)
    taken = time.monotonic() - begun
    driver.destroy(spec.uuid)
    return taken


def _drawn(driver: Driver, spec: InstanceSpec) -> bool:
    found = next((status for status in driver.observe() if status.uuid == spec.uuid), None)
    if found is None or not found.addresses:
        return False
    try:
        return asyncio.run(screen.is_drawn(found.addresses[0], VNC, PASSWORD, 4.0))
    except (screen.ScreenUnavailable, screen.ScreenRefused):
        return False


def _through_us(person: Person) -> float:
    experiment = person.get("experiments/")["results"][0]["uuid"]
    document = {"name": "Cold start", "experiments": [experiment], "screen_width": 1280, "screen_height": 800}
    begun = time.time()
    made = person.post("instances/", document).json()["uuid"]
    wait_until(lambda: person.get(f"instances/{made}/")["state"] == "active", "ACTIVE", PATIENCE, every=1.0)
    moves = person.get(f"instances/{made}/history/")["results"]
    active = next(move["at"] for move in moves if move["to"] == "active")
    person.delete(f"instances/{made}/")
    wait_until(
        lambda: person.get(f"instances/{made}/")["state"] in {"binned", "deleted"}, "DELETED", PATIENCE, every=1.0
    )
    return datetime.fromisoformat(active).timestamp() - begun


def table(times: Times) -> str:
    lines = [f"Cold start to a drawn desktop, seconds (median of {len(times.by_hand)})"]
    for name, values in (("by hand with virsh", times.by_hand), ("through VISA", times.through_us)):
        each = " ".join(f"{value:.1f}" for value in values)
        lines.append(f"  {name:<20} {statistics.median(values):6.2f}   ({each})")
    verdict = "reached" if times.ratio <= LIMIT else "NOT reached"
    lines.append(f"  {'ratio':<20} {times.ratio:6.2f}   (at most {LIMIT:.2f}: {verdict})")
    return "\n".join(lines)


def main() -> int:
    if "VISA_CELL" not in os.environ:
        os.execv(CELL, [str(CELL), sys.executable, "-m", "bench.cold_start"])  # noqa: S606 - our own script
    times = measure()
    print(table(times))
    return 0 if times.ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
