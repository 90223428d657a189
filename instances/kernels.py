"""Notebooks that compute: JupyterLabs are asked for their kernels every two minutes, so that such machines are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from instances import jupyter, limits
from instances.jupyter import Lab, Told
from instances.models import Instance, Kernel, Protocol
from instances.states import State

KEPT = timedelta(days=1)
"""What is known of kernels that were not heard of any more."""


@shared_task
def hear_kernels() -> None:
    """Have the JupyterLabs of every host's machines asked, and forget what was not heard of for long."""
    Kernel.objects.filter(heard_at__lt=timezone.now() - KEPT).delete()
    answering = Instance.objects.filter(state=State.ACTIVE, jupyter_ready_at__isnull=False)
    for host_id in answering.order_by().values_list("host", flat=True).distinct():
        hear_kernels_of.delay(host_id)


@shared_task
def hear_kernels_of(host_id: int) -> None:
    """Ask each JupyterLab of one host, and write what it answered; silence changes nothing."""
    answering = Instance.objects.filter(host=host_id, state=State.ACTIVE, jupyter_ready_at__isnull=False)
    rows = answering.select_related("plan__image").prefetch_related("plan__image__protocols", "kernels").order_by("pk")
    labs = [(instance, lab) for instance in rows if (lab := lab_of(instance))]
    answers = asyncio.run(jupyter.ask_all([lab for _instance, lab in labs]))
    for (instance, _lab), told in zip(labs, answers, strict=True):
        if told is not None:
            write(instance, told, timezone.now())


def lab_of(instance: Instance) -> Lab | None:
    port = instance.plan.image.port(Protocol.JUPYTER)
    return Lab(instance.address, port, instance.jupyter_token) if port and instance.address else None


def write(instance: Instance, told: list[Told], now: datetime) -> None:
    """Make the rows agree with what was told, and let one that computes count as work."""
    before = {kernel.ident: kernel for kernel in instance.kernels.all()}
    after = [_row(instance, one, before.get(one.ident), now) for one in told]
    with transaction.atomic():
        instance.kernels.exclude(ident__in=[one.ident for one in told]).delete()
        Kernel.objects.bulk_create(
            after, update_conflicts=True, unique_fields=["instance", "ident"], update_fields=FACTS
        )
        _note(instance, next((one.title for one in after if limits.computes(one.busy, one.moved_at, now)), ""), now)
        if _shown(before.values()) != _shown(after):
            instance.tell("time")


FACTS = ["notebook", "language", "busy", "since", "activity", "moved_at", "heard_at"]


def _row(instance: Instance, told: Told, before: Kernel | None, now: datetime) -> Kernel:
    same = before if before and before.busy == told.busy else None
    silent = same if same and same.activity == told.activity else None
    return Kernel(
        instance=instance,
        ident=told.ident,
        notebook=told.notebook,
        language=told.language,
        busy=told.busy,
        since=same.since if same else now,
        activity=told.activity,
        moved_at=silent.moved_at if silent else now,
        heard_at=now,
    )


def _note(instance: Instance, working: str, now: datetime) -> None:
    running = Instance.objects.filter(pk=instance.pk, state=State.ACTIVE)
    if working:
        running.update(kernel=working, kernel_at=now)
    elif instance.kernel:
        running.update(kernel="")


def _shown(kernels: Iterable[Kernel]) -> set[tuple[str, str, bool]]:
    """What the pages show of them, but for the time."""
    return {(one.ident, str(one), one.busy) for one in kernels}
