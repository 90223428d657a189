"""How many machines and for how long. Pure: the facts and the time are arguments."""

from __future__ import annotations

from datetime import datetime, timedelta

VISITOR_LIFETIME = timedelta(days=14)
STAFF_LIFETIME = timedelta(days=60)


def may_create(owned: int, quota: int) -> bool:
    """Whether a person who has `owned` live machines may make another."""
    return owned < quota


def ends_at(now: datetime, *, staff: bool) -> datetime:
    """When a machine made now comes to its end: 14 days for visitors, 60 for facility staff."""
    return now + (STAFF_LIFETIME if staff else VISITOR_LIFETIME)
