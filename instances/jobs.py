"""What works inside machines: their guests are asked every two minutes, so that such a machine is kept."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import asdict

from celery import shared_task
from django.utils import timezone

from instances.drivers import open_host
from instances.drivers.base import Activity, DriverError, HostUnreachable
from instances.models import Host, Instance
from instances.specs import host_spec
from instances.states import State

log = logging.getLogger(__name__)

LONGEST_ROUND = 100  # seconds: the next round is near, and begins with those that this one did not reach


@shared_task
def hear_jobs() -> None:
    """Have every host that carries running machines asked."""
    for host_id in Host.objects.filter(instances__state=State.ACTIVE).distinct().values_list("pk", flat=True):
        hear_jobs_of.delay(host_id)


@shared_task
def hear_jobs_of(host_id: int) -> None:
    """Ask each running machine of one host, those first that were not heard of for longest."""
    host, until = Host.objects.get(pk=host_id), time.monotonic() + LONGEST_ROUND
    running = Instance.objects.filter(host=host, state=State.ACTIVE).order_by("job_at", "pk")
    try:
        with closing(open_host(host_spec(host))) as driver:
            for instance in running:
                if time.monotonic() > until:
                    return
                note(instance, driver.activity(instance.uuid))
    except HostUnreachable as error:
        log.info("host %s: not asked for jobs: %s", host, error)
    except DriverError as error:
        log.warning("host %s: %s", host, error)


def note(instance: Instance, heard: Activity) -> None:
    """Write what was heard: the job and when, or that there is none any more; and the busiest program."""
    facts: dict[str, object] = {"job_at": timezone.now()} if heard.job else {}
    facts |= {name: told for name, told in asdict(heard).items() if told != getattr(instance, name)}
    if facts:
        Instance.objects.filter(pk=instance.pk, state=State.ACTIVE).update(**facts)
    if facts.keys() - {"job_at"}:
        instance.tell("time")
