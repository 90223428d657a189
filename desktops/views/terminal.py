"""The page of a machine's terminal. What is typed and shown comes by the terminal's socket, not through here."""

from __future__ import annotations

from typing import cast
from uuid import UUID

from csp.constants import UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from desktops import access
from experiments.models import User
from instances.models import Protocol

ARROWS = [("←", "\x1b[D"), ("↑", "\x1b[A"), ("↓", "\x1b[B"), ("→", "\x1b[C")]
KEYS = [("Esc", "\x1b"), ("Tab", "\t"), *ARROWS, ("|", "|"), ("~", "~")]
"""What the keyboards of phones lack, and what a terminal sends for it."""


# xterm.js writes its colours into a style element.
@csp_update({"style-src": [UNSAFE_INLINE]})  # type: ignore[arg-type] # it is typed for views of one argument
@login_required
@require_GET
@never_cache
def terminal(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """For those who may see the machine, if its image has a terminal."""
    found = access.find(cast(User, request.user), uuid)
    if found is None or not access.may_enter_shell(found[1]) or found[0].plan.image.port(Protocol.SSH) is None:
        raise Http404
    instance = found[0]
    facts = {
        "socket": f"/desktops/{instance.uuid}/terminal/",
        "status": reverse("machine-status", args=[instance.uuid]),
        "machine": reverse("machine", args=[instance.uuid]),
        "desktop": reverse("desktop", args=[instance.uuid]),
        "signIn": f"{reverse('account_login')}?next={request.path}",
        "closed": not instance.ssh_secret,
        "words": _words(),
    }
    return render(request, "desktops/terminal.html", {"instance": instance, "facts": facts, "keys": KEYS})


def _words() -> dict[str, str]:
    return {
        "connecting": _("Connecting to the machine…"),
        "connected": _("Connected"),
        "lost": _("The connection is gone. Your programs go on running; the terminal comes back by itself."),
        "silent": _("The machine's terminal does not answer yet. Trying again…"),
        "tooMany": _("You have too many screens open. Close one, and this one opens by itself."),
        "offline": _("Your computer has no network. The terminal comes back when it has."),
        "signedOut": _("Your sign-in has ended. Sign in again; your programs go on running."),
        "withdrawn": _("You may no longer see this terminal. Ask the machine's owner if you still need it."),
        "notFound": _("There is no such machine, or it is not shared with you."),
        "ownerAway": _("The owner is away. The terminal opens when they are back."),
        "askFirst": _("This terminal opens with the owner's consent. Ask for it on the desktop's page."),
        "waiting": _("The machine is not ready yet: %s. The terminal opens here by itself."),
        "notRunning": _("The machine is not running: %s. Start it from its page; the terminal then opens here."),
        "ended": _("The shell has ended."),
        "closed": _("This machine was made before there were terminals. Its desktop has one; so have new machines."),
        "newShell": _("New shell"),
        "now": _("Try now"),
        "signIn": _("Sign in"),
        "machinePage": _("To the machine"),
        "toDesktop": _("Open desktop"),
        "attempt": _("Next attempt in %s s."),
        "watching": _("You are watching: only who has control can type."),
        "nobody": _("Nobody has opened the terminal yet. It appears here when somebody does."),
        "copied": _("Copied."),
        "nothing": _("Nothing is selected."),
        "pasteByKey": _("This browser asks you to paste with Ctrl+Shift+V."),
    }
