"""What becomes of machines that come to a limit. The driver is not needed: workers do what the rows say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from experiments.models import Role, RoleGrant
from instances import actions, expiry, life
from instances.expiry import Rulebook, expire
from instances.limits import Act
from instances.models import Instance, LifePolicy, Notice, Superseded, TimeLimit
from instances.states import State
from tests.people import Facility, facility, machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(db: None) -> Facility:
    return facility()


def ago(**length: float) -> datetime:
    return timezone.now() - timedelta(**length)


def idle(house: Facility, **facts: Any) -> Instance:
    """A machine of Alice that nobody has used for five days."""
    usual: dict[str, Any] = {"created_at": ago(days=6), "booted_at": ago(days=6), "last_used_at": ago(days=5)}
    usual |= {"observed_at": timezone.now(), "due_at": ago(minutes=1)}
    return machine(house.alice, house.plan, house.host, **usual | facts)


def state(instance: Instance) -> str:
    return Instance.objects.get(pk=instance.pk).state


def told(house: Facility) -> list[str]:
    return list(Notice.objects.filter(user=house.alice).order_by("pk").values_list("kind", flat=True))


def later(instance: Instance, **length: float) -> None:
    """Let time pass for this machine: everything that happened to it lies so much further back."""
    moved = timedelta(**length)
    columns = ["created_at", "booted_at", "last_used_at", "worked_at", "idle_warned_at", "end_warned_at"]
    row = Instance.objects.get(pk=instance.pk)
    facts = {name: getattr(row, name) - moved for name in columns if getattr(row, name)}
    facts |= {
        name: getattr(row, name) - moved for name in ("expires_at", "ends_set_at", "bin_until") if getattr(row, name)
    }
    Instance.objects.filter(pk=row.pk).update(**facts, due_at=ago(minutes=1), observed_at=timezone.now())


def test_an_idle_machine_is_told_then_sleeps(house: Facility) -> None:
    made = idle(house)
    expire()
    assert state(made) == State.ACTIVE
    assert told(house) == ["life_idle"]
    later(made, hours=23)
    expire()
    assert state(made) == State.ACTIVE
    later(made, hours=2)
    expire()
    assert state(made) == State.HIBERNATING
    assert told(house) == ["life_idle", "life_sleeps"]
    assert "Nobody used it" in made.transitions.latest("pk").reason


def test_it_is_told_once(house: Facility) -> None:
    made = idle(house)
    for _look in range(3):
        expire()
        Instance.objects.filter(pk=made.pk).update(due_at=ago(minutes=1))
    assert told(house) == ["life_idle"]


def test_who_comes_back_after_the_warning_keeps_the_machine(house: Facility) -> None:
    made = idle(house)
    expire()
    later(made, hours=30)
    Instance.objects.filter(pk=made.pk).update(last_used_at=timezone.now())
    expire()
    assert state(made) == State.ACTIVE


@pytest.mark.parametrize("sign", ["last_used_at", "worked_at", "job_at", "kernel_at", "awake_until"])
def test_a_sign_between_verdict_and_write_wins(house: Facility, sign: str) -> None:
    made = idle(house, idle_warned_at=ago(days=1.5))
    judged = Instance.objects.select_related("owner", "plan").get(pk=made.pk)
    book, now = Rulebook.current(), timezone.now()
    found = book.judge(judged, now)
    assert found.act == Act.HIBERNATE
    Instance.objects.filter(pk=made.pk).update(**{sign: now})
    with pytest.raises(Superseded):
        expiry.carry_out(judged, found, book, now)
    assert state(made) == State.ACTIVE
    assert told(house) == []


def test_a_machine_without_a_look_from_the_observer_is_left_alone(house: Facility) -> None:
    made = idle(house, observed_at=ago(hours=1), idle_warned_at=ago(days=1.5))
    expire()
    assert state(made) == State.ACTIVE


def test_the_limits_are_those_of_the_owners_roles(house: Facility) -> None:
    RoleGrant.objects.create(user=house.alice, role=Role.STAFF)
    made = idle(house)
    expire()
    assert told(house) == []
    TimeLimit.objects.filter(role=Role.STAFF).update(idle_days=3)
    Instance.objects.filter(pk=made.pk).update(due_at=ago(minutes=1))
    expire()
    assert told(house) == ["life_idle"]


def test_a_role_that_ends_takes_its_limit_along_in_time(house: Facility) -> None:
    ends = ago(hours=-3)
    RoleGrant.objects.create(user=house.alice, role=Role.STAFF, expires_at=ends)
    made = idle(house)
    expire()
    made.refresh_from_db()
    assert (told(house), made.due_at) == ([], ends)
    RoleGrant.objects.filter(user=house.alice).update(expires_at=ago(seconds=1))
    Instance.objects.filter(pk=made.pk).update(due_at=ago(seconds=1))
    expire()
    assert told(house) == ["life_idle"]


def test_more_time_amid_the_warning_is_told_anew_before_it_ends(house: Facility) -> None:
    made = idle(house, last_used_at=ago(minutes=5), expires_at=ago(hours=-40), ends_set_at=ago(days=12))
    expire()
    asked = life.ask_for_time(made, house.alice, "Beamtime moved")
    life.accept(asked, house.admin, ago(days=-8))
    later(made, days=5)
    Instance.objects.filter(pk=made.pk).update(last_used_at=timezone.now())
    expire()
    assert told(house) == ["life_ending", "time_given"]
    later(made, days=1.1)
    Instance.objects.filter(pk=made.pk).update(last_used_at=timezone.now())
    expire()
    assert (state(made), told(house)[-1]) == (State.ACTIVE, "life_ending")


def test_a_limit_of_a_size_holds_at_once(house: Facility) -> None:
    made = idle(house, last_used_at=ago(hours=3))
    expire()
    assert told(house) == []
    TimeLimit.objects.create(flavour=house.small, lifetime_days=1, idle_days="0.1")
    Instance.objects.filter(pk=made.pk).update(due_at=ago(minutes=1))
    expire()
    assert told(house) == ["life_idle"]


def test_at_its_end_it_sleeps_then_lies_in_the_bin_then_is_gone(house: Facility) -> None:
    made = idle(house, last_used_at=ago(minutes=5), expires_at=ago(hours=-40), ends_set_at=ago(days=12))
    expire()
    assert told(house) == ["life_ending"]
    later(made, hours=49)
    Instance.objects.filter(pk=made.pk).update(last_used_at=timezone.now())
    expire()
    assert state(made) == State.HIBERNATING
    Instance.objects.get(pk=made.pk).transition(State.HIBERNATED)
    later(made, days=2)
    expire()
    assert state(made) == State.HIBERNATED
    later(made, days=1)
    expire()
    assert state(made) == State.DELETING
    assert told(house) == ["life_ending", "life_ended", "life_deleted"]
    Instance.objects.get(pk=made.pk).transition(State.BINNED, power="off")
    later(made, days=13)
    expire()
    assert state(made) == State.BINNED
    later(made, days=1)
    expire()
    assert (state(made), Instance.objects.get(pk=made.pk).bin_until) == (State.DELETING, None)


def test_past_its_end_it_cannot_be_started(house: Facility) -> None:
    ended = machine(house.alice, house.plan, house.host, state=State.HIBERNATED, expires_at=ago(minutes=1))
    with pytest.raises(actions.Refused, match="come to its end"):
        actions.start(ended, house.alice)


def test_what_staff_keep_neither_sleeps_nor_ends(house: Facility) -> None:
    made = idle(house, expires_at=ago(days=1), end_warned_at=ago(days=5), idle_warned_at=ago(days=1.5))
    life.pin(made, house.admin, True)
    expire()
    assert state(made) == State.ACTIVE


def test_a_machine_that_is_not_due_is_not_looked_at(house: Facility, django_assert_num_queries: Any) -> None:
    idle(house, due_at=ago(hours=-1))
    Instance.objects.filter(pk=house.machine.pk).update(due_at=ago(hours=-1))
    with django_assert_num_queries(4):  # rules, limits, who is due, what lies in the bin
        expire()


def test_the_next_look_comes_before_anything_can_happen(house: Facility) -> None:
    made = idle(house, last_used_at=ago(days=2, hours=20))
    expire()
    made.refresh_from_db()
    assert timedelta(hours=3.9) < made.due_at - timezone.now() < timedelta(hours=4.1)


def test_a_facility_without_a_bin_deletes_for_good(house: Facility) -> None:
    LifePolicy.objects.create(bin_days=0)
    made = idle(house, state=State.STOPPED, expires_at=ago(days=4), ends_set_at=ago(days=18), end_warned_at=ago(days=6))
    expire()
    made.refresh_from_db()
    assert (made.state, made.bin_until) == (State.DELETING, None)


def test_the_history_says_that_the_owner_was_told(house: Facility) -> None:
    made = idle(house)
    expire()
    assert made.entries.get().kind == "warned_idle"


# Too many at once


def many(house: Facility, count: int) -> list[Instance]:
    return [idle(house, name=f"Idle {number}", idle_warned_at=ago(days=1.5)) for number in range(count)]


def asleep(machines: list[Instance]) -> int:
    return Instance.objects.filter(pk__in=[one.pk for one in machines], state=State.HIBERNATING).count()


def test_ten_at_once_are_taken(house: Facility) -> None:
    machines = many(house, 10)
    expire()
    assert asleep(machines) == 10


def test_eleven_at_once_wait_for_staff_who_are_told_once(house: Facility) -> None:
    machines = many(house, 11)
    expire()
    expire()
    assert asleep(machines) == 0
    assert list(Notice.objects.filter(kind="sweep_held").values_list("user", flat=True)) == [house.admin.pk]


def test_what_staff_allow_is_taken(house: Facility, client: Client) -> None:
    machines = many(house, 11)
    client.force_login(house.admin)
    page = client.get("/admin/instances/lifepolicy/add/")
    sent = {name: field.initial() if callable(field.initial) else field.initial
            for name, field in page.context["adminform"].form.fields.items()}  # fmt: skip
    client.post("/admin/instances/lifepolicy/add/", sent)
    row = LifePolicy.objects.get()
    client.post(f"/admin/instances/lifepolicy/{row.pk}/change/", sent | {"instances_lifepolicy_allow_sweeps": "1"})
    expire()
    assert asleep(machines) == 11


def test_a_bin_that_would_be_emptied_of_too_many_waits_too(house: Facility) -> None:
    binned = [
        machine(house.alice, house.plan, house.host, state=State.BINNED, bin_until=ago(hours=1)) for _ in range(8)
    ]
    machines = many(house, 3)
    expire()
    assert (asleep(machines), {state(one) for one in binned}) == (0, {State.BINNED})
    LifePolicy.objects.create(sweeps_allowed_until=ago(hours=-1))
    expire()
    assert (asleep(machines), {state(one) for one in binned}) == (3, {State.DELETING})


def test_a_machine_that_runs_though_it_lies_in_the_bin_is_not_deleted(house: Facility) -> None:
    back = machine(house.alice, house.plan, house.host, state=State.BINNED, bin_until=ago(hours=1), power="running")
    expire()
    assert state(back) == State.BINNED


def test_a_held_sweep_still_warns(house: Facility) -> None:
    many(house, 11)
    fresh = idle(house, name="Fresh")
    expire()
    assert fresh.entries.filter(kind="warned_idle").exists()
