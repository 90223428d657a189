"""Emptying a host: staff stop what runs there and say why, and nothing starts there until they bring it back."""

from __future__ import annotations

from dataclasses import replace

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from experiments.models import Role, User
from instances import claims, tasks
from instances.actions import NotAllowed, Refused
from instances.models import Host, IllegalTransition, Instance, Relocation, Superseded, Transition
from instances.notices import Kind, tell
from instances.states import State

TELLS = {State.HIBERNATING: Kind.HOST_SLEEPS, State.STOPPING: Kind.HOST_STOPS}


def close(host: Host, by: User, reason: str) -> None:
    """No new machines, and none that rests there starts; who tries is told the reason. Raises Refused."""
    _check(by, reason)
    closed_at = host.closed_at or timezone.now()
    Host.objects.filter(pk=host.pk).update(enabled=False, closed_at=closed_at, closed_reason=reason.strip())


def clear(instance: Instance, by: User, to: State, reason: str) -> None:
    """Put a running machine to sleep (HIBERNATING) or shut it down (STOPPING) and tell its owner. Raises Refused."""
    _check(by, reason)
    try:
        with transaction.atomic():
            instance.transition(to, by=by, reason=reason.strip())
            tell([instance.owner], TELLS[to], instance, reason=reason.strip())
            tasks.ring(instance.pk)
    except (IllegalTransition, Superseded) as error:
        raise Refused(_("The machine does not run, or is busy with something else.")) from error


def move(instance: Instance, by: User) -> Relocation:
    """Have a stopped machine copied to another host that has room for it, and live there. Raises Refused."""
    _check(by)
    size = claims.need_of(instance.plan.image, instance.plan.flavour)
    need = replace(size, vcpus=instance.vcpus, memory_mib=instance.memory_mib, disk_gib=instance.disk_gib)
    try:
        with transaction.atomic():
            target = claims.place(need, elsewhere_than=instance.host_id)
            found = Instance.objects.filter(pk=instance.pk, state=State.STOPPED, host=instance.host_id).first()
            if found is None or found.host is None:
                raise Refused(_("Only a machine that is stopped can be moved: its programs would be lost."))
            made = Relocation.objects.create(instance=instance, origin=found.host, target=target, by=by)
            tasks.ring_move(made.pk)
    except claims.NoRoom as full:
        raise Refused(str(full)) from full
    except IntegrityError as error:
        raise Refused(_("It is being moved already.")) from error
    return made


def bring_back(host: Host, by: User) -> int:
    """Machines start there again, and new ones come. Gives the number of machines whose owners are told so."""
    _check(by)
    with transaction.atomic():
        resting = list(_stopped_by_staff(host)) if host.closed_at else []
        Host.objects.filter(pk=host.pk).update(enabled=True, closed_at=None, closed_reason="")
        for instance in resting:
            tell([instance.owner], Kind.HOST_OPEN, instance)
    return len(resting)


def _stopped_by_staff(host: Host) -> QuerySet[Instance]:
    """Those that rest there because somebody else than their owner stopped them while the host was closed."""
    asked = Transition.objects.filter(instance__host=host, to__in=TELLS, at__gte=host.closed_at, by__isnull=False)
    others = asked.exclude(by=F("instance__owner")).values("instance")
    return host.instances.filter(pk__in=others, state__in=[State.HIBERNATED, State.STOPPED]).select_related("owner")


def _check(by: User, reason: str | None = None) -> None:
    if not by.has_role(Role.ADMIN):
        raise NotAllowed(_("Only staff may empty hosts."))
    if reason is not None and not reason.strip():
        raise Refused(_("Say why in a few words: the owners of the machines read it."), "reason")
