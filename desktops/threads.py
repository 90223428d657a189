"""Synchronous work with rows, from asynchronous code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from channels.db import database_sync_to_async

P = ParamSpec("P")
T = TypeVar("T")


def in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
    """In a thread of its own: Django's one shared thread may be waiting for somebody else's slow query."""
    threaded: Callable[P, Awaitable[T]] = database_sync_to_async(work, thread_sensitive=False)
    return threaded(*args, **kwargs)
