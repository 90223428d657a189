"""Many at once, on PostgreSQL with real threads: nobody gets more than there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connection

from experiments.models import User
from instances import actions, claims
from instances.actions import Refused, Wish
from instances.leases import lease
from instances.models import Host, Instance, Superseded
from instances.states import State
from tests.people import Facility, facility, host, machine

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

CROWD = 12
T = TypeVar("T")


@pytest.fixture
def house() -> Facility:
    return facility()


def all_at_once(what: Callable[[int], T]) -> list[T]:
    """Run `what` in CROWD threads that begin together, each with a database connection of its own."""
    return together(CROWD, what)


def together(crowd: int, what: Callable[[int], T]) -> list[T]:
    """Run `what` in so many threads that begin together."""
    gate = Barrier(crowd)

    def one(number: int) -> T:
        gate.wait()
        try:
            return what(number)
        finally:
            connection.close()

    with ThreadPoolExecutor(crowd) as pool:
        return list(pool.map(one, range(crowd)))


def wish(house: Facility) -> Wish:
    return Wish("Peaks", house.plan, (house.experiment,), 1440, 900, "fr", uuid4())


def made_or_refused(house: Facility, wanted: Wish) -> Instance | None:
    try:
        return actions.create(house.bob, wanted)
    except Refused:
        return None


def test_a_crowd_of_presses_never_exceeds_the_quota(house: Facility) -> None:
    made = all_at_once(lambda _number: made_or_refused(house, wish(house)))
    assert len([one for one in made if one]) == 2
    assert house.bob.machines.count() == 2


def test_a_crowd_of_the_same_press_makes_one_machine(house: Facility) -> None:
    same = wish(house)
    made = all_at_once(lambda _number: made_or_refused(house, replace(same)))
    assert len({one.pk for one in made if one}) == 1
    assert all(made)


def test_a_host_is_never_overbooked(house: Facility) -> None:
    house.bob.quota = 100
    house.bob.save()
    Host.objects.update(memory_mib=1024 + 5 * 1024, memory_reserved_mib=1024)
    Instance.objects.all().delete()
    made = all_at_once(lambda _number: made_or_refused(house, wish(house)))
    assert len([one for one in made if one]) == 5


def test_a_hundred_at_once_never_overbook_several_small_hosts(house: Facility) -> None:
    """Half of them make machines and half wake sleeping ones, on hosts that are each short of something else."""
    house.machine.delete()
    house.host.delete()
    hosts = [
        host("memory", memory_mib=1024 + 8 * 1024),
        host("processors", cpus=2, cpu_overcommit=3.5),
        host("disk", disk_gib=75, disk_overcommit=2),
        host("full disk", disk_free_gib=1),
        host("all", cpus=8, memory_mib=16_384, disk_gib=100),
    ]
    owners = [User(username=f"owner{number}") for number in range(50)]
    house.experiment.team.add(*User.objects.bulk_create(owners))
    asleep = [machine(one, house.plan, hosts[number % 5], state=State.HIBERNATED) for number, one in enumerate(owners)]

    def act(number: int) -> str:
        try:
            if number < 50:
                actions.create(owners[number], wish(house))
            else:
                actions.start(asleep[number - 50], owners[number - 50])
        except Refused as refusal:
            return str(refusal)
        return ""

    said = together(100, act)
    left = claims.rooms(hosts)
    assert all(min(room.vcpus, room.memory_mib, room.disk_gib) >= 0 for room in left)
    assert not any(room.fits(claims.need_of(house.image, house.small)) for room in left)
    assert Instance.objects.filter(state=State.BUILDING).count() == said[:50].count("")
    assert Instance.objects.filter(state=State.STARTING).count() == said[50:].count("")
    assert not Instance.objects.filter(host=hosts[3], state=State.BUILDING).exists()
    assert all(re.match("No host has room|The host of this machine is full|^$", sentence) for sentence in said)


def test_of_a_crowd_that_moves_one_machine_one_wins(house: Facility) -> None:
    copies = [Instance.objects.get(pk=house.machine.pk) for _ in range(CROWD)]

    def move_copy(number: int) -> bool:
        try:
            copies[number].transition(State.STOPPING if number % 2 else State.REBOOTING)
        except Superseded:
            return False
        return True

    assert sum(all_at_once(move_copy)) == 1
    assert house.machine.transitions.filter(origin=State.ACTIVE).count() == 1


def test_of_a_crowd_of_workers_one_holds_the_machine(house: Facility) -> None:
    together = Barrier(CROWD)

    def hold(_number: int) -> bool:
        with lease(house.machine.pk) as mine:
            together.wait()
            return mine

    assert sum(all_at_once(hold)) == 1


@pytest.mark.parametrize("rest", [State.STOPPED, State.HIBERNATED])
def test_the_last_room_goes_to_one_of_those_who_start_machines_at_rest(house: Facility, rest: State) -> None:
    stopped = [machine(house.alice, house.plan, house.host, state=rest) for _ in range(CROWD)]
    Instance.objects.filter(pk=house.machine.pk).delete()
    Host.objects.update(memory_mib=1024 + 1024, memory_reserved_mib=1024)

    def start(number: int) -> bool:
        try:
            actions.start(stopped[number], house.alice)
        except Refused:
            return False
        return True

    assert sum(all_at_once(start)) == 1


def test_who_starts_and_creates_at_once_never_waits_for_themselves(house: Facility) -> None:
    """A start holds the host and names the person; a creation holds the person and wants the host."""
    house.alice.quota = 100
    house.alice.save()
    stopped = [machine(house.alice, house.plan, house.host, state=State.STOPPED) for _ in range(CROWD)]

    def act(number: int) -> None:
        if number % 2:
            actions.start(stopped[number], house.alice)
        else:
            actions.create(house.alice, wish(house))

    for _again in range(3):
        all_at_once(act)
        Instance.objects.filter(pk__in=[one.pk for one in stopped]).update(state=State.STOPPED)
        for one in stopped:
            one.refresh_from_db()
