"""What the owner of a machine decides about the others at its screen: what they may do there, and who has to leave."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils.translation import gettext as _

from desktops import access, baton, control, news, sharing, support
from desktops.models import ControlAsk, Room
from experiments.models import User
from instances.actions import Refused
from instances.models import Instance


@transaction.atomic
def arrange(by: User, instance: Instance, changes: dict[str, Any]) -> None:
    """Change columns of the Room, which the caller has checked. With another mode the owner has the baton."""
    baton.must_own(by, instance)
    Room.objects.get_or_create(instance=instance)
    row = Room.objects.filter(instance=instance)
    if "mode" in changes and row.exclude(mode=changes["mode"]).update(holder=None):
        ControlAsk.objects.filter(instance=instance).delete()
    if changes:
        row.update(**changes)
    news.tell_room(instance)


@transaction.atomic
def dismiss(by: User, instance: Instance, person: UUID) -> None:
    """Close somebody's screen. A member may open it again; a supporter's leave and a public link's pass end."""
    baton.must_own(by, instance)
    user = User.objects.filter(uuid=person).first()
    if user is None or user == by or access.relation_of(user, instance) is None:
        raise Refused(_("This person is not here."), "user")
    message = control.dismissal(user.pk)
    transaction.on_commit(lambda: control.tell([control.of_instance(instance.uuid)], message))
    baton.take_away(user, instance)
    support.end(instance, by, user)
    sharing.end_passes(instance, user)
