"""The ASGI callable of all machines' web applications: who asks, whether they may, and then the way to the machine.

A plain callable, as the relay is: bodies are streamed, and Django's pages never see a request to these hosts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, quote

from desktops.access import Denied
from desktops.origin import allowed_origins
from desktops.relay import Code
from desktops.threads import in_database
from desktops.webapps import kept, links, pages, reading, tickets, upstream, visits
from desktops.webapps.asked import Asked, Entered, Scope
from desktops.webapps.client import Unanswered
from desktops.webapps.headers import Malformed, values
from desktops.webapps.origins import is_apps_host
from desktops.webapps.upstream import Message, Receive, Send, Traffic
from desktops.webapps.visits import visit_of

log = logging.getLogger(__name__)

ENTRANCE = "/visa-enter"
"""The one path of these hosts that is ours."""

MOST_FORM = 8192
"""Bytes of the form that brings a ticket."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

ONLY_WATCH = "You may only watch here: nothing can be changed or run."
SIGNED_OUT = "Your sign-in here has ended. Sign in, open this again from the machine's page, and go on here."
NO_MORE = "Too much is open here at once. Close something and try again."


class OwnOrigins:
    """Requests to the applications' hosts go to machines, all others to the site; neither ever sees the other's."""

    def __init__(self, site: Callable[[Scope, Any, Any], Awaitable[None]]) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _last(receive, send)
            return
        hosts = [value.decode("latin-1") for value in values(scope.get("headers", []), b"host")]
        if not any(is_apps_host(host) for host in hosts):
            await self._site(scope, receive, send)
        elif scope["type"] == "websocket":
            await links.serve(scope, receive, send)
        else:
            await _request(scope, receive, send)


async def _last(receive: Receive, send: Send) -> None:
    """As long as the server; at its end nobody is left written down as being there."""
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await visits.end_all()
    kept.let_all_go()
    await upstream.hang_up()
    await send({"type": "lifespan.shutdown.complete"})


async def _request(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        asked = Asked.of(scope)
        elsewhere = asked.from_elsewhere
    except Malformed as wrong:
        await pages.say(send, 400, f"The request is not understood: {wrong}.", (b"connection", b"close"))
        return
    if asked.path == ENTRANCE.encode() and asked.method == "POST":
        await _enter(asked, receive, send)
    elif elsewhere:
        await pages.say(send, 403, "Other pages may not ask anything of this machine.")
    elif asked.method not in METHODS or values(asked.headers, b"service-worker"):
        # A service worker would stay between the person and this origin, and outlive whoever planted it.
        await pages.say(send, 405, "This is not possible here.")
    elif asked.path == ENTRANCE.encode():
        await _arrive(asked, send)
    else:
        await _serve(asked, receive, send)


async def _enter(asked: Asked, receive: Receive, send: Send) -> None:
    """A ticket becomes a cookie. Only the site's own page may bring one: nobody is signed in as another."""
    form = await _form(receive) if asked.origin in allowed_origins() else None
    if form is None:
        await pages.say(send, 405, "Open this from the machine's page.")
        return
    key = await in_database(tickets.redeem, form.get("ticket", ""), asked.address)
    path = onward(form.get("next", ""))
    if key is None:
        await pages.lead(send, pages.way_in(asked.address, path))
        return
    said = (tickets.cookie(key, asked.address, framed=asked.in_frame), tickets.no_cookie(framed=not asked.in_frame))
    cookies = [(b"set-cookie", cookie.encode("ascii")) for cookie in said]
    if asked.in_frame:
        await pages.go_on(send, f"{ENTRANCE}?next={quote(path)}", *cookies)
    else:
        await pages.lead(send, path, *cookies)


async def _arrive(asked: Asked, send: Send) -> None:
    """In a frame people go on from a page of this origin: that other pages lead a frame here stays refused. Where the
    browser keeps no cookie in frames, they would be led in a circle.
    """
    path = _fields(asked.query).get("next")
    if asked.session_key is None or path is None:
        await pages.show(send, 403, pages.nothing_kept())
    else:
        await pages.lead(send, onward(path))


async def _form(receive: Receive) -> dict[str, str] | None:
    """The fields of a short form; None where it is not one."""
    body = b""
    while len(body) <= MOST_FORM:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            return _fields(body)
    return None


def _fields(form: bytes) -> dict[str, str]:
    return {name: last[-1] for name, last in parse_qs(form.decode("latin-1")).items()}


def onward(path: str) -> str:
    """A path of this host, and never an address elsewhere."""
    plain = path if path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
    return quote(plain, safe="/%:@!$&'()*+,;=~-._")


async def _serve(asked: Asked, receive: Receive, send: Send) -> None:
    key = asked.session_key
    if key is None:
        await _lead_in(asked, send)
        return
    visit = await visit_of(key, asked.address)
    admission = visit.admission
    if isinstance(admission, Denied):
        await _why_not(asked, key, admission, send)
    elif visit.full:
        await pages.say(send, 429, NO_MORE, (b"retry-after", b"5"))
    elif not (admission.standing.controls or admission.app.shows(asked.method, asked.path)):
        await pages.say(send, 403, ONLY_WATCH)
    else:
        await _during(Entered(asked, key, visit, admission), receive, send)


async def _during(entered: Entered, receive: Receive, send: Send) -> None:
    """An answer that is cut off before it began is one that says why."""
    begun = False

    async def note(message: Message) -> None:
        nonlocal begun
        begun = True
        await send(message)

    whole = await entered.visit.during(_exchange(entered, receive, note))
    if not whole and not begun:
        now = entered.visit.admission
        await _why_not(entered.asked, entered.key, now if isinstance(now, Denied) else None, send)


async def _exchange(entered: Entered, receive: Receive, send: Send) -> None:
    traffic = Traffic(inputs=int(entered.asked.method not in upstream.SAFE))
    try:
        await upstream.exchange(entered.to_machine(), receive, send, traffic)
    except Unanswered as why:
        log.info("machine %s: %s did not answer: %s", entered.asked.address.uuid, entered.admission.app.slug, why)
        await _why_not(entered.asked, entered.key, None, send)
    finally:
        entered.visit.count(traffic)


async def _lead_in(asked: Asked, send: Send) -> None:
    """To the site, which knows who this is and sends them back.

    Of a kernel that is not to be had for now (503) JupyterLab asks again after a while; one that it may not ask for
    (401) it takes for dead, and with it all that it holds.
    """
    if asked.is_navigation:
        await pages.lead(send, pages.way_in(asked.address, asked.path.decode("ascii")))
    else:
        await pages.say(send, 503 if reading.is_kernel(asked.path) else 401, SIGNED_OUT)


async def _why_not(asked: Asked, key: str, denied: Denied | None, send: Send) -> None:
    """None: the person may come in, and the machine does not answer."""
    if denied and denied.ending.code == Code.SIGN_IN:
        await _lead_in(asked, send)
    elif asked.is_navigation:
        status, page = await in_database(pages.waiting, key, asked.address, denied, framed=asked.in_frame)
        await pages.show(send, status, page)
    else:
        words = denied.ending.reason if denied else "The machine does not answer at the moment."
        await pages.say(send, 503, words, (b"retry-after", b"5"))
