"""Synchronous work with rows, from asynchronous code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async
from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")

MOST_AT_ONCE = 8

_threads = ThreadPoolExecutor(MOST_AT_ONCE, "rows")
"""For this alone: what waits for a machine in a thread must not keep anybody's rights from being looked at."""


def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
    """In another thread than Django's one, which may be waiting for somebody else's slow query."""
    threaded: Callable[P, Awaitable[T]] = database_sync_to_async(work, thread_sensitive=False, executor=_threads)
    return threaded(*args, **kwargs)


def give_back() -> None:
    """This thread's connection to the database, unless something was begun in it."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()
