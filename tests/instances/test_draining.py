"""Emptying a host: who is stopped, who is told what, and that nothing starts there until it is back."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail

from experiments.models import User
from instances import actions, draining, letters
from instances.actions import NotAllowed, Refused
from instances.models import Host, Instance, Letter, Notice
from instances.notices import Told
from instances.states import State
from tests.instances.test_admin import host_form
from tests.people import Facility, client_of, facility, machine

pytestmark = pytest.mark.django_db

WHY = "New memory is built in until noon."


@pytest.fixture
def house() -> Facility:
    return facility()


def page(house: Facility) -> str:
    return f"/admin/instances/host/{house.host.pk}/machines/"


def press(house: Facility, act: str, *machines: Instance, reason: str = WHY) -> Any:
    sent = {"act": act, "reason": reason, "machines": [str(one.pk) for one in machines]}
    return client_of(house.admin).post(page(house), sent, follow=True)


def asleep(house: Facility) -> None:
    """What the workers do."""
    Instance.objects.filter(state=State.HIBERNATING).update(state=State.HIBERNATED, power="off")


def told(user: User) -> list[str]:
    return [Told(notice).text for notice in Notice.objects.filter(user=user).order_by("pk")]


def test_the_page_lists_what_is_on_the_host_and_what_runs_first(house: Facility) -> None:
    machine(house.charlie, house.plan, house.host, name="a sleeper", state=State.HIBERNATED)
    machine(house.charlie, house.plan, None, name="elsewhere")
    shown = client_of(house.admin).get(page(house)).content.decode()
    assert "one machine runs here" in shown
    assert shown.index("alice&#x27;s machine") < shown.index("a sleeper")
    assert "elsewhere" not in shown
    assert shown.count('name="machines"') == 1


def test_what_runs_is_put_to_sleep_and_its_owner_reads_why(house: Facility) -> None:
    said = press(house, "sleep", house.machine).content.decode()
    assert "Asked for 1 machines" in said
    house.machine.refresh_from_db()
    assert house.machine.state == State.HIBERNATING
    moved = house.machine.transitions.latest("pk")
    assert (moved.by, moved.reason) == (house.admin, WHY)
    (notice,) = Notice.objects.filter(user=house.alice)
    assert (Told(notice).detail, notice.instance) == (WHY, house.machine)
    letters.deliver(Letter.objects.get(user=house.alice).pk)
    assert WHY in mail.outbox[-1].body


def test_a_closed_host_takes_and_starts_nothing_and_says_why(house: Facility) -> None:
    rests = machine(house.alice, house.plan, house.host, state=State.STOPPED)
    assert "Closed: nothing starts here" in press(house, "close").content.decode()
    with pytest.raises(Refused, match=WHY):
        actions.start(rests, house.alice)
    assert not Host.objects.get().enabled
    assert Instance.objects.get(pk=rests.pk).state == State.STOPPED


def test_brought_back_it_starts_again_and_those_who_were_stopped_are_told(house: Facility) -> None:
    own = machine(house.bob, house.plan, house.host)
    press(house, "close")
    actions.hibernate(own, house.bob)
    press(house, "sleep", house.machine)
    asleep(house)
    assert "Owners of 1 machines are told" in press(house, "back", reason="").content.decode()
    assert told(house.alice)[-1] == "The host of “alice's machine” is back: you can start it again."
    assert told(house.bob) == []
    actions.start(Instance.objects.get(pk=house.machine.pk), house.alice)
    assert Host.objects.get().enabled


@pytest.mark.parametrize("act", ["close", "sleep", "stop"])
def test_without_a_reason_nothing_is_done_and_the_choice_is_kept(house: Facility, act: str) -> None:
    shown = press(house, act, house.machine, reason=" ").content.decode()
    assert "Say why in a few words" in shown
    assert f'id="machine-{house.machine.pk}" checked' in shown
    assert Instance.objects.get(pk=house.machine.pk).state == State.ACTIVE
    assert Host.objects.get().closed_at is None


def test_nothing_chosen_is_said(house: Facility) -> None:
    assert "Choose at least one machine." in press(house, "stop").content.decode()


def test_a_machine_that_moved_on_is_left_alone_and_said(house: Facility) -> None:
    Instance.objects.update(state=State.REBOOTING)
    assert "busy with something else" in press(house, "stop", house.machine).content.decode()
    assert Notice.objects.count() == 0


def test_only_staff_come_in_and_support_looks_only(house: Facility) -> None:
    assert client_of(house.alice).get(page(house), follow=True).status_code == 403
    User.objects.filter(pk=house.sam.pk).update(is_staff=True)
    sam = client_of(User.objects.get(pk=house.sam.pk))
    assert "Put the chosen to sleep" not in sam.get(page(house)).content.decode()
    assert sam.post(page(house), {"act": "close", "reason": WHY}).status_code == 403
    with pytest.raises(NotAllowed):
        draining.close(house.host, house.alice, WHY)


def test_a_closed_host_that_is_ticked_to_take_machines_is_open_again(house: Facility) -> None:
    press(house, "close")
    client_of(house.admin).post(f"/admin/instances/host/{house.host.pk}/change/", host_form(name="host-1"))
    assert (Host.objects.get().enabled, Host.objects.get().closed_at) == (True, None)


def test_the_list_of_hosts_brings_a_closed_one_back_too(house: Facility) -> None:
    press(house, "close")
    chosen = {"action": "take", "_selected_action": [str(house.host.pk)]}
    client_of(house.admin).post("/admin/instances/host/", chosen)
    assert (Host.objects.get().enabled, Host.objects.get().closed_at) == (True, None)
