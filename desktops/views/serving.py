"""How the addresses of a machine's files answer: for whom, and what they say where something cannot be done."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncssh
from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache

from desktops import access, filing
from desktops.access import Denied
from desktops.models import Which
from desktops.rfb import Role
from desktops.shell.files import Problem
from desktops.shell.line import FileLine
from desktops.shell.paths import Unfit
from desktops.threads import give_back
from experiments.models import User
from instances.models import Instance, Protocol

log = logging.getLogger(__name__)

View = Callable[[HttpRequest, FileLine], Awaitable[HttpResponseBase]]


def find(user: User, uuid: UUID) -> Instance:
    """The machine whose files the person may know of. Raises Http404."""
    found = access.find(user, uuid)
    if found is None or not access.may_enter_shell(found[1]) or found[0].plan.image.port(Protocol.SSH) is None:
        raise Http404
    return found[0]


def with_files(*, writes: bool = False) -> Callable[[View], Any]:
    """A view that is given the person's line to the machine's files. With `writes`, for those who may change them."""

    def decorate(view: View) -> Any:
        @login_required
        @never_cache
        @functools.wraps(view)
        async def whole(request: HttpRequest, uuid: UUID) -> HttpResponseBase:
            denied = await _admitted(request, uuid)
            line = denied or await filing.line_of(request.session.session_key or "", uuid)
            if isinstance(line, Denied):
                return JsonResponse({"code": int(line.ending.code)}, status=409)
            if writes and line.role is not Role.CONTROL:
                return sorry("watching", 403)
            with line.busy():
                return await _answer(view, request, line)

        return whole

    return decorate


async def _admitted(request: HttpRequest, uuid: UUID) -> Denied | None:
    """In the request's own thread, which then gives its connection to the database back: the answer may take hours."""
    try:
        return await sync_to_async(_denied)(await request.auser(), uuid)
    finally:
        await sync_to_async(give_back)()


def _denied(user: Any, uuid: UUID) -> Denied | None:
    """Why this person may not be at the files now. Raises Http404 for who may not know of them."""
    find(user, uuid)
    answer = access.admit(user, uuid, Which.FILES)
    return answer if isinstance(answer, Denied) else None


async def _answer(view: View, request: HttpRequest, line: FileLine) -> HttpResponseBase:
    try:
        return await view(request, line)
    except Unfit:
        return sorry("unfit", 400)
    except Problem as problem:
        return sorry(problem.what, 404 if problem.what in {"missing", "outside"} else 409)
    except (asyncssh.Error, OSError) as error:
        log.warning("a machine's files stopped answering: %r", error)
        return sorry("lost", 502)


def sorry(what: str, status: int) -> JsonResponse:
    return JsonResponse({"what": what, "sentence": _sentences()[what]}, status=status)


def _sentences() -> dict[str, str]:
    return {
        "watching": _("You are watching: only who has control can change files."),
        "unfit": _("This is no name for a file. It may be too long, or hold a slash."),
        "missing": _("It is no longer there."),
        "outside": _("It lies outside of the home and the experiments' folders."),
        "denied": _("The machine does not allow that for this file or folder."),
        "failed": _("The machine could not do that. Its disk may be full."),
        "unmovable": _("It cannot be moved there: that is on another disk, or within itself. Copy it on the desktop."),
        "exists": _("There is something of that name already."),
        "offset": _("Another part of this file was expected."),
        "deep": _("There are too many folders in each other. Delete the inner ones first."),
        "lost": _("The machine stopped answering. Try again."),
        "kind": _("That can be done with files only, not with folders, pipes or devices."),
        "large": _("That is more than may be sent at once."),
    }
