"""What supporters and owners ask of each other: each address answers one press of a button."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from desktops import support
from desktops.models import AccessRequest
from desktops.support import Answer
from desktops.views.answers import answered, found
from experiments.models import User
from instances.actions import Refused


@login_required
@require_POST
def ask(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """reason, minutes, control=on: a supporter asks the owner to be let in."""
    user, instance, _relation = found(request, uuid)
    control = request.POST.get("control") == "on"
    return answered(lambda: support.ask(instance, user, _text(request, "reason"), _minutes(request), control=control))


@login_required
@require_POST
def cancel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user, instance, _relation = found(request, uuid)
    return answered(lambda: support.cancel(instance, user))


@login_required
@require_POST
def enter(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """reason, minutes: a supporter goes in while the owner is away."""
    user, instance, _relation = found(request, uuid)
    return answered(lambda: support.enter(instance, user, _text(request, "reason"), _minutes(request)))


@login_required
@require_POST
def answer(request: HttpRequest, uuid: UUID, asked: UUID) -> HttpResponse:
    """answer=control|watch|refuse: the owner decides."""
    user, instance, _relation = found(request, uuid)
    requests = AccessRequest.objects.select_related("instance__owner", "asker")
    waiting = get_object_or_404(requests, instance=instance, uuid=asked)
    return answered(lambda: support.answer(waiting, user, _answer(request)))


@login_required
@require_POST
def end(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """A supporter leaves; the owner ends the support of user=<uuid>, or all support."""
    user, instance, _relation = found(request, uuid)
    return answered(lambda: support.end(instance, user, _person(request)))


@login_required
@require_POST
def call(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """message: the owner calls for help."""
    user, instance, _relation = found(request, uuid)
    return answered(lambda: support.call(instance, user, _text(request, "message")))


@login_required
@require_POST
def take(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user, instance, _relation = found(request, uuid)
    return answered(lambda: support.take(instance, user))


@login_required
@require_POST
def close(request: HttpRequest, uuid: UUID) -> HttpResponse:
    user, instance, _relation = found(request, uuid)
    return answered(lambda: support.close(instance, user))


def _text(request: HttpRequest, field: str) -> str:
    return str(request.POST.get(field, ""))


def _minutes(request: HttpRequest) -> int:
    text = _text(request, "minutes")
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise Refused(_("Choose how long."), "minutes")
    return int(text)


def _answer(request: HttpRequest) -> Answer:
    try:
        return Answer(_text(request, "answer"))
    except ValueError as error:
        raise Refused(_("Let them control, let them watch, or refuse."), "answer") from error


def _person(request: HttpRequest) -> User | None:
    if "user" not in request.POST:
        return None
    try:
        return get_object_or_404(User, uuid=UUID(_text(request, "user")))
    except ValueError as error:
        raise Http404 from error
