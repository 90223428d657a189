"""Notebook runs as rows: who may do what, what workers take, and what they believe of a machine."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any
from unittest.mock import Mock

import pytest
from django.core.cache import cache
from django.test import TestCase
from django.utils import timezone
from rest_framework.test import APIClient

from desktops import following, notebooks, runs
from desktops.models import Invitation, NotebookRun, Pass
from desktops.shell.runs import Told, understood
from desktops.shell.ssh import ShellUnavailable
from experiments.models import Role, User
from instances.actions import NotAllowed, Refused
from instances.models import Instance, Member, MemberRole
from instances.signals import observed
from instances.states import State
from tests.desktops.rooms import granted, looks
from tests.people import Facility, client_of, facility, person

pytestmark = pytest.mark.django_db

WHO = ("alice", "bob", "gwen", "helper", "sam", "viewer", "charlie", "ines")
"""Owner, member, guest; support let in, and not; by a public link; strangers. Alice is at her machine."""

RIGHTS: dict[str, tuple[int, ...]] = {
    # The machine has no address: who may do it is told that it does not answer.
    "post ": (409, 409, 403, 409, 403, 404, 404, 404),
    "get ": (200, 200, 200, 200, 403, 404, 404, 404),
    "get {run}/": (200, 200, 200, 200, 403, 404, 404, 404),
    "post {run}/stop/": (202, 202, 403, 202, 403, 404, 404, 404),
    "get {run}/result/": (409, 409, 409, 409, 403, 404, 404, 404),
}


@pytest.fixture
def house() -> Facility:
    cache.clear()
    return facility()


def a_run(house: Facility, **facts: Any) -> NotebookRun:
    place = {"notebook": "/home/alice/fit.ipynb", "output": "/home/alice/out.ipynb"}
    return NotebookRun.objects.create(**{"instance": house.machine, "by": house.alice} | place | facts)


def wish(house: Facility, number: int = 0) -> tuple[Any, ...]:
    """The arguments of what writes a run whose notebook was found in the machine."""
    asked = runs.Wish("fit.ipynb", "", {}, NotebookRun().request_key)
    return house.alice, house.machine, asked, "/home/alice/fit.ipynb", f"/home/alice/{number}.ipynb"


def test_who_may_do_what(house: Facility) -> None:
    """SEC-04"""
    machine = house.machine
    Member.objects.create(instance=machine, user=person("gwen"), role=MemberRole.GUEST)
    granted(person("helper", Role.IT_SUPPORT), machine)
    link = Invitation.objects.create(instance=machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x")
    Pass.objects.create(invitation=link, user=person("viewer"))
    looks(house.alice, machine)
    run = a_run(house)
    for line, codes in RIGHTS.items():
        method, path = line.split(" ")
        for who, code in zip(WHO, codes, strict=True):
            client = APIClient()
            client.force_authenticate(User.objects.get(username=who))
            place = f"/api/v1/instances/{machine.uuid}/runs/{path.format(run=run.uuid)}"
            answer = getattr(client, method)(place, {"notebook": "fit.ipynb"}, format="json")
            assert answer.status_code == code, (line, who, answer.content)
    assert NotebookRun.objects.count() == 1


def test_the_machines_page_shows_runs_to_who_may_come_in_and_their_stop_to_who_has_control(house: Facility) -> None:
    machine = house.machine
    Member.objects.create(instance=machine, user=person("gwen"), role=MemberRole.GUEST)
    person("asker", Role.IT_SUPPORT)
    looks(house.alice, machine)
    run = a_run(house, state="running", cells_done=2, cells=5, notebook="/home/alice/<b>fit\u202e.ipynb")
    a_run(house, state="failed", problem="ZeroDivisionError: division by zero", output="/home/alice/50%.ipynb")
    path = f"/machines/{machine.uuid}/runs/"
    shown = {
        who: client_of(User.objects.get(username=who)).get(path).content.decode()
        for who in ("alice", "bob", "gwen", "asker")
    }
    for who in ("alice", "bob", "gwen"):
        assert "&lt;b&gt;fit\ufffd.ipynb" in shown[who]
        assert "2 of 5 cells" in shown[who]
        assert "path=%2Fhome%2Falice%2F50%2525.ipynb" in shown[who]
        assert (f"runs/{run.uuid}/stop/" in shown[who]) == (who != "gwen")
    assert "fit" not in shown["asker"]
    refused = client_of(User.objects.get(username="gwen")).post(f"{path}{run.uuid}/stop/")
    assert "You are watching" in refused.content.decode()
    assert "Stopping" in client_of(house.bob).post(f"{path}{run.uuid}/stop/").content.decode()
    run.refresh_from_db()
    assert run.stop_asked_at is not None


def test_pages_hear_when_a_run_has_changed(house: Facility, django_capture_on_commit_callbacks: Any) -> None:
    heard: list[tuple[int, str]] = []

    def hear(sender: object, instance: Instance, what: str, **rest: object) -> None:
        heard.append((instance.pk, what))

    run = a_run(house)
    observed.connect(hear)
    for state in ("running", "running", "done"):
        with django_capture_on_commit_callbacks(execute=True):
            following.write([run], {str(run.uuid): Told(state)}, timezone.now())
    assert heard == [(house.machine.pk, "runs")] * 2


def test_a_run_of_another_machine_is_not_found(house: Facility) -> None:
    other = Instance.objects.create(owner=house.charlie, plan=house.plan, vcpus=1, memory_mib=1, disk_gib=1)
    run = a_run(house, instance=other)
    client = APIClient()
    client.force_authenticate(house.alice)
    assert client.get(f"/api/v1/instances/{house.machine.uuid}/runs/{run.uuid}/").status_code == 404


def test_open_runs_are_bounded_and_no_two_write_to_one_place(house: Facility) -> None:
    for number in range(runs.MOST_OPEN - 1):
        runs._write(*wish(house, number))
    with pytest.raises(Refused) as twice:
        runs._write(*wish(house, 0))
    assert twice.value.field == "output"
    runs._write(*wish(house, 99))
    with pytest.raises(Refused, match="20 notebook runs"):
        runs._write(*wish(house, 100))
    NotebookRun.objects.filter(output="/home/alice/0.ipynb").update(state="done")
    runs._write(*wish(house, 0))


def test_a_taken_run_comes_again_when_its_worker_said_nothing(house: Facility) -> None:
    now = timezone.now()
    run = a_run(house, due_at=now)
    assert following.take(now) == [[run]]
    assert following.take(now + timedelta(seconds=following.PATIENCE)) == []
    assert following.take(now + timedelta(seconds=following.PATIENCE + following.SILENT)) == [[run]]


def test_silent_machines_come_again_at_one_moment() -> None:
    now = timezone.now().replace(second=3)
    assert following.after_silence(now) == following.after_silence(now + timedelta(seconds=1))


@pytest.mark.parametrize("state", [State.HIBERNATED, State.STOPPED, State.UNREACHABLE])
def test_runs_of_a_machine_that_is_away_wait(house: Facility, state: State) -> None:
    run = a_run(house, state="running")
    Instance.objects.update(state=state)
    following.follow()
    run.refresh_from_db()
    assert run.state == "running"


def test_runs_of_a_deleted_machine_end_in_words(house: Facility) -> None:
    run = a_run(house)
    Instance.objects.update(state=State.BINNED)
    following.follow()
    run.refresh_from_db()
    assert (run.state, run.problem, run.ended_at is None) == ("interrupted", following.DELETED, False)


def test_runs_and_their_parameters_go_with_their_machine(house: Facility) -> None:
    a_run(house)
    Instance.objects.update(state=State.DELETING)
    with TestCase.captureOnCommitCallbacks(execute=True):
        Instance.objects.get().transition(State.DELETED)
    assert not NotebookRun.objects.exists()


def test_as_many_run_at_a_time_as_there_are_cpus_and_the_next_comes_when_one_ends(house: Facility) -> None:
    first, second, third = (a_run(house, due_at=timezone.now()) for _ in range(3))
    Instance.objects.update(vcpus=2)
    (taken,) = following.take(timezone.now())
    assert [(one.id, one.wanted) for one in following.wanted(taken)] == [
        (str(first.uuid), "run"),
        (str(second.uuid), "run"),
    ]
    now = timezone.now()
    following.write(taken, {str(first.uuid): Told("running", cells=(1, 4)), str(second.uuid): Told("done")}, now)
    (taken,) = following.take(now)
    assert [(one.id, one.wanted) for one in following.wanted(taken)] == [
        (str(first.uuid), "look"),
        (str(third.uuid), "run"),
    ]
    first.refresh_from_db()
    assert (first.state, first.cells_done, first.cells) == ("running", 1, 4)


def test_what_came_too_late_changes_nothing(house: Facility) -> None:
    stale = a_run(house)
    NotebookRun.objects.update(state="done")
    following.write([stale], {str(stale.uuid): Told("running")}, timezone.now())
    assert NotebookRun.objects.get().state == "done"


def test_who_loses_the_right_while_the_machine_is_looked_into_has_nothing_run(house: Facility) -> None:
    _user, machine, *rest = wish(house)
    Member.objects.filter(instance=machine, user=house.bob).delete()
    with pytest.raises(NotAllowed):
        runs._write(house.bob, machine, *rest)
    assert not NotebookRun.objects.exists()


async def test_a_machine_that_surprises_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[Any] = []
    strange: Any = [Mock()]
    plain: Any = [Mock()]

    async def ask(machine: Any, _at_once: object) -> None:
        if machine is strange:
            raise ValueError("what no SSH server says")
        await asyncio.sleep(0)
        asked.append(machine)

    monkeypatch.setattr(following, "_ask", ask)
    await following._ask_all([strange, plain])
    assert asked == [plain]
    assert "what no SSH server says" in caplog.text


@pytest.mark.parametrize("path", [b"/home/alice/a\0.ipynb", b"/" + b"x" * 5000])
def test_a_path_that_a_machine_made_is_kept_only_where_rows_can(path: bytes) -> None:
    with pytest.raises(Refused, match="no name for a file"):
        notebooks._text(path, "notebook")


@pytest.mark.parametrize("said", [b"", b"sh: 1: /usr/lib/visa/run: not found", b"[" * 100_000])
def test_what_is_no_answer_counts_as_silence(said: bytes) -> None:
    with pytest.raises(ShellUnavailable):
        understood(said)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"state": "running", "cells": [1, 3], "problem": ""}, Told("running", "", (1, 3))),
        ({"state": "failed", "problem": "a\nb\x1b[0m\u202e"}, Told("failed", "a b [0m ")),
        ({"state": "done", "cells": [4, 3]}, Told("done")),
        ({"state": "done", "cells": [-1, 3], "problem": 7}, Told("done")),
        ({"state": "done", "cells": [True, 1e400]}, Told("done")),
        ({"state": "done", "cells": [1, 10**12]}, Told("done")),
        ({"state": "rich"}, None),
        ({"state": ["done"]}, None),
        ("done", None),
    ],
)
def test_nothing_is_believed_but_what_is_expected(said: Any, told: Told | None) -> None:
    assert understood(json.dumps({"x": said}).encode()) == ({"x": told} if told else {})
