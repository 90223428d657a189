"""What the hosts say, written into the rows. The only room that believes libvirt about what is.

`settle` takes one full look at a host; `Probe` asks the machines themselves whether their services answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from instances import limits, moving, outages, screen, sweeps, tasks
from instances.drivers.base import DomainStatus, Power
from instances.judgement import RUNNING, Cause, Move, on_absence, on_power, on_return
from instances.models import Host, IllegalTransition, Instance, LifePolicy, Protocol, Stray, Superseded
from instances.states import LIVE, ON_HOST, WORKING, State

log = logging.getLogger(__name__)

SECOND_LOOK = timedelta(seconds=5)
"""A domain must be missing for this long, and at two looks, before anything is concluded from it."""

NOTE_EVERY = timedelta(seconds=30)
"""An unchanged observation is written again after this time, so that `observed_at` tells when we looked."""

JUST_DELETED = timedelta(hours=1)
"""A domain whose machine was deleted longer ago is left to staff."""

PAUSED = _("It is paused on its host, so its programs stand still. Restart it, or tell your local contact.")

UNDRAWN_PATIENCE = timedelta(seconds=20)
"""A desktop that answers but stays one flat colour is taken as ready after this time: its image may be plain."""

PROBE_SECONDS = 4.0


class Row(NamedTuple):
    """What a look compares of a machine: plain values, since a look at fifty machines compares as many every second."""

    pk: int
    uuid: UUID
    state: str
    state_since: datetime
    built_at: datetime | None
    lease_until: datetime | None
    power: str
    missing_since: datetime | None
    observed_at: datetime | None
    console_host: str
    console_port: int | None
    address: str | None
    problem: str
    cpu_readings: list[limits.Reading]
    attempt: int
    owner_id: int

    def instance(self) -> Instance:
        """The machine as far as a move tells of it; the rest is read when somebody asks for it."""
        # In the order of the model's columns, as a query would bring them.
        known: dict[str, Any] = {"id": self.pk, "uuid": self.uuid, "owner_id": self.owner_id, "state": self.state}
        known["attempt"] = self.attempt
        return Instance.from_db("default", list(known), list(known.values()))

    @classmethod
    def of(cls, host_id: int, which: Q | None = None) -> list[Row]:
        """Those of all machines that leave something on the host, or of `which` of them."""
        rows = map(cls._make, _all_rows().filter(which or Q(state__in=ON_HOST), host=host_id))
        return [row for row in rows if row.state in ON_HOST]


@cache
def _all_rows() -> QuerySet[Instance, tuple[Any, ...]]:
    """Kept, as it is filtered fifty times a second and half of the work is to find out about the columns."""
    return Instance.objects.order_by().values_list(*Row._fields)


def settle(host: Host, statuses: Iterable[DomainStatus], now: datetime) -> bool:
    """Make the rows of one host agree with a full look that began at `now`; whether anything is on its way there."""
    outages.answers(host, now)
    seen = {status.uuid: status for status in statuses}
    on_its_way = _agree(Row.of(host.pk), seen, now)
    _unexpected(host, seen, now)
    return on_its_way


Look = Callable[[set[UUID]], Iterable[DomainStatus]]
"""A look at some domains of a host."""


def settle_some(host_id: int, look: Look, now: datetime, which: Q) -> bool:
    """As `settle`, for some machines alone: the others have time."""
    rows = Row.of(host_id, which)
    return _agree(rows, {status.uuid: status for status in look({row.uuid for row in rows})}, now)


def _agree(rows: list[Row], seen: dict[UUID, DomainStatus], now: datetime) -> bool:
    """Takes out of `seen` what belongs to one of the rows."""
    busy_percent = cache(lambda: LifePolicy.current().busy_percent)
    unchanged, on_its_way = [], False
    for row in rows:
        status = seen.pop(row.uuid, None)
        if status is None:
            _absent(row, now)
            continue
        news, move = _news(row, status) | _work(row, status, now, busy_percent), _move(row, status, now)
        if news or move:
            _put_down(row, news, move, now)
        elif row.observed_at is None or now - row.observed_at > NOTE_EVERY:
            unchanged.append(row.pk)
        on_its_way |= move is not None or row.state in WORKING
    if unchanged:
        Instance.objects.filter(pk__in=unchanged).update(observed_at=now)
    return on_its_way


def _put_down(row: Row, news: dict[str, Any], move: Move | None, now: datetime) -> None:
    if move:
        _make(row, move, **news, observed_at=now)
        return
    Instance.objects.filter(pk=row.pk, state=row.state).update(**news, observed_at=now)
    if "problem" in news:
        Instance.objects.get(pk=row.pk).tell("problem")


def _move(row: Row, status: DomainStatus, now: datetime) -> Move | None:
    state = State(row.state)
    if state == State.REBOOTING and status.power not in RUNNING:
        tasks.ring(row.pk)
    if row.state_since >= now:
        return None  # the look is older than the state and says nothing about it
    found = on_return(state, status.power) if row.missing_since is not None else None
    return found or on_power(state, status.power, asleep=status.hibernated, ran_before=_ran_before(row, now))


def _ran_before(row: Row, now: datetime) -> bool:
    """Whether an earlier look in this same state saw it running, and no worker is at it."""
    seen = row.observed_at is not None and row.observed_at > row.state_since
    free = row.lease_until is None or row.lease_until < now
    return seen and free and row.power in RUNNING


def _news(row: Row, status: DomainStatus) -> dict[str, Any]:
    """The columns that are to say something else than they do."""
    console = status.console
    facts = {
        "power": status.power,
        "missing_since": None,
        "console_host": console.host if console else "",
        "console_port": console.port if console else None,
    }
    if status.addresses:
        facts["address"] = status.addresses[0]
    if row.state == State.ACTIVE:
        facts["problem"] = PAUSED if status.power == Power.PAUSED else ""
    return {name: value for name, value in facts.items() if getattr(row, name) != value}


def _work(row: Row, status: DomainStatus, now: datetime, busy_percent: Callable[[], int]) -> dict[str, Any]:
    """What the host's CPU counter says of the machine's work, once a minute.

    After a time in which nobody looked, the doubt is the owner's benefit: it may have worked all along.
    """
    readings = row.cpu_readings
    if status.power != Power.RUNNING or not limits.reading_due(readings, now.timestamp()):
        return {}
    fresh = limits.with_reading(readings, now.timestamp(), status.cpu_seconds)
    blind = row.observed_at is not None and now - row.observed_at > limits.BLIND
    works = limits.load(fresh) >= busy_percent()
    return {"cpu_readings": fresh} | ({"worked_at": now} if works or blind else {})


def _absent(row: Row, now: datetime) -> None:
    if row.built_at is None or row.state == State.DELETING:
        return
    if row.missing_since is None:
        Instance.objects.filter(pk=row.pk).update(missing_since=now, power="")
        return
    move = on_absence(State(row.state), seen_missing_before=now - row.missing_since >= SECOND_LOOK)
    if move:
        _make(row, move)


def _make(row: Row, move: Move, **facts: Any) -> None:
    facts.pop("problem", None)  # the move has a word of its own
    instance = row.instance()
    if move.to == State.STARTING:
        facts |= {"attempt": instance.attempt + 1, "booted_at": timezone.now()}
    try:
        instance.transition(move.to, reason=SENTENCES[move.cause], **facts)
    except (Superseded, IllegalTransition):
        log.info("%s moved on before the observation was written", row.uuid)


SENTENCES = {
    Cause.SHUT_DOWN: _("It was shut down from inside, or on its host."),
    Cause.CRASHED: _("The machine crashed. Its disk is kept: try again to start it."),
    Cause.STARTED_ELSEWHERE: _("It was started on its host."),
    Cause.BACK: _("Its host answers again."),
    Cause.OFF_MEANWHILE: _("Its host answers again; the machine was switched off meanwhile. Its disk is kept."),
    Cause.SAVED: _("Its memory was saved on its host: it sleeps, and goes on as it was."),
    Cause.FORGOTTEN: _("Its saved memory is no longer on its host: it starts afresh, with its disk as it was."),
    Cause.FOUND: _("Its host knows it again."),
    Cause.LOST: _("Its host no longer knows this machine. Please tell your local contact."),
    Cause.DONE: "",
}


def _unexpected(host: Host, unknown: dict[UUID, DomainStatus], now: datetime) -> None:
    """Domains of ours that no live row knows are shown to staff.

    At the second look those are removed that staff want away, and those whose machine was deleted a moment ago: it was
    still being built. What was deleted longer ago may have been brought back to its host on purpose.
    """
    if unknown:  # a copy on its way to or from this host is no stranger
        on_the_way = moving.on_the_way()
        unknown = {uuid: status for uuid, status in unknown.items() if uuid not in on_the_way}
    known = {stray.domain: stray for stray in Stray.objects.filter(host=host)}
    if known.keys() - unknown.keys():
        Stray.objects.filter(host=host).exclude(domain__in=unknown).delete()
    for uuid, status in unknown.items():
        _note_stray(host, known.get(uuid), status)
    second = {uuid for uuid in unknown.keys() & known.keys() if now - known[uuid].first_seen_at >= SECOND_LOOK}
    for uuid in second:
        if known[uuid].removal_asked_at is not None:
            tasks.ring_to_remove(known[uuid].pk)
    if second:
        _remove_just_deleted(host, second, now)


def _note_stray(host: Host, stray: Stray | None, status: DomainStatus) -> None:
    if stray is None:
        log.warning("host %s carries %s, which no live machine accounts for", host, status.uuid)
        Stray.objects.get_or_create(host=host, domain=status.uuid, defaults={"power": status.power})
    elif stray.power != status.power:
        Stray.objects.filter(pk=stray.pk).update(power=status.power)


def _remove_just_deleted(host: Host, uuids: set[UUID], now: datetime) -> None:
    deleted = Instance.objects.filter(host=host, uuid__in=uuids, state=State.DELETED)
    late = list(deleted.filter(state_since__gt=now - JUST_DELETED).values_list("uuid", flat=True))
    if late and not sweeps.held(len(late), now):
        for uuid in late:
            _have_removed(host.pk, str(uuid))


def _have_removed(host_id: int, uuid: str) -> None:
    transaction.on_commit(lambda: tasks.remove_deleted.delay(host_id, uuid), robust=True)


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
    """The machines that owe an answer of their desktop or of JupyterLab. Asked all the time; mostly there are none."""
    rebooted_already = Q(state=State.REBOOTING, booted_at__gte=F("state_since"))
    waiting = Q(state=State.STARTING) | rebooted_already | Q(state=State.ACTIVE, desktop_ready_at__isnull=True)
    no_jupyter = Q(state=State.ACTIVE, jupyter_ready_at__isnull=True, plan__image__protocols__kind=Protocol.JUPYTER)
    near = Instance.objects.filter(state__in=[State.STARTING, State.REBOOTING, State.ACTIVE])
    rows = near.filter(waiting | no_jupyter, power__in=RUNNING, address__isnull=False)
    owing = set(rows.values_list("pk", flat=True))
    if not owing:
        return []
    known = Instance.objects.filter(pk__in=owing).select_related("plan__image", "owner")
    return list(known.prefetch_related("plan__image__protocols", "steps"))


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
