"""The way from the site to a machine's web application, which is on an origin of its own."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from csp.constants import SELF
from csp.decorators import csp_replace
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_http_methods

from desktops.webapps import door, tickets
from desktops.webapps.application import ENTRANCE, onward
from desktops.webapps.origins import Address


@never_cache
@xframe_options_sameorigin
@csp_replace({"frame-ancestors": [SELF]})  # type: ignore[arg-type] # typed for views that take nothing more
@require_http_methods(["GET", "POST"])
def app(request: HttpRequest, uuid: UUID, slug: str) -> HttpResponse:
    """A form that sends itself: by GET to here, so that nothing is given out to who merely follows a link; by POST,
    with a ticket, to the application. Whether it can be shown now, its own origin says.

    The desktop's page shows all this in a frame, as it then shows the application there.
    """
    framed = request.headers.get("Sec-Fetch-Dest") == "iframe"
    if not request.user.is_authenticated:
        return _sign_in(request, uuid) if framed else redirect_to_login(request.get_full_path())
    found = door.find(request.user, uuid, slug)
    if found is None:
        raise Http404
    machine, offered = found
    said = request.POST if request.method == "POST" else request.GET
    facts = {"instance": machine, "app": offered, "next": onward(said.get("next") or offered.path), "framed": framed}
    if request.method == "GET":
        return render(request, "desktops/app_open.html", facts)
    address = Address(machine.uuid, slug)
    ticket = tickets.issue(cast(str, request.session.session_key), address)
    facts |= {"action": f"{address.origin}{ENTRANCE}", "ticket": ticket}
    response = render(request, "desktops/app_open.html", facts)
    # The application's origin takes tickets only from ours, so the browser must name it; and may post to nowhere else.
    response["Referrer-Policy"] = "strict-origin"
    setattr(response, "_csp_update", {"form-action": [address.origin]})  # noqa: B010 - django-csp's own name for it
    return response


def _sign_in(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """For a frame, which shows no sign-in: it is opened in a tab of its own, and the frame goes on by itself."""
    way = f"{reverse('account_login')}?next={reverse('machine', args=[uuid])}"
    return render(request, "desktops/app_sign_in.html", {"way": way})
