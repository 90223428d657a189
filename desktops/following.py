"""What workers do for notebook runs: have machines begin and stop them, and hear how they stand.

Each row says when its machine is asked next. Who takes rows moves that moment on first, so that no two workers ask
one machine, and what a killed worker had taken comes again by itself. Silence changes nothing: a machine that sleeps or
does not answer keeps its runs as they are.
"""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from celery import shared_task
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from desktops import access
from desktops.models import NotebookRun
from desktops.models.runs import MAX_PROBLEM, RunState
from desktops.shell import runs
from desktops.shell.runs import Told, Wanted
from desktops.shell.ssh import Shell, ShellUnavailable
from desktops.threads import in_database
from instances.models import Instance, Transition
from instances.signals import transitioned
from instances.states import OPENABLE, State

log = logging.getLogger(__name__)

PATIENCE = 25.0
"""Seconds that a machine may take to answer."""

SILENT = 30.0
"""Seconds between two looks at a machine that does not answer."""

AT_ONCE = 64
"""Machines that are asked at the same moment by one worker."""

MOST = 500
"""Runs that one worker takes at a time."""

SOONEST, LATEST = 2.0, 60.0
"""Seconds between two looks at a run: few for a young one, more for one that has run for long."""

CUT_OFF = _("The machine was switched off, or the run was cut off in it, before it was done.")
FORGOTTEN = _("The machine no longer knows of this run.")
DELETED = _("The machine was deleted.")

Runs = list[NotebookRun]


def connect() -> None:
    """Listen to the signals; called once when the app is ready."""
    transitioned.connect(_forget, dispatch_uid="desktops.runs")


def _forget(sender: object, instance: Instance, transition: Transition, **rest: object) -> None:
    """With the machine go its runs and their parameters; also what an earlier end, told in vain, left behind."""
    if transition.to == State.DELETED:
        NotebookRun.objects.filter(instance__state=State.DELETED).delete()


def ring() -> None:
    """After commit, have what is due looked at now. A lost ring costs seconds: beat rings again."""
    transaction.on_commit(follow.delay, robust=True)


@shared_task
def follow() -> None:
    """Ask every machine with a run that is due, and end the runs of deleted machines."""
    now = timezone.now()
    if NotebookRun.objects.open().filter(due_at__lte=now).exists():  # mostly not: then nothing is locked
        _end_of_deleted(now)
        asyncio.run(_ask_all(take(now)))


def _end_of_deleted(now: datetime) -> None:
    lost = NotebookRun.objects.open().filter(instance__state=State.BINNED)
    lost.update(state=RunState.INTERRUPTED, problem=DELETED, ended_at=now)


def take(now: datetime) -> list[Runs]:
    """The open runs of each machine that is to be asked now; nobody else takes them until it may have answered."""
    with transaction.atomic():
        open_runs = NotebookRun.objects.open().filter(instance__state__in=OPENABLE).order_by("pk")
        due = open_runs.filter(due_at__lte=now).select_for_update(skip_locked=True, of=["self"], no_key=True)[:MOST]
        machines = {run.instance_id for run in due}
        found = open_runs.filter(instance__in=machines).select_related("instance__plan__image")
        taken = list(found.prefetch_related("instance__plan__image__protocols"))
        NotebookRun.objects.filter(pk__in=[run.pk for run in taken]).update(due_at=after_silence(now))
    taken.sort(key=lambda run: run.instance_id)
    return [list(group) for _machine, group in groupby(taken, lambda run: run.instance_id)]


def after_silence(now: datetime) -> datetime:
    """When a machine is asked again that says nothing: all at one moment, so that they keep one worker waiting."""
    seconds = math.ceil((now.timestamp() + PATIENCE) / SILENT) * SILENT
    return datetime.fromtimestamp(seconds, UTC)


async def _ask_all(machines: list[Runs]) -> None:
    at_once = asyncio.Semaphore(AT_ONCE)
    endings = await asyncio.gather(*(_ask(one, at_once) for one in machines), return_exceptions=True)
    for machine, ending in zip(machines, endings, strict=True):
        if isinstance(ending, Exception):
            log.error("machine %s: its notebook runs could not be followed", machine[0].instance.uuid, exc_info=ending)


async def _ask(open_runs: Runs, at_once: asyncio.Semaphore) -> None:
    instance = open_runs[0].instance
    place = access.shell_place(instance)
    if place is None:
        return
    host, port, secret = place
    try:
        async with at_once, asyncio.timeout(PATIENCE):
            told = await runs.agree(Shell(host, port, instance.generation, secret), wanted(open_runs))
    except (ShellUnavailable, TimeoutError) as why:
        log.info("machine %s: did not tell of its notebook runs: %r", instance.uuid, why)
        return
    await in_database(write, open_runs, told, timezone.now())


def wanted(open_runs: Runs) -> list[Wanted]:
    """What a machine is asked: as many runs at a time as it has CPUs, the first that came first."""
    free = open_runs[0].instance.vcpus - sum(run.state == RunState.RUNNING for run in open_runs)
    asked = []
    for run in open_runs:
        if run.stop_asked_at:
            asked.append(Wanted(str(run.uuid), "stop"))
        elif run.state == RunState.RUNNING:
            asked.append(Wanted(str(run.uuid), "look"))
        elif free > 0:
            free -= 1
            asked.append(Wanted(str(run.uuid), "run", run.notebook, run.output, run.parameters))
    return asked


def write(open_runs: Runs, told: dict[str, Told], now: datetime) -> None:
    """Make the rows agree with what the machine told; the next in line comes when one has ended."""
    heard = [(run, told[str(run.uuid)]) for run in open_runs if str(run.uuid) in told]
    changed = [_note(run, said, now) for run, said in heard]
    if any(changed):
        open_runs[0].instance.tell("runs")
    if any(not run.is_open for run, _said in heard):
        waiting = NotebookRun.objects.filter(instance=open_runs[0].instance, state=RunState.WAITING)
        waiting.update(due_at=now)
        ring()


def _note(run: NotebookRun, said: Told, now: datetime) -> bool:
    """Whether something changed that people see."""
    facts = _facts(run, said, now)
    seen = {name for name, value in facts.items() if getattr(run, name) != value}
    facts["due_at"] = now + pause(now - (run.started_at or run.created_at))
    if not NotebookRun.objects.filter(pk=run.pk, state=run.state).update(**facts):
        return False
    for name, value in facts.items():
        setattr(run, name, value)
    return bool(seen)


def _facts(run: NotebookRun, said: Told, now: datetime) -> dict[str, Any]:
    lost = {"unknown": FORGOTTEN, "interrupted": CUT_OFF}
    state = RunState.INTERRUPTED if said.state in lost else RunState(said.state)
    facts: dict[str, Any] = {"state": state, "problem": lost.get(said.state, said.problem)[:MAX_PROBLEM]}
    if said.cells:
        facts["cells_done"], facts["cells"] = said.cells
    if run.started_at is None and state != RunState.WAITING:
        facts["started_at"] = now
    if state not in {RunState.WAITING, RunState.RUNNING}:
        facts["ended_at"] = now
    return facts


def pause(age: timedelta) -> timedelta:
    """Until the next look at a run of this age."""
    return timedelta(seconds=min(max(age.total_seconds() / 20, SOONEST), LATEST))
