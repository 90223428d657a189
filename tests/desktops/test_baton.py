"""Who has the keyboard: asking, giving, taking, locking, freezing, and what becomes of the baton when people leave."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.test import Client
from django.utils import timezone

from desktops import baton
from desktops.access import Standing, stands
from desktops.models import FRESH, Connection, ControlAsk, Mode, Room
from desktops.tasks import attend
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import Member, MemberRole
from tests.desktops.rooms import looks
from tests.people import Facility, facility, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    """Everybody looks at Alice's machine, where there is one baton."""
    made = facility()
    Room.objects.create(instance=made.machine, mode=Mode.BATON)
    looks(made.alice, made.machine)
    looks(made.bob, made.machine)
    return made


@pytest.fixture
def gwen(people: Facility) -> User:
    made = person("gwen")
    Member.objects.create(instance=people.machine, user=made, role=MemberRole.GUEST)
    looks(made, people.machine)
    return made


def act(user: User, people: Facility, name: str, to: UUID | None = None) -> None:
    baton.act(user, people.machine, name, to)


def who_controls(people: Facility) -> set[str]:
    found = {name: stands(getattr(people, name), people.machine, inside=True) for name in ("alice", "bob")}
    return {name for name, standing in found.items() if isinstance(standing, Standing) and standing.controls}


def leave(user: User, ago: timedelta = baton.GRACE) -> None:
    Connection.objects.filter(user=user).update(closed_at=timezone.now() - ago)
    attend()


def asking(people: Facility) -> set[str]:
    return {ask.user.username for ask in ControlAsk.objects.filter(instance=people.machine)}


def test_the_owner_gives_what_was_asked_for_and_takes_it_back(people: Facility) -> None:
    act(people.bob, people, "ask")
    act(people.bob, people, "ask")
    assert asking(people) == {"bob"}
    act(people.alice, people, "give", people.bob.uuid)
    assert who_controls(people) == {"bob"}
    assert not asking(people)
    act(people.alice, people, "take")
    assert who_controls(people) == {"alice"}


def test_who_has_it_gives_it_back(people: Facility) -> None:
    act(people.alice, people, "give", people.bob.uuid)
    act(people.bob, people, "give", people.alice.uuid)
    assert who_controls(people) == {"alice"}


def test_who_does_not_have_it_cannot_give_it(people: Facility) -> None:
    with pytest.raises(Refused, match="do not have control"):
        act(people.bob, people, "give", people.bob.uuid)
    assert who_controls(people) == {"alice"}


def test_what_was_asked_for_may_be_withdrawn(people: Facility) -> None:
    act(people.bob, people, "ask")
    act(people.bob, people, "withdraw")
    assert not asking(people)


def test_a_watcher_neither_asks_nor_receives_nor_takes(people: Facility, gwen: User) -> None:
    for name in ("ask", "take"):
        with pytest.raises(NotAllowed):
            act(gwen, people, name)
    with pytest.raises(Refused) as refusal:
        act(people.alice, people, "give", gwen.uuid)
    assert refusal.value.field == "to"


def test_only_those_at_the_screen_receive_it(people: Facility) -> None:
    leave(people.bob)
    for to in (people.bob.uuid, people.charlie.uuid, uuid4(), None):
        with pytest.raises(Refused, match="not at the screen"):
            act(people.alice, people, "give", to)


@pytest.mark.parametrize("name", ["lock", "unlock", "freeze", "thaw"])
def test_locking_and_freezing_are_the_owners(people: Facility, name: str) -> None:
    with pytest.raises(NotAllowed):
        act(people.bob, people, name)


def test_where_it_is_locked_nobody_asks(people: Facility) -> None:
    act(people.bob, people, "ask")
    act(people.alice, people, "lock")
    assert not asking(people)
    with pytest.raises(Refused, match="does not take requests"):
        act(people.bob, people, "ask")
    act(people.alice, people, "unlock")
    act(people.bob, people, "ask")


def test_freezing_stops_who_has_it_until_the_thaw(people: Facility) -> None:
    act(people.alice, people, "give", people.bob.uuid)
    act(people.alice, people, "freeze")
    assert who_controls(people) == {"alice"}
    with pytest.raises(Refused):
        act(people.bob, people, "give", people.alice.uuid)
    act(people.alice, people, "thaw")
    assert who_controls(people) == {"bob"}


def test_freezing_works_where_everybody_controls(people: Facility) -> None:
    Room.objects.update(mode=Mode.FREE)
    act(people.alice, people, "freeze")
    assert who_controls(people) == {"alice"}


def test_where_everybody_controls_there_is_nothing_to_ask_for(people: Facility) -> None:
    Room.objects.update(mode=Mode.FREE)
    for user in (people.bob, people.alice):
        for name in ("ask", "take"):
            with pytest.raises(Refused):
                act(user, people, name)


def test_who_leaves_the_screen_puts_it_down(people: Facility) -> None:
    act(people.alice, people, "give", people.bob.uuid)
    leave(people.bob)
    assert who_controls(people) == {"alice"}


def test_who_closes_one_of_two_screens_keeps_it(people: Facility) -> None:
    act(people.alice, people, "give", people.bob.uuid)
    second = looks(people.bob, people.machine)
    Connection.objects.filter(pk=second.pk).update(closed_at=timezone.now() - baton.GRACE)
    attend()
    assert who_controls(people) == {"bob"}


def test_who_loads_the_page_anew_keeps_it(people: Facility) -> None:
    act(people.alice, people, "give", people.bob.uuid)
    leave(people.bob, ago=baton.GRACE / 2)
    looks(people.bob, people.machine)
    attend()
    assert who_controls(people) == {"bob"}


def test_of_whom_nothing_is_heard_any_more_it_is_taken_back(people: Facility) -> None:
    """Their web process was killed, so nobody wrote that they left."""
    act(people.alice, people, "give", people.bob.uuid)
    Connection.objects.filter(user=people.bob).update(seen_at=timezone.now() - FRESH)
    attend()
    assert who_controls(people) == {"alice"}


def test_who_leaves_asks_no_more(people: Facility) -> None:
    act(people.bob, people, "ask")
    leave(people.bob)
    assert not asking(people)


def test_who_becomes_a_guest_puts_it_down(people: Facility) -> None:
    act(people.alice, people, "give", people.bob.uuid)
    member = Member.objects.get(user=people.bob)
    member.role = MemberRole.GUEST
    member.save()
    assert who_controls(people) == {"alice"}


def test_who_is_removed_puts_it_down(people: Facility) -> None:
    act(people.alice, people, "give", people.bob.uuid)
    Member.objects.get(user=people.bob).delete()
    assert who_controls(people) == {"alice"}


def test_a_member_alone_takes_what_lies_about_and_the_owner_takes_it_back(people: Facility) -> None:
    with pytest.raises(Refused, match="Somebody else has control"):
        act(people.bob, people, "take")
    Room.objects.update(members_alone=True)
    Connection.objects.filter(user=people.alice).update(seen_at=timezone.now() - timedelta(minutes=5))
    act(people.bob, people, "take")
    assert who_controls(people) == {"bob"}
    Connection.objects.filter(user=people.alice).update(seen_at=timezone.now())
    act(people.alice, people, "take")
    assert who_controls(people) == {"alice"}


def post(user: User, people: Facility, **form: object) -> tuple[int, dict[str, object]]:
    client = Client()
    client.force_login(user)
    answer = client.post(f"/machines/{people.machine.uuid}/room/control/", form)
    return answer.status_code, answer.json()


def test_the_page_is_told_what_is_wrong_and_where(people: Facility) -> None:
    assert post(people.alice, people, act="freeze") == (200, {"ok": True})
    status, said = post(people.alice, people, act="explode")
    assert (status, said["field"]) == (400, "act")
    status, said = post(people.alice, people, act="give", to="nonsense")
    assert (status, said["field"]) == (400, "to")
    status, said = post(people.alice, people, act="give", to=people.charlie.uuid)
    assert (status, said["field"]) == (400, "to")
    assert post(people.bob, people, act="freeze")[0] == 403
    assert post(people.bob, people, act="ask")[0] == 200
