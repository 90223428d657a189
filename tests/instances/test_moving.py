"""Asking for a move: where to, who may, and what its owner reads. The copying itself is in tests/flows/test_moving."""

from __future__ import annotations

import pytest

from instances import actions, claims, draining, moving, observer
from instances.actions import NotAllowed, Refused
from instances.drivers.base import DomainStatus, Power
from instances.models import Host, Image, Instance, Relocation, Stray
from instances.states import State
from tests.people import Facility, client_of, facility, host, machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    """Alice's machine is stopped, and there is a second host."""
    made = facility()
    Instance.objects.update(state=State.STOPPED, power="off")
    made.machine.refresh_from_db()
    host("other")
    return made


def test_it_goes_to_another_host_with_room_whose_disk_is_claimed_at_once(house: Facility) -> None:
    move = draining.move(house.machine, house.admin)
    assert (str(move.origin), str(move.target)) == ("host-1", "other")
    (room,) = claims.rooms([move.target])
    assert room.disk_gib == 2 * 4000 - house.machine.disk_gib
    assert moving.due() == [move.pk]


def test_labels_hold_for_a_move_too(house: Facility) -> None:
    Image.objects.update(requires="gpu")
    with pytest.raises(Refused, match="No host has what"):
        draining.move(Instance.objects.get(pk=house.machine.pk), house.admin)


@pytest.mark.parametrize("state", [State.ACTIVE, State.HIBERNATED, State.DELETING])
def test_only_what_is_stopped_moves(house: Facility, state: State) -> None:
    Instance.objects.update(state=state)
    with pytest.raises(Refused, match="Only a machine that is stopped"):
        draining.move(Instance.objects.get(pk=house.machine.pk), house.admin)


def test_it_moves_once_at_a_time_and_staff_alone_ask(house: Facility) -> None:
    with pytest.raises(NotAllowed):
        draining.move(house.machine, house.alice)
    draining.move(house.machine, house.admin)
    with pytest.raises(Refused, match="already"):
        draining.move(house.machine, house.admin)


def test_who_starts_it_before_the_copy_begins_wins(house: Facility) -> None:
    move = draining.move(house.machine, house.admin)
    actions.start(house.machine, house.alice)
    moving.go_on(move.pk)
    move.refresh_from_db()
    assert (move.outcome, move.cleared_at is not None) == ("given_up", True)
    assert Instance.objects.get(pk=house.machine.pk).host == house.host


def test_a_host_that_is_away_is_waited_for_and_said(house: Facility) -> None:
    Host.objects.update(uri="qemu+unix:///system?socket=/nowhere/libvirt-sock")
    move = draining.move(house.machine, house.admin)
    moving.go_on(move.pk)
    move.refresh_from_db()
    assert (move.outcome, "does not answer" in move.problem) == ("copying", True)
    assert moving.due() == []


def test_a_copy_on_its_way_is_no_unknown_machine(house: Facility) -> None:
    move = draining.move(house.machine, house.admin)
    copy = DomainStatus(uuid=house.machine.uuid, generation=1, power=Power.OFF)
    observer.settle(move.target, [copy], move.asked_at)
    assert not Stray.objects.exists()
    Relocation.objects.update(cleared_at=move.asked_at)
    observer.settle(move.target, [copy], move.asked_at)
    assert Stray.objects.count() == 1


def test_staff_press_a_button_and_the_owner_reads_how_far_it_is(house: Facility) -> None:
    page = f"/admin/instances/host/{house.host.pk}/machines/"
    sent = {"act": "move", "reason": "", "machines": [str(house.machine.pk)]}
    shown = client_of(house.admin).post(page, sent, follow=True).content.decode()
    assert "Asked for 1 machines" in shown
    assert "is being moved → other" in shown
    Instance.objects.update(progress=40)
    card = client_of(house.alice).get(f"/machines/{house.machine.uuid}/card/").content.decode()
    assert "It is being moved to another host: 40%" in card


def test_a_running_machine_is_refused_in_words(house: Facility) -> None:
    runs = machine(house.bob, house.plan, house.host, name="runs")
    page = f"/admin/instances/host/{house.host.pk}/machines/"
    said = client_of(house.admin).post(page, {"act": "move", "machines": [str(runs.pk)]}, follow=True)
    assert "runs: Only a machine that is stopped can be moved" in said.content.decode()
