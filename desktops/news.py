"""What happens to machines, people and sessions, told to the sockets that it concerns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.http import HttpRequest

from desktops import control
from desktops.models import AccessRequest, Connection, Invitation, Pass, Room
from desktops.signals import came_or_went
from experiments.models import RoleGrant, User
from instances.models import Instance, Member, Transition
from instances.signals import noticed, observed, transitioned

Bell = tuple[str, dict[str, Any]]
"""A group, and what it hears."""

Event = dict[str, Any]
"""{"type": "instance", "id": UUID, "state": State, "what": what changed}, as the browser gets it."""


SMALL = frozenset({"thumbnail", "step", "copy", "runs"})
"""What is observed so often that the support pages do without."""


def connect() -> None:
    """Listen to the signals; called once when the app is ready."""
    transitioned.connect(_moved, dispatch_uid="desktops.moved")
    observed.connect(_observed, dispatch_uid="desktops.observed")
    noticed.connect(_noticed, dispatch_uid="desktops.noticed")
    user_logged_out.connect(_signed_out, dispatch_uid="desktops.signed_out")
    post_save.connect(_person_changed, sender=User, dispatch_uid="desktops.person")
    came_or_went.connect(_came_or_went, dispatch_uid="desktops.presence")
    post_save.connect(_room_changed, sender=Room, dispatch_uid="desktops.room")
    for sender in (AccessRequest, Invitation):
        post_save.connect(_rights_at_changed, sender=sender, dispatch_uid=f"desktops.{sender.__name__}")
    post_save.connect(_pass_changed, sender=Pass, dispatch_uid="desktops.pass")
    for signal in (post_save, post_delete):
        signal.connect(_right_changed, sender=RoleGrant, dispatch_uid="desktops.role")
        signal.connect(_right_changed, sender=Member, dispatch_uid="desktops.member")


def _moved(sender: object, instance: Instance, transition: Transition, **rest: object) -> None:
    control.ring([*_room_bells(instance), *_member_bells(instance, "state")])


def _observed(sender: object, instance: Instance, what: str, **rest: object) -> None:
    bells = _member_bells(instance, what)
    control.ring(bells if what in SMALL else [*bells, *_room_bells(instance)])


def _noticed(sender: object, user_ids: list[int], **rest: object) -> None:
    control.tell([control.of_user(pk) for pk in user_ids], {"type": "news", "event": {"type": "notice"}})


def _member_bells(instance: Instance, what: str) -> list[Bell]:
    people = set(Member.objects.filter(instance=instance).values_list("user_id", flat=True)) | {instance.owner_id}
    event: Event = {"type": "instance", "id": str(instance.uuid), "state": str(instance.state), "what": what}
    return [(control.of_user(person), {"type": "news", "event": event}) for person in people]


def _signed_out(sender: object, request: HttpRequest | None, **rest: object) -> None:
    key = request.session.session_key if request is not None else None
    if key:
        control.tell([control.of_session(key)], control.SESSION_ENDED)


def _person_changed(sender: object, instance: User, **rest: object) -> None:
    _look_again_after_commit(instance.pk)


def _right_changed(sender: object, instance: RoleGrant | Member, **rest: object) -> None:
    _look_again_after_commit(instance.user_id)
    if isinstance(instance, Member):
        tell_room(instance.instance)
        machine = instance.instance
        event: Event = {"type": "instance", "id": str(machine.uuid), "state": str(machine.state), "what": "members"}
        tell_people({instance.user_id}, event)


def _came_or_went(sender: object, connection: Connection, **rest: object) -> None:
    """Others see who is there; and where the owner came or went, what others may do changes too."""
    tell_room(connection.instance)


def _room_changed(sender: object, instance: Room, **rest: object) -> None:
    tell_room(instance.instance)


def _rights_at_changed(sender: object, instance: AccessRequest | Invitation, **rest: object) -> None:
    tell_room(instance.instance)


def _pass_changed(sender: object, instance: Pass, **rest: object) -> None:
    tell_room(instance.invitation.instance)


def tell_room(instance: Instance) -> None:
    """After commit: sockets at this machine look at their rights again, and pages fetch the room anew."""
    bells = _room_bells(instance)
    transaction.on_commit(lambda: control.ring(bells))


def _room_bells(instance: Instance) -> list[Bell]:
    """Also the support pages; each person's shows only what they support."""
    uuid = str(instance.uuid)
    return [
        (control.of_instance(instance.uuid), control.LOOK_AGAIN),
        (control.of_room(instance.uuid), {"type": "news", "event": {"type": "room", "id": uuid}}),
        (control.SUPPORT, {"type": "news", "event": {"type": "support", "id": uuid}}),
    ]


def tell_request(instance: Instance, asker: User) -> None:
    """After commit: a supporter's access changed, which owner and supporter hear wherever they are."""
    tell_people({instance.owner_id, asker.pk}, {"type": "request", "id": str(instance.uuid)})
    tell_room(instance)


def tell_people(people: Iterable[int], event: Event) -> None:
    """After commit: to all tabs of these people, by their primary keys."""
    groups = [control.of_user(person) for person in people]
    transaction.on_commit(lambda: control.tell(groups, {"type": "news", "event": event}))


def _look_again_after_commit(user_id: int) -> None:
    groups = [control.of_user(user_id)]
    transaction.on_commit(lambda: control.tell(groups, control.LOOK_AGAIN))
