"""Links that let people in. A link's secret is told once, when it is made; here only its SHA-256 is known."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from hashlib import sha256
from hmac import compare_digest
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.signals import post_delete
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from desktops.access import relation_of
from desktops.models import Invitation, Pass, Policy
from desktops.pace import too_often
from experiments.models import User
from instances import members
from instances.actions import NotAllowed, Refused, check_manager
from instances.models import Instance, Member, MemberRole
from instances.models.life import enter as write_down
from instances.states import State

MAX_DAYS = 90
AT_MOST = 20
"""Links of one machine that are valid at the same time."""

TRIES, WINDOW = 30, 600
"""So many looks at links has a person in so many seconds: enough for hands, too few for a script."""

NOBODYS = sha256(b"").hexdigest()
"""Compared with where there is no such link, so that the answer takes as long."""


def connect() -> None:
    """Listen to the signals; called once when the app is ready."""
    post_delete.connect(_member_left, sender=Member, dispatch_uid="desktops.sharing.member")


def _member_left(sender: object, instance: Member, **rest: object) -> None:
    """Whoever is taken off a machine does not stay by a public link that they once used."""
    end_passes(instance.instance, instance.user)


def end_passes(instance: Instance, user: User) -> None:
    """By public links the person watches this machine no more."""
    for leave in Pass.objects.filter(invitation__instance=instance, user=user, withdrawn_at=None):
        leave.withdrawn_at = timezone.now()
        leave.save(update_fields=["withdrawn_at"])


def invite(
    instance: Instance, by: User, *, name: str, role: MemberRole, days: int, uses: int
) -> tuple[Invitation, str]:
    """A link by which `uses` people become members within `days`, and its address, which cannot be had again.

    Raises NotAllowed for who may not manage the machine, Refused where it has too many links.
    """
    with transaction.atomic():
        machine = members.held(instance, by)
        if invitations_of(machine).count() >= AT_MOST:
            raise Refused(_("This machine has %(count)d links. Withdraw one first.") % {"count": AT_MOST})
        expires_at = timezone.now() + timedelta(days=days)
        write_down(machine, "link_made", by, name=name)
        return _make(machine, by, name=name, role=role, expires_at=expires_at, max_uses=uses)


def invitations_of(instance: Instance) -> QuerySet[Invitation]:
    """The links that still make members, the latest first."""
    return Invitation.objects.valid_at(timezone.now()).filter(instance=instance, public=False)


def links_of(instance: Instance, by: User) -> list[Invitation]:
    """All valid links of a machine, for who may manage it; raises NotAllowed."""
    check_manager(instance, by)
    shown = public_link(instance)
    return [*invitations_of(instance), *([shown] if shown else [])]


def revoke(invitation: Invitation, by: User) -> None:
    """Withdraw a link. Members stay; who only watched by it watches no more. Withdrawn already is success."""
    with transaction.atomic():
        machine = members.held(invitation.instance, by)
        if _withdraw(Invitation.objects.filter(pk=invitation.pk)):
            write_down(machine, "public_off" if invitation.public else "link_withdrawn", by, name=invitation.name)


def public_link(instance: Instance) -> Invitation | None:
    """The link by which everybody with an account may watch while the owner is there."""
    links = Invitation.objects.valid_at(timezone.now()).filter(instance=instance, public=True)
    return links.first() if Policy.current().public_links else None


def open_to_all(instance: Instance, by: User) -> tuple[Invitation, str]:
    """A new public link and its address, in place of the one there was. Raises Refused where the facility has none."""
    with transaction.atomic():
        machine = members.held(instance, by)
        if not Policy.current().public_links:
            raise NotAllowed(_("This facility does not allow public links."))
        _withdraw(Invitation.objects.filter(instance=machine, public=True))
        write_down(machine, "public_on", by)
        return _make(machine, by, name=str(_("Public view link")), role=MemberRole.GUEST, public=True)


def close_to_all(instance: Instance, by: User) -> None:
    """Withdraw the public link; who watched by it watches no more. No link is success."""
    with transaction.atomic():
        machine = members.held(instance, by)
        if _withdraw(Invitation.objects.filter(instance=machine, public=True)):
            write_down(machine, "public_off", by)


def look(uuid: UUID, secret: str, user: User) -> Invitation:
    """What a link is for, before it is used. Raises Refused, always with the same sentence, where it is for nothing."""
    with transaction.atomic():
        return _verified(uuid, secret, user)


def join(uuid: UUID, secret: str, user: User) -> Invitation:
    """Use a link. It counts once for each person, and only when it gives them something. Raises Refused as `look`."""
    with transaction.atomic():
        link = _verified(uuid, secret, user)
        if not link.passes.filter(user=user).exists() and _gives(link, user):
            Pass.objects.create(invitation=link, user=user)
            Invitation.objects.filter(pk=link.pk).update(uses=F("uses") + 1)
    return link


def _gives(link: Invitation, user: User) -> bool:
    if link.public:
        return relation_of(user, link.instance) is None
    return members.join(link.instance, user, MemberRole(link.role))


def _verified(uuid: UUID, secret: str, user: User) -> Invitation:
    """The link, locked until the transaction ends."""
    if too_often("links", user, at_most=TRIES, seconds=WINDOW):
        raise Refused(_("You tried many links. Wait ten minutes and try again."))
    link = Invitation.objects.select_for_update(no_key=True).filter(uuid=uuid).first()
    matches = compare_digest(link.secret_hash if link else NOBODYS, _hashed(secret))
    if link is None or not matches or not _serves(link, user, timezone.now()):
        raise NotAllowed(
            _("This link does not work. It may be incomplete, used up, expired or withdrawn: ask for a new one.")
        )
    return link


def _serves(link: Invitation, user: User, now: datetime) -> bool:
    """Whether the link lets this person in. Who was let in and taken off again needs a new one."""
    if link.instance.state in {State.DELETING, State.DELETED}:
        return False
    valid = Invitation.objects.valid_at(now).filter(pk=link.pk).exists()
    used = link.passes.filter(user=user).first()
    if link.public:
        return valid and Policy.current().public_links and not (used and used.withdrawn_at)
    return Member.objects.filter(instance=link.instance, user=user).exists() if used else valid


def _make(machine: Instance, by: User, **facts: object) -> tuple[Invitation, str]:
    secret = secrets.token_urlsafe(32)
    made = Invitation.objects.create(instance=machine, created_by=by, secret_hash=_hashed(secret), **facts)
    # Behind the # it is sent to no server and written into no log
    return made, f"{settings.PUBLIC_URL}{reverse('join', args=[made.uuid])}#{secret}"


def _withdraw(links: QuerySet[Invitation]) -> bool:
    """Whether there was anything to withdraw."""
    valid = list(links.filter(revoked_at=None))
    for link in valid:
        link.revoked_at = timezone.now()
        link.save(update_fields=["revoked_at"])
    return bool(valid)


def _hashed(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
