"""Who is what to a machine, and which screen a ticket names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from desktops.access import Denied, Ticket, admit, role_for, signed_in
from desktops.models import Which
from desktops.rfb import Role
from experiments.models import Role as FacilityRole
from experiments.models import RoleGrant, User
from instances.models import ImageProtocol, Instance, Member, MemberRole
from tests.people import Facility, facility, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    made = facility()
    Instance.objects.update(address="10.0.0.9", console_host="10.0.0.1", console_port=5907)
    made.machine.refresh_from_db()
    return made


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("alice", MemberRole.OWNER),
        ("bob", MemberRole.USER),
        ("charlie", None),
        ("ines", None),
        ("sam", MemberRole.SUPPORT),
        ("admin", MemberRole.SUPPORT),
    ],
)
def test_who_is_what_to_a_machine(people: Facility, name: str, role: MemberRole | None) -> None:
    assert role_for(getattr(people, name), people.machine) is role


def test_a_role_of_the_facility_ends_on_its_day(people: Facility) -> None:
    RoleGrant.objects.filter(user=people.sam).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert role_for(User.objects.get(username="sam"), people.machine) is None


def test_support_stays_support_when_it_is_a_guest_too(people: Facility) -> None:
    Member.objects.create(instance=people.machine, user=people.sam, role=MemberRole.GUEST)
    assert role_for(people.sam, people.machine) is MemberRole.SUPPORT


def test_a_ticket_names_the_desktop_where_the_image_says_it_is(people: Facility) -> None:
    ImageProtocol.objects.filter(kind="vnc").update(port=5999)
    ticket = admit(people.alice, people.machine.uuid, Which.SCREEN)
    assert isinstance(ticket, Ticket)
    assert (ticket.host, ticket.port, ticket.password) == ("10.0.0.9", 5999, people.machine.vnc_password)
    assert ticket.role is Role.CONTROL


def test_a_ticket_names_the_console_where_the_host_says_it_is(people: Facility) -> None:
    ticket = admit(people.alice, people.machine.uuid, Which.CONSOLE)
    assert isinstance(ticket, Ticket)
    assert (ticket.host, ticket.port, ticket.password) == ("10.0.0.1", 5907, people.machine.console_password)


def test_a_ticket_keeps_its_password_to_itself(people: Facility) -> None:
    ticket = admit(people.alice, people.machine.uuid, Which.SCREEN)
    assert people.machine.vnc_password not in repr(ticket)


def test_an_image_without_a_desktop_opens_none(people: Facility) -> None:
    ImageProtocol.objects.filter(kind="vnc").delete()
    assert isinstance(admit(people.alice, people.machine.uuid, Which.SCREEN), Denied)


def test_a_person_with_another_role_at_the_facility_is_a_stranger(people: Facility) -> None:
    others = set(FacilityRole) - {FacilityRole.ADMIN, FacilityRole.IT_SUPPORT}
    assert role_for(person("dora", *others), people.machine) is None


@pytest.mark.parametrize("key", [None, "", "nonsense", "x" * 5000, "\x00", "'; --"])
def test_nonsense_is_nobodys_session(key: str | None) -> None:
    assert signed_in(key) is None


def test_nobody_is_admitted_without_a_person(people: Facility) -> None:
    assert not AnonymousUser().is_authenticated
    for which in Which:
        assert isinstance(admit(None, people.machine.uuid, which), Denied)


def test_admission_costs_few_queries(people: Facility, django_assert_max_num_queries: object) -> None:
    user = User.objects.get(username="bob")
    with django_assert_max_num_queries(6):  # type: ignore[operator]
        assert isinstance(admit(user, people.machine.uuid, Which.SCREEN), Ticket)
