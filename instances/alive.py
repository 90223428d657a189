"""Signs of life of the long-lived processes, kept in the cache (Redis) and read by `GET /health/`."""

import logging
import time

from django.core.cache import caches
from redis.exceptions import RedisError

log = logging.getLogger(__name__)
CACHE = "alive"
FORGET_AFTER = 3600  # seconds


def mark(name: str) -> None:
    """Says that `name` lives now. Never raises for want of Redis: what is alive goes on working and marks again."""
    try:
        caches[CACHE].set(f"alive:{name}", time.time(), timeout=FORGET_AFTER)
    except (RedisError, OSError) as error:
        log.warning("%s could not leave its sign of life: %r", name, error)


def age(name: str) -> float | None:
    """Seconds since the last sign of life of `name`; None when there is none within the hour. Raises RedisError."""
    seen = caches[CACHE].get(f"alive:{name}")
    return None if seen is None else max(0.0, time.time() - seen)


def forget(*names: str) -> None:
    """Drops the signs of an earlier run, so that they are not taken for signs of this one. Raises RedisError."""
    caches[CACHE].delete_many([f"alive:{name}" for name in names])
