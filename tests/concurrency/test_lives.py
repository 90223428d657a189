"""People and sweeps at the same machine at the same moment, on PostgreSQL with real threads: the person wins."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from experiments.models import User
from instances import expiry, life
from instances.actions import Refused
from instances.expiry import Rulebook
from instances.models import Extension, Instance, Notice, Superseded, Transition
from instances.states import State
from tests.concurrency.test_races import CROWD, all_at_once
from tests.people import Facility, facility, machine

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def house() -> Facility:
    return facility()


def idle(house: Facility, **facts: Any) -> Instance:
    now = timezone.now()
    long_ago = now - timedelta(days=9)
    usual: dict[str, Any] = {"created_at": long_ago, "booted_at": long_ago, "last_used_at": long_ago}
    usual |= {"observed_at": now, "due_at": now, "idle_warned_at": now - timedelta(days=2)}
    return machine(house.alice, house.plan, house.host, **usual | facts)


def sweep(made: Instance) -> None:
    judged = Instance.objects.select_related("owner", "plan").get(pk=made.pk)
    if judged.state != State.ACTIVE:
        return
    book, now = Rulebook.current(), timezone.now()
    try:
        expiry.carry_out(judged, book.judge(judged, now), book, now)
    except Superseded:
        return


def types(made: Instance) -> bool:
    """What the relay writes when keys were pressed; whether the machine still ran."""
    return bool(Instance.objects.filter(pk=made.pk, state=State.ACTIVE).update(last_used_at=timezone.now()))


def test_a_machine_is_never_put_to_sleep_after_its_owner_came_back(house: Facility) -> None:
    machines = [idle(house, name=str(number)) for number in range(CROWD)]

    def meet(number: int) -> None:
        for one in machines:
            if number % 4 == 0:
                types(one)
            else:
                sweep(one)

    all_at_once(meet)
    for one in machines:
        one.refresh_from_db()
        slept = Transition.objects.filter(instance=one, to=State.HIBERNATING).first()
        assert slept is None or one.last_used_at is None or one.last_used_at < slept.at
        assert (one.state == State.HIBERNATING) == (slept is not None)


def test_many_sweeps_put_a_machine_to_sleep_once(house: Facility) -> None:
    one = idle(house)
    all_at_once(lambda _number: sweep(one))
    assert Transition.objects.filter(instance=one, to=State.HIBERNATING).count() == 1
    assert Notice.objects.filter(user=house.alice, kind="life_sleeps").count() == 1


def test_many_sweeps_warn_once(house: Facility) -> None:
    one = idle(house, idle_warned_at=None)
    all_at_once(lambda _number: sweep(one))
    assert Notice.objects.filter(user=house.alice, kind="life_idle").count() == 1


def test_of_many_answers_to_a_request_one_counts(house: Facility) -> None:
    end = timezone.now() + timedelta(days=1)
    Instance.objects.filter(pk=house.machine.pk).update(expires_at=end, may_end_at=end)
    asked = life.ask_for_time(Instance.objects.get(pk=house.machine.pk), house.alice, "Please")

    def answer(number: int) -> bool:
        copy = Extension.objects.select_related("instance__owner").get(pk=asked.pk)
        try:
            if number % 2:
                life.refuse(copy, house.admin, f"No, says {number}")
            else:
                life.accept(copy, house.admin, end + timedelta(days=number + 1))
        except Refused:
            return False
        return True

    assert sum(all_at_once(answer)) == 1
    assert Notice.objects.filter(user=house.alice, kind__startswith="time_").count() == 1


def test_a_crowd_of_requests_is_one(house: Facility) -> None:
    def ask(_number: int) -> bool:
        try:
            life.ask_for_time(Instance.objects.select_related("owner").get(pk=house.machine.pk), house.alice, "Please")
        except Refused:
            return False
        return True

    assert sum(all_at_once(ask)) == 1


def test_bringing_back_never_exceeds_the_quota(house: Facility) -> None:
    User.objects.filter(pk=house.alice.pk).update(quota=3)
    soon = timezone.now() + timedelta(days=3)
    binned = [machine(house.alice, house.plan, house.host, state=State.BINNED, bin_until=soon) for _ in range(CROWD)]

    def back(number: int) -> bool:
        try:
            life.bring_back(Instance.objects.select_related("owner").get(pk=binned[number].pk), house.alice)
        except Refused:
            return False
        return True

    assert sum(all_at_once(back)) == 2
    assert Instance.objects.live().filter(owner=house.alice).count() == 3


def test_a_machine_is_brought_back_or_lost_but_not_both(house: Facility) -> None:
    User.objects.filter(pk=house.alice.pk).update(quota=100)
    past = timezone.now() - timedelta(seconds=1)
    binned = [machine(house.alice, house.plan, house.host, state=State.BINNED, bin_until=past) for _ in range(CROWD)]

    def meet(number: int) -> None:
        if number == 0:
            expiry.empty_bin(expiry.in_bin_until(timezone.now()))
            return
        try:
            life.bring_back(Instance.objects.select_related("owner").get(pk=binned[number].pk), house.alice)
        except Refused:
            return

    all_at_once(meet)
    for one in binned:
        assert Transition.objects.filter(instance=one, origin=State.BINNED).count() == 1
