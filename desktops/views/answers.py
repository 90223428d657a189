"""How the pages' scripts are answered: what was asked is done, or a sentence says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast
from uuid import UUID

from django.http import Http404, HttpRequest, JsonResponse

from desktops import access
from desktops.access import Relation
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import Instance


def found(request: HttpRequest, uuid: UUID) -> tuple[User, Instance, Relation]:
    """Who asks, the live machine, and what they are to it; 404 where they may not know of it."""
    user = cast(User, request.user)
    machine = access.find(user, uuid)
    if machine is None:
        raise Http404
    return user, *machine


def answered(work: Callable[[], object]) -> JsonResponse:
    """Do it: {"ok": true}, or the dict that it returns.

    Or 403, 400 with the field at fault, or 409, each with {"error": sentence, "field": …}.
    """
    try:
        done = work()
    except Refused as refusal:
        said = {"error": str(refusal), "field": refusal.field or None}
        return JsonResponse(said, status=_status(refusal))
    return JsonResponse(done if isinstance(done, dict) else {"ok": True})


def _status(refusal: Refused) -> int:
    if isinstance(refusal, NotAllowed):
        return 403
    return 400 if refusal.field else 409
