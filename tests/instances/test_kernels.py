"""Notebooks that compute, written into the rows: evidence for people, and work that keeps a machine awake."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from instances import jupyter, kernels
from instances.expiry import Rulebook
from instances.jupyter import Lab, Told
from instances.limits import SILENT, Act, Why
from instances.models import Instance, Kernel
from instances.states import State
from tests.instances.lives import minutes
from tests.people import Facility, client_of, facility, machine

pytestmark = pytest.mark.django_db

NOW = timezone.now()
"""A moment for what is not compared with the present."""
FIT = Told("a-1", "scans/fit.ipynb", "python3", True, "12:00")
AT_REST = Told("a-1", "scans/fit.ipynb", "python3", False, "12:00")


@pytest.fixture
def house(db: None) -> Facility:
    return facility()


def running(house: Facility, **facts: Any) -> Instance:
    """A machine that nobody has used for five days."""
    long_ago = NOW - timedelta(days=5)
    usual: dict[str, Any] = {"booted_at": long_ago, "observed_at": timezone.now(), "address": "127.0.0.1"}
    return machine(house.alice, house.plan, house.host, **usual | {"jupyter_ready_at": long_ago} | facts)


def hear(instance: Instance, *told: Told, at: timedelta = timedelta(0)) -> Instance:
    """What JupyterLab says so long after NOW; the row afterwards."""
    kernels.write(Instance.objects.get(pk=instance.pk), list(told), NOW + at)
    return Instance.objects.get(pk=instance.pk)


def heard_until_now(instance: Instance, *told: Told) -> None:
    """The same for the last three hours."""
    for ago in (timedelta(hours=3), timedelta(0)):
        kernels.write(Instance.objects.get(pk=instance.pk), list(told), timezone.now() - ago)


def test_a_busy_notebook_is_work_and_is_named(house: Facility) -> None:
    one = hear(running(house), FIT)
    assert (one.kernel, one.kernel_at) == ("fit.ipynb", NOW)
    assert Rulebook.current().judge(one, NOW).why == Why.KERNEL


@pytest.mark.parametrize("told", [[], [AT_REST]])
def test_a_notebook_at_rest_is_none(house: Facility, told: list[Told]) -> None:
    one = running(house)
    assert Rulebook.current().judge(hear(one, *told), NOW).act == Act.WARN


def test_when_it_ended_its_time_stays_as_the_last_work(house: Facility) -> None:
    one = running(house)
    hear(one, FIT)
    one = hear(one, AT_REST, at=minutes(2))
    assert (one.kernel, one.kernel_at) == ("", NOW)


def test_since_when_it_is_busy_is_ours_and_stays(house: Facility) -> None:
    one = running(house)
    for minute, activity in enumerate(["12:00", "23:59", "11:00"]):
        hear(one, Told("a-1", "fit.ipynb", "python3", True, activity), at=minutes(minute))
    kernel = one.kernels.get()
    assert (kernel.since, kernel.moved_at, kernel.heard_at) == (NOW, NOW + minutes(2), NOW + minutes(2))
    hear(one, AT_REST, at=minutes(3))
    assert one.kernels.get().since == NOW + minutes(3)


def test_a_cell_that_hangs_in_silence_is_work_for_a_day(house: Facility) -> None:
    one = running(house)
    hear(one, FIT)
    assert hear(one, FIT, at=SILENT).kernel_at == NOW + SILENT
    hung = hear(one, FIT, at=SILENT + minutes(2))
    assert (hung.kernel, hung.kernel_at) == ("", NOW + SILENT)
    speaks = hear(one, Told("a-1", "scans/fit.ipynb", "python3", True, "13:00"), at=SILENT + minutes(4))
    assert speaks.kernel_at == NOW + SILENT + minutes(4)


def test_kernels_that_ended_are_forgotten(house: Facility) -> None:
    one = running(house)
    hear(one, FIT, Told("b-2", "", "julia", False, ""))
    hear(one, Told("b-2", "", "julia", False, ""))
    assert [str(kernel) for kernel in one.kernels.all()] == ["julia"]


def test_pages_are_rung_when_something_changed_and_else_not(
    house: Facility, django_capture_on_commit_callbacks: Any
) -> None:
    one = running(house)
    rings = []
    for told in ([FIT], [FIT], [AT_REST], []):
        with django_capture_on_commit_callbacks() as rung:
            hear(one, *told)
        rings.append(len(rung))
    assert rings == [1, 0, 1, 1]


def test_a_machine_that_fell_asleep_meanwhile_is_not_at_work(house: Facility) -> None:
    one = running(house, state=State.HIBERNATED)
    assert hear(one, FIT).kernel_at is None


def test_only_jupyterlabs_that_answer_are_asked(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Lab] = []

    async def ask_all(labs: Sequence[Lab]) -> list[list[Told] | None]:
        asked.extend(labs)
        return [[FIT], None]

    monkeypatch.setattr(jupyter, "ask_all", ask_all)
    one, silent = running(house), running(house, address="127.0.0.2", kernel="x.ipynb", kernel_at=NOW)
    running(house, jupyter_ready_at=None)
    running(house, state=State.HIBERNATED)
    kernels.hear_kernels_of(house.host.pk)
    assert [(lab.host, lab.port, lab.token) for lab in asked] == [
        ("127.0.0.1", 8888, one.jupyter_token),
        ("127.0.0.2", 8888, silent.jupyter_token),
    ]
    assert one.kernels.get().notebook == "scans/fit.ipynb"
    silent.refresh_from_db()
    assert silent.kernel == "x.ipynb", "silence says nothing"


def test_what_was_not_heard_of_for_a_day_is_forgotten(house: Facility) -> None:
    hear(running(house), FIT, at=timedelta(days=-2))
    kernels.hear_kernels()
    assert not Kernel.objects.exists()


def test_owner_and_staff_see_which_notebook_is_busy_and_since_when(house: Facility) -> None:
    one = running(house, name="Fits")
    heard_until_now(one, FIT, Told("b-2", "plots.ipynb", "python3", False, ""))
    page = client_of(house.alice).get(f"/machines/{one.uuid}/").content.decode()
    assert page.index("scans/fit.ipynb") < page.index("busy for 3 hours") < page.index("plots.ipynb")
    assert "idle for 3 hours" in page
    assert "Working: fit.ipynb" in client_of(house.alice).get("/").content.decode()
    staff = client_of(house.admin).get(f"/admin/instances/instance/{one.pk}/change/").content.decode()
    assert "scans/fit.ipynb" in staff
    assert "Working: fit.ipynb" in staff
    assert one.name in client_of(house.admin).get("/admin/instances/instance/?show=computing").content.decode()
    assert client_of(house.charlie).get(f"/machines/{one.uuid}/time/").status_code == 404


def test_what_was_heard_long_ago_is_not_shown(house: Facility) -> None:
    one = running(house)
    hear(one, FIT, at=timedelta(minutes=-11))
    assert "scans/fit.ipynb" not in client_of(house.alice).get(f"/machines/{one.uuid}/").content.decode()


def test_a_hostile_name_is_shown_and_nothing_more(house: Facility) -> None:
    one = running(house)
    heard_until_now(one, Told("a-1", "<script>alert(1)</script>.ipynb", "python3", True, ""))
    page = client_of(house.alice).get(f"/machines/{one.uuid}/").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
