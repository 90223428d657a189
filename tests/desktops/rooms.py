"""Who is at a machine's screen, as rows: for tests that need no socket."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from desktops.models import AccessRequest, Connection, Room, Which
from desktops.rfb import Role
from experiments.models import User
from instances.models import Instance


def looks(user: User, instance: Instance, *, left: timedelta | None = None) -> Connection:
    """The person has the desktop open; or had, until so long ago."""
    closed = None if left is None else timezone.now() - left
    return Connection.objects.create(
        instance=instance, user=user, which=Which.SCREEN, role=Role.CONTROL, closed_at=closed
    )


def granted(user: User, instance: Instance, role: Role = Role.CONTROL, *, minutes: int = 30) -> AccessRequest:
    """The owner let this supporter in."""
    now = timezone.now()
    return AccessRequest.objects.create(
        instance=instance,
        asker=user,
        reason="The detector image looks wrong.",
        minutes=abs(minutes),
        state=AccessRequest.State.GRANTED,
        role=role,
        expires_at=now + timedelta(minutes=2),
        answered_at=now,
        until=now + timedelta(minutes=minutes),
    )


def members_may_work_alone(instance: Instance) -> Room:
    return Room.objects.create(instance=instance, members_alone=True)
