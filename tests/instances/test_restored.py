"""The database comes back from a copy of an hour ago, while the hosts went on: nothing is deleted, all is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from instances import actions, expiry, life, observer, tasks
from instances.actions import Wish
from instances.drivers.base import Driver, Power
from instances.leases import LEASE
from instances.models import Instance, LifePolicy, Stray
from instances.states import WORKING, State
from tests.people import Facility

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)


class Copy:
    """The rows of all machines as they are now, put back later over whatever happened since."""

    def __init__(self) -> None:
        self.rows = list(Instance.objects.all())

    def restore(self) -> None:
        Instance.objects.exclude(pk__in=[row.pk for row in self.rows]).delete()
        for row in self.rows:
            row.state_since -= HOUR
            row.bin_until = row.bin_until and row.bin_until - HOUR
            row.deadline_at = row.deadline_at and row.deadline_at - HOUR
            row.save()


def new(house: Facility) -> Instance:
    return actions.create(house.alice, Wish("Peaks", house.plan, (house.experiment,), 1440, 900, "fr", uuid4()))


def fresh(instance: Instance) -> Instance:
    return Instance.objects.select_related("host", "owner").get(pk=instance.pk)


def work(instance: Instance) -> None:
    tasks.advance(instance.pk)


def running(house: Facility) -> Instance:
    made = new(house)
    work(made)
    fresh(made).transition(State.ACTIVE, desktop_ready_at=timezone.now())
    return fresh(made)


def asked(ask: Callable[[Instance], None], instance: Instance) -> Instance:
    """Done as a person asked, the guest having had its time to shut down."""
    ask(fresh(instance))
    Instance.objects.filter(pk=instance.pk).update(state_since=timezone.now() - tasks.PATIENCE)
    work(instance)
    return fresh(instance)


def time_goes_on(driver: Driver, house: Facility, *, after: timedelta = timedelta()) -> None:
    """Observer, sweep, workers and expiry take turns, often enough for whatever takes two looks."""
    begun = timezone.now() + after
    for minute in range(5):
        observer.settle(house.host, driver.observe(), begun + minute * timedelta(minutes=1))
        for pk in Instance.objects.filter(state__in=WORKING).values_list("pk", flat=True):
            tasks.advance(pk)
        expiry.expire()


def on_host(driver: Driver) -> dict[UUID, Power]:
    return {status.uuid: status.power for status in driver.observe()}


def test_after_a_restore_every_machine_is_shown_as_it_is_and_none_is_deleted(house: Facility, driver: Driver) -> None:
    alice, house.alice.quota = house.alice, 50
    alice.save()
    stop, start, sleep, delete = (
        lambda one: actions.stop(one, alice),
        lambda one: actions.start(one, alice),
        lambda one: actions.hibernate(one, alice),
        lambda one: actions.delete(one, alice),
    )
    was_stopped, was_started, fell_asleep, woke, deleted, stays = (running(house) for _number in range(6))
    asked(stop, was_started)
    asked(sleep, woke)
    brought_back = asked(delete, running(house))
    deleted_stopped = asked(stop, running(house))
    being_built = new(house)
    copy = Copy()
    # An hour passes, in which people go on working.
    work(being_built)
    asked(stop, was_stopped)
    asked(start, was_started)
    asked(sleep, fell_asleep)
    asked(start, woke)
    life.bring_back(brought_back, alice)
    asked(start, brought_back)
    LifePolicy.objects.create(bin_days=0)
    asked(delete, deleted)
    asked(delete, deleted_stopped)
    made_since = running(house)
    before = on_host(driver)
    # The database is lost, and its copy put in its place.
    copy.restore()
    Instance.objects.filter(pk=brought_back.pk).update(bin_until=timezone.now() - timedelta(minutes=1))
    Instance.objects.filter(pk=being_built.pk).update(deadline_at=timezone.now() + HOUR)
    time_goes_on(driver, house)

    assert on_host(driver) == before
    assert {stray.domain for stray in Stray.objects.all()} == {made_since.uuid}
    assert fresh(stays).state == State.ACTIVE
    assert fresh(was_stopped).state == State.STOPPED
    assert fresh(fell_asleep).state == State.HIBERNATED
    assert {fresh(one).state for one in (was_started, woke, being_built, brought_back)} == {State.STARTING}
    for lost in (deleted, deleted_stopped):
        assert fresh(lost).state == State.ERROR
        assert "no longer knows" in fresh(lost).problem


def test_a_lease_of_a_worker_of_an_hour_ago_holds_nothing_up(house: Facility, driver: Driver) -> None:
    made = new(house)
    Instance.objects.update(lease_token=uuid4(), lease_until=timezone.now() - HOUR + LEASE)
    Copy().restore()
    work(made)
    assert fresh(made).state == State.STARTING


def test_a_row_of_an_older_build_leaves_the_newer_one_on_its_host_alone(house: Facility, driver: Driver) -> None:
    made = new(house)
    Instance.objects.update(generation=7)
    work(made)
    Instance.objects.update(generation=1, state=State.BUILDING, built_at=None)
    work(made)
    assert fresh(made).state == State.STARTING
    assert [status.generation for status in driver.observe()] == [7]


def test_a_machine_that_left_the_bin_in_the_lost_hour_is_not_deleted_though_its_time_there_is_over(
    house: Facility, driver: Driver
) -> None:
    made = running(house)
    Instance.objects.update(state=State.BINNED, deleted_at=timezone.now(), bin_until=timezone.now() - HOUR, power="off")
    expiry.expire()  # before the observer has looked
    assert fresh(made).state == State.DELETING
    work(made)
    assert on_host(driver) == {made.uuid: Power.RUNNING}
    time_goes_on(driver, house, after=timedelta(minutes=1))
    assert fresh(made).state == State.STARTING
