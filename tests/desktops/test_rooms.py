"""Who is at a machine's screen, as its page shows it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from desktops import rooms
from desktops.access import Relation
from desktops.models import ControlAsk, HelpRequest, Invitation, Mode, Pass, Room
from desktops.rfb import Role
from experiments.models import Role as FacilityRole
from experiments.models import User
from instances.models import Member, MemberRole
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    return facility()


def at(people: Facility) -> dict[str, dict[str, object]]:
    """Those at the screen by their first names."""
    found = rooms.people_at(people.machine, Room.of(people.machine))
    return {str(one["name"]).split()[0].lower(): one for one in found}


def test_everybody_is_shown_with_role_and_control_the_owner_first(people: Facility) -> None:
    gwen = person("gwen")
    Member.objects.create(instance=people.machine, user=gwen, role=MemberRole.GUEST)
    granted(people.sam, people.machine, Role.WATCH)
    link = Invitation.objects.create(
        instance=people.machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x"
    )
    Pass.objects.create(invitation=link, user=people.charlie)
    for user in (people.bob, gwen, people.sam, people.charlie, people.alice):
        looks(user, people.machine)
    Room.objects.create(instance=people.machine, mode=Mode.BATON, holder=people.bob)
    ControlAsk.objects.create(instance=people.machine, user=people.sam)
    found = at(people)
    assert next(iter(found)) == "alice"
    assert {name: one["relation"] for name, one in found.items()} == {
        "alice": Relation.OWNER,
        "bob": Relation.USER,
        "gwen": Relation.GUEST,
        "sam": Relation.SUPPORT,
        "charlie": Relation.PUBLIC,
    }
    assert [name for name, one in found.items() if one["control"]] == ["bob"]
    assert [name for name, one in found.items() if one["asks"]] == ["sam"]


def test_who_looks_twice_is_shown_once(people: Facility) -> None:
    looks(people.bob, people.machine)
    looks(people.bob, people.machine)
    assert list(at(people)) == ["bob"]


def crowd(people: Facility, number: int, begin: int) -> None:
    for index in range(begin, begin + number):
        member, helper = person(f"member{index}"), person(f"helper{index}", FacilityRole.IT_SUPPORT)
        Member.objects.create(instance=people.machine, user=member, role=MemberRole.GUEST)
        granted(helper, people.machine)
        looks(member, people.machine)
        looks(helper, people.machine)


def queries(user: User, people: Facility) -> int:
    client = Client()
    client.force_login(user)
    with CaptureQueriesContext(
        connection,
    ) as made:
        assert client.get(f"/machines/{people.machine.uuid}/room/").status_code == 200
    return len(made)


def test_a_crowd_costs_no_more_queries_than_two(people: Facility) -> None:
    looks(people.alice, people.machine)
    crowd(people, 1, 0)
    few = queries(people.alice, people)
    crowd(people, 20, 1)
    assert queries(people.alice, people) == few
    assert few < 40


def test_nobody_learns_who_others_are_beyond_name_and_institute(people: Facility) -> None:
    """SEC-13"""
    looks(people.bob, people.machine)
    (bob,) = rooms.people_at(people.machine, Room.of(people.machine))
    assert bob.keys() == {"id", "name", "affiliation", "relation", "control", "until", "asks"}


def test_who_waits_learns_of_nobody_but_the_owner(people: Facility) -> None:
    """SEC-13"""
    looks(people.bob, people.machine)
    looks(people.alice, people.machine)
    told = rooms.room_for(people.sam, people.machine, Relation.SUPPORT)
    assert "people" not in told
    assert "Bob" not in str(told)


def test_who_only_watches_by_a_public_link_reads_no_call_for_help(people: Facility) -> None:
    looks(people.alice, people.machine)
    link = Invitation.objects.create(
        instance=people.machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x"
    )
    Pass.objects.create(invitation=link, user=people.charlie)
    HelpRequest.objects.create(instance=people.machine, by=people.alice, message="My data of 2024 are gone.")
    client = Client()
    client.force_login(people.charlie)
    assert client.get(f"/machines/{people.machine.uuid}/room/").json()["help"] is None
    assert client.get(f"/machines/{people.machine.uuid}/support/").status_code == 404
    client.force_login(people.bob)
    assert client.get(f"/machines/{people.machine.uuid}/room/").json()["help"]["message"]
