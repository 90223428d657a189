"""How many machines, how long, and when one is idle. Time is an argument: nothing here waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given as given_any
from hypothesis import settings
from hypothesis import strategies as st

from instances import limits
from instances.limits import DEFAULTS, Act, Facts, Limits, Rule, Verdict, Why, limits_for, may_create, verdict
from tests.instances.lives import (
    ALWAYS,
    BUSY,
    NOTICE,
    NOW,
    SCENARIOS,
    Life,
    days,
    given,
    hours,
    minutes,
    resumed,
)


@pytest.mark.parametrize(
    ("owned", "quota", "allowed"), [(0, 2, True), (1, 2, True), (2, 2, False), (3, 2, False), (0, 0, False)]
)
def test_the_quota_is_the_last_machine_one_may_own(owned: int, quota: int, allowed: bool) -> None:
    assert may_create(owned, quota) is allowed


# Which rule counts

BIG = 7
TWO_DAYS_BIG = Rule("", BIG, days(2), hours(4))


@pytest.mark.parametrize(
    ("extra", "roles", "flavour", "lifetime", "idle"),
    [
        ([], set(), 1, days(14), days(4)),
        ([], {"staff"}, 1, days(60), days(8)),
        ([], {"guest"}, 1, days(14), days(4)),
        ([TWO_DAYS_BIG], {"staff"}, BIG, days(2), hours(4)),
        ([TWO_DAYS_BIG], {"staff"}, 1, days(60), days(8)),
        ([TWO_DAYS_BIG, Rule("staff", BIG, days(5), hours(2))], {"staff"}, BIG, days(5), hours(4)),
        ([Rule("staff", BIG, days(5), hours(2))], set(), BIG, days(14), days(4)),
        ([Rule("guest", None, None, None)], {"guest"}, 1, None, None),
    ],
)
def test_the_most_generous_matching_rule_counts_and_a_size_has_its_own(
    extra: list[Rule], roles: set[str], flavour: int, lifetime: timedelta | None, idle: timedelta | None
) -> None:
    assert limits_for([*DEFAULTS, *extra], roles, flavour) == Limits(lifetime, idle)


def test_without_any_rule_the_defaults_hold() -> None:
    assert limits_for([], {"staff"}, 1) == Limits(days(60), days(8))
    assert limits_for([], set(), 1) == Limits(days(14), days(4))


# Load


def readings(*percents: float) -> list[limits.Reading]:
    """One reading a minute, with so much use of one CPU in each minute."""
    used, found = 0.0, [(0.0, 0.0)]
    for minute, percent in enumerate(percents, start=1):
        used += 60 * percent / 100
        found = limits.with_reading(found, 60.0 * minute, used)
    return found


def test_load_is_measured_over_five_minutes() -> None:
    assert limits.load(readings(180, 180, 180, 180, 180, 180, 180)) == pytest.approx(180)


def test_a_burst_of_a_minute_is_no_work() -> None:
    assert limits.load(readings(2, 2, 2, 2, 100, 2)) < BUSY


def test_work_shows_within_two_minutes() -> None:
    assert limits.load(readings(2, 2, 2, 2, 2, 100, 100)) > BUSY


def test_a_counter_that_went_back_begins_anew() -> None:
    assert limits.with_reading([(0.0, 500.0)], 60.0, 3.0) == [(60.0, 3.0)]


def test_a_long_gap_begins_anew() -> None:
    assert limits.with_reading([(0.0, 5.0)], 3600.0, 50.0) == [(3600.0, 50.0)]


def test_a_clock_that_was_put_back_does_not_stop_the_readings() -> None:
    before = [(7000.0, 5.0), (7200.0, 6.0)]
    assert limits.reading_due(before, 3600.0)
    assert limits.with_reading(before, 3600.0, 7.0) == [(3600.0, 7.0)]
    assert not limits.reading_due(before, 7230.0)


def test_the_load_of_a_short_gap_counts() -> None:
    assert limits.load(limits.with_reading([(0.0, 0.0)], 540.0, 270.0)) == pytest.approx(50)


def test_one_reading_says_nothing() -> None:
    assert limits.load([]) == limits.load([(1.0, 50.0)]) == 0.0


# Forty stories of machines


def test_there_are_forty_of_them() -> None:
    assert len(SCENARIOS) >= 40


@cache
def lived(story: str) -> Life:
    """The story and four days more."""
    life, watched, _asleep = SCENARIOS[story]
    return life.run(watched + days(4))


@pytest.mark.parametrize("story", SCENARIOS)
def test_no_machine_at_work_is_stopped_and_no_idle_one_is_missed(story: str) -> None:
    _life, watched, asleep = SCENARIOS[story]
    slept = lived(story).when(Act.HIBERNATE)
    if asleep is None:
        assert slept is None or slept > watched
    else:
        assert slept is not None
        assert asleep <= slept <= asleep + minutes(10), "late is fine, but not by more than ten minutes; early is not"


@pytest.mark.parametrize("story", SCENARIOS)
def test_nothing_is_taken_without_a_warning_in_time(story: str) -> None:
    life = lived(story)
    for at, act, why in life.acts:
        if act in {Act.HIBERNATE, Act.DELETE}:
            warned = [when for when, done, of in life.acts if done == Act.WARN and when < at]
            assert warned
            assert at - warned[-1] >= _told_before(life, why)


def _told_before(life: Life, why: Why) -> timedelta:
    if life.changes:  # of a limit that somebody changed meanwhile; none of these is below an hour
        return minutes(15)
    if why == Why.IDLE:
        assert life.limit is not None
        return min(NOTICE.idle, life.limit / 4)
    assert life.ends is not None
    return min(NOTICE.end, life.ends / 4)


def test_a_machine_that_was_opened_again_sleeps_again_and_is_told_before() -> None:
    life = Life(hours(4), changes=[(hours(9), resumed)]).run(hours(20))
    assert [(at, act) for at, act, _why in life.acts] == [
        (hours(3), Act.WARN),
        (hours(4), Act.HIBERNATE),
        (hours(12), Act.WARN),
        (hours(13), Act.HIBERNATE),
    ]


def test_at_its_end_it_sleeps_and_after_some_days_it_is_deleted_unless_it_gets_more_time() -> None:
    ended = Life(ends=days(8), used=ALWAYS).run(days(20))
    assert [(at, act) for at, act, _why in ended.acts] == [
        (days(6), Act.WARN),
        (days(8), Act.HIBERNATE),
        (days(11), Act.DELETE),
    ]
    saved = Life(ends=days(8), used=ALWAYS, changes=[(days(10.9), given(days(30)))]).run(days(20))
    assert saved.when(Act.DELETE) is None


@st.composite
def spans(draw: st.DrawFn) -> list[tuple[timedelta, timedelta]]:
    """Some stretches of a day, in steps of the look."""
    starts = draw(st.lists(st.integers(1, 280), max_size=3))
    return [(begin * Life.STEP, (begin + draw(st.integers(1, 60))) * Life.STEP) for begin in starts]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A day of any use and work, watched with any gaps; its limit is one to eight hours."""
    awake = draw(st.none() | st.integers(0, 100))
    return Life(
        4 * draw(st.integers(3, 24)) * Life.STEP,
        used=draw(spans()),
        load=[(begin, end, 100) for begin, end in draw(spans())],
        jobs=draw(spans()),
        notebooks=[(begin, end, True) for begin, end in draw(spans())],
        unseen=draw(spans()),
        awake=None if awake is None else awake * Life.STEP,
    )


@given_any(lives())
@settings(deadline=None)
def test_whatever_happens_it_sleeps_when_it_was_quiet_for_the_limit_and_not_before(life: Life) -> None:
    slept, quiet = life.run(days(2)).when(Act.HIBERNATE), quiet_for_the_limit(life)
    assert slept is not None
    assert quiet <= slept <= quiet + minutes(10)


def quiet_for_the_limit(life: Life) -> timedelta:
    """When the story's machine was quiet for its limit, told without any of the rules under test."""
    assert life.limit is not None
    at = last = seen = timedelta(0)
    while at - last < life.limit or at - seen > limits.BLIND:
        at += Life.STEP
        looked = not any(begin <= at < end for begin, end in life.unseen)
        works = looked and any(begin < at and seen < end for begin, end, _load in life.load)
        acts = [*life.used, *life.jobs, *((begin, end) for begin, end, _prints in life.notebooks)]
        back = looked and at - seen > limits.BLIND
        if works or back or (life.awake or -at) >= at or any(begin <= at <= end for begin, end in acts):
            last = at
        seen = at if looked else seen
    return at


# One verdict at a time

RUNNING = Facts(running=True, started_at=NOW - days(10), seen_at=NOW, idle_limit=days(4))


def test_a_machine_that_is_idle_for_three_days_is_told_a_day_before() -> None:
    found = verdict(replace(RUNNING, input_at=NOW - days(3)), NOTICE, NOW)
    assert (found.act, found.why) == (Act.WARN, Why.IDLE)
    assert found.taken_at == NOW + days(1)


def test_a_warning_that_came_late_postpones_the_sleep() -> None:
    late = replace(RUNNING, input_at=NOW - days(9), idle_warned_at=NOW - hours(2))
    found = verdict(late, NOTICE, NOW)
    assert (found.act, found.taken_at) == (Act.KEEP, NOW + hours(22))


def test_a_warning_of_a_shorter_limit_is_void() -> None:
    told = replace(RUNNING, input_at=NOW - days(3), idle_warned_at=NOW - days(2.5))
    assert verdict(told, NOTICE, NOW).act == Act.WARN


def test_a_warning_before_the_last_use_is_void() -> None:
    back = replace(RUNNING, idle_warned_at=NOW - days(5), input_at=NOW - days(4.5))
    assert verdict(back, NOTICE, NOW).act == Act.WARN


def test_a_machine_at_rest_is_never_idle() -> None:
    assert verdict(replace(RUNNING, running=False), NOTICE, NOW) == Verdict(Act.KEEP, Why.RESTING)


def test_a_stopped_machine_past_its_end_is_deleted_after_the_grace() -> None:
    ended = replace(RUNNING, running=False, ends_at=NOW - days(3), ends_set_at=NOW - days(17))
    told = replace(ended, end_warned_at=NOW - days(5))
    assert verdict(told, NOTICE, NOW).act == Act.DELETE
    assert verdict(told, NOTICE, NOW - minutes(1)).act == Act.KEEP
    assert verdict(ended, NOTICE, NOW).act == Act.WARN


def test_an_end_that_the_owner_set_an_hour_ahead_is_told_a_quarter_of_it_before() -> None:
    soon = replace(RUNNING, input_at=NOW, ends_at=NOW + minutes(60), ends_set_at=NOW)
    assert verdict(soon, NOTICE, NOW).act == Act.KEEP
    assert verdict(soon, NOTICE, NOW).look_again_at == NOW + minutes(45)
    assert verdict(soon, NOTICE, NOW + minutes(45)).act == Act.WARN


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (replace(RUNNING, load=180.0, worked_at=NOW), Why.WORKING),
        (replace(RUNNING, load=180.0, worked_at=NOW, job="fit.py", job_at=NOW), Why.JOB),
        (replace(RUNNING, job="fit.py", job_at=NOW - hours(1)), Why.IDLE),
        (replace(RUNNING, kernel="fit.ipynb", kernel_at=NOW, load=180.0, worked_at=NOW), Why.KERNEL),
        (replace(RUNNING, kernel="fit.ipynb", kernel_at=NOW - hours(1)), Why.IDLE),
        (replace(RUNNING, awake_until=NOW + days(1)), Why.AWAKE),
        (replace(RUNNING, input_at=NOW - minutes(2)), Why.USED),
        (replace(RUNNING, input_at=NOW - hours(3)), Why.IDLE),
        (replace(RUNNING, seen_at=NOW - hours(1)), Why.UNSEEN),
        (replace(RUNNING, pinned=True), Why.PINNED),
        (replace(RUNNING, input_at=NOW, ends_at=NOW + days(1), end_warned_at=NOW - days(1)), Why.ENDING),
    ],
)
def test_the_evidence_is_named(facts: Facts, why: Why) -> None:
    found = verdict(facts, NOTICE, NOW)
    assert (found.act, found.why) == (Act.KEEP, why)


def test_the_next_look_is_never_in_the_past() -> None:
    found = verdict(replace(RUNNING, input_at=NOW - hours(3), ends_at=NOW + days(5), ends_set_at=NOW), NOTICE, NOW)
    assert found.look_again_at == NOW + days(3) - hours(3)
