"""What a room tells those who wait to come in."""

from __future__ import annotations

from typing import Any

import pytest

from desktops import access, rooms
from desktops.models import Policy
from experiments.models import Role, User
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(db: None) -> Facility:
    return facility()


def me(user: User, people: Facility) -> dict[str, Any]:
    found = access.find(user, people.machine.uuid)
    assert found
    told: dict[str, Any] = rooms.room_for(user, *found)["me"]
    return told


def test_a_supporter_may_come_in_without_asking_while_an_external_owner_is_away(people: Facility) -> None:
    assert me(people.sam, people)["unattended"]
    looks(people.alice, people.machine)
    assert not me(people.sam, people)["unattended"]


def test_nobody_comes_to_a_machine_of_staff_without_asking(people: Facility) -> None:
    people.alice.role_grants.create(role=Role.STAFF)
    assert not me(people.sam, people)["unattended"]


def test_the_facility_may_want_consent_in_any_case(people: Facility) -> None:
    Policy.objects.create(unattended_support=False)
    assert not me(people.sam, people)["unattended"]


def test_a_member_waits_for_the_owner(people: Facility) -> None:
    assert not me(people.bob, people)["unattended"]


def test_who_is_let_in_is_told_until_when(people: Facility) -> None:
    looks(people.alice, people.machine)
    grant = granted(people.sam, people.machine)
    assert grant.until
    assert me(people.sam, people)["until"] == grant.until.isoformat()
