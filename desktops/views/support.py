"""What supporters and owners ask of each other: each address answers one press of a button."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from desktops import support
from desktops.access import Relation
from desktops.models import AccessRequest, HelpRequest
from desktops.support import Answer
from desktops.views.answers import answered, found
from experiments.models import SUPPORTING, User
from instances.actions import Refused
from instances.models import Instance

PAST_SHOWN = 10


@login_required
@require_GET
@never_cache
def panel(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """Support on the machine's page: who asks, who is in, the call for help, and who was there before."""
    user, instance, relation = found(request, uuid)
    if relation is Relation.PUBLIC:
        raise Http404
    return render(request, "desktops/_support.html", _panel(user, instance, relation))


def _panel(user: User, instance: Instance, relation: Relation) -> dict[str, Any]:
    owns, supports = relation is Relation.OWNER, relation is Relation.SUPPORT
    now = timezone.now()
    requests = AccessRequest.objects.filter(instance=instance).select_related("asker__affiliation")
    asked = requests.pending_at(now).order_by("created_at").prefetch_related("asker__role_grants") if owns else []
    in_force = list(requests.granted_at(now).order_by("created_at"))
    past = requests.exclude(pk__in=[one.pk for one in [*asked, *in_force]])[:PAST_SHOWN] if owns or supports else []
    call = HelpRequest.objects.filter(instance=instance, closed_at=None).select_related("by", "taken_by").first()
    return {
        "machine": instance,
        "owns": owns,
        "supports": supports,
        "pending": [(one, _roles(one.asker)) for one in asked],
        "in_force": in_force,
        "past": list(past),
        "call": call,
        "shown": owns or supports or in_force or call,
    }


def _roles(user: User) -> str:
    return ", ".join(str(role.label) for role in sorted(user.roles() & SUPPORTING))


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
