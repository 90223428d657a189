"""Stopped machines move between two computers with a libvirt each; broken off anywhere, exactly one disk counts.

What is in the machine's disk is a pattern, so that the copy can be told from an empty one.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from instances import actions, draining, moving, tasks
from instances.drivers import open_host
from instances.drivers.libvirt import LibvirtDriver
from instances.drivers.storage import disk_name
from instances.models import Carriage, Host, Image, Instance, Relocation
from instances.specs import host_spec
from instances.states import State
from tests.cell.hypervisor import QEMU_URI, Libvirtd, OtherComputer
from tests.instances.drivers.machines import Eyes, blank_image
from tests.people import Facility, facility, machine

pytestmark = [pytest.mark.qemu, pytest.mark.django_db(transaction=True)]

HERE, THERE = "/var/lib/libvirt/images/moving", "/var/lib/libvirt/images/another-and-longer-folder"


class Killed(BaseException):
    """As kill -9 ends a worker: nothing is tidied up."""


@pytest.fixture
def house(libvirtd: Libvirtd, other_computer: OtherComputer, tmp_path: Path) -> Iterator[Facility]:
    """Two prepared hosts; Alice's machine is on the first, stopped, with a pattern on its disk."""
    made = facility()
    made.machine.delete()
    blank = blank_image(tmp_path / "blank.qcow2")
    Image.objects.update(path=blank.path, sha256=blank.sha256, virtual_size_gib=1)
    common: dict[str, Any] = {"virtualisation": "qemu", "pool_name": "moving", "network_name": "moving"}
    common |= {"network_cidr": "10.216.0.0/24"}
    Host.objects.update(uri=QEMU_URI, pool_path=HERE, **common)
    Host.objects.create(
        name="other", uri=other_computer.libvirtd.uri, pool_path=THERE, seen_at=timezone.now(), cpus=8,
        memory_mib=16_384, disk_gib=100, disk_free_gib=50, **common,
    )  # fmt: skip
    here = Host.objects.get(name="host-1")
    new = machine(made.alice, made.plan, here, state=State.BUILDING, memory_mib=64, disk_gib=1)
    tasks.carry(Carriage.of(here, Image.objects.get()).pk)
    with closing(open_host(host_spec(here))) as driver:
        tasks._make(driver, Instance.objects.get(pk=new.pk))
    Instance.objects.update(state=State.STOPPED, power="off")
    pattern = ["qemu-io", "-f", "qcow2", "-c", "write -P 0x5a 3M 9M", f"{HERE}/{disk_name(new.uuid)}"]
    subprocess.run(pattern, check=True, capture_output=True)
    made.machine = Instance.objects.get(pk=new.pk)
    yield made
    for host in Host.objects.all():
        with closing(open_host(host_spec(host))) as driver:
            driver.destroy(new.uuid)


def asked(house: Facility) -> Relocation:
    with transaction.atomic():
        return draining.move(Instance.objects.get(pk=house.machine.pk), house.admin)


def run(move: Relocation) -> Relocation:
    """A worker that may begin at once: the lease of a killed one has run out."""
    Relocation.objects.update(lease_until=None)
    moving.go_on(move.pk)
    return Relocation.objects.get(pk=move.pk)


def traces(house: Facility, name: str) -> int:
    """How many things of the machine a host has: domain, disk and seed."""
    with closing(Eyes(host_spec(Host.objects.get(name=name)))) as eyes:
        return len(eyes.of(house.machine.uuid))


def one_disk_counts(house: Facility, other: OtherComputer) -> bool:
    """The host that the row names has the machine, whole: its disk, on its base, holds the pattern."""
    where = Instance.objects.select_related("host").get(pk=house.machine.pk).host
    assert where is not None
    inside, folder = ([], HERE) if where.name == "host-1" else (other.libvirtd.inside, THERE)
    read = [
        "qemu-io",
        "-r",
        "-U",
        "-f",
        "qcow2",
        "-c",
        "read -P 0x5a 3M 9M",
        f"{folder}/{disk_name(house.machine.uuid)}",
    ]
    done = subprocess.run([*inside, *read], capture_output=True, text=True, check=False)
    return done.returncode == 0 and "failed" not in done.stdout and traces(house, where.name) == 3


def test_a_stopped_machine_moves_with_its_disk_and_starts_there(house: Facility, other_computer: OtherComputer) -> None:
    move = run(asked(house))
    assert (move.outcome, move.problem, move.cleared_at is not None) == ("moved", "", True)
    assert (traces(house, "host-1"), traces(house, "other")) == (0, 3)
    moved = Instance.objects.select_related("host").get(pk=house.machine.pk)
    assert (str(moved.host), moved.state, moved.progress) == ("other", State.STOPPED, None)
    assert one_disk_counts(house, other_computer)
    with closing(open_host(host_spec(Host.objects.get(name="other")))) as driver:
        driver.start(moved.uuid)  # QEMU opens the disk and the base that its header names
        (status,) = driver.observe()
        assert status.power == "running"
        driver.stop(moved.uuid, force=True)
    Host.objects.filter(name="host-1").update(enabled=True)
    back = run(asked(house))
    assert back.outcome == "moved"
    assert (traces(house, "host-1"), traces(house, "other")) == (3, 0)
    assert one_disk_counts(house, other_computer)


STEPS = ["_begin", "note", "_receive_disk", "_define", "_turn_over", "_remove"]


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_step_one_disk_counts_and_the_next_worker_ends_it(
    house: Facility, other_computer: OtherComputer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    move = asked(house)
    holder = next(one for one in (moving, moving.Progress, LibvirtDriver) if hasattr(one, step))
    whole = getattr(holder, step)

    def killed(*args: Any) -> Any:
        whole(*args)
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(holder, step, killed)
        broken.setattr(LibvirtDriver, "_clean_up", lambda *_: None)
        with pytest.raises(Killed):
            run(move)
    assert one_disk_counts(house, other_computer)
    move = run(move)
    assert (move.outcome, move.cleared_at is not None) == ("moved", True)
    assert (traces(house, "host-1"), traces(house, "other")) == (0, 3)
    assert one_disk_counts(house, other_computer)


def test_who_starts_it_meanwhile_keeps_it_where_it_was(
    house: Facility, other_computer: OtherComputer, monkeypatch: pytest.MonkeyPatch
) -> None:
    move, define = asked(house), LibvirtDriver._define

    def start_first(self: LibvirtDriver, *args: Any) -> None:
        actions.start(Instance.objects.get(pk=house.machine.pk), house.alice)
        define(self, *args)

    monkeypatch.setattr(LibvirtDriver, "_define", start_first)
    move = run(move)
    assert (move.outcome, move.cleared_at is not None) == ("given_up", True)
    assert (traces(house, "host-1"), traces(house, "other")) == (3, 0)
    assert Instance.objects.get(pk=house.machine.pk).state == State.STARTING


def test_a_copy_that_is_not_what_was_sent_is_never_used(
    house: Facility, other_computer: OtherComputer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from instances.drivers import streams  # noqa: PLC0415

    whole = streams.download

    def worn(host: Any, volume: Any, offset: int = 0) -> Iterator[bytes]:
        for piece in whole(host, volume, offset):
            yield bytes([piece[0] ^ 1]) + piece[1:] if offset else piece

    with monkeypatch.context() as broken:
        broken.setattr(streams, "download", worn)
        move = run(asked(house))
    assert (move.outcome, "not what was sent" in move.problem) == ("copying", True)
    assert (traces(house, "host-1"), traces(house, "other")) == (3, 0)
    assert run(move).outcome == "moved"


def test_two_names_of_one_computer_are_found_out_before_anything_is_lost(
    house: Facility, other_computer: OtherComputer
) -> None:
    Host.objects.filter(name="other").update(uri=QEMU_URI, pool_path=HERE)
    move = run(asked(house))
    assert (move.outcome, move.problem.split(":")[0]) == ("given_up", "The new host has this machine already")
    assert traces(house, "host-1") == 3
    assert one_disk_counts(house, other_computer)
