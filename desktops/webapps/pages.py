"""What a browser is told on an application's origin where there is no application to show."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from desktops import access
from desktops.access import Denied
from desktops.origin import allowed_origins
from desktops.relay import Code
from desktops.webapps import door
from desktops.webapps.door import App
from desktops.webapps.headers import Headers, values
from desktops.webapps.origins import Address
from desktops.webapps.upstream import Send
from instances.models import Instance
from instances.states import State

_GO_ON = """
let next = document.body.dataset.next;
try { localStorage.length } catch { next = location.pathname }
location.replace(next);
"""

AGAIN = 4
"""Seconds after which a page that waits looks again."""


def is_navigation(method: str, headers: Headers) -> bool:
    """Whether a person will read the answer, and not a script."""
    modes, accepts = values(headers, b"sec-fetch-mode"), values(headers, b"accept")
    return method == "GET" and (modes == [b"navigate"] if modes else any(b"text/html" in line for line in accepts))


def way_in(address: Address, path: str) -> str:
    """The site's way to this path of an application. The query stays behind: it may hold secrets."""
    place = reverse("machine-app", args=[address.uuid, address.app])
    return f"{settings.PUBLIC_URL}{place}?next={quote(path)}"


def waiting(session_key: str, address: Address, denied: Denied | None, *, framed: bool = False) -> tuple[int, bytes]:
    """The page that says why the application is not here, and goes on by itself where that can change.

    None: the person may come in, and the machine does not answer.
    """
    user = access.signed_in(session_key)
    found = door.find(user, address.uuid, address.app) if user else None
    with translation.override(user.language or None if user else None):
        if user is None or found is None:
            words = _("There is no such application, or it is not shared with you.")
            return 404, _page(_("There is nothing at this address"), words, framed=framed)
        instance, app = found
        machine = f"{settings.PUBLIC_URL}{reverse('machine', args=[address.uuid])}"
        more = {"again": AGAIN, "name": app.name, "machine": machine, "framed": framed}
        return 503, _page(instance.name, sentence(instance, app, denied), **more)


def nothing_kept() -> bytes:
    """The page for a frame in which the browser keeps no cookies or no storage."""
    words = _("This browser keeps nothing for an application beside the desktop. Open it in a tab of its own.")
    return _page(_("This does not work side by side"), words, framed=True)


def sentence(instance: Instance, app: App, denied: Denied | None) -> str:
    """Why it is not here, and what happens next."""
    words = _of_rights(denied.ending.code if denied else None) or _of_state(State(instance.state))
    if not words:
        words = (
            _("The machine runs, and %(name)s is starting. It opens here by itself.")
            if app.is_jupyter and not instance.jupyter_ready_at
            else _("%(name)s does not answer at the moment. It opens here when it does.")
        )
    return words % {"name": app.name, "owner": str(instance.owner)}


def _of_rights(code: Code | None) -> str:
    if code == Code.OWNER_AWAY:
        return _("%(owner)s is away. %(name)s opens here when they are back.")
    if code == Code.ASK_FIRST:
        return _("Ask %(owner)s on the machine's page to let you in. %(name)s then opens here.")
    return _("%(owner)s closed this for you.") if code == Code.WITHDRAWN else ""


def _of_state(state: State) -> str:
    """Nothing of a machine that runs."""
    if state in {State.BUILDING, State.STARTING, State.REBOOTING}:
        return _("The machine is starting. %(name)s opens here by itself.")
    return {
        State.ACTIVE: "",
        State.HIBERNATED: _("The machine is asleep. Resume it from its page; %(name)s then opens here."),
        State.UNREACHABLE: _("The machine's host does not answer. %(name)s opens here when it does."),
        State.ERROR: _("Something went wrong with the machine. Its page says what, and how to go on."),
    }.get(state, _("The machine is not running. Start it from its page; %(name)s then opens here."))


def _page(title: str, words: str, **more: Any) -> bytes:
    facts = {"site": settings.PUBLIC_URL, "title": title, "words": words, "language": translation.get_language()}
    return render_to_string("desktops/app_waits.html", facts | more).encode()


async def answer(
    send: Send, status: int, body: bytes, kind: str, *headers: tuple[bytes, bytes], scripts: str = "'none'"
) -> None:
    """A whole answer of the proxy's own, which no browser keeps and only the site frames."""
    policy = f"default-src 'none'; style-src {settings.PUBLIC_URL}; img-src {settings.PUBLIC_URL}; base-uri 'none'"
    policy += f"; script-src {scripts}"
    frames = " ".join(sorted(allowed_origins()))
    own = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", f"{policy}; frame-ancestors {frames}".encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": own + list(headers)})
    await send({"type": "http.response.body", "body": body})


async def say(send: Send, status: int, words: str, *headers: tuple[bytes, bytes]) -> None:
    """A sentence for scripts; JupyterLab shows `message`."""
    await answer(send, status, json.dumps({"message": words}).encode(), "application/json", *headers)


async def show(send: Send, status: int, page: bytes) -> None:
    await answer(send, status, page, "text/html; charset=utf-8")


async def go_on(send: Send, path: str, *headers: tuple[bytes, bytes]) -> None:
    """A page that goes on to a path of its own host by itself, as a request of this host; where the browser keeps
    nothing in frames, without which JupyterLab begins again and again, it goes on to nowhere.
    """
    page = f'<!doctype html><body data-next="{escape(path)}"><script>{_GO_ON}</script>'
    allowed = f"'sha256-{b64encode(sha256(_GO_ON.encode()).digest()).decode()}'"
    await answer(send, 200, page.encode("ascii"), "text/html; charset=utf-8", *headers, scripts=allowed)


async def lead(send: Send, where: str, *headers: tuple[bytes, bytes]) -> None:
    """A redirect that makes a GET of whatever came."""
    await answer(send, 303, b"", "text/plain", (b"location", where.encode("ascii")), *headers)
