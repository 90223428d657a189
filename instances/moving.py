"""A stopped machine moves to another host: copied, compared, and only then its row points there.

At every moment one disk counts, the one on the host that the row names; whatever is repeated or breaks off, the other
is a copy that nobody uses. Who starts or deletes the machine meanwhile wins, and the copy is thrown away.
"""

from __future__ import annotations

import logging
from contextlib import closing
from time import monotonic
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from instances import carriage
from instances.drivers import open_host
from instances.drivers.base import DomainStatus, Driver, DriverError
from instances.judgement import RUNNING
from instances.leases import lease, unheld
from instances.models import Carriage, Entry, Host, Instance, Relocation
from instances.models.relocations import PAUSE
from instances.specs import host_spec, instance_spec
from instances.states import State

log = logging.getLogger(__name__)

TELL_EVERY = 1.5
"""Seconds between two writes of how far a copy is."""


def due() -> list[int]:
    """The row numbers of moves that a worker may go on with now."""
    now = timezone.now()
    rested = Q(tried_at=None) | Q(problem="") | Q(tried_at__lt=now - PAUSE)
    return list(Relocation.objects.filter(unheld(now), rested, cleared_at=None).values_list("pk", flat=True))


def on_the_way() -> set[UUID]:
    """The machines of which a second host may have a copy now."""
    return set(Relocation.objects.filter(cleared_at=None).values_list("instance__uuid", flat=True))


def go_on(pk: int) -> None:
    """Do what is left of a move, unless another worker is at it. May be repeated after any failure."""
    with lease(pk, Relocation) as mine:
        if not mine:
            return
        move = Relocation.objects.select_related("origin", "target").get(pk=pk)
        Relocation.objects.filter(pk=pk).update(tried_at=timezone.now())
        try:
            if move.outcome == Relocation.Outcome.COPYING:
                _copy(move)
            if move.outcome != Relocation.Outcome.COPYING and move.cleared_at is None:
                _clear(move)
        except DriverError as error:
            log.warning("%s: %s", move, error)
            _trouble(move, error)
        except Exception:  # else it would be tried for ever, and nobody told
            log.exception("%s: unexpected fault", move)
            _trouble(move, DriverError(_("Something unexpected happened. The worker's log says more."), permanent=True))


def _trouble(move: Relocation, error: DriverError) -> None:
    if error.permanent and move.outcome == Relocation.Outcome.COPYING:
        _give_up(move, str(error))
    else:
        Relocation.objects.filter(pk=move.pk).update(problem=str(error))


def _give_up(move: Relocation, why: str) -> None:
    """The machine stays where it is; the copy is removed the next time round."""
    move.outcome = Relocation.Outcome.GIVEN_UP
    Relocation.objects.filter(pk=move.pk).update(outcome=move.outcome, problem=why)
    Instance.objects.filter(pk=move.instance_id).update(progress=None)
    move.instance.tell("move")


def _copy(move: Relocation) -> None:
    if not _still(move).exists():
        _give_up(move, _("It was started or deleted before the copy was whole."))
        return
    instance = Instance.objects.select_related("owner", "plan__image", "host").get(pk=move.instance_id)
    with closing(open_host(host_spec(move.origin))) as origin, closing(open_host(host_spec(move.target))) as target:
        _begin(move, target)
        _have_image(move, instance)
        progress = Progress(move, origin.disk_bytes(instance.uuid))
        target.receive(instance_spec(instance), progress.size, origin.read_disk(instance.uuid), progress.note)
        if not (_is_off(origin, instance) and _turn_over(move)):
            _give_up(move, _("It was started or deleted before the copy was whole."))


def _still(move: Relocation) -> QuerySet[Instance]:
    """The machine, where it is as it was when the move was asked for."""
    return Instance.objects.filter(pk=move.instance_id, state=State.STOPPED, host=move.origin_id)


def _begin(move: Relocation, target: Driver) -> None:
    """Two hosts may be the same computer under two names, where the copy would take the place of the original."""
    if move.begun_at is not None:
        return
    target.prepare()
    if target.holds(move.instance.uuid):
        raise DriverError(_("The new host has this machine already: it may be the same computer."), permanent=True)
    move.begun_at = timezone.now()
    Relocation.objects.filter(pk=move.pk).update(begun_at=move.begun_at)


def _have_image(move: Relocation, instance: Instance) -> None:
    carried = Carriage.of(move.target, instance.plan.image)
    carriage.ask(carried)
    carriage.carry(carried.pk)
    carried.refresh_from_db()
    if not carried.is_there:
        permanent = carried.state == Carriage.State.FAILED
        raise DriverError(carried.problem or _("Its image is being copied to the new host."), permanent=permanent)


def _is_off(driver: Driver, instance: Instance) -> bool:
    found = _find(driver, instance)
    return found is not None and found.power not in RUNNING and not found.hibernated


def _find(driver: Driver, instance: Instance) -> DomainStatus | None:
    return next(iter(driver.observe([instance.uuid])), None)


def _turn_over(move: Relocation) -> bool:
    """From now on the copy is the machine; False where somebody did something with the original meanwhile."""
    with transaction.atomic():
        facts = {"host": move.target, "address": None, "missing_since": None, "progress": None}
        if not _still(move).update(**facts):
            return False
        move.outcome = Relocation.Outcome.MOVED
        Relocation.objects.filter(pk=move.pk).update(outcome=move.outcome, problem="")
        Entry.objects.create(instance=move.instance, kind="moved", by=move.by)
        move.instance.tell("move")
    return True


def _clear(move: Relocation) -> None:
    """Remove what the host still has on which the machine does not stay; never what runs, nor what a row points to."""
    host = move.origin if move.outcome == Relocation.Outcome.MOVED else move.target
    if move.begun_at is not None and not Instance.objects.filter(pk=move.instance_id, host=host).exists():
        _remove(host, move.instance)
    move.cleared_at = timezone.now()
    Relocation.objects.filter(pk=move.pk).update(cleared_at=move.cleared_at)


def _remove(host: Host, instance: Instance) -> None:
    with closing(open_host(host_spec(host))) as driver:
        found = _find(driver, instance)
        if found is not None and found.power in RUNNING:
            raise DriverError(_("The machine runs on the host that it was moved from. Nothing is removed there."))
        driver.destroy(instance.uuid)


class Progress:
    """How far the copy of a disk is, in percent; written every TELL_EVERY seconds at most."""

    def __init__(self, move: Relocation, size: int) -> None:
        self.move, self.size = move, size
        self.told_at = 0.0

    def note(self, done: int) -> None:
        if monotonic() - self.told_at < TELL_EVERY:
            return
        self.told_at = monotonic()
        Instance.objects.filter(pk=self.move.instance_id).update(progress=done * 100 // max(self.size, 1))
        self.move.instance.tell("copy")
