"""One worker at a time on one machine: a lease in the row, renewed while its holder lives."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from uuid import UUID, uuid4

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import Q
from django.utils import timezone

from instances.models import Instance

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
"""After a worker is killed, its machine waits this long at most before another may take it."""


@contextmanager
def lease(instance_id: int) -> Iterator[bool]:
    """Hold the machine for the length of the block; yields False when another worker holds it."""
    token = uuid4()
    if not _take(instance_id, token):
        yield False
        return
    done = Event()
    renewal = Thread(target=_renew, args=(instance_id, token, done), daemon=True)
    renewal.start()
    try:
        yield True
    finally:
        done.set()
        renewal.join()
        Instance.objects.filter(pk=instance_id, lease_token=token).update(lease_until=None, lease_token=None)


def _take(instance_id: int, token: UUID) -> bool:
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    return bool(
        Instance.objects.filter(free, pk=instance_id).update(lease_until=now + LEASE, lease_token=token),
    )


def _prolong(instance_id: int, token: UUID) -> None:
    try:
        close_old_connections()
        held = Instance.objects.filter(pk=instance_id, lease_token=token)
        held.update(lease_until=timezone.now() + LEASE)
    except DatabaseError as error:
        log.warning("a lease could not be renewed this time: %r", error)


def _renew(instance_id: int, token: UUID, done: Event) -> None:
    try:
        while not done.wait(LEASE.total_seconds() / 4):
            _prolong(instance_id, token)
    finally:
        connection.close()
