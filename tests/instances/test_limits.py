"""How many machines, how long, and when one is idle. Time is an argument: nothing here waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import pytest

from instances import limits
from instances.limits import DEFAULTS, Act, Facts, Limits, Rule, Verdict, Why, limits_for, may_create, verdict
from tests.instances.lives import BUSY, NOTICE, NOW, SCENARIOS, Life, days, hours, minutes


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
    if why == Why.IDLE:
        assert life.limit is not None
        return min(NOTICE.idle, life.limit / 4)
    assert life.ends is not None
    return min(NOTICE.end, life.ends / 4)


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
