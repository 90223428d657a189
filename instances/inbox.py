"""The pages of notices: what a person was told, and the bell that counts what they have not read."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from instances import notices
from instances.notices import Told
from instances.views import person

ON_A_PAGE = 25


@login_required
@require_GET
@never_cache
def show(request: HttpRequest) -> HttpResponse:
    """What the person was told, newest first."""
    page = Paginator(notices.of(person(request)), ON_A_PAGE).get_page(request.GET.get("page"))
    told = [Told(notice) for notice in page]
    return render(request, "instances/notices.html", {"page": page, "told": told})


@login_required
@require_GET
@never_cache
def bell(request: HttpRequest) -> HttpResponse:
    """The bell of the header, fetched again when the person was told something."""
    return render(request, "instances/_bell.html", {"unread": notices.unread(person(request))})


@login_required
@require_POST
def read(request: HttpRequest) -> HttpResponse:
    """Marks one notice as read and goes where it leads, or all of them and stays."""
    mine = notices.of(person(request))
    if "notice" not in request.POST:
        notices.read(mine)
        return redirect("notices")
    notice = get_object_or_404(mine, uuid=_uuid(request.POST["notice"]))
    notices.read(mine.filter(pk=notice.pk))
    return redirect(Told(notice).url)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise Http404 from error
