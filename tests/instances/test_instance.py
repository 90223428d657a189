"""A machine's row: moving it, and keeping its secrets."""

from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from instances import signals
from instances.models import IllegalTransition, Instance, Superseded
from instances.models.instance import DEADLINES
from instances.states import State
from tests.people import Facility, facility, machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    return facility()


def test_a_move_outside_the_table_is_refused(house: Facility) -> None:
    with pytest.raises(IllegalTransition):
        house.machine.transition(State.BUILDING)
    assert Instance.objects.get().state == State.ACTIVE


def test_a_move_writes_who_and_why(house: Facility) -> None:
    moved = house.machine.transition(State.STOPPING, by=house.alice, reason="lunch")
    assert (moved.origin, moved.to, moved.by, moved.reason) == ("active", "stopping", house.alice, "lunch")


def test_of_two_who_move_the_same_machine_the_second_is_superseded(house: Facility) -> None:
    second = Instance.objects.get(pk=house.machine.pk)
    house.machine.transition(State.STOPPING)
    with pytest.raises(Superseded):
        second.transition(State.REBOOTING)
    assert Instance.objects.get().state == State.STOPPING


def test_a_condition_that_no_longer_holds_supersedes(house: Facility) -> None:
    with pytest.raises(Superseded):
        house.machine.transition(State.STOPPING, only_if=Q(last_used_at__isnull=False))
    assert not house.machine.transitions.filter(to=State.STOPPING).exists()


def test_a_working_state_gets_its_deadline_and_a_settled_one_has_none(house: Facility) -> None:
    before = timezone.now()
    house.machine.transition(State.STOPPING)
    assert house.machine.deadline_at is not None
    assert house.machine.deadline_at >= before + DEADLINES[State.STOPPING]
    house.machine.transition(State.STOPPED)
    assert Instance.objects.get().deadline_at is None


def test_an_error_keeps_its_sentence_until_the_next_move(house: Facility) -> None:
    house.machine.transition(State.ERROR, reason="The machine crashed.")
    assert Instance.objects.get().problem == "The machine crashed."
    house.machine.transition(State.STARTING)
    assert Instance.objects.get().problem == ""


def test_a_stopped_machine_is_not_ready_and_has_no_address(house: Facility) -> None:
    Instance.objects.update(address="10.0.0.9", console_port=5900)
    house.machine.transition(State.STOPPING)
    house.machine.transition(State.STOPPED)
    row = Instance.objects.get()
    assert (row.address, row.console_port, row.desktop_ready_at) == (None, None, None)


def test_the_apps_above_hear_of_a_move_after_commit(house: Facility, django_capture_on_commit_callbacks: Any) -> None:
    heard: list[str] = []

    def listener(instance: Instance, **_: object) -> None:
        heard.append(instance.state)

    signals.transitioned.connect(listener)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            house.machine.transition(State.STOPPING)
            assert heard == []
        assert heard == ["stopping"]
    finally:
        signals.transitioned.disconnect(listener)


def test_a_listener_that_fails_does_not_undo_the_move(house: Facility, django_capture_on_commit_callbacks: Any) -> None:
    def broken(**_: object) -> None:
        raise ConnectionError("Redis is away")

    signals.transitioned.connect(broken)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            house.machine.transition(State.STOPPING)
    finally:
        signals.transitioned.disconnect(broken)
    assert Instance.objects.get().state == State.STOPPING


def test_a_step_is_noted_once_for_each_attempt(house: Facility) -> None:
    fresh = machine(house.alice, house.plan, house.host, state=State.BUILDING)
    fresh.begin_step("disk")
    fresh.begin_step("disk")
    assert fresh.steps.filter(name="disk").count() == 1


@pytest.mark.parametrize("column", ["vnc_password", "console_password", "jupyter_token", "ssh_secret"])
def test_the_database_holds_secrets_only_encrypted(house: Facility, column: str) -> None:
    secret = getattr(Instance.objects.get(), column)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM instances_instance")  # noqa: S608 - the column is ours
        stored = cursor.fetchone()[0]
    assert len(secret) >= 8
    assert secret not in stored


def test_every_machine_has_secrets_of_its_own(house: Facility) -> None:
    other = machine(house.bob, house.plan, house.host)
    assert other.vnc_password != house.machine.vnc_password
    assert other.jupyter_token != house.machine.jupyter_token


def test_an_older_key_still_opens_what_it_locked(house: Facility, settings: Any) -> None:
    password = house.machine.vnc_password
    settings.ENCRYPTION_KEYS = ["a new key", *settings.ENCRYPTION_KEYS]
    assert Instance.objects.get(pk=house.machine.pk).vnc_password == password


def test_alice_and_bob_see_the_machine_and_charlie_does_not(house: Facility) -> None:
    assert house.machine in Instance.objects.visible_to(house.alice)
    assert house.machine in Instance.objects.visible_to(house.bob)
    assert house.machine not in Instance.objects.visible_to(house.charlie)


def test_it_support_and_administrators_see_all_machines(house: Facility) -> None:
    assert house.machine in Instance.objects.visible_to(house.sam)
    assert house.machine in Instance.objects.visible_to(house.admin)
