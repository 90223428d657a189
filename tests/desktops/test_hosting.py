"""What the owner decides about the others at the screen, from the pages and from programs."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from desktops import hosting
from desktops.access import relation_of
from desktops.models import AccessRequest, ControlAsk, Invitation, Mode, Pass, Room
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import MemberRole
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    made = facility()
    looks(made.alice, made.machine)
    looks(made.bob, made.machine)
    return made


def post(by: User, people: Facility, what: str, /, **form: object) -> tuple[int, dict[str, Any]]:
    client = Client()
    client.force_login(by)
    answer = client.post(f"/machines/{people.machine.uuid}/room/{what}/", form)
    return answer.status_code, answer.json()


def test_the_owner_changes_any_of_the_settings(people: Facility) -> None:
    assert post(people.alice, people, "settings", members_alone="on", mode="baton")[0] == 200
    room = Room.objects.get()
    assert (room.members_alone, room.mode, room.watchers_draw) == (True, "baton", False)
    assert post(people.alice, people, "settings", members_alone="false", watchers_draw="true")[0] == 200
    room.refresh_from_db()
    assert (room.members_alone, room.mode, room.watchers_draw) == (False, "baton", True)


@pytest.mark.parametrize(("field", "value"), [("mode", "anarchy"), ("members_alone", "perhaps")])
def test_a_bad_setting_is_told_and_changes_nothing(people: Facility, field: str, value: str) -> None:
    status, said = post(people.alice, people, "settings", **{"watchers_draw": "on", field: value})
    assert (status, said["field"]) == (400, field)
    assert not Room.objects.filter(watchers_draw=True).exists()


def test_with_another_mode_everybody_begins_anew(people: Facility) -> None:
    Room.objects.create(instance=people.machine, mode=Mode.BATON, holder=people.bob)
    ControlAsk.objects.create(instance=people.machine, user=people.bob)
    hosting.arrange(people.alice, people.machine, {"mode": Mode.BATON})
    assert Room.objects.get().holder == people.bob
    hosting.arrange(people.alice, people.machine, {"mode": Mode.FREE})
    assert Room.objects.get().holder is None
    assert not ControlAsk.objects.exists()


def test_others_decide_nothing(people: Facility) -> None:
    for user in (people.bob, people.sam, people.admin):
        with pytest.raises(NotAllowed):
            hosting.arrange(user, people.machine, {"members_alone": True})
        with pytest.raises(NotAllowed):
            hosting.dismiss(user, people.machine, people.alice.uuid)


def test_showing_a_supporter_out_ends_the_consent(people: Facility) -> None:
    grant = granted(people.sam, people.machine)
    assert post(people.alice, people, "dismiss", user=people.sam.uuid)[0] == 200
    grant.refresh_from_db()
    assert grant.state == AccessRequest.State.ENDED


def test_showing_a_watcher_of_a_public_link_out_withdraws_the_pass(people: Facility) -> None:
    link = Invitation.objects.create(
        instance=people.machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x"
    )
    Pass.objects.create(invitation=link, user=people.charlie)
    hosting.dismiss(people.alice, people.machine, people.charlie.uuid)
    assert relation_of(people.charlie, people.machine) is None


def test_a_member_who_was_shown_out_stays_a_member(people: Facility) -> None:
    hosting.dismiss(people.alice, people.machine, people.bob.uuid)
    assert relation_of(people.bob, people.machine) is not None


def test_who_is_not_here_cannot_be_shown_out(people: Facility) -> None:
    for person in (people.charlie.uuid, people.alice.uuid, uuid4()):
        with pytest.raises(Refused) as refusal:
            hosting.dismiss(people.alice, people.machine, person)
        assert refusal.value.field == "user"


def test_programs_ask_the_same(people: Facility) -> None:
    client = Client()
    client.force_login(people.alice)
    address = f"/api/v1/instances/{people.machine.uuid}/room/"
    changed = client.patch(address, {"mode": "baton"}, content_type="application/json")
    assert (changed.status_code, changed.json()["mode"]) == (200, "baton")
    given = {"act": "give", "to": str(people.bob.uuid)}
    assert client.post(f"{address}control/", given, content_type="application/json").status_code == 204
    assert client.get(address).json()["holder"] == str(people.bob.uuid)
    bad = client.post(f"{address}control/", {"act": "x"}, content_type="application/json")
    assert (bad.status_code, list(bad.json())) == (400, ["act"])
    shown_out = client.post(f"{address}dismiss/", {"user": str(people.bob.uuid)}, content_type="application/json")
    assert shown_out.status_code == 204
    client.force_login(people.bob)
    assert client.patch(address, {"mode": "free"}, content_type="application/json").status_code == 403
    client.force_login(people.charlie)
    assert client.get(address).status_code == 404
