"""Two computers with a libvirt each: machines on both, the image carried there, one of them lost and found again.

The workers and the observer are the real processes; the machines have a disk of noise, so they stop at their firmware.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.conf import settings
from redis import Redis

from instances import actions, tasks
from instances.actions import Wish
from instances.drivers.base import BaseImage
from instances.drivers.storage import base_name
from instances.models import Carriage, Host, Image, Instance, Plan
from instances.specs import base_image
from instances.states import State
from tests.cell.hypervisor import QEMU_URI, Libvirtd, OtherComputer
from tests.instances.drivers.machines import sha256_of
from tests.people import Facility, facility
from tests.servers import wait_until

pytestmark = [pytest.mark.qemu, pytest.mark.django_db(transaction=True)]

POOL = "/var/lib/libvirt/images/two"


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """An image of 24 MiB that no compression makes small."""
    raw, image = tmp_path / "noise.raw", tmp_path / "noise.qcow2"
    raw.write_bytes(os.urandom(24 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)], check=True)
    return image


@pytest.fixture
def house(libvirtd: Libvirtd, other_computer: OtherComputer, noise: Path) -> Facility:
    """Everybody may have nine small machines; the two hosts have been named, and nobody has looked at them yet."""
    made = facility()
    made.machine.delete()
    made.host.delete()
    Image.objects.update(path=str(noise), sha256=sha256_of(noise), virtual_size_gib=1)
    made.small.memory_mib, made.small.disk_gib = 128, 1
    made.small.save()
    made.bob.quota = 9
    made.bob.save()
    for name, uri in (("near", QEMU_URI), ("other", other_computer.libvirtd.uri)):
        Host.objects.create(name=name, uri=uri, virtualisation="qemu", pool_name="two", pool_path=POOL,
                            network_name="two", network_cidr="10.215.0.0/24", cpu_overcommit=16)  # fmt: skip
    return made


@pytest.fixture
def processes(house: Facility) -> Iterator[None]:
    """A worker and the observer, on the tests' own database and Redis."""
    Redis(unix_socket_path=settings.REDIS_SOCKET).delete("celery")
    database = f"sqlite:///{settings.DATABASES['default']['NAME']}"
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings", "DATABASE_URL": database}
    worker = [sys.executable, "-m", "celery", "-A", "visa_site", "worker", "--concurrency", "2", "--without-mingle"]
    commands = [worker, [sys.executable, "manage.py", "observe_hosts"]]
    started = [subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment) for command in commands]
    yield
    for process in started:
        process.terminate()
    for process in started:
        process.wait(60)


def create(house: Facility) -> Instance:
    plan = Plan.objects.select_related("image", "flavour").get(pk=house.plan.pk)
    return actions.create(house.bob, Wish("Peaks", plan, (house.experiment,), 1024, 768, "us", uuid4()))


def running(made: Instance) -> Instance:
    """When the observer has seen it run; then as if its desktop were drawn, which noise never does."""
    there = Instance.objects.filter(pk=made.pk, state=State.STARTING, power="running")
    wait_until(there.exists, f"a running machine, not {Instance.objects.filter(pk=made.pk).values()}", 60)
    found = there.get()
    found.transition(State.ACTIVE)
    return found


def domains(uri: str) -> set[str]:
    listed = subprocess.run(["virsh", "-q", "-c", uri, "list", "--name"], capture_output=True, text=True, check=True)
    return set(listed.stdout.split())


def reachable(name: str) -> bool:
    return Host.objects.get(name=name).reachable


def state(made: Instance) -> str:
    return Instance.objects.get(pk=made.pk).state


def test_two_hosts_share_the_machines_and_one_of_them_may_be_lost(
    house: Facility, other_computer: OtherComputer, processes: None
) -> None:
    wait_until(lambda: reachable("near") and reachable("other"), "both hosts", 60)
    one, two = running(create(house)), running(create(house))
    assert {str(one.host), str(two.host)} == {"near", "other"}
    far = one if str(one.host) == "other" else two
    assert domains(other_computer.libvirtd.uri) == {f"visa-{far.uuid}"}
    assert set(Carriage.objects.values_list("host__name", "state")) == {("near", "there"), ("other", "there")}
    base: BaseImage = base_image(Image.objects.get())
    assert sha256_of(other_computer.files / "images" / "two" / base_name(base)) == base.sha256

    other_computer.libvirtd.kill()
    wait_until(lambda: state(far) == State.UNREACHABLE, "a machine out of reach", 90)
    assert state(one if far is two else two) == State.ACTIVE
    assert str(create(house).host) == "near"

    other_computer.libvirtd.start()
    wait_until(lambda: state(far) == State.ACTIVE, "the machine within reach again", 90)
    wait_until(lambda: reachable("other"), "the host well again", 60)
    assert far.transitions.filter(to=State.STARTING).count() == 1
    assert str(create(house).host) == "other"

    for made in Instance.objects.all():
        wait_until(lambda made=made: state(made) in {State.ACTIVE, State.STARTING}, "no work under way", 60)  # type: ignore[misc]
        Instance.objects.get(pk=made.pk).transition(State.DELETING)
        tasks.advance.delay(made.pk)
    wait_until(lambda: not Instance.objects.exclude(state=State.DELETED).exists(), "all deletions", 60)
    assert domains(other_computer.libvirtd.uri) == set()
