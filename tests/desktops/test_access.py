"""Who is what to a machine, and which screen a ticket names."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from desktops.access import (
    ASK_FIRST,
    NOT_FOUND,
    Denied,
    Relation,
    Standing,
    Ticket,
    admit,
    owner_here,
    relation_of,
    signed_in,
    stands,
)
from desktops.models import Connection, Invitation, Mode, OwnerAway, Pass, Policy, Room, Which
from desktops.relay import Code
from desktops.rfb import Role
from experiments.models import Role as FacilityRole
from experiments.models import RoleGrant, User
from instances.models import ImageProtocol, Instance, Member, MemberRole
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    made = facility()
    Instance.objects.update(address="10.0.0.9", console_host="10.0.0.1", console_port=5907)
    made.machine.refresh_from_db()
    return made


@pytest.mark.parametrize(
    ("name", "relation"),
    [
        ("alice", Relation.OWNER),
        ("bob", Relation.USER),
        ("charlie", None),
        ("ines", None),
        ("sam", Relation.SUPPORT),
        ("admin", Relation.SUPPORT),
    ],
)
def test_who_is_what_to_a_machine(people: Facility, name: str, relation: Relation | None) -> None:
    assert relation_of(getattr(people, name), people.machine) is relation


def test_a_role_of_the_facility_ends_on_its_day(people: Facility) -> None:
    RoleGrant.objects.filter(user=people.sam).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert relation_of(User.objects.get(username="sam"), people.machine) is None


def test_an_instrument_scientist_supports_the_machines_of_their_instruments(people: Facility) -> None:
    people.experiment.instrument.scientists.add(people.ines)
    assert relation_of(people.ines, people.machine) is Relation.SUPPORT
    RoleGrant.objects.filter(user=people.ines).delete()
    assert relation_of(User.objects.get(username="ines"), people.machine) is None


@pytest.mark.parametrize(
    ("begun_days_ago", "relation"),
    [(2, Relation.SUPPORT), (9, Relation.SUPPORT), (11, None), (-6, Relation.SUPPORT), (-8, None)],
)
def test_instrument_control_supports_for_a_week_around_the_experiment(
    people: Facility, begun_days_ago: int, relation: Relation | None
) -> None:
    begun = timezone.now() - timedelta(days=begun_days_ago)
    type(people.experiment).objects.filter(pk=people.experiment.pk).update(
        starts_at=begun, ends_at=begun + timedelta(days=3)
    )
    assert relation_of(person("ian", FacilityRole.INSTRUMENT_CONTROL), people.machine) is relation


def test_several_roles_add_up(people: Facility) -> None:
    both = person("bea", FacilityRole.INSTRUMENT_SCIENTIST, FacilityRole.INSTRUMENT_CONTROL)
    people.experiment.instrument.scientists.add(both)
    assert relation_of(both, people.machine) is Relation.SUPPORT


def denied(user: User, people: Facility, *, inside: bool = False) -> Code | None:
    answer = stands(user, people.machine, inside=inside)
    return answer.ending.code if isinstance(answer, Denied) else None


def standing(user: User, people: Facility, *, inside: bool = False) -> Standing:
    answer = stands(user, people.machine, inside=inside)
    assert isinstance(answer, Standing), answer
    return answer


def test_a_member_waits_for_the_owner(people: Facility) -> None:
    assert denied(people.bob, people) == Code.OWNER_AWAY
    looks(people.alice, people.machine)
    assert standing(people.bob, people).controls


def test_a_member_works_alone_where_the_owner_allows_it(people: Facility) -> None:
    Room.objects.create(instance=people.machine, members_alone=True)
    assert standing(people.bob, people).controls


def test_a_reload_of_the_owner_is_no_departure(people: Facility) -> None:
    looks(people.alice, people.machine, left=timedelta(seconds=29))
    assert standing(people.bob, people).controls
    Connection.objects.update(closed_at=timezone.now() - timedelta(seconds=31))
    assert denied(people.bob, people, inside=True) == Code.OWNER_AWAY


@pytest.mark.parametrize(("place", "there"), [(Which.TERMINAL, True), (Which.APP, True), (Which.FILES, False)])
def test_an_owner_is_there_where_they_see_the_others_work(people: Facility, place: Which, there: bool) -> None:
    Connection.objects.create(instance=people.machine, user=people.alice, which=place, role=Role.CONTROL)
    assert owner_here(people.machine, Policy.current(), timezone.now()) is there


def test_an_owner_whose_relay_was_killed_is_away(people: Facility) -> None:
    looks(people.alice, people.machine)
    Connection.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    assert denied(people.bob, people) == Code.OWNER_AWAY


def test_those_inside_may_watch_on_where_the_facility_locks(people: Facility) -> None:
    Policy.objects.create(owner_away=OwnerAway.LOCK)
    inside = standing(people.bob, people, inside=True)
    assert inside.muted
    assert inside.role is Role.CONTROL
    assert denied(people.bob, people) == Code.OWNER_AWAY


def test_support_asks_first(people: Facility) -> None:
    looks(people.alice, people.machine)
    assert denied(people.sam, people) == Code.ASK_FIRST
    granted(people.sam, people.machine, Role.WATCH)
    assert standing(people.sam, people).role is Role.WATCH


def test_support_ends_by_itself(people: Facility) -> None:
    looks(people.alice, people.machine)
    granted(people.sam, people.machine, minutes=-1)
    assert denied(people.sam, people, inside=True) == Code.ASK_FIRST


def test_unattended_support_follows_the_facilitys_rule(people: Facility) -> None:
    granted(people.sam, people.machine)
    assert standing(people.sam, people).controls
    Policy.objects.create(unattended_support=False)
    assert denied(people.sam, people) == Code.OWNER_AWAY


def test_a_machine_of_staff_is_never_entered_without_its_owner(people: Facility) -> None:
    RoleGrant.objects.create(user=people.alice, role=FacilityRole.STAFF)
    granted(people.sam, people.machine)
    assert denied(people.sam, people) == Code.OWNER_AWAY
    looks(people.alice, people.machine)
    assert standing(people.sam, people).controls


def test_who_is_support_no_more_has_no_use_of_a_consent(people: Facility) -> None:
    looks(people.alice, people.machine)
    granted(people.sam, people.machine)
    RoleGrant.objects.filter(user=people.sam).delete()
    assert denied(User.objects.get(username="sam"), people) == Code.NOT_FOUND


def test_a_public_link_lets_watch_while_the_owner_is_there(people: Facility) -> None:
    link = Invitation.objects.create(
        instance=people.machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x"
    )
    Pass.objects.create(invitation=link, user=people.charlie)
    assert denied(people.charlie, people) == Code.OWNER_AWAY
    looks(people.alice, people.machine)
    seen = standing(people.charlie, people)
    assert (seen.relation, seen.role, seen.clipboard) == (Relation.PUBLIC, Role.WATCH, False)
    Invitation.objects.update(revoked_at=timezone.now())
    assert denied(people.charlie, people) == Code.NOT_FOUND


def test_a_public_link_ends_with_the_facilitys_permission(people: Facility) -> None:
    link = Invitation.objects.create(
        instance=people.machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x"
    )
    Pass.objects.create(invitation=link, user=people.charlie)
    Policy.objects.create(public_links=False)
    assert denied(people.charlie, people) == Code.NOT_FOUND


def test_the_baton_is_one_persons(people: Facility) -> None:
    looks(people.alice, people.machine)
    room = Room.objects.create(instance=people.machine, mode=Mode.BATON)
    assert standing(people.alice, people).controls
    assert standing(people.bob, people).muted
    room.holder = people.bob
    room.save()
    assert standing(people.alice, people).muted
    assert standing(people.bob, people).controls


def test_freezing_leaves_control_to_the_owner_whoever_has_the_baton(people: Facility) -> None:
    looks(people.alice, people.machine)
    Room.objects.create(instance=people.machine, mode=Mode.BATON, holder=people.bob, frozen=True)
    assert standing(people.bob, people).muted
    assert standing(people.alice, people).controls


def test_watchers_do_not_get_the_clipboard_unless_allowed(people: Facility) -> None:
    looks(people.alice, people.machine)
    Member.objects.filter(user=people.bob).update(role=MemberRole.GUEST)
    assert not standing(people.bob, people).clipboard
    Room.objects.create(instance=people.machine, watchers_clipboard=True)
    assert standing(people.bob, people).clipboard


def test_the_console_is_for_the_owner_and_for_support_with_consent(people: Facility) -> None:
    looks(people.alice, people.machine)
    uuid = people.machine.uuid
    assert isinstance(admit(people.alice, uuid, Which.CONSOLE), Ticket)
    assert admit(people.bob, uuid, Which.CONSOLE) == NOT_FOUND
    assert admit(people.sam, uuid, Which.CONSOLE) == ASK_FIRST
    granted(people.sam, people.machine)
    assert isinstance(admit(people.sam, uuid, Which.CONSOLE), Ticket)


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
    others = set(FacilityRole) - {FacilityRole.ADMIN, FacilityRole.IT_SUPPORT, FacilityRole.INSTRUMENT_CONTROL}
    assert relation_of(person("dora", *others), people.machine) is None


@pytest.mark.parametrize("key", [None, "", "nonsense", "x" * 5000, "\x00", "'; --"])
def test_nonsense_is_nobodys_session(key: str | None) -> None:
    assert signed_in(key) is None


def test_nobody_is_admitted_without_a_person(people: Facility) -> None:
    assert not AnonymousUser().is_authenticated
    for which in Which:
        assert isinstance(admit(None, people.machine.uuid, which), Denied)


def test_admission_costs_few_queries(people: Facility, django_assert_max_num_queries: object) -> None:
    looks(people.alice, people.machine)
    user = User.objects.get(username="bob")
    with django_assert_max_num_queries(9):  # type: ignore[operator]
        assert isinstance(admit(user, people.machine.uuid, Which.SCREEN), Ticket)
