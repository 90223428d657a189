"""What the hosts say, written into the rows. The only room that believes libvirt about what is.

`settle` takes one full look at a host; `Probe` asks the machines themselves whether their services answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from instances import limits, screen, tasks
from instances.drivers.base import DomainStatus, Power
from instances.judgement import RUNNING, Cause, Move, on_absence, on_power
from instances.models import Host, IllegalTransition, Instance, LifePolicy, Protocol, Stray, Superseded
from instances.states import LIVE, ON_HOST, State

log = logging.getLogger(__name__)

SECOND_LOOK = timedelta(seconds=5)
"""A domain must be missing for this long, and at two looks, before anything is concluded from it."""

NOTE_EVERY = timedelta(seconds=30)
"""An unchanged observation is written again after this time, so that `observed_at` tells when we looked."""

READ_EVERY = timedelta(minutes=1)
"""Between two readings of a machine's CPU counter."""

UNDRAWN_PATIENCE = timedelta(seconds=20)
"""A desktop that answers but stays one flat colour is taken as ready after this time: its image may be plain."""

PROBE_SECONDS = 4.0


def settle(host: Host, statuses: Iterable[DomainStatus], now: datetime) -> None:
    """Make the rows of one host agree with a full look at it that began at `now`."""
    seen = {status.uuid: status for status in statuses}
    mine = Instance.objects.filter(host=host)
    for instance in mine.filter(state__in=ON_HOST):
        status = seen.pop(instance.uuid, None)
        if status is None:
            _absent(instance, now)
        else:
            _present(instance, status, now)
    _unexpected(host, set(seen))


def _present(instance: Instance, status: DomainStatus, now: datetime) -> None:
    _note(instance, status, now)
    if instance.state == State.REBOOTING and status.power not in RUNNING:
        tasks.ring(instance.pk)
    move = on_power(State(instance.state), status.power)
    if move and instance.state_since < now:  # else the look is older than the state and says nothing about it
        _make(instance, move)


def _note(instance: Instance, status: DomainStatus, now: datetime) -> None:
    console = status.console
    facts = {
        "power": status.power,
        "missing_since": None,
        "console_host": console.host if console else "",
        "console_port": console.port if console else None,
    }
    if status.addresses:
        facts["address"] = status.addresses[0]
    changed = any(getattr(instance, name) != value for name, value in facts.items())
    facts |= _work(instance, status, now)
    stale = instance.observed_at is None or now - instance.observed_at > NOTE_EVERY
    if changed or stale or "cpu_readings" in facts:
        Instance.objects.filter(pk=instance.pk, state=instance.state).update(**facts, observed_at=now)


def _work(instance: Instance, status: DomainStatus, now: datetime) -> dict[str, Any]:
    """What the host's CPU counter says of the machine's work, once a minute.

    After a time in which nobody looked, the doubt is the owner's benefit: it may have worked all along.
    """
    readings = instance.cpu_readings
    if status.power != Power.RUNNING or (readings and now.timestamp() - readings[-1][0] < READ_EVERY.total_seconds()):
        return {}
    fresh = limits.with_reading(readings, now.timestamp(), status.cpu_seconds)
    blind = instance.observed_at is not None and now - instance.observed_at > limits.BLIND
    works = limits.load(fresh) >= LifePolicy.current().busy_percent
    return {"cpu_readings": fresh} | ({"worked_at": now} if works or blind else {})


def _absent(instance: Instance, now: datetime) -> None:
    if instance.built_at is None or instance.state == State.DELETING:
        return
    if instance.missing_since is None:
        Instance.objects.filter(pk=instance.pk).update(missing_since=now, power="")
        return
    move = on_absence(State(instance.state), seen_missing_before=now - instance.missing_since >= SECOND_LOOK)
    if move:
        _make(instance, move)


def _make(instance: Instance, move: Move) -> None:
    facts: dict[str, Any] = {}
    if move.to == State.STARTING:
        facts = {"attempt": instance.attempt + 1, "booted_at": timezone.now()}
    try:
        instance.transition(move.to, reason=_sentence(move.cause), **facts)
    except (Superseded, IllegalTransition):
        log.info("%s moved on before the observation was written", instance.uuid)


def _sentence(cause: Cause) -> str:
    return {
        Cause.SHUT_DOWN: _("It was shut down from inside, or on its host."),
        Cause.CRASHED: _("The machine crashed. Its disk is kept: try again to start it."),
        Cause.STARTED_ELSEWHERE: _("It was started on its host."),
        Cause.BACK: _("Its host answers again."),
        Cause.LOST: _("Its host no longer knows this machine. Please tell your local contact."),
        Cause.DONE: "",
    }[cause]


def _unexpected(host: Host, unknown: set[UUID]) -> None:
    """Domains of ours with no row here: deleted ones are removed at the second look, others shown to staff."""
    deleted = set(
        Instance.objects.filter(uuid__in=unknown, host=host, state=State.DELETED).values_list("uuid", flat=True)
    )
    Stray.objects.filter(host=host).exclude(domain__in=unknown).delete()
    for uuid in unknown:
        stray, first_look = Stray.objects.get_or_create(host=host, domain=uuid)
        if first_look:
            log.warning("host %s carries %s, which no live machine accounts for", host, uuid)
        elif uuid in deleted and timezone.now() - stray.first_seen_at >= SECOND_LOOK:
            _have_removed(host.pk, str(uuid))


def _have_removed(host_id: int, uuid: str) -> None:
    transaction.on_commit(lambda: tasks.remove_deleted.delay(host_id, uuid), robust=True)


def lost_contact(host: Host, problem: str) -> None:
    """The host did not answer twice: say so on it and on its running machines."""
    Host.objects.filter(pk=host.pk).update(problem=problem)
    for instance in Instance.objects.filter(host=host, state=State.ACTIVE):
        try:
            instance.transition(State.UNREACHABLE, reason=_("Its host does not answer. We keep trying."))
        except Superseded:
            continue


def rebooted(uuid: UUID, at: datetime) -> None:
    """The guest restarted: its services have to show themselves again."""
    Instance.objects.filter(uuid=uuid, state__in=LIVE).update(
        booted_at=at, desktop_ready_at=None, jupyter_ready_at=None
    )


@dataclass(frozen=True)
class Found:
    """What a machine's services answered at one moment."""

    desktop: bool = False
    drawn: bool = False
    jupyter: bool = False


def candidates() -> list[Instance]:
    """The machines that owe an answer of their desktop or of JupyterLab."""
    rebooted_already = Q(state=State.REBOOTING, booted_at__gte=F("state_since"))
    waiting = Q(state=State.STARTING) | rebooted_already | Q(state=State.ACTIVE, desktop_ready_at__isnull=True)
    no_jupyter = Q(state=State.ACTIVE, jupyter_ready_at__isnull=True, plan__image__protocols__kind=Protocol.JUPYTER)
    near = Instance.objects.filter(state__in=[State.STARTING, State.REBOOTING, State.ACTIVE])
    rows = near.filter(waiting | no_jupyter, power__in=RUNNING, address__isnull=False)
    return list(
        rows.distinct().select_related("plan__image", "owner").prefetch_related("plan__image__protocols", "steps")
    )


def probe(instances: list[Instance]) -> None:
    """Ask each machine's services once, all at the same time, and write what they answered."""
    for instance, found in zip(instances, asyncio.run(_ask_all(instances)), strict=True):
        _write(instance, found, timezone.now())


async def _ask_all(instances: list[Instance]) -> list[Found]:
    return await asyncio.gather(*[_ask(instance) for instance in instances])


async def _ask(instance: Instance) -> Found:
    image, address = instance.plan.image, str(instance.address)
    vnc, jupyter = image.port(Protocol.VNC), image.port(Protocol.JUPYTER)
    desktop = drawn = instance.desktop_ready_at is not None or vnc is None
    if vnc is not None and not desktop:
        try:
            drawn = await screen.is_drawn(address, vnc, instance.vnc_password, PROBE_SECONDS)
            desktop = True
        except (screen.ScreenUnavailable, screen.ScreenRefused) as error:
            log.debug("%s: %r", instance.uuid, error)
    answers = drawn and jupyter is not None and await _listens(address, jupyter)
    return Found(desktop=desktop, drawn=drawn, jupyter=answers)


async def _listens(address: str, port: int) -> bool:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _reader, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def _write(instance: Instance, found: Found, now: datetime) -> None:
    if found.desktop and instance.desktop_ready_at is None:
        instance.begin_step("desktop")
        if found.drawn or _answers_long_enough(instance, now):
            _desktop_ready(instance, now)
    if found.jupyter and instance.jupyter_ready_at is None:
        _jupyter_ready(instance, now)


def _answers_long_enough(instance: Instance, now: datetime) -> bool:
    begun = instance.steps.filter(name="desktop", attempt=instance.attempt).values_list("at", flat=True).first()
    return begun is not None and now - begun >= UNDRAWN_PATIENCE


def _desktop_ready(instance: Instance, now: datetime) -> None:
    if instance.state == State.ACTIVE:
        Instance.objects.filter(pk=instance.pk, state=State.ACTIVE).update(desktop_ready_at=now)
        instance.tell("desktop")
        return
    try:
        instance.transition(State.ACTIVE, desktop_ready_at=now)
    except (Superseded, IllegalTransition):
        log.info("%s moved on before its desktop was written as ready", instance.uuid)


def _jupyter_ready(instance: Instance, now: datetime) -> None:
    if Instance.objects.filter(pk=instance.pk, state=State.ACTIVE).update(jupyter_ready_at=now):
        instance.tell("jupyter")
