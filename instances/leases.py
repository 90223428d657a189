"""One worker at a time on a machine, or on what is carried to a host: a lease, renewed while its holder lives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any
from uuid import UUID, uuid4

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from instances.models import Carriage, Instance, Relocation

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
"""After a worker is killed, its machine waits this long at most before another may take it."""

Leased = type[Instance] | type[Carriage] | type[Relocation]


@contextmanager
def lease(pk: int, of: Leased = Instance) -> Iterator[bool]:
    """Hold the row, a machine's where nothing else is said, for the length of the block.

    Yields False when another worker holds it.
    """
    token = uuid4()
    if not _take(pk, token, of):
        yield False
        return
    done = Event()
    renewal = Thread(target=_renew, args=(pk, token, of, done), daemon=True)
    renewal.start()
    try:
        yield True
    finally:
        done.set()
        renewal.join()
        _rows(of).filter(pk=pk, lease_token=token).update(lease_until=None, lease_token=None)


def _rows(of: Leased) -> QuerySet[Any]:
    return of._default_manager.all()


def unheld(now: datetime) -> Q:
    """The rows that no worker holds."""
    return Q(lease_until__isnull=True) | Q(lease_until__lt=now)


def _take(pk: int, token: UUID, of: Leased = Instance) -> bool:
    now = timezone.now()
    return bool(_rows(of).filter(unheld(now), pk=pk).update(lease_until=now + LEASE, lease_token=token))


def _prolong(pk: int, token: UUID, of: Leased) -> None:
    try:
        close_old_connections()
        _rows(of).filter(pk=pk, lease_token=token).update(lease_until=timezone.now() + LEASE)
    except DatabaseError as error:
        log.warning("a lease could not be renewed this time: %r", error)


def _renew(pk: int, token: UUID, of: Leased, done: Event) -> None:
    try:
        while not done.wait(LEASE.total_seconds() / 4):
            _prolong(pk, token, of)
    finally:
        connection.close()
