"""A host that falls silent: its machines say so, owners and staff are told once, and again when it is well.

The observer calls `silent` again and again while a host does not answer, and `answers` at each look at one that does.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils.translation import gettext_noop as _

from experiments.models import User
from instances.models import Host, IllegalTransition, Instance, Superseded
from instances.models.hosts import BLIP
from instances.models.instance import DEADLINES
from instances.models.life import staff
from instances.notices import Kind, tell
from instances.states import State

log = logging.getLogger(__name__)

TELL_AFTER = timedelta(minutes=2)
"""So long a host is silent before people are told, and so long it answers before they are told that it is well."""

AT_MOST_EVERY = timedelta(hours=1)
"""Of a host that comes and goes people hear no more often."""


def silent(host: Host, problem: str, now: datetime) -> None:
    """Write that the host does not answer at `now`, and what follows from how long it has been so."""
    changed = Host.objects.filter(Q(lost_since=None) | ~Q(problem=problem), pk=host.pk)
    changed.update(problem=problem, lost_since=Coalesce("lost_since", now), back_since=None)
    host.refresh_from_db()
    if host.lost_since is None:
        return
    length = now - host.lost_since
    if length >= BLIP:
        _out_of_reach(host)
    if (
        length >= TELL_AFTER
        and not _told(host)
        and (host.told_lost_at is None or now - host.told_lost_at >= AT_MOST_EVERY)
    ):
        with transaction.atomic():
            if Host.objects.filter(pk=host.pk, told_lost_at=host.told_lost_at).update(told_lost_at=now):
                _tell(host, Kind.HOST_LOST, Kind.HOST_SILENT)


def answers(host: Host, now: datetime) -> None:
    """Write that the host answered at `now`: work that waited for it goes on, and who was told hears of it."""
    if host.lost_since is not None:
        with transaction.atomic():
            if Host.objects.filter(pk=host.pk, lost_since=host.lost_since).update(lost_since=None, back_since=now):
                _go_on(host, now)
    elif _told(host) and host.back_since is not None and now - host.back_since >= TELL_AFTER:
        with transaction.atomic():
            if Host.objects.filter(pk=host.pk, told_back_at=host.told_back_at).update(told_back_at=now):
                _tell(host, Kind.HOST_BACK, Kind.HOST_WELL)


def _told(host: Host) -> bool:
    """Whether people know it as lost."""
    return host.told_lost_at is not None and (host.told_back_at is None or host.told_back_at < host.told_lost_at)


def _out_of_reach(host: Host) -> None:
    for instance in Instance.objects.filter(host=host, state=State.ACTIVE):
        try:
            instance.transition(
                State.UNREACHABLE,
                reason=_("Its host does not answer. Its files are kept; it goes on as soon as the host is back."),
            )
        except (Superseded, IllegalTransition):
            log.info("%s moved on before its host was found silent", instance.uuid)


def _go_on(host: Host, now: datetime) -> None:
    """What waited for the host has its full time again: the outage is not counted."""
    for state, length in DEADLINES.items():
        waiting = Instance.objects.filter(host=host, state=state)
        waiting.update(deadline_at=now + length, problem="")


def _tell(host: Host, to_owners: Kind, to_staff: Kind) -> None:
    machines = list(Instance.objects.live().filter(host=host).select_related("owner").order_by("name"))
    names: dict[User, list[str]] = defaultdict(list)
    for machine in machines:
        names[machine.owner].append(f"“{machine.name}”")
        machine.tell("host")
    for owner, owned in names.items():
        tell([owner], to_owners, machines=", ".join(owned))
    tell(staff(), to_staff, host=host.name, count=str(len(machines)))
    log.warning("host %s: owners of %d machines are told: %s", host, len(machines), to_owners)
