"""How often one person may do what would do harm when a script did it."""

from __future__ import annotations

from django.core.cache import cache

from experiments.models import User


def too_often(what: str, user: User, *, at_most: int, seconds: int) -> bool:
    """Count this time, and say whether it is more than `at_most` within a window of `seconds`."""
    key = f"pace:{what}:{user.pk}"
    cache.add(key, 0, seconds)
    try:
        return int(cache.incr(key)) > at_most
    except ValueError:  # the window ended between the two
        return False
