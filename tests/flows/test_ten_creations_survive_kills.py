"""kill -9 of every part in the middle of ten creations: nothing is lost, nothing is left over.

Three of the ten boot the guest. The others boot iPXE, an image without a screen, which takes an address and is there
after seconds. VISA does the same for both, and the guest's own boot takes an emulated processor most of a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.flows.installation import Installation, Person, virsh, volumes
from tests.servers import wait_until

pytestmark = pytest.mark.qemu

SETTLED = {"active", "error"}
PATIENCE = 600.0
SMALL = "iPXE"
PARTS = ["worker", "beat", "observer", "redis", "web"]


def wish(person: Person, number: int, *, small: bool = False) -> dict[str, Any]:
    experiment = person.get("experiments/")["results"][0]["uuid"]
    offered = person.get(f"plans/?experiments={experiment}")["results"]
    of_kind = [plan for plan in offered if (plan["image"]["name"] == SMALL) == small]
    plan = min(of_kind, key=lambda plan: plan["flavour"]["memory_mib"])
    return {
        "name": f"Run {number}",
        "image": plan["image"]["uuid"],
        "flavour": plan["flavour"]["uuid"],
        "experiments": [experiment],
        "screen_width": 1024,
        "screen_height": 768,
        "keyboard": "us",
        "request_key": str(uuid4()),
    }


def machines(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.get("instances/?whose=mine")["results"]
    return found


def settled(person: Person) -> bool:
    try:
        return all(machine["state"] in SETTLED for machine in machines(person))
    except OSError:  # the web process has just been killed
        return False


def domains() -> set[str]:
    return {name for name in virsh("list", "--all", "--name") if name.startswith("visa-")}


def disks() -> set[str]:
    return {name for name in volumes() if not name.startswith("base-")}


ROOM = """
from instances.models import Host, Image, LifePolicy
Host.objects.update(cpu_overcommit={})
policy = LifePolicy.current()
policy.bin_days = {}
policy.save()
Image.objects.filter(name="{}").update(visibility="{}")
"""
OFFER = """
from instances.models import Flavour, Image, Plan
Plan.objects.create(image=Image.objects.get(name="{}"), flavour=Flavour.objects.earliest("memory_mib"))
"""


@pytest.fixture
def roomy(visa: Installation, tmp_path: Path) -> Iterator[Installation]:
    """Hosts that take ten more machines and keep nothing of deleted ones; the small image is on offer."""
    file = str(tmp_path / "ipxe.qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "/usr/lib/ipxe/ipxe.iso", file], check=True)
    subprocess.run(["qemu-img", "resize", "-q", file, "1G"], check=True)
    visa.manage("register_image", file, "--name", SMALL, "--version", "1", "--protocol", "jupyter=8888")
    visa.manage("shell", "-c", OFFER.format(SMALL))
    visa.manage("shell", "-c", ROOM.format(32, 0, SMALL, "everyone"))
    yield visa
    visa.manage("shell", "-c", ROOM.format(4, 14, SMALL, "nobody"))


@pytest.mark.timeout(1200)
def test_after_kills_in_the_middle_of_ten_creations_hosts_and_rows_agree(roomy: Installation) -> None:
    visa, bob, others, others_disks = roomy, Person(roomy, "bob"), domains(), disks()
    wanted = [wish(bob, number, small=number % 3 != 1) for number in range(10)]
    made = []
    for number, document in enumerate(wanted):
        answer = bob.post("instances/", document)
        assert answer.status_code == 201, answer.text
        made.append(answer.json()["uuid"])
        if number % 2:
            os.kill(visa.pid(PARTS[number // 2]), signal.SIGKILL)
            wait_until(visa.healthy, "health after a kill", 60)
    wait_until(lambda: settled(bob), "ten settled machines", PATIENCE, every=2)
    outcome = {machine["uuid"]: machine for machine in machines(bob)}
    assert set(outcome) == set(made)
    assert all(machine["state"] == "active" or machine["problem"] for machine in outcome.values())
    on_host = {f"visa-{uuid}" for uuid in made if outcome[uuid]["state"] == "active"}
    assert on_host <= domains() - others <= {f"visa-{uuid}" for uuid in made}
    for uuid in made:
        assert bob.delete(f"instances/{uuid}/").status_code == 202
    wait_until(lambda: not machines(bob), "ten deletions", 240, every=1)
    assert domains() == others
    assert disks() == others_disks
