"""Stories of machines: what is used, worked and promised when, and when each is to fall asleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from instances import limits
from instances.expiry import AT_MOST
from instances.limits import Act, Facts, Notice, Why, verdict

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTICE = Notice()
BUSY = 25.0


def days(number: float) -> timedelta:
    return timedelta(days=number)


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


Change = Callable[[Facts, datetime], Facts]
"""What a person does to a machine's time at a moment; as after an action, the machine is judged at once."""


@dataclass
class Life:
    """A machine that starts at NOW, looked at every five minutes by the observer, and by `expire` when it is due.

    All times are counted from NOW by the server's clock; a jump puts that clock forward or back. `notebooks` compute
    from-to, and print or are silent.
    """

    limit: timedelta | None = timedelta(days=4)
    ends: timedelta | None = None
    pinned: bool = False
    notice: Notice = NOTICE
    used: list[tuple[timedelta, timedelta]] = field(default_factory=list)
    load: list[tuple[timedelta, timedelta, float]] = field(default_factory=list)
    jobs: list[tuple[timedelta, timedelta]] = field(default_factory=list)
    notebooks: list[tuple[timedelta, timedelta, bool]] = field(default_factory=list)
    awake: timedelta | None = None
    unseen: list[tuple[timedelta, timedelta]] = field(default_factory=list)
    jumps: list[tuple[timedelta, timedelta]] = field(default_factory=list)
    changes: list[tuple[timedelta, Change]] = field(default_factory=list)
    acts: list[tuple[timedelta, Act, Why]] = field(default_factory=list)

    STEP = minutes(5)

    def run(self, until: timedelta) -> Life:
        self._readings: list[limits.Reading] = []
        self._cpu, self._spoke_at, self._computes = 0.0, NOW, False
        self._due, self._coming, self._leaps = NOW, sorted(self.changes, key=_when), sorted(self.jumps)
        facts, at = self._born(), timedelta(0)
        while at <= until and not self.taken:
            facts = self._look(self._changed(facts, at), at)
            if self._due <= NOW + at:
                facts = self._judge(facts, at)
            at += self.STEP
            while self._leaps and self._leaps[0][0] <= at:
                at += self._leaps.pop(0)[1]
        return self

    @property
    def taken(self) -> bool:
        return any(act == Act.DELETE for _at, act, _why in self.acts)

    def when(self, act: Act) -> timedelta | None:
        return next((at for at, done, _why in self.acts if done == act), None)

    def _born(self) -> Facts:
        return Facts(
            running=True,
            started_at=NOW,
            idle_limit=self.limit,
            pinned=self.pinned,
            awake_until=NOW + self.awake if self.awake else None,
            ends_at=NOW + self.ends if self.ends else None,
            ends_set_at=NOW,
        )

    def _changed(self, facts: Facts, at: timedelta) -> Facts:
        while self._coming and self._coming[0][0] <= at:
            facts, self._due = self._coming.pop(0)[1](facts, NOW + at), NOW + at
        return facts

    def _look(self, facts: Facts, at: timedelta) -> Facts:
        """What observer, relay, guest agent and JupyterLab say at this moment."""
        self._cpu += sum(load for begin, end, load in self.load if begin < at <= end) / 100 * self.STEP.total_seconds()
        if not facts.running:
            return replace(facts, seen_at=NOW + at)
        away = any(begin <= at < end for begin, end in self.unseen)
        new = {} if away else self._observed(facts, NOW + at)
        if _within(self.used, at):
            new["input_at"] = NOW + at
        if _within(self.jobs, at):
            new |= {"job": "fit.py", "job_at": NOW + at}
        if self._notebook_computes(at):
            new |= {"kernel": "fit.ipynb", "kernel_at": NOW + at}
        return replace(facts, **new)

    def _observed(self, facts: Facts, now: datetime) -> dict[str, Any]:
        """As `observer` writes it."""
        blind = facts.seen_at is not None and now - facts.seen_at > limits.BLIND
        if limits.reading_due(self._readings, now.timestamp()):
            self._readings = limits.with_reading(self._readings, now.timestamp(), self._cpu)
        percent = limits.load(self._readings)
        works = {"worked_at": now} if percent >= BUSY or blind else {}
        return works | {"seen_at": now, "load": percent if percent >= BUSY else 0.0}

    def _notebook_computes(self, at: timedelta) -> bool:
        """As `kernels` writes it: a notebook shows that it lives by becoming busy or idle, and by its output."""
        computing = [prints for begin, end, prints in self.notebooks if begin <= at <= end]
        if bool(computing) != self._computes or any(computing):
            self._computes, self._spoke_at = bool(computing), NOW + at
        return limits.computes(bool(computing), self._spoke_at, NOW + at)

    def _judge(self, facts: Facts, at: timedelta) -> Facts:
        """As `expire` does: a machine that is kept is looked at again when the verdict can be another."""
        now = NOW + at
        found = verdict(facts, self.notice, now)
        if found.act == Act.KEEP:
            self._due = min(found.look_again_at or now + AT_MOST, now + AT_MOST)
            return facts
        self.acts.append((at, found.act, found.why))
        if found.act == Act.HIBERNATE:
            return replace(facts, running=False)
        if found.act == Act.DELETE:
            return facts
        if found.why == Why.IDLE:
            return replace(facts, idle_warned_at=now)
        return replace(facts, end_warned_at=now)


def _when(change: tuple[timedelta, Change]) -> timedelta:
    return change[0]


def _within(spans: list[tuple[timedelta, timedelta]], at: timedelta) -> bool:
    return any(begin <= at <= end for begin, end in spans)


def given(until: timedelta) -> Change:
    """More time: what `life._write_end` writes."""
    return lambda facts, now: replace(facts, ends_at=NOW + until, ends_set_at=now, end_warned_at=None)


def kept(pinned: bool) -> Change:
    """What `life.pin` writes."""
    return lambda facts, _now: replace(facts, pinned=pinned, idle_warned_at=None, end_warned_at=None)


def awake(until: timedelta | None) -> Change:
    """What `life.keep_awake` writes."""
    return lambda facts, _now: replace(facts, awake_until=NOW + until if until else None)


def resumed(facts: Facts, now: datetime) -> Facts:
    """Its owner opens it."""
    return replace(facts, running=True, started_at=now)


def limited(limit: timedelta) -> Change:
    """Staff change the limit."""
    return lambda facts, _now: replace(facts, idle_limit=limit)


WEEK, NEVER = days(7), None
HOUR = hours(1)
ALWAYS = [(timedelta(0), days(400))]
OFFICE = [(days(day) + hours(9), days(day) + hours(17)) for day in range(60)]

# What happens, how long it is watched, and when it is put to sleep (None: not at all in that time).
SCENARIOS: dict[str, tuple[Life, timedelta, timedelta | None]] = {
    "nobody ever comes": (Life(), WEEK, days(4)),
    "a silent five-hour computation under a limit of an hour": (
        Life(HOUR, load=[(timedelta(0), hours(5), 100)]),
        hours(5),
        NEVER,
    ),
    "a silent five-hour computation, then nothing": (
        Life(HOUR, load=[(timedelta(0), hours(5), 100)]),
        hours(9),
        hours(6),
    ),
    "a silent computation of three weeks": (Life(load=[(timedelta(0), days(25), 100)]), days(21), NEVER),
    "a paused lab tab: open, drawing nothing": (Life(HOUR, load=[(timedelta(0), days(9), 3)]), hours(3), HOUR),
    "an open but idle viewer": (Life(load=[(timedelta(0), days(9), 6)]), WEEK, days(4)),
    "a client that reconnects every minute": (Life(HOUR, load=[(timedelta(0), days(9), 9)]), hours(3), HOUR),
    "a page left open that fetches its card": (Life(), WEEK, days(4)),
    "a job that ended an hour ago": (Life(hours(4), load=[(timedelta(0), hours(6), 400)]), hours(7), NEVER),
    "a job that ended four hours ago": (Life(hours(4), load=[(timedelta(0), hours(6), 400)]), hours(12), hours(10)),
    "a declared job without load": (Life(HOUR, jobs=[(timedelta(0), hours(8))]), hours(8), NEVER),
    "a declared job that ended": (Life(HOUR, jobs=[(timedelta(0), hours(8))]), hours(12), hours(9)),
    "a declared job whose guest fell silent": (
        Life(HOUR, jobs=[(timedelta(0), minutes(20))]),
        hours(4),
        hours(1) + minutes(20),
    ),
    "typing in office hours": (Life(hours(20), used=OFFICE[:5]), days(5), NEVER),
    "typing in office hours, a weekend, and back": (Life(used=OFFICE[:5] + OFFICE[7:12]), days(12), NEVER),
    "typing once and never again": (Life(used=[(HOUR, HOUR + minutes(10))]), WEEK, days(4) + HOUR + minutes(10)),
    "input in the last minute before sleep": (Life(HOUR, used=[(minutes(55), minutes(60))]), minutes(110), NEVER),
    "input between warning and sleep, then none": (Life(HOUR, used=[(minutes(55), minutes(60))]), hours(3), hours(2)),
    "kept awake for three days under a limit of an hour": (Life(HOUR, awake=days(3)), days(3), NEVER),
    "kept awake for three days, then nothing": (Life(HOUR, awake=days(3)), days(4), days(3) + HOUR),
    "kept awake for less than it was used": (
        Life(HOUR, awake=minutes(10), used=[(timedelta(0), hours(2))]),
        hours(4),
        hours(3),
    ),
    "a nightly burst of load below a minute's worth": (
        Life(load=[(days(d) + hours(3), days(d) + hours(3) + minutes(5), 20) for d in range(9)]),
        WEEK,
        days(4),
    ),
    "a nightly hour of real work": (
        Life(load=[(days(d) + hours(3), days(d) + hours(4), 90) for d in range(30)]),
        days(12),
        NEVER,
    ),
    "work in bursts with ten-minute pauses": (
        Life(HOUR, load=[(minutes(20 * n), minutes(20 * n + 10), 300) for n in range(99)]),
        hours(30),
        NEVER,
    ),
    "work that waits three hours for data under four": (
        Life(hours(4), load=[(hours(4 * n), hours(4 * n + 1), 100) for n in range(30)]),
        days(5),
        NEVER,
    ),
    "load just below the threshold": (Life(HOUR, load=[(timedelta(0), days(9), BUSY - 1)]), hours(3), HOUR),
    "load just at the threshold": (Life(HOUR, load=[(timedelta(0), days(9), BUSY)]), days(1), NEVER),
    "all CPUs of a large machine": (Life(HOUR, load=[(timedelta(0), days(1), 3200)]), days(1), NEVER),
    "the observer is away for the whole time": (Life(HOUR, unseen=[(minutes(5), days(2))]), days(2), NEVER),
    "the observer is away for a day and comes back": (
        Life(HOUR, unseen=[(minutes(5), days(1))]),
        days(2),
        days(1) + HOUR,
    ),
    "the observer is away for five minutes": (Life(HOUR, unseen=[(minutes(20), minutes(25))]), hours(3), HOUR),
    "the observer is away while it works": (
        Life(hours(4), load=[(timedelta(0), days(3), 100)], unseen=[(hours(2), days(2))]),
        days(3),
        NEVER,
    ),
    "pinned by staff": (Life(HOUR, pinned=True), days(20), NEVER),
    "no limit for this role": (Life(None), days(20), NEVER),
    "a limit of eight days for staff": (Life(days(8)), days(12), days(8)),
    "a size with a limit of two hours": (Life(hours(2)), hours(5), hours(2)),
    "an end of life while it is used": (Life(ends=days(14), used=ALWAYS), days(16), days(14)),
    "an end of life while it works": (Life(ends=days(14), load=[(timedelta(0), days(20), 100)]), days(16), days(14)),
    "an end of life before it is idle for long": (Life(ends=days(2)), days(3), days(2)),
    "a life of four hours": (Life(days(4), ends=hours(4), used=ALWAYS), hours(6), hours(4)),
    "pinned beyond its end": (Life(ends=days(2), pinned=True), days(10), NEVER),
    "used every third day under four": (
        Life(used=[(days(3 * n), days(3 * n) + HOUR) for n in range(30)]),
        days(20),
        NEVER,
    ),
    "used every fifth day under four": (
        Life(used=[(days(5 * n), days(5 * n) + HOUR) for n in range(3)]),
        days(6),
        days(4) + HOUR,
    ),
    "a notebook that prints while it waits": (Life(HOUR, notebooks=[(timedelta(0), days(3), True)]), days(3), NEVER),
    "a notebook that ended": (
        Life(HOUR, notebooks=[(minutes(30), hours(6), True)]),
        hours(8),
        hours(7),
    ),
    "a silent five-hour cell that waits for a detector": (
        Life(HOUR, notebooks=[(timedelta(0), hours(5), False)]),
        hours(5),
        NEVER,
    ),
    "a cell that hangs for ever": (
        Life(HOUR, notebooks=[(timedelta(0), days(99), False)]),
        days(3),
        days(1) + HOUR,
    ),
    "a cell that hangs for ever, its tab open and the desktop drawing": (
        Life(HOUR, notebooks=[(timedelta(0), days(99), False)], load=[(timedelta(0), days(99), 5)]),
        days(3),
        days(1) + HOUR,
    ),
    "a silent notebook that computes for three days": (
        Life(HOUR, notebooks=[(timedelta(0), days(3), False)], load=[(timedelta(0), days(3), 99)]),
        days(3),
        NEVER,
    ),
    "a cell that hangs a second time": (
        Life(HOUR, notebooks=[(timedelta(0), hours(20), False), (hours(20) + minutes(10), days(9), False)]),
        days(3),
        days(1) + hours(21) + minutes(10),
    ),
    "more time amid the warning": (
        Life(days(99), ends=days(4), used=ALWAYS, changes=[(days(3.5), given(days(18)))]),
        days(20),
        days(18),
    ),
    "a shorter life than it had": (
        Life(used=ALWAYS, ends=days(14), changes=[(days(1), given(days(2)))]),
        days(5),
        days(2),
    ),
    "kept by staff after the warning": (Life(HOUR, changes=[(minutes(50), kept(True))]), days(9), NEVER),
    "kept by staff, and after ten days no longer": (
        Life(pinned=True, changes=[(days(10), kept(False))]),
        days(12),
        days(11),
    ),
    "kept awake, until its owner ends that": (
        Life(HOUR, awake=days(3), changes=[(days(1), awake(None))]),
        days(3),
        days(1) + minutes(15),
    ),
    "kept awake again, amid the warning": (
        Life(HOUR, changes=[(minutes(55), awake(days(1)))]),
        days(1),
        NEVER,
    ),
    "opened again by its owner": (
        Life(days(4), changes=[(days(5), resumed)]),
        days(8),
        days(4),
    ),
    "staff make the limit shorter": (Life(changes=[(hours(12), limited(hours(4)))]), days(1), hours(13)),
    "staff make the limit longer, amid the warning": (
        Life(HOUR, changes=[(minutes(55), limited(days(1)))]),
        days(2),
        days(1),
    ),
    "the server's clock jumps six hours ahead while it works": (
        Life(HOUR, load=[(timedelta(0), days(2), 100)], jumps=[(hours(2), hours(6))]),
        days(2),
        NEVER,
    ),
    "the server's clock jumps six hours ahead while it is idle": (
        Life(HOUR, jumps=[(minutes(30), hours(6))]),
        days(1),
        hours(7) + minutes(30),
    ),
    "the server's clock is put back two hours while it works": (
        Life(HOUR, load=[(timedelta(0), days(2), 100)], jumps=[(hours(3), -hours(2))]),
        days(2),
        NEVER,
    ),
    "the server's clock is put back two hours while it is idle": (
        Life(hours(4), jumps=[(hours(3), -hours(2))]),
        days(2),
        hours(4),
    ),
}
