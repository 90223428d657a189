"""How many machines, how long, and when one is idle. Pure: the facts, the rules and the time are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW = timedelta(minutes=5)
"""Load is measured over this time, so that a burst of a minute (a timer in the guest) is not taken for work."""

BLIND = timedelta(minutes=10)
"""Unseen for longer, a machine may have worked meanwhile: the time does not count as idle."""

LATELY = timedelta(minutes=10)
"""Input younger than this is use."""

EXPECTED_JOB = timedelta(minutes=5)
"""A job or a busy notebook that was not heard of for longer has ended."""

SILENT = timedelta(days=1)
"""A notebook that stays busy without any output counts as work for so long: its cell may wait for data, or hang.

The guest's list of programs in terminals (guest/files/usr/lib/visa/busy) holds to the same.
"""


def may_create(owned: int, quota: int) -> bool:
    """Whether a person who has `owned` live machines may make another."""
    return owned < quota


@dataclass(frozen=True)
class Rule:
    """How long machines live and may be idle: for people with `role` ("" is everyone) and one size (None is all).

    None as a length means without end.
    """

    role: str
    flavour: int | None
    lifetime: timedelta | None
    idle: timedelta | None


DEFAULTS = (
    Rule("", None, timedelta(days=14), timedelta(days=4)),
    Rule("staff", None, timedelta(days=60), timedelta(days=8)),
)
"""What a facility begins with, and what holds where it has no rule at all for everyone."""


@dataclass(frozen=True)
class Limits:
    lifetime: timedelta | None
    idle: timedelta | None


def limits_for(rules: Iterable[Rule], roles: Iterable[str], flavour: int) -> Limits:
    """The most generous of the rules that match; rules that name the size put the general ones aside."""
    mine = {"", *roles}
    matching = [rule for rule in rules if rule.role in mine and rule.flavour in {None, flavour}]
    named = [rule for rule in matching if rule.flavour == flavour]
    counted = named or matching or [rule for rule in DEFAULTS if rule.role in mine]
    return Limits(_longest(rule.lifetime for rule in counted), _longest(rule.idle for rule in counted))


def _longest(lengths: Iterable[timedelta | None]) -> timedelta | None:
    all_of_them = list(lengths)
    return None if None in all_of_them else max(length for length in all_of_them if length is not None)


FEW, SHARE = 10, 0.05


def too_many(taken: int, live: int) -> bool:
    """Whether a sweep would take so many of the live machines that a person should look at it first."""
    return taken > max(FEW, SHARE * live)


# Load

Reading = tuple[float, float]
"""When (seconds since 1970) and how much CPU the machine had used until then (seconds)."""


READ_EVERY = timedelta(minutes=1)


def reading_due(readings: Sequence[Reading], at: float) -> bool:
    """Whether the counter is to be read again. A clock that was put back does not stop the readings."""
    return not readings or not 0 <= at - readings[-1][0] < READ_EVERY.total_seconds()


def with_reading(readings: Sequence[Reading], at: float, cpu_seconds: float) -> list[Reading]:
    """The readings that the next judgement of the load needs.

    A counter that went back began anew, and so do we; likewise after a gap, or where the clock was put back.
    """
    if readings and (cpu_seconds < readings[-1][1] or not 0 <= at - readings[-1][0] <= BLIND.total_seconds()):
        return [(at, cpu_seconds)]
    kept = [reading for reading in readings if at - reading[0] <= WINDOW.total_seconds()]
    return [*(kept or readings[-1:]), (at, cpu_seconds)]  # after a short gap, the load of the gap


def load(readings: Sequence[Reading]) -> float:
    """Percent of one CPU over the readings; 0 until there are two."""
    if len(readings) < 2 or readings[-1][0] <= readings[0][0]:
        return 0.0
    return max(0.0, 100 * (readings[-1][1] - readings[0][1]) / (readings[-1][0] - readings[0][0]))


def computes(busy: bool, moved_at: datetime, now: datetime) -> bool:
    """Whether a notebook counts as work: busy, and not silent for too long. Its load counts by itself, without end."""
    return busy and now - moved_at <= SILENT


# The verdict


class Act(StrEnum):
    """In the order of what they take."""

    KEEP = "keep"
    WARN = "warn"
    HIBERNATE = "hibernate"
    DELETE = "delete"


_ORDER = list(Act)


class Why(StrEnum):
    """The evidence; the sentence for people is made in `instances.evidence`."""

    PINNED = "pinned"
    AWAKE = "awake"
    JOB = "job"
    KERNEL = "kernel"
    WORKING = "working"
    USED = "used"
    IDLE = "idle"
    UNSEEN = "unseen"
    ENDING = "ending"
    ENDED = "ended"
    RESTING = "resting"


@dataclass(frozen=True)
class Facts:
    """What is known of one machine. `started_at` is its last start or resumption, `ends_set_at` when the end was set.

    `worked_at` is when the load was last above the threshold, `load` is percent of one CPU now, `busiest` the program
    that used most of it; `seen_at` is the last look at the machine. `job` is what its owner declared or left running
    in a terminal, heard of at `job_at`; `kernel` is a notebook that computes, heard of at `kernel_at`.
    """

    running: bool
    started_at: datetime
    seen_at: datetime | None = None
    input_at: datetime | None = None
    worked_at: datetime | None = None
    load: float = 0.0
    busiest: str = ""
    awake_until: datetime | None = None
    job: str = ""
    job_at: datetime | None = None
    kernel: str = ""
    kernel_at: datetime | None = None
    pinned: bool = False
    idle_limit: timedelta | None = None
    idle_warned_at: datetime | None = None
    ends_at: datetime | None = None
    ends_set_at: datetime | None = None
    end_warned_at: datetime | None = None


@dataclass(frozen=True)
class Notice:
    """How long before anything is taken a person is told, at most; short lives are told a quarter of theirs before.

    `grace` lies between the end of a machine's life, when it is put to sleep, and its deletion.
    """

    idle: timedelta = timedelta(hours=24)
    end: timedelta = timedelta(hours=48)
    grace: timedelta = timedelta(days=3)


@dataclass(frozen=True)
class Verdict:
    """What to do now and why. `since` is when the evidence began; `taken_at` when sleep or deletion comes if nothing

    happens; `look_again_at` the first moment at which the verdict can be another, unless something happens.
    """

    act: Act
    why: Why
    since: datetime | None = None
    taken_at: datetime | None = None
    look_again_at: datetime | None = None


def verdict(facts: Facts, notice: Notice, now: datetime) -> Verdict:
    """What becomes of a machine now. A warning comes first, and its full time passes before anything is taken."""
    if facts.pinned:
        return Verdict(Act.KEEP, Why.PINNED)
    end, idle = _end(facts, notice, now), _idle(facts, notice, now)
    chosen = max(end, idle, key=lambda one: _ORDER.index(one.act))
    if chosen.act == Act.KEEP and end.why not in {Why.ENDING, Why.ENDED}:
        chosen = idle
    return _looking_again(chosen, end, idle)


def _looking_again(chosen: Verdict, *both: Verdict) -> Verdict:
    moments = [one.look_again_at for one in both if one.look_again_at is not None]
    return Verdict(chosen.act, chosen.why, chosen.since, chosen.taken_at, min(moments, default=None))


def _end(facts: Facts, notice: Notice, now: datetime) -> Verdict:
    if facts.ends_at is None:
        return Verdict(Act.KEEP, Why.USED)
    set_at = facts.ends_set_at or facts.started_at
    told_before = max(min(notice.end, (facts.ends_at - set_at) / 4), timedelta(0))
    if now < facts.ends_at - told_before:
        return Verdict(Act.KEEP, Why.USED, look_again_at=facts.ends_at - told_before)
    if facts.end_warned_at is None:
        return Verdict(Act.WARN, Why.ENDING, set_at, max(facts.ends_at, now + told_before))
    ended = max(facts.ends_at, facts.end_warned_at + told_before)
    if now < ended:
        return Verdict(Act.KEEP, Why.ENDING, set_at, ended, ended)
    if facts.running:
        return Verdict(Act.HIBERNATE, Why.ENDED, ended, ended + notice.grace)
    act = Act.KEEP if now < ended + notice.grace else Act.DELETE
    return Verdict(act, Why.ENDED, ended, ended + notice.grace, ended + notice.grace)


def quiet_since(facts: Facts) -> datetime:
    """The last sign of use or work; a promise to stay awake counts until it ends."""
    work = [facts.worked_at, facts.job_at, facts.kernel_at]
    signs = [facts.started_at, facts.input_at, *work, facts.awake_until]
    return max(sign for sign in signs if sign is not None)


def _idle(facts: Facts, notice: Notice, now: datetime) -> Verdict:
    if not facts.running:
        return Verdict(Act.KEEP, Why.RESTING)
    if facts.idle_limit is None:
        return Verdict(Act.KEEP, _evidence(facts, now), quiet_since(facts))
    if facts.seen_at is None or now - facts.seen_at > BLIND:
        return Verdict(Act.KEEP, Why.UNSEEN, facts.seen_at, look_again_at=now + BLIND)
    return _within(facts.idle_limit, facts, notice, now)


def _within(limit: timedelta, facts: Facts, notice: Notice, now: datetime) -> Verdict:
    quiet, told_before = quiet_since(facts), min(notice.idle, limit / 4)
    due = quiet + limit
    if now < due - told_before:
        return Verdict(Act.KEEP, _evidence(facts, now), quiet, due, due - told_before)
    if facts.idle_warned_at is None or facts.idle_warned_at < due - told_before:
        # Of another idle time than this one, or of a limit that has changed since: what was told is not true any more.
        return Verdict(Act.WARN, Why.IDLE, quiet, max(due, now + told_before))
    due = max(due, facts.idle_warned_at + told_before)
    if now < due:
        return Verdict(Act.KEEP, Why.IDLE, quiet, due, due)
    return Verdict(Act.HIBERNATE, Why.IDLE, quiet, due)


def _evidence(facts: Facts, now: datetime) -> Why:
    def lately(sign: datetime | None, within: timedelta) -> bool:
        return sign is not None and now - sign <= within

    if facts.job and lately(facts.job_at, EXPECTED_JOB):
        return Why.JOB
    if facts.kernel and lately(facts.kernel_at, EXPECTED_JOB):
        return Why.KERNEL
    if facts.load and lately(facts.worked_at, WINDOW):
        return Why.WORKING
    if facts.awake_until is not None and now < facts.awake_until:
        return Why.AWAKE
    return Why.USED if lately(max(facts.started_at, facts.input_at or facts.started_at), LATELY) else Why.IDLE
