"""Pictures of a screen are for those who may see that screen now: on cards, by their address and by the API."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from desktops.models import Connection, Invitation, Pass, Policy, Room
from desktops.rfb import Role
from experiments.models import User
from instances.models import Instance, Member, MemberRole, Thumbnail
from instances.sight import seen_by
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility, machine, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    made = facility()
    Thumbnail.objects.create(instance=made.machine, webp=b"RIFFpicture")
    return made


def shown(user: User, people: Facility) -> bool:
    """Whether every way to the picture agrees, and what they say."""
    client = Client()
    client.force_login(user)
    where = f"/machines/{people.machine.uuid}/"
    picture = client.get(f"{where}thumbnail/").status_code == 200
    api = client.get(f"/api/v1/instances/{people.machine.uuid}/thumbnail/").status_code == 200
    page = f"{where}thumbnail/" in client.get(where).content.decode()
    card = f"{where}thumbnail/" in client.get(f"{where}card/").content.decode()
    assert picture == api == page == card
    return picture


def test_the_owner_always_sees_it(people: Facility) -> None:
    assert shown(people.alice, people)


@pytest.mark.parametrize("role", [MemberRole.USER, MemberRole.GUEST])
def test_a_member_sees_it_only_while_the_owner_is_there(people: Facility, role: MemberRole) -> None:
    Member.objects.filter(user=people.bob).update(role=role)
    assert not shown(people.bob, people)
    looks(people.alice, people.machine)
    assert shown(people.bob, people)


def test_a_member_who_may_work_alone_sees_it(people: Facility) -> None:
    Room.objects.create(instance=people.machine, members_alone=True)
    assert shown(people.bob, people)


def test_support_sees_it_only_when_let_in(people: Facility) -> None:
    looks(people.alice, people.machine)
    assert not shown(people.sam, people)
    grant = granted(people.sam, people.machine, Role.WATCH)
    assert shown(people.sam, people)
    grant.state = grant.State.ENDED
    grant.save()
    assert not shown(people.sam, people)


def test_who_came_by_a_public_link_sees_it_while_the_link_lives(people: Facility) -> None:
    link = Invitation.objects.create(instance=people.machine, name="x", role="guest", public=True, secret_hash="h")
    Pass.objects.create(invitation=link, user=people.charlie)
    assert seen_by(people.charlie, [people.machine]) == set()
    looks(people.alice, people.machine)
    assert seen_by(people.charlie, [people.machine]) == {people.machine.pk}
    Policy.objects.create(public_links=False)
    assert seen_by(people.charlie, [people.machine]) == set()


def test_a_stranger_sees_none(people: Facility) -> None:
    looks(people.alice, people.machine)
    client = Client()
    client.force_login(people.charlie)
    assert client.get(f"/machines/{people.machine.uuid}/thumbnail/").status_code == 404
    assert seen_by(people.charlie, [people.machine]) == set()


def test_a_picture_that_was_fetched_before_is_not_confirmed_to_who_may_see_it_no_more(people: Facility) -> None:
    look = looks(people.alice, people.machine)
    client = Client()
    client.force_login(people.bob)
    address = f"/machines/{people.machine.uuid}/thumbnail/"
    tag = {"if-none-match": client.get(address).headers["ETag"]}
    assert client.get(address, headers=tag).status_code == 304
    Connection.objects.filter(pk=look.pk).delete()
    assert client.get(address, headers=tag).status_code == 404


def test_many_machines_cost_no_more_than_one(people: Facility, django_assert_max_num_queries: Any) -> None:
    sam, owner = people.sam, person("many")
    mixed = [machine(owner, people.plan, members=[people.bob]) for _ in range(20)]
    for one in mixed[:10]:
        looks(owner, one)
        granted(sam, one)
    granted(sam, mixed[15])
    fresh = list(Instance.objects.select_related("owner").filter(owner=owner))
    reader = User.objects.get(pk=sam.pk)
    with django_assert_max_num_queries(10):
        assert seen_by(reader, fresh) == {one.pk for one in [*mixed[:10], mixed[15]]}
    assert seen_by(people.bob, fresh) == {one.pk for one in mixed[:10]}
