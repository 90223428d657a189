"""Small pictures of the machines' screens, taken on the server's side."""

from __future__ import annotations

import asyncio
import io
import logging
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from PIL import Image as Picture

from instances import screen
from instances.models import Instance, Protocol, Thumbnail
from instances.states import State

log = logging.getLogger(__name__)

AT_ONCE = 20
WIDTH = 640
AGE = timedelta(seconds=25)
PATIENCE = 8.0
"""Seconds; a machine that shows nothing for so long keeps its old picture."""


def renew() -> None:
    """Take new pictures of machines whose picture is old, `AT_ONCE` at most."""
    due = _due()
    for instance, shot in zip(due, asyncio.run(_take(due)), strict=True):
        if shot is not None:
            taken = {"webp": _encode(*shot), "taken_at": timezone.now()}
            Thumbnail.objects.update_or_create(instance=instance, defaults=taken)
            instance.tell("thumbnail")


def _due() -> list[Instance]:
    old = Q(thumbnail__isnull=True) | Q(thumbnail__taken_at__lt=timezone.now() - AGE)
    ready = Instance.objects.filter(old, state=State.ACTIVE, desktop_ready_at__isnull=False, address__isnull=False)
    by_lot = ready.order_by("?")  # by age, machines that never answer would keep all others waiting
    return list(by_lot.select_related("plan__image").prefetch_related("plan__image__protocols")[:AT_ONCE])


Shot = tuple[int, int, bytes]


async def _take(instances: list[Instance]) -> list[Shot | None]:
    return await asyncio.gather(*[_shoot(instance) for instance in instances])


async def _shoot(instance: Instance) -> Shot | None:
    port = instance.plan.image.port(Protocol.VNC)
    if port is None or instance.address is None:
        return None
    try:
        return await screen.snapshot(instance.address, port, instance.vnc_password, PATIENCE)
    except (screen.ScreenUnavailable, screen.ScreenRefused) as error:
        log.info("no picture of %s: %r", instance.uuid, error)
        return None


def _encode(width: int, height: int, rgb: bytes) -> bytes:
    picture = Picture.frombytes("RGB", (width, height), rgb)
    picture.thumbnail((WIDTH, WIDTH))
    out = io.BytesIO()
    picture.save(out, "WEBP", quality=70, method=2)
    return out.getvalue()
