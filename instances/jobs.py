"""What works inside machines: their guests are asked every two minutes, so that such a machine is kept."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from functools import partial

from celery import shared_task
from django.utils import timezone

from instances.drivers import open_host
from instances.drivers.base import Activity, Driver, DriverError, HostUnreachable
from instances.models import Host, Instance
from instances.specs import host_spec
from instances.states import State

log = logging.getLogger(__name__)

LONGEST_ROUND = 100  # seconds: the next round is near, and begins with those that this one did not reach
AT_ONCE = 8  # guests of one host that are asked at the same moment: each takes some tenths of a second to answer


@shared_task
def hear_jobs() -> None:
    """Have every host that carries running machines asked."""
    for host_id in Host.objects.filter(instances__state=State.ACTIVE).distinct().values_list("pk", flat=True):
        hear_jobs_of.delay(host_id)


@shared_task
def hear_jobs_of(host_id: int) -> None:
    """Ask each running machine of one host, those first that were not heard of for longest."""
    host, until = Host.objects.get(pk=host_id), time.monotonic() + LONGEST_ROUND
    running = list(Instance.objects.filter(host=host, state=State.ACTIVE).order_by("job_at", "pk"))
    try:
        with closing(open_host(host_spec(host))) as driver, ThreadPoolExecutor(AT_ONCE) as threads:
            for instance, heard in zip(running, threads.map(partial(_ask, driver, until), running), strict=True):
                if heard is not None:
                    note(instance, heard)
    except HostUnreachable as error:
        log.info("host %s: not asked for jobs: %s", host, error)
    except DriverError as error:
        log.warning("host %s: %s", host, error)


def _ask(driver: Driver, until: float, instance: Instance) -> Activity | None:
    """None where it could not be asked, or no more in this round. Raises HostUnreachable."""
    if time.monotonic() > until:
        return None
    try:
        return driver.activity(instance.uuid)
    except HostUnreachable:
        raise
    except DriverError as error:
        log.warning("%s: %s", instance.uuid, error)
        return None


def note(instance: Instance, heard: Activity) -> None:
    """Write what was heard: the job and when, or that there is none any more; and the busiest program."""
    facts: dict[str, object] = {"job_at": timezone.now()} if heard.job else {}
    facts |= {name: told for name, told in asdict(heard).items() if told != getattr(instance, name)}
    if facts:
        Instance.objects.filter(pk=instance.pk, state=State.ACTIVE).update(**facts)
    if facts.keys() - {"job_at"}:
        instance.tell("time")
