"""The page of a machine's desktop. Pixels come by the relay's sockets, not through here."""

from __future__ import annotations

from functools import lru_cache
from typing import cast
from uuid import UUID

from csp.constants import SELF
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from desktops import access
from desktops.models import Policy
from desktops.webapps import door
from desktops.webapps.origins import Address
from desktops.words import words
from experiments.models import User
from instances.models import Protocol

COMBOS = [
    {"name": "Ctrl+Alt+Del", "codes": "ControlLeft AltLeft Delete"},
    {"name": "Alt+Tab", "codes": "AltLeft Tab"},
    {"name": "Alt+F4", "codes": "AltLeft F4"},
    {"name": "Super", "codes": "MetaLeft"},
    {"name": "Ctrl+Alt+T", "codes": "ControlLeft AltLeft KeyT"},
    {"name": "Ctrl+W", "codes": "ControlLeft KeyW"},
    {"name": "Esc", "codes": "Escape"},
    {"name": "F11", "codes": "F11"},
    {"name": "Print", "codes": "PrintScreen"},
    {"name": "Ctrl+Alt+F1", "codes": "ControlLeft AltLeft F1"},
]
"""What browsers keep for themselves, by the names of KeyboardEvent.code."""


@lru_cache(maxsize=1)
def modules() -> list[str]:
    """The scripts of the page, to be fetched side by side and not one after the other as imports are found."""
    static = settings.BASE_DIR / "static"
    ours = [file for folder in ("desktop", "room") for file in static.glob(f"js/{folder}/*.js")]
    files = [*ours, *static.glob("vendor/novnc/**/*.js"), static / "js" / "events.js"]
    return sorted(str(file.relative_to(static)) for file in files)


@login_required
@require_GET
@never_cache
def desktop(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """The machine and nothing else, for those who may see it; another's machine is not found."""
    user = cast(User, request.user)
    found = access.find(user, uuid)
    if found is None:
        raise Http404
    instance, relation = found
    rescues = access.may_rescue(relation)
    facts = {
        "id": str(instance.uuid),
        "name": instance.name,
        "screen": f"/desktops/{instance.uuid}/screen/",
        "console": f"/desktops/{instance.uuid}/console/" if rescues else None,
        "machine": reverse("machine", args=[instance.uuid]),
        "home": "/",
        "status": reverse("machine-status", args=[instance.uuid]),
        "signIn": f"{reverse('account_login')}?next={request.path}",
        "supportMinutes": Policy.current().support_minutes,
        "words": words(),
    }
    context = {"instance": instance, "facts": facts, "rescues": rescues, "combos": COMBOS, "modules": modules()}
    apps = door.apps_for(instance, relation)
    context["apps"] = apps
    context["terminal"] = access.may_enter_shell(relation) and instance.plan.image.port(Protocol.SSH)
    response = render(request, "desktops/desktop.html", context)
    # A frame begins on the site, which leads it to its application; nowhere else may it go, whoever leads it.
    frames = [SELF, *(Address(instance.uuid, app.slug).origin for app in apps)]
    setattr(response, "_csp_update", {"frame-src": frames})  # noqa: B010 - django-csp's own name for it
    return response
