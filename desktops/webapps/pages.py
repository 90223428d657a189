"""What a browser is told on an application's origin where there is no application to show."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from desktops import access
from desktops.access import Denied
from desktops.relay import Code
from desktops.webapps import door
from desktops.webapps.headers import Headers, values
from desktops.webapps.origins import Address
from desktops.webapps.upstream import Send
from instances.models import Instance
from instances.states import State

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


def waiting(session_key: str, address: Address, denied: Denied | None) -> tuple[int, bytes]:
    """The page that says why the application is not here, and goes on by itself where that can change.

    None: the person may come in, and the machine does not answer.
    """
    user = access.signed_in(session_key)
    found = door.find(user, address.uuid, address.app) if user else None
    with translation.override(user.language or None if user else None):
        if user is None or found is None:
            return 404, _page(None, address, _("There is no such application, or it is not shared with you."))
        instance, app = found
        words = sentence(instance, app.name, denied)
        return 503, _page(instance, address, words, again=AGAIN, name=app.name)


def sentence(instance: Instance, name: str, denied: Denied | None) -> str:
    """Why it is not here, and what happens next."""
    words = _of_rights(denied.ending.code if denied else None) or _of_state(State(instance.state))
    if not words:
        words = (
            _("%(name)s does not answer at the moment. It opens here when it does.")
            if instance.jupyter_ready_at
            else _("The machine runs, and %(name)s is starting. It opens here by itself.")
        )
    return words % {"name": name, "owner": str(instance.owner)}


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


def _page(instance: Instance | None, address: Address, words: str, again: int | None = None, name: str = "") -> bytes:
    machine = f"{settings.PUBLIC_URL}{reverse('machine', args=[address.uuid])}" if instance else ""
    facts: dict[str, Any] = {"site": settings.PUBLIC_URL, "words": words, "again": again, "name": name}
    facts |= {"instance": instance, "machine": machine, "language": translation.get_language()}
    return render_to_string("desktops/app_waits.html", facts).encode()


async def answer(send: Send, status: int, body: bytes, kind: str, *headers: tuple[bytes, bytes]) -> None:
    """A whole answer of the proxy's own, which no browser keeps or frames."""
    policy = f"default-src 'none'; style-src {settings.PUBLIC_URL}; img-src {settings.PUBLIC_URL}"
    own = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", f"{policy}; frame-ancestors 'none'; base-uri 'none'".encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": own + list(headers)})
    await send({"type": "http.response.body", "body": body})


async def say(send: Send, status: int, words: str, *headers: tuple[bytes, bytes]) -> None:
    """A sentence for scripts; JupyterLab shows `message`."""
    await answer(send, status, json.dumps({"message": words}).encode(), "application/json", *headers)


async def show(send: Send, status: int, page: bytes) -> None:
    await answer(send, status, page, "text/html; charset=utf-8")


async def lead(send: Send, where: str, *headers: tuple[bytes, bytes]) -> None:
    """A redirect that makes a GET of whatever came."""
    await answer(send, 303, b"", "text/plain", (b"location", where.encode("ascii")), *headers)
