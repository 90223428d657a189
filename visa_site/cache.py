"""The cache of the pages: Redis, and a process's own memory while Redis does not answer."""

from __future__ import annotations

import logging
import time
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

ASK_AGAIN_AFTER = 3.0
"""Seconds that a silent Redis is left alone: a page waits for it once, not at every look."""


class LastingCache(RedisCache):
    """What pages keep in it are counts of tries and requests: limits go on, for each process apart, without Redis."""

    _silent_until = 0.0

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._memory = LocMemCache("without-redis", {})

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self._either("get", key, default, version)

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._either("set", key, value, timeout, version)

    def set_many(self, data: dict[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> list[Any]:
        return list(self._either("set_many", data, timeout, version))

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(self._either("add", key, value, timeout, version))

    def delete(self, key: str, version: int | None = None) -> bool:
        return bool(self._either("delete", key, version))

    def _either(self, verb: str, *arguments: Any) -> Any:
        if time.monotonic() >= LastingCache._silent_until:
            try:
                return getattr(super(), verb)(*arguments)
            except (RedisError, OSError) as error:
                log.warning("the cache is this process's own memory for a while: %r", error)
                LastingCache._silent_until = time.monotonic() + ASK_AGAIN_AFTER
        return getattr(self._memory, verb)(*arguments)
