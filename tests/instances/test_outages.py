"""A host that falls silent: who is told what and how often, and what becomes of its machines meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from instances import actions, outages, tasks
from instances.actions import Refused
from instances.models import Host, Instance, Letter, Notice
from instances.models.hosts import BLIP
from instances.outages import AT_MOST_EVERY, TELL_AFTER
from instances.states import LIVE, WORKING, State
from instances.watching import SILENT, HostWatch
from tests.people import Facility, client_of, facility, machine

pytestmark = pytest.mark.django_db

PROBLEM = "The host that runs this machine does not answer at the moment."
LONG = TELL_AFTER + timedelta(seconds=1)


@pytest.fixture
def house(db: None) -> Facility:
    return facility()


class Outage:
    """What the observer tells of one host, on a clock of its own."""

    def __init__(self, house: Facility) -> None:
        self.pk = house.host.pk
        self.now: datetime = timezone.now() - timedelta(hours=5)

    def silent_for(self, length: timedelta) -> None:
        self._go_on(length, lambda host: outages.silent(host, PROBLEM, self.now))

    def answers_for(self, length: timedelta) -> None:
        self._go_on(length, lambda host: outages.answers(host, self.now))

    def _go_on(self, length: timedelta, tell: Any) -> None:
        """At its beginning, twice in between and at its end."""
        for _look in range(4):
            tell(Host.objects.get(pk=self.pk))
            self.now += length / 3
        self.now -= length / 3


@pytest.fixture
def outage(house: Facility) -> Outage:
    return Outage(house)


def heard(person: Any) -> list[str]:
    return list(Notice.objects.filter(user=person).order_by("pk").values_list("kind", flat=True))


def state(instance: Instance) -> str:
    return Instance.objects.get(pk=instance.pk).state


def lost(house: Facility) -> None:
    """The host is silent now, and has been for long."""
    Host.objects.update(lost_since=timezone.now() - LONG)
    house.host.refresh_from_db()


def test_a_restarting_libvirtd_closes_nobodys_desktop(house: Facility, outage: Outage) -> None:
    outage.silent_for(BLIP - timedelta(seconds=2))
    assert state(house.machine) == State.ACTIVE
    assert not Host.objects.get().reachable
    outage.answers_for(LONG)
    assert not Notice.objects.exists()


def test_running_machines_of_a_silent_host_are_out_of_reach_and_say_so(house: Facility, outage: Outage) -> None:
    stopped = machine(house.bob, house.plan, house.host, state=State.STOPPED)
    outage.silent_for(BLIP)
    house.machine.refresh_from_db()
    assert house.machine.state == State.UNREACHABLE
    assert "files are kept" in house.machine.problem
    assert state(stopped) == State.STOPPED
    assert Host.objects.get().problem == PROBLEM


def test_a_short_outage_is_told_to_nobody(house: Facility, outage: Outage) -> None:
    outage.silent_for(TELL_AFTER - timedelta(seconds=2))
    outage.answers_for(LONG)
    assert not Notice.objects.exists()


def test_owners_and_staff_are_told_once_and_once_again_when_it_is_back(house: Facility, outage: Outage) -> None:
    outage.silent_for(LONG)
    outage.silent_for(timedelta(hours=9))
    assert heard(house.alice) == ["host_lost"]
    assert heard(house.admin) == ["host_silent"]
    outage.answers_for(TELL_AFTER - timedelta(seconds=2))
    assert heard(house.alice) == ["host_lost"]
    outage.answers_for(LONG)
    outage.answers_for(timedelta(hours=9))
    assert heard(house.alice) == ["host_lost", "host_back"]
    assert heard(house.admin) == ["host_silent", "host_well"]
    assert set(Letter.objects.values_list("user", "kind")) == {
        *((house.alice.pk, kind) for kind in ("host_lost", "host_back")),
        *((house.admin.pk, kind) for kind in ("host_silent", "host_well")),
    }


def test_one_owner_of_several_machines_is_told_once_with_their_names(house: Facility, outage: Outage) -> None:
    machine(house.alice, house.plan, house.host, name="Peaks", state=State.HIBERNATED)
    machine(house.alice, house.plan, house.host, name="Gone", state=State.DELETED)
    outage.silent_for(LONG)
    (notice,) = Notice.objects.filter(user=house.alice)
    assert notice.facts == {"machines": "“Peaks”, “alice's machine”"}
    assert not heard(house.bob)


def test_a_host_that_flaps_does_not_flood(house: Facility, outage: Outage) -> None:
    began = outage.now
    while outage.now - began < AT_MOST_EVERY - 2 * LONG:
        outage.silent_for(LONG)
        outage.answers_for(LONG)
    assert heard(house.alice) == ["host_lost", "host_back"]
    outage.silent_for(AT_MOST_EVERY)
    assert heard(house.alice) == ["host_lost", "host_back", "host_lost"]


def test_a_host_that_comes_and_goes_within_seconds_is_one_outage(house: Facility, outage: Outage) -> None:
    outage.silent_for(LONG)
    for _time in range(5):
        outage.answers_for(timedelta(seconds=10))
        outage.silent_for(timedelta(seconds=10))
    outage.answers_for(LONG)
    assert heard(house.alice) == ["host_lost", "host_back"]


def test_a_machine_at_rest_on_a_silent_host_says_why_it_cannot_be_started(house: Facility) -> None:
    asleep = machine(house.alice, house.plan, house.host, state=State.HIBERNATED)
    lost(house)
    for page in ("/", f"/machines/{asleep.uuid}/"):
        shown = client_of(house.alice).get(page).content.decode()
        assert "can be started when the host is back" in shown
        assert f"/machines/{asleep.uuid}/start/" not in shown
    with pytest.raises(Refused, match="Its files are kept"):
        actions.start(asleep, house.alice)
    assert state(asleep) == State.HIBERNATED


@pytest.mark.parametrize("waits", sorted(WORKING))
def test_work_waits_for_a_silent_host_beyond_its_deadline_and_then_has_its_full_time(
    house: Facility, waits: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    one = machine(house.alice, house.plan, house.host, state=waits, deadline_at=now - timedelta(hours=1))
    monkeypatch.setattr(tasks, "open_host", None)  # it is not even asked
    lost(house)
    tasks.advance(one.pk)
    tasks.sweep()
    one.refresh_from_db()
    assert (one.state, "as soon as the host is back" in one.problem) == (waits, True)
    outages.answers(Host.objects.get(), now)
    one.refresh_from_db()
    assert (one.state, one.problem) == (waits, "")
    assert one.deadline_at is not None
    assert one.deadline_at > now + timedelta(minutes=3)


@pytest.mark.parametrize("kept", sorted(LIVE - {State.DELETING}))
def test_whatever_a_machine_is_doing_it_can_be_deleted_while_its_host_is_silent(house: Facility, kept: State) -> None:
    one = machine(house.alice, house.plan, house.host, state=kept)
    lost(house)
    actions.delete(one, house.alice)
    assert state(one) == State.DELETING


@pytest.mark.django_db(transaction=True)
def test_a_look_that_hangs_is_silence(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = HostWatch(house.host)
    watch.looking_since = 1000.0
    monkeypatch.setattr("instances.watching.monotonic", lambda: 1000.0 + SILENT)
    watch.check()
    assert Host.objects.get().lost_since is None
    monkeypatch.setattr("instances.watching.monotonic", lambda: 1000.0 + SILENT + 1)
    watch.check()
    assert Host.objects.get().lost_since is not None
    assert "does not answer" in Host.objects.get().problem


@pytest.mark.django_db(transaction=True)
def test_a_host_missed_once_is_not_silent_yet(house: Facility) -> None:
    watch = HostWatch(house.host)
    watch._missed(PROBLEM)
    assert Host.objects.get().reachable
    watch._missed(PROBLEM)
    assert not Host.objects.get().reachable
