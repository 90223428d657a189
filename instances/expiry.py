"""What becomes of machines that come to a limit: told, put to sleep, deleted; never without being told first.

`expire` asks `limits.verdict` about every machine that is due. What it then writes holds only if nothing of what the
verdict rests on has changed meanwhile, so that a person who comes back wins.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from celery import shared_task
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from instances import sweeps, tasks
from instances.evidence import BIN_OVER, REASONS
from instances.judgement import RUNNING
from instances.limits import Act, Facts, Rule, Verdict, Why, load, verdict
from instances.models import Entry, IllegalTransition, Instance, LifePolicy, Superseded, TimeLimit
from instances.models.instance import InstanceQuerySet
from instances.models.life import limits_of
from instances.notices import Kind, tell
from instances.states import State

log = logging.getLogger(__name__)

AT_MOST = timedelta(hours=12)
"""Between two looks at a machine, however far its limits are."""

BATCH = 1000
TAKES = {Act.HIBERNATE, Act.DELETE}
JUDGED = {State.ACTIVE, State.STOPPED, State.HIBERNATED, State.ERROR}
RESTS_ON = [
    *("last_used_at", "worked_at", "awake_until", "job_at", "kernel_at", "booted_at", "idle_warned_at"),
    *("expires_at", "end_warned_at", "pinned", "due_at"),
]
"""The columns on which a verdict rests."""


@dataclass(frozen=True)
class Rulebook:
    """The facility's rules, read once for many machines."""

    policy: LifePolicy
    rules: list[Rule]

    @classmethod
    def current(cls) -> Rulebook:
        return cls(LifePolicy.current(), [row.rule for row in TimeLimit.objects.all()])

    def facts(self, instance: Instance) -> Facts:
        """What is known of the machine. Reads its owner's roles."""
        used = load(instance.cpu_readings)
        return Facts(
            running=instance.state == State.ACTIVE,
            started_at=instance.booted_at or instance.created_at,
            seen_at=instance.observed_at,
            input_at=instance.last_used_at,
            worked_at=instance.worked_at,
            load=used if used >= self.policy.busy_percent else 0.0,
            busiest=instance.busiest,
            awake_until=instance.awake_until,
            job=instance.job,
            job_at=instance.job_at,
            kernel=instance.kernel,
            kernel_at=instance.kernel_at,
            pinned=instance.pinned,
            idle_limit=limits_of(instance.owner, instance.plan.flavour_id, self.rules).idle,
            idle_warned_at=instance.idle_warned_at,
            ends_at=instance.expires_at,
            ends_set_at=instance.ends_set_at or instance.created_at,
            end_warned_at=instance.end_warned_at,
        )

    def judge(self, instance: Instance, now: datetime) -> Verdict:
        return verdict(self.facts(instance), self.policy.notice, now)


@shared_task
def expire() -> None:
    """Look at every machine that is due, and at what lies in the recycle bin for long enough."""
    now, book = timezone.now(), Rulebook.current()
    due = Instance.objects.filter(state__in=JUDGED, due_at__lte=now).select_related("owner", "plan")
    machines = due.prefetch_related("owner__role_grants").order_by("due_at")[:BATCH]
    judged = [(instance, book.judge(instance, now)) for instance in machines]
    kept_long_enough = in_bin_until(now)
    if sweeps.held(sum(found.act in TAKES for _, found in judged) + len(kept_long_enough), now, book.policy):
        judged = [(instance, found) for instance, found in judged if found.act not in TAKES]
        kept_long_enough = []
    for instance, found in judged:
        try:
            carry_out(instance, found, book, now)
        except (Superseded, IllegalTransition):
            log.info("%s changed while it was judged; it is looked at again", instance.uuid)
    empty_bin(kept_long_enough)


def carry_out(instance: Instance, found: Verdict, book: Rulebook, now: datetime) -> None:
    """Do what the verdict says. Raises Superseded where the machine is no longer as it was judged."""
    match found.act:
        case Act.KEEP:
            again = min([found.look_again_at or now + AT_MOST, now + AT_MOST, *_ends_of_roles(instance, now)])
            _still(instance).update(due_at=max(again, now + timedelta(seconds=1)))
        case Act.WARN:
            _warn(instance, found, now)
        case Act.HIBERNATE:
            _take(instance, State.HIBERNATING, found)
        case Act.DELETE:
            days = book.policy.bin_days
            _take(instance, State.DELETING, found, bin_until=now + timedelta(days=days) if days else None)


def _ends_of_roles(instance: Instance, now: datetime) -> list[datetime]:
    """When roles of the owner end, and with them perhaps a generous limit."""
    ends = [grant.expires_at for grant in instance.owner.role_grants.all()]
    return [end for end in ends if end is not None and end > now]


def _unchanged(instance: Instance) -> Q:
    return Q(**{column: getattr(instance, column) for column in RESTS_ON})


def _still(instance: Instance) -> InstanceQuerySet:
    return Instance.objects.filter(_unchanged(instance), pk=instance.pk, state=instance.state)


def _warn(instance: Instance, found: Verdict, now: datetime) -> None:
    idle = found.why == Why.IDLE
    with transaction.atomic():
        if not _still(instance).update(**{"idle_warned_at" if idle else "end_warned_at": now}):
            raise Superseded(str(instance.uuid))
        when = _iso(found.taken_at)
        Entry.objects.create(instance=instance, kind="warned_idle" if idle else "warned_end", facts={"when": when})
        tell([instance.owner], Kind.LIFE_IDLE if idle else Kind.LIFE_ENDING, instance, when=when)


def _take(instance: Instance, to: State, found: Verdict, *, bin_until: datetime | None = None) -> None:
    kinds = {Why.IDLE: Kind.LIFE_SLEEPS, Why.ENDED: Kind.LIFE_ENDED}
    kind = Kind.LIFE_DELETED if to == State.DELETING else kinds[found.why]
    when = bin_until if to == State.DELETING else found.taken_at
    with transaction.atomic():
        instance.transition(to, reason=REASONS[found.why], only_if=_unchanged(instance), bin_until=bin_until)
        tell([instance.owner], kind, instance, when=_iso(when))
        tasks.ring(instance.pk)


def _iso(when: datetime | None) -> str:
    return when.isoformat() if when else ""


def in_bin_until(now: datetime) -> list[Instance]:
    """What was kept long enough. One that runs was brought back without our knowledge: the observer takes it out."""
    old = Instance.objects.filter(state=State.BINNED, bin_until__lte=now).exclude(power__in=RUNNING)
    return list(old.select_related("owner").order_by("bin_until")[:BATCH])


def empty_bin(machines: list[Instance]) -> None:
    """Have these deleted for good."""
    for instance in machines:
        try:
            with transaction.atomic():
                still = Q(bin_until=instance.bin_until)
                instance.transition(State.DELETING, reason=BIN_OVER, only_if=still, bin_until=None)
                tasks.ring(instance.pk)
        except Superseded:
            log.info("%s was taken out of the bin meanwhile", instance.uuid)
