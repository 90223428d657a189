"""Notebook runs on the machine's page: how they stand, their results, and a button that stops one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from desktops import runs
from desktops.access import may_enter_shell
from desktops.models import NotebookRun
from desktops.models.runs import RunState
from desktops.shell.paths import key_of, shown
from desktops.views.answers import found
from experiments.models import User
from instances.actions import Refused
from instances.models import Instance

SHOWN = 10

LOOKS = {
    RunState.WAITING: ("hourglass", "rest"),
    RunState.RUNNING: ("refresh-cw", "busy"),
    RunState.DONE: ("circle-check", "good"),
    RunState.FAILED: ("circle-alert", "bad"),
    RunState.STOPPED: ("circle-stop", "rest"),
    RunState.INTERRUPTED: ("power-off", "warn"),
}
"""Icon and tone of each state."""


@dataclass(frozen=True)
class Line:
    """A run as the page shows it."""

    run: NotebookRun
    name: str
    icon: str
    tone: str
    result: str


@login_required
@require_GET
@never_cache
def panel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Hidden where there are no runs, and from those who may not come in now."""
    user, instance = _found(request, uuid)
    return _shown(request, user, instance)


@login_required
@require_POST
def stop(request: HttpRequest, uuid: UUID, run: UUID) -> HttpResponse:
    """Answers with the panel, which also says why not."""
    user, instance = _found(request, uuid)
    stopping = get_object_or_404(instance.notebook_runs, uuid=run)
    try:
        runs.stop(user, stopping)
    except Refused as refusal:
        return _shown(request, user, instance, str(refusal))
    return _shown(request, user, instance)


def _found(request: HttpRequest, uuid: UUID) -> tuple[User, Instance]:
    user, instance, relation = found(request, uuid)
    if not may_enter_shell(relation):
        raise Http404
    return user, instance


def _shown(request: HttpRequest, user: User, instance: Instance, error: str = "") -> HttpResponse:
    facts = {"machine": instance, "error": error}
    try:
        facts["controls"] = runs.look(user, instance).controls
    except Refused:
        return render(request, "desktops/_runs.html", facts)
    newest = instance.notebook_runs.select_related("by").defer("parameters")[:SHOWN]
    return render(request, "desktops/_runs.html", facts | {"lines": [_line(instance, run) for run in newest]})


def _line(instance: Instance, run: NotebookRun) -> Line:
    name = shown(PurePosixPath(run.notebook).name.encode())
    file = f"{reverse('files-get', args=[instance.uuid])}?{urlencode({'path': key_of(run.output.encode())})}"
    return Line(run, name, *LOOKS[RunState(run.state)], result="" if run.is_open else file)
