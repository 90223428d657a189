"""Many at once, on PostgreSQL with real threads: nobody gets more than there is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import TypeVar
from uuid import uuid4

import pytest
from django.db import connection

from instances import actions
from instances.actions import Refused, Wish
from instances.leases import lease
from instances.models import Host, Instance, Superseded
from instances.states import State
from tests.people import Facility, facility, machine

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


def test_the_last_room_goes_to_one_of_those_who_start_stopped_machines(house: Facility) -> None:
    stopped = [machine(house.alice, house.plan, house.host, state=State.STOPPED) for _ in range(CROWD)]
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
