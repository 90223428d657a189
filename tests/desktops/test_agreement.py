"""What somebody may do at a screen is asked in several ways, of one and of many: the answers agree, whatever holds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from random import Random

import pytest
from django.db import transaction
from django.utils import timezone

from desktops.access import Denied, Relation, Standing, everybody_inside, may_see, relation_of, stands
from desktops.models import Invitation, Mode, OwnerAway, Pass, Policy, Room
from desktops.rfb import Role
from desktops.rooms import may_chat, messages_for
from experiments.models import Role as FacilityRole
from experiments.models import RoleGrant, User
from instances.models import Instance, Member, MemberRole
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility, person

pytestmark = pytest.mark.django_db

SITUATIONS = 60


@pytest.fixture
def people() -> Facility:
    return facility()


def by_public_link(user: User, instance: Instance) -> Pass:
    """The person opened a link by which everybody may watch."""
    link, _new = Invitation.objects.get_or_create(
        instance=instance, public=True, revoked_at=None, defaults={"role": MemberRole.GUEST, "secret_hash": "x"}
    )
    return Pass.objects.create(invitation=link, user=user)


def arrange_person(rnd: Random, name: str, instance: Instance) -> User:
    """Any mixture of a role at the facility, membership, consent and a public link, each in force or over."""
    now, day = timezone.now(), timedelta(days=1)
    user = person(name)
    if role_ends := rnd.choice([None, now + day, now - day]):
        RoleGrant.objects.create(user=user, role=FacilityRole.IT_SUPPORT, expires_at=role_ends)
    if role := rnd.choice([None, None, MemberRole.USER, MemberRole.GUEST]):
        Member.objects.create(instance=instance, user=user, role=role)
    if minutes := rnd.choice([None, 30, -1]):
        granted(user, instance, rnd.choice(list(Role)), minutes=minutes)
    if rnd.random() < 0.4:
        leave = by_public_link(user, instance)
        Pass.objects.filter(pk=leave.pk).update(withdrawn_at=rnd.choice([None, now]))
    return User.objects.get(pk=user.pk)


def arrange_house(rnd: Random, instance: Instance, users: list[User]) -> None:
    Policy.objects.create(
        owner_away=rnd.choice(list(OwnerAway)),
        unattended_support=rnd.random() < 0.5,
        public_links=rnd.random() < 0.7,
    )
    Room.objects.create(
        instance=instance,
        members_alone=rnd.random() < 0.4,
        watchers_clipboard=rnd.random() < 0.5,
        mode=rnd.choice(list(Mode)),
        holder=rnd.choice([None, *users]),
        frozen=rnd.random() < 0.3,
    )
    if rnd.random() < 0.6:
        looks(instance.owner, instance)
    if rnd.random() < 0.3:
        RoleGrant.objects.create(user=instance.owner, role=FacilityRole.STAFF)
    if rnd.random() < 0.2:
        Invitation.objects.update(revoked_at=timezone.now())


def agree(users: list[User], instance: Instance) -> None:
    together = everybody_inside(instance, users)
    for user in users:
        alone = stands(user, instance, inside=True)
        if isinstance(alone, Denied):
            assert isinstance(together[user.pk], Denied) or relation_of(user, instance) is Relation.SUPPORT
        else:
            assert together[user.pk] == alone
        assert may_see(user, [instance]) == ({instance.pk} if seen(user, instance) else set())


def seen(user: User, instance: Instance) -> bool:
    return isinstance(stands(user, instance), Standing)


def test_what_is_asked_of_many_is_what_is_asked_of_one(people: Facility) -> None:
    rnd = Random(7)
    for _ in range(SITUATIONS):
        with transaction.atomic():
            made = [arrange_person(rnd, f"user{i}", people.machine) for i in range(4)]
            instance = Instance.objects.select_related("owner").get(pk=people.machine.pk)
            arrange_house(rnd, instance, [*made, people.bob])
            agree([*made, people.alice, people.bob, people.charlie], Instance.objects.get(pk=instance.pk))
            transaction.set_rollback(True)


def as_guest(user: User, instance: Instance) -> None:
    Member.objects.create(instance=instance, user=user, role=MemberRole.GUEST)


@pytest.mark.parametrize("by", [as_guest, by_public_link])
def test_a_consent_ends_with_the_role_also_for_who_may_watch(
    people: Facility, by: Callable[[User, Instance], object]
) -> None:
    looks(people.alice, people.machine)
    by(people.sam, people.machine)
    granted(people.sam, people.machine)
    RoleGrant.objects.filter(user=people.sam).delete()
    sam = User.objects.get(username="sam")
    standing = stands(sam, people.machine)
    assert isinstance(standing, Standing)
    assert (standing.role, standing.until) == (Role.WATCH, None)
    assert everybody_inside(people.machine, [sam])[sam.pk] == standing


def test_a_former_supporter_with_a_public_link_reads_no_chat(people: Facility) -> None:
    by_public_link(people.sam, people.machine)
    granted(people.sam, people.machine)
    RoleGrant.objects.filter(user=people.sam).delete()
    sam = User.objects.get(username="sam")
    assert not may_chat(sam, people.machine)
    assert not messages_for(sam, people.machine).exists()
