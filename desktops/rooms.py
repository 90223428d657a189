"""Who is at a machine's screen and what holds there, as one person may know it: what the pages draw people from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from desktops import access
from desktops.access import Denied, Relation
from desktops.models import (
    AccessRequest,
    ChatMessage,
    ChatRead,
    Connection,
    ControlAsk,
    HelpRequest,
    Policy,
    Room,
    Which,
)
from desktops.rfb import Role
from experiments.models import User
from instances.models import Instance, Member, MemberRole

MANY = 100
"""Nobody counts unread messages beyond this."""


def room_for(user: User, instance: Instance, relation: Relation) -> dict[str, Any]:
    """The room as JSON. Who may not come in now learns only whether the owner is there, and of their own asking."""
    now, room = timezone.now(), Room.of(instance)
    standing = access.stands(user, instance, inside=True)
    facts: dict[str, Any] = {
        "id": str(instance.uuid),
        "owner": _who(instance.owner),
        "owner_here": access.owner_here(instance, Policy.current(), now),
        "me": _me(user, instance, relation, standing),
        "my_request": _request(_latest_request(user, instance)),
    }
    if isinstance(standing, Denied):
        return facts
    return facts | {
        "mode": room.mode,
        "holder": _holder(instance, room),
        "locked": room.locked,
        "frozen": room.frozen,
        "members_alone": room.members_alone,
        "watchers_clipboard": room.watchers_clipboard,
        "watchers_draw": room.watchers_draw,
        "people": people_at(instance, room),
        "requests": [_request(one) for one in pending(instance)] if relation is Relation.OWNER else [],
        "help": _help(instance) if relation is not Relation.PUBLIC else None,
        "unread": unread(user, instance) if may_chat(user, instance) else 0,
    }


def _me(user: User, instance: Instance, relation: Relation, standing: access.Standing | Denied) -> dict[str, Any]:
    me: dict[str, Any] = _who(user) | {"relation": relation, "manages": relation is Relation.OWNER}
    if isinstance(standing, Denied):
        enters = relation is Relation.SUPPORT and _stands_open(instance)
        shut = {"code": int(standing.ending.code), "unattended": enters}
        return me | shut | {"chats": may_chat(user, instance), "draws": False}
    return me | {
        "relation": standing.relation,
        "role": standing.role,
        "muted": standing.muted,
        "until": standing.until.isoformat() if standing.until else None,
        "chats": may_chat(user, instance),
        "draws": may_draw(standing, Room.of(instance)),
    }


@dataclass(frozen=True)
class Rights:
    """What somebody may hear and say in a machine's room, who may know of it.

    `inside`: they look at the screen, and so hear where the others point. `draws`: the others hear of them.
    `chats`: they hear when something was written, screen or not.
    """

    inside: bool
    draws: bool
    chats: bool


def rights_in(user: User, uuid: UUID) -> Rights | None:
    """None where the person may not know of the machine. Who only waits for the owner has no rights but knows."""
    found = access.find(user, uuid)
    if found is None:
        return None
    instance, _relation = found
    chats = may_chat(user, instance)
    standing = access.stands(user, instance, inside=True) if at_screen(user, instance) else None
    if not isinstance(standing, access.Standing):
        return Rights(inside=False, draws=False, chats=chats)
    return Rights(inside=True, draws=may_draw(standing, Room.of(instance)), chats=chats)


def at_screen(user: User, instance: Instance) -> bool:
    """Whether the person looks at the machine's desktop now."""
    looks = Connection.objects.open_at(timezone.now())
    return looks.filter(instance=instance, user=user, which=Which.SCREEN).exists()


def _stands_open(instance: Instance) -> bool:
    """Whether support may come in without asking, because nobody is there to be asked."""
    policy = Policy.current()
    return not access.owner_here(instance, policy, timezone.now()) and access.unattended_allowed(instance, policy)


def may_chat(user: User, instance: Instance) -> bool:
    """Members, and supporters while they are let in; who came by a public link only watches."""
    if Member.objects.filter(instance=instance, user=user).exists():
        return True
    return access.grant_of(user, instance, timezone.now()) is not None


def may_draw(standing: access.Standing, room: Room) -> bool:
    """Whether the person may point and draw for the others to see."""
    return standing.role is Role.CONTROL or room.watchers_draw


def people_at(instance: Instance, room: Room) -> list[dict[str, Any]]:
    """Those who look at the desktop or the terminal now, the owner first, then by when they came."""
    shown = (Which.SCREEN, Which.TERMINAL)
    looks = Connection.objects.open_at(timezone.now()).filter(instance=instance, which__in=shown)
    here = list(looks.select_related("user", "user__affiliation").order_by("opened_at"))
    asking = set(ControlAsk.objects.filter(instance=instance).values_list("user_id", flat=True))
    users = {look.user_id: look.user for look in sorted(here, key=lambda look: look.user_id != instance.owner_id)}
    standings = access.everybody_inside(instance, list(users.values()))
    return [_person(user, standings[pk]) | {"asks": pk in asking} for pk, user in users.items()]


def _person(user: User, standing: access.Standing | Denied) -> dict[str, Any]:
    facts = _who(user) | {"relation": Relation.GUEST, "control": False, "until": None}
    if isinstance(standing, Denied):
        return facts
    until = standing.until.isoformat() if standing.until else None
    return facts | {"relation": standing.relation, "control": standing.controls, "until": until}


def _who(user: User) -> dict[str, Any]:
    return {"id": str(user.uuid), "name": str(user), "affiliation": str(user.affiliation or "")}


def _holder(instance: Instance, room: Room) -> str:
    return str(room.holder.uuid if room.holder else instance.owner.uuid)


def pending(instance: Instance) -> QuerySet[AccessRequest]:
    """What the owner is asked now."""
    requests = AccessRequest.objects.pending_at(timezone.now()).filter(instance=instance)
    return requests.select_related("asker", "asker__affiliation").order_by("created_at")


def _latest_request(user: User, instance: Instance) -> AccessRequest | None:
    mine = AccessRequest.objects.filter(instance=instance, asker=user)
    return mine.select_related("asker", "asker__affiliation").order_by("-created_at").first()


def _request(asked: AccessRequest | None) -> dict[str, Any] | None:
    if asked is None:
        return None
    return {
        "id": str(asked.uuid),
        "who": _who(asked.asker),
        "roles": [str(role.label) for role in sorted(asked.asker.roles())],
        "kind": asked.kind,
        "state": asked.state,
        "reason": asked.reason,
        "minutes": asked.minutes,
        "control": asked.wants_control,
        "expires_at": asked.expires_at.isoformat(),
        "role": asked.role,
        "until": asked.until.isoformat() if asked.until else None,
    }


def _help(instance: Instance) -> dict[str, Any] | None:
    called = HelpRequest.objects.filter(instance=instance, closed_at=None).select_related("taken_by").first()
    if called is None:
        return None
    taker = str(called.taken_by) if called.taken_by else ""
    return {
        "id": str(called.uuid),
        "message": called.message,
        "at": called.created_at.isoformat(),
        "escalated": called.escalated_at is not None,
        "taken_by": taker,
    }


def messages_for(user: User, instance: Instance) -> QuerySet[ChatMessage]:
    """What the person may read of the chat: members all, supporters what was written since they were let in."""
    messages = ChatMessage.objects.filter(instance=instance)
    if Member.objects.filter(instance=instance, user=user).exists():
        return messages
    grant = access.grant_of(user, instance, timezone.now())
    return messages.filter(at__gte=grant.answered_at or grant.created_at) if grant else messages.none()


def unread(user: User, instance: Instance) -> int:
    """Messages of others that the person may read and has not seen; `MANY` stands for that many or more."""
    mark = ChatRead.objects.filter(instance=instance, user=user).values_list("upto", flat=True).first() or 0
    return messages_for(user, instance).filter(pk__gt=mark).exclude(author=user)[:MANY].count()


def members_of(instance: Instance) -> Iterable[Member]:
    """The owner first, then by when they were added."""
    members = instance.members.select_related("user", "user__affiliation").order_by("created_at", "pk")
    return sorted(members, key=lambda member: member.role != MemberRole.OWNER)
