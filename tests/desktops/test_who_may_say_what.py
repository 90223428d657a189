"""Who may say, hear and do what in a room: every message and act by every role, on one's own machine and on another's.

A new message or act without a row fails. That the socket keeps to these rights is proven in test_together.
"""

from __future__ import annotations

import pytest

from desktops import baton, rooms
from desktops.consumers import may_hear, may_say
from desktops.models import Invitation, Mode, Pass, Room
from desktops.talk import TOLD_ON, TYPES
from experiments.models import Role as FacilityRole
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import Instance, Member, MemberRole
from tests.desktops.rooms import granted, looks
from tests.people import facility, machine, person

pytestmark = pytest.mark.django_db

WHO = ("alice", "bob", "gwen", "helper", "viewer", "sam", "charlie")
"""Owner, member, guest, support let in, by a public link; support that may ask, a stranger. All but the two look."""

KNOW = {"alice", "bob", "gwen", "helper", "viewer", "sam"}
INSIDE = KNOW - {"sam"}
CHAT = {"alice", "bob", "gwen", "helper"}
DRAW = {"alice", "bob", "helper"}

SAYS: dict[str, set[str]] = {
    "join": KNOW,
    "leave": set(WHO),
    "pointer": DRAW,
    "laser": DRAW,
    "stroke": DRAW,
    "clear": DRAW,
    "typing": CHAT,
    "quality": INSIDE,
    "support": set(WHO),  # what is then heard is asked for each machine
}
HEARS: dict[str, set[str]] = {kind: CHAT if kind == "typing" else INSIDE for kind in TOLD_ON}

DONE, REFUSED, FORBIDDEN, UNKNOWN = "done", "refused", "forbidden", "unknown"
ACTS: dict[str, tuple[str, ...]] = {
    # alice, bob, gwen, helper, viewer, sam, charlie: at a machine with one baton, which Alice has
    "ask": (REFUSED, DONE, FORBIDDEN, DONE, FORBIDDEN, FORBIDDEN, UNKNOWN),
    "withdraw": (DONE, DONE, DONE, DONE, DONE, DONE, UNKNOWN),
    "give": (DONE, REFUSED, REFUSED, REFUSED, REFUSED, REFUSED, UNKNOWN),
    "take": (DONE, REFUSED, FORBIDDEN, REFUSED, FORBIDDEN, FORBIDDEN, UNKNOWN),
    "lock": (DONE, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, UNKNOWN),
    "unlock": (DONE, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, UNKNOWN),
    "freeze": (DONE, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, UNKNOWN),
    "thaw": (DONE, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, UNKNOWN),
}


@pytest.fixture
def people() -> dict[str, User]:
    made = facility()
    own, foreign = made.machine, machine(made.ines, made.plan, made.host, name="foreign")
    found = {"alice": made.alice, "bob": made.bob, "sam": made.sam, "charlie": made.charlie}
    found |= {"gwen": person("gwen"), "viewer": person("viewer"), "helper": person("helper", FacilityRole.IT_SUPPORT)}
    Member.objects.create(instance=own, user=found["gwen"], role=MemberRole.GUEST)
    granted(found["helper"], own)
    link = Invitation.objects.create(instance=own, name="All", role=MemberRole.GUEST, public=True, secret_hash="x")
    Pass.objects.create(invitation=link, user=found["viewer"])
    Room.objects.create(instance=own, mode=Mode.BATON)
    for name in INSIDE:
        looks(found[name], own)
        looks(found[name], foreign)
    looks(made.ines, foreign)
    return found


def own() -> Instance:
    return Instance.objects.exclude(name="foreign").get()


def foreign() -> Instance:
    return Instance.objects.get(name="foreign")


def test_every_message_has_a_row() -> None:
    assert SAYS.keys() == TYPES.keys()


def test_every_act_has_a_row() -> None:
    assert ACTS.keys() == {*baton.ACTS, "give"}


@pytest.mark.parametrize("who", WHO)
def test_who_says_and_hears_what(people: dict[str, User], who: str) -> None:
    """SEC-04, SEC-34"""
    rights = rooms.rights_in(people[who], own().uuid)
    assert (rights is not None) == (who in SAYS["join"])
    assert {kind for kind in TOLD_ON if may_say(rights, kind)} == {kind for kind in TOLD_ON if who in SAYS[kind]}
    assert {kind for kind in TOLD_ON if may_hear(rights, kind)} == {kind for kind in TOLD_ON if who in HEARS[kind]}


@pytest.mark.parametrize("who", WHO)
def test_nobody_says_or_hears_anything_at_anothers_machine(people: dict[str, User], who: str) -> None:
    """SEC-04"""
    rights = rooms.rights_in(people[who], foreign().uuid)
    assert (rights is not None) == (who in {"sam", "helper"})
    assert not [kind for kind in TOLD_ON if may_say(rights, kind) or may_hear(rights, kind)]
    assert rights is None or not rights.chats


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("who", WHO)
def test_who_does_what_with_control(people: dict[str, User], who: str, act: str) -> None:
    """SEC-34"""
    assert outcome(people, who, act, own()) == ACTS[act][WHO.index(who)]


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("who", WHO)
def test_nobody_controls_anothers_machine(people: dict[str, User], who: str, act: str) -> None:
    assert outcome(people, who, act, foreign()) != DONE or act == "withdraw"


def outcome(people: dict[str, User], who: str, act: str, instance: Instance) -> str:
    if rooms.rights_in(people[who], instance.uuid) is None:
        return UNKNOWN
    try:
        baton.act(people[who], instance, act, people["bob"].uuid)
    except NotAllowed:
        return FORBIDDEN
    except Refused:
        return REFUSED
    return DONE
