"""Jobs that people declare in their machines, written into the rows."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from instances import evidence, jobs
from instances.drivers.base import Activity, Driver, DriverError, HostUnreachable
from instances.expiry import Rulebook
from instances.limits import Why
from instances.models import Instance
from instances.states import State
from tests.people import Facility, machine

pytestmark = pytest.mark.django_db(transaction=True)


FIT = Activity(job="python fit.py")


class Host:
    """A host whose guests answer with these jobs; None is a host that went away."""

    def __init__(self, jobs: dict[UUID, Activity] | None) -> None:
        self.jobs = jobs

    def activity(self, uuid: UUID) -> Activity:
        if self.jobs is None:
            raise HostUnreachable("gone")
        return self.jobs.get(uuid, Activity())

    def close(self) -> None: ...


def hear(house: Facility, monkeypatch: pytest.MonkeyPatch, said: dict[UUID, Activity] | None) -> None:
    monkeypatch.setattr(jobs, "open_host", lambda _spec: Host(said))
    jobs.hear_jobs_of(house.host.pk)


def running(house: Facility, **facts: Any) -> Instance:
    return machine(house.alice, house.plan, house.host, observed_at=timezone.now(), **facts)


def test_a_declared_job_is_written_and_shown(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house)
    hear(house, monkeypatch, {one.uuid: FIT})
    one.refresh_from_db()
    assert one.job == "python fit.py"
    assert Rulebook.current().judge(one, timezone.now()).why == Why.JOB


def test_when_it_ended_its_time_stays_as_the_last_work(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house)
    hear(house, monkeypatch, {one.uuid: FIT})
    hear(house, monkeypatch, {})
    one.refresh_from_db()
    assert one.job == ""
    assert one.job_at is not None


def test_the_busiest_program_is_named_beside_the_load(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    one = running(house, worked_at=now, cpu_readings=[(0.0, 0.0), (60.0, 108.0)])
    hear(house, monkeypatch, {one.uuid: Activity(busiest="python3")})
    one = Instance.objects.select_related("owner", "plan").get(pk=one.pk)
    book = Rulebook.current()
    assert evidence.sentence(book.judge(one, now), book.facts(one), now) == "Working: python3 at 180% CPU"
    hear(house, monkeypatch, {})
    one.refresh_from_db()
    assert one.busiest == ""


def test_a_host_that_went_away_changes_nothing(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house, job="fit", job_at=timezone.now() - timedelta(minutes=2))
    hear(house, monkeypatch, None)
    one.refresh_from_db()
    assert one.job == "fit"


def test_guests_are_asked_at_the_same_moment(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(Host):
        """Answers once two ask."""

        both = Barrier(2)

        def activity(self, uuid: UUID) -> Activity:
            self.both.wait(10)
            return super().activity(uuid)

    Instance.objects.update(state=State.STOPPED)
    one, other = running(house), running(house)
    monkeypatch.setattr(jobs, "open_host", lambda _spec: Slow({one.uuid: FIT, other.uuid: FIT}))
    jobs.hear_jobs_of(house.host.pk)
    assert list(Instance.objects.filter(job=FIT.job)) == [other, one]


def test_a_machine_that_cannot_be_asked_holds_up_no_other(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Host):
        """One of its machines is not ours."""

        def activity(self, uuid: UUID) -> Activity:
            if uuid == foreign.uuid:
                raise DriverError("not ours", permanent=True)
            return super().activity(uuid)

    foreign, one = running(house, job="before"), running(house)
    monkeypatch.setattr(jobs, "open_host", lambda _spec: Odd({one.uuid: FIT}))
    jobs.hear_jobs_of(house.host.pk)
    assert [Instance.objects.get(pk=made.pk).job for made in (foreign, one)] == ["before", FIT.job]


def test_machines_at_rest_are_not_asked(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house, state=State.HIBERNATED)
    hear(house, monkeypatch, {one.uuid: FIT})
    one.refresh_from_db()
    assert one.job == ""


def test_a_host_whose_guests_have_no_agent_says_that_there_is_none(house: Facility, driver: Driver) -> None:
    with closing(driver):
        assert driver.activity(UUID(int=7)) == Activity()
    running(house)
    jobs.hear_jobs_of(house.host.pk)
