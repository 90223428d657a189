"""Notebook runs asked for, and taken by workers, at the same moment."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.utils import timezone

from desktops import following, runs
from desktops.models import NotebookRun
from instances.actions import Refused
from tests.concurrency.test_races import CROWD, all_at_once
from tests.people import Facility, facility

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def ask(house: Facility, output: str, key: object = None) -> NotebookRun | None:
    wish = runs.Wish("fit.ipynb", "", {}, key or uuid4())  # type: ignore[arg-type]
    try:
        return runs._write(house.alice, house.machine, wish, "/home/alice/fit.ipynb", output)
    except Refused:
        return None


def test_a_crowd_gets_as_many_runs_as_a_machine_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_OPEN", CROWD // 2)
    house = facility()
    made = all_at_once(lambda number: ask(house, f"/home/alice/{number}.ipynb"))
    assert len([run for run in made if run]) == NotebookRun.objects.count() == CROWD // 2


def test_one_wish_sent_many_times_is_one_run() -> None:
    house, key = facility(), uuid4()
    made = all_at_once(lambda number: ask(house, "/home/alice/out.ipynb", key))
    assert {run and run.pk for run in made} == {NotebookRun.objects.get().pk}


def test_a_machine_is_asked_by_one_worker_of_many() -> None:
    house, now = facility(), timezone.now()
    for number in range(3):
        ask(house, f"/home/alice/{number}.ipynb")
    NotebookRun.objects.update(due_at=now)
    taken = all_at_once(lambda _number: following.take(now))
    assert [len(machine) for machines in taken for machine in machines] == [3]
