"""kill -9 of libvirtd and of a guest at each step of a machine's life, and a host that hangs: nothing is lost.

`python -m bench.crash` meets every death before, during and after every step.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from experiments.models import User
from instances import actions, watching
from instances.drivers.base import BaseImage, HostSpec
from instances.models import Host, Instance, Notice
from instances.models.hosts import BLIP
from instances.states import State
from tests.cell.hypervisor import PIDFILE, Libvirtd
from tests.flows.crashes import World, kill_guest, qemu_of, settled_in, state_of
from tests.instances.drivers.conftest import blank  # noqa: F401 - fixture
from tests.people import facility
from tests.servers import wait_until

pytestmark = [pytest.mark.qemu, pytest.mark.django_db(transaction=True)]

A, S = actions, State
# What is asked for, the driver's verb in which death comes, and how it ends when it succeeds.
STEPS: list[tuple[Callable[[Instance, User], None] | None, str, State]] = [
    (None, "create", S.ACTIVE),
    (A.stop, "stop", S.STOPPED),
    (A.start, "start", S.ACTIVE),
    (A.hibernate, "hibernate", S.HIBERNATED),
    (A.start, "start", S.ACTIVE),
    (A.delete, "destroy", S.DELETED),
]
EVERY_MOMENT = os.environ.get("VISA_EVERY_CRASH") == "1"
MOMENTS = ["before", "during", "after"] if EVERY_MOMENT else ["during"]


@pytest.fixture
def world(
    qemu_host: HostSpec,
    blank: BaseImage,  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    house = facility()
    settled_in(house, qemu_host, blank)
    house.host.refresh_from_db()
    with World(house, monkeypatch) as made:
        wait_until(lambda: Host.objects.get().reachable, "a host that was seen", 60)
        yield made
        for one in Instance.objects.exclude(state=State.DELETED):
            actions.delete(one, house.alice)
        wait_until(lambda: not Instance.objects.exclude(state=State.DELETED).exists(), "an empty host", 60)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", MOMENTS)
def test_libvirtd_may_be_killed_at_each_step_of_a_machines_life(world: World, libvirtd: Libvirtd, moment: str) -> None:
    alice, bystander = world.house.alice, world.new()
    world.ends(bystander, State.ACTIVE)
    process, one = qemu_of(bystander.uuid), Instance()
    for ask, verb, end in STEPS:
        with world.meets(verb, moment, libvirtd.restart):
            if ask is None:
                one = world.new()
            else:
                ask(Instance.objects.get(pk=one.pk), alice)
        world.ends_honestly(one, end)  # libvirtd ends a start that it does not remember
    assert state_of(bystander) == State.ACTIVE
    assert qemu_of(bystander.uuid) == process


@pytest.mark.timeout(900)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_guest_may_be_killed_at_each_step_of_its_life(world: World, moment: str) -> None:
    alice, one = world.house.alice, world.new()
    world.ends(one, State.ACTIVE)
    for ask, verb, end in STEPS[1:]:
        assert ask is not None
        with world.meets(verb, moment, lambda: kill_guest(one.uuid)):
            ask(Instance.objects.get(pk=one.pk), alice)
        world.ends_honestly(one, end)


@pytest.mark.timeout(300)
def test_a_guest_that_is_killed_at_work_is_an_error_in_words_and_starts_again(world: World) -> None:
    one = world.new()
    world.ends(one, State.ACTIVE)
    kill_guest(one.uuid)
    world.ends(one, State.ERROR)
    assert "Its disk is kept" in Instance.objects.get(pk=one.pk).problem
    actions.retry(Instance.objects.get(pk=one.pk), world.house.alice)
    world.ends(one, State.ACTIVE)


@pytest.mark.timeout(300)
def test_a_host_that_hangs_is_told_of_takes_nothing_new_and_heals(
    world: World, libvirtd: Libvirtd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "SILENT", 2.0)
    one = world.new()
    world.ends(one, State.ACTIVE)
    process = qemu_of(one.uuid)
    daemon = int(PIDFILE.read_text())
    os.kill(daemon, signal.SIGSTOP)
    try:
        wait_until(lambda: not Host.objects.get().reachable, "a host that takes nothing new", 30)
        Host.objects.update(lost_since=timezone.now() - timedelta(minutes=3))
        wait_until(lambda: state_of(one) == State.UNREACHABLE, "a machine out of reach", BLIP.total_seconds())
        wait_until(lambda: Notice.objects.filter(kind="host_lost").exists(), "an owner who is told", 30)
        with pytest.raises(actions.Refused):
            world.new()
    finally:
        os.kill(daemon, signal.SIGCONT)
    world.ends(one, State.ACTIVE)
    wait_until(lambda: Host.objects.get().reachable, "a host that takes machines again", 60)
    assert qemu_of(one.uuid) == process
