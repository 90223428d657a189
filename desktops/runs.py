"""What people may ask of notebook runs. Who has control at a machine starts and stops them; who may look sees them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from desktops import access, following, notebooks
from desktops.access import Denied, Standing, Ticket
from desktops.models import NotebookRun, Which
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import Instance

MOST_OPEN = 20
"""Runs of a machine that have not ended."""

LARGEST_PARAMETERS = 32 * 1024
"""Bytes, as JSON."""

DEEPEST = 20
"""Lists and objects in each other."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_NUL = re.compile(r"(?<!\\)(\\\\)*\\u0000")  # as JSON has it; PostgreSQL keeps none


@dataclass(frozen=True)
class Wish:
    """A notebook with parameters; paths are from the home or absolute. Without an output the result lies beside it."""

    notebook: str
    output: str
    parameters: Any
    request_key: UUID
    ident: UUID = field(default_factory=uuid4)


def look(user: User, instance: Instance) -> Standing:
    """What the person may do with this machine's runs now. Raises NotAllowed or Refused."""
    standing = access.stands(user, instance)
    if isinstance(standing, Denied):
        raise notebooks.refused(standing)
    return standing


def start(user: User, instance: Instance, wish: Wish) -> NotebookRun:
    """Have a notebook executed, as soon as the machine has a CPU free for it. A repeated wish returns the same run.

    Raises Refused, with the field named, and NotAllowed.
    """
    _check_control(look(user, instance))
    if made := _made(user, instance, wish):
        return made
    _check_parameters(wish.parameters)
    find = async_to_sync(notebooks.find)
    notebook, output = find(_ticket(user, instance), wish.notebook, wish.output, wish.ident)
    return _write(user, instance, wish, notebook, output)


def _made(user: User, instance: Instance, wish: Wish) -> NotebookRun | None:
    return NotebookRun.objects.filter(instance=instance, by=user, request_key=wish.request_key).first()


def _write(user: User, instance: Instance, wish: Wish, notebook: str, output: str) -> NotebookRun:
    with transaction.atomic():
        locked = Instance.objects.select_for_update(no_key=True).get(pk=instance.pk)
        _check_control(look(user, locked))  # looking into the machine took a while
        if made := _made(user, instance, wish):
            return made
        outputs = list(NotebookRun.objects.open().filter(instance=instance).values_list("output", flat=True))
        if len(outputs) >= MOST_OPEN:
            raise Refused(_("This machine has %d notebook runs to do. Wait until one is done.") % len(outputs))
        if output in outputs:
            raise Refused(_("Another run writes there. Choose another name."), "output")
        made = NotebookRun.objects.create(
            uuid=wish.ident,
            instance=instance,
            by=user,
            request_key=wish.request_key,
            notebook=notebook,
            output=output,
            parameters=wish.parameters,
        )
        instance.tell("runs")
        following.ring()
    return made


def stop(user: User, run: NotebookRun) -> None:
    """Ask a run to end; one that has ended is left as it is. Raises Refused or NotAllowed."""
    _check_control(look(user, run.instance))
    now = timezone.now()
    asked = NotebookRun.objects.open().filter(pk=run.pk, stop_asked_at=None)
    if asked.update(stop_asked_at=now, due_at=now):
        run.instance.tell("runs")
        following.ring()


def _check_control(standing: Standing) -> None:
    if not standing.controls:
        raise NotAllowed(_("You are watching: only who has control can start and stop runs."))


def _check_parameters(given: Any) -> None:
    if not isinstance(given, dict):
        raise Refused(_("Give parameters as an object: their names, each with a value."), "parameters")
    if _deeper(given, DEEPEST):
        raise Refused(_("These parameters are nested too deeply."), "parameters")
    said = json.dumps(given, ensure_ascii=False)
    if not _is_text(said):
        raise Refused(_("These parameters hold something that is no text."), "parameters")
    for name in given:
        if not _NAME.fullmatch(name):
            raise Refused(
                _("“%s” is no name of a parameter: letters, digits and _ make one.") % name[:80], "parameters"
            )
    if len(said.encode()) > LARGEST_PARAMETERS:
        raise Refused(_("These parameters are too long. Put them into a file that the notebook reads."), "parameters")


def _deeper(value: Any, allowed: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return allowed == 0 or any(_deeper(one, allowed - 1) for one in inner)


def _is_text(said: str) -> bool:
    """Without halves of letters (surrogates), and without NUL."""
    try:
        said.encode()
    except UnicodeEncodeError:
        return False
    return not _NUL.search(said)


def _ticket(user: User, instance: Instance) -> Ticket:
    ticket = access.admit(user, instance.uuid, Which.FILES)
    if isinstance(ticket, Denied):
        raise notebooks.refused(ticket)
    return ticket


def fetch(user: User, run: NotebookRun) -> tuple[int, AsyncIterator[bytes]]:
    """The size of the result, in bytes, and what streams it out of the machine, until the right to it ends.

    Raises Refused, also where the run has not ended or left nothing.
    """
    if run.is_open:
        raise Refused(_("The run has not ended yet."))
    return async_to_sync(notebooks.fetch)(user, _ticket(user, run.instance), run)
