"""Jobs that people declare in their machines, written into the rows."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from instances import jobs
from instances.drivers.base import Driver, HostUnreachable
from instances.expiry import Rulebook
from instances.limits import Why
from instances.models import Instance
from instances.states import State
from tests.people import Facility, machine

pytestmark = pytest.mark.django_db(transaction=True)


class Host:
    """A host whose guests answer with these jobs; None is a host that went away."""

    def __init__(self, jobs: dict[UUID, str] | None) -> None:
        self.jobs = jobs

    def job(self, uuid: UUID) -> str:
        if self.jobs is None:
            raise HostUnreachable("gone")
        return self.jobs.get(uuid, "")

    def close(self) -> None: ...


def hear(house: Facility, monkeypatch: pytest.MonkeyPatch, said: dict[UUID, str] | None) -> None:
    monkeypatch.setattr(jobs, "open_host", lambda _spec: Host(said))
    jobs.hear_jobs_of(house.host.pk)


def running(house: Facility, **facts: Any) -> Instance:
    return machine(house.alice, house.plan, house.host, observed_at=timezone.now(), **facts)


def test_a_declared_job_is_written_and_shown(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house)
    hear(house, monkeypatch, {one.uuid: "python fit.py"})
    one.refresh_from_db()
    assert one.job == "python fit.py"
    assert Rulebook.current().judge(one, timezone.now()).why == Why.JOB


def test_when_it_ended_its_time_stays_as_the_last_work(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house)
    hear(house, monkeypatch, {one.uuid: "python fit.py"})
    hear(house, monkeypatch, {})
    one.refresh_from_db()
    assert one.job == ""
    assert one.job_at is not None


def test_a_host_that_went_away_changes_nothing(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house, job="fit", job_at=timezone.now() - timedelta(minutes=2))
    hear(house, monkeypatch, None)
    one.refresh_from_db()
    assert one.job == "fit"


def test_machines_at_rest_are_not_asked(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    one = running(house, state=State.HIBERNATED)
    hear(house, monkeypatch, {one.uuid: "fit"})
    one.refresh_from_db()
    assert one.job == ""


def test_a_host_whose_guests_have_no_agent_says_that_there_is_none(house: Facility, driver: Driver) -> None:
    with closing(driver):
        assert driver.job(UUID(int=7)) == ""
    running(house)
    jobs.hear_jobs_of(house.host.pk)
