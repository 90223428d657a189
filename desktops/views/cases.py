"""The support page: the machines that the facility's support may help with, live."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from desktops.models import Policy
from desktops.supported import Filter, cases_for, machines_for
from experiments.models import User

ON_A_PAGE = 25
LENGTHS = (15, 30, 60, 120, 240)  # minutes


def supporter(request: HttpRequest) -> User:
    """Who asks, if the facility's support they are; for others there is no such page."""
    user = cast(User, request.user)
    if not user.supports:
        raise Http404
    return user


@login_required
@require_GET
@never_cache
def page(request: HttpRequest) -> HttpResponse:
    """The machines that the person supports, with filters."""
    longest = Policy.current().support_minutes
    lengths = [minutes for minutes in LENGTHS if minutes < longest] + [longest]
    return render(request, "desktops/support.html", _listed(request) | {"lengths": lengths})


@login_required
@require_GET
@never_cache
def listed(request: HttpRequest) -> HttpResponse:
    """The list alone, for other filters and when somebody calls who is not on it."""
    answer = render(request, "desktops/_cases.html", _listed(request))
    answer["HX-Replace-Url"] = f"{reverse('support')}?{request.GET.urlencode()}"
    return answer


def _listed(request: HttpRequest) -> dict[str, Any]:
    user = supporter(request)
    form = Filter(request.GET)
    found = form.apply(machines_for(user))
    page = Paginator(found, ON_A_PAGE).get_page(request.GET.get("page"))
    return {"form": form, "page": page, "cases": cases_for(user, list(page)), "filtered": any(request.GET.values())}


@login_required
@require_GET
@never_cache
def row(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """One machine of the list, fetched again when something about it changed; nothing once it is gone."""
    user = supporter(request)
    found = cases_for(user, list(machines_for(user).filter(uuid=uuid)))
    return render(request, "desktops/_case.html", {"case": found[0]}) if found else HttpResponse("")
