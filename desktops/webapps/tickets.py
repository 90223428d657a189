"""How a person comes from the site to an application's own origin, without a secret in any address.

The site gives out a ticket, which the browser posts to the application's origin; there it becomes a cookie of that
origin alone. The cookie says, sealed, whose session it stands for: it ends with that session, and opens nothing else.
"""

from __future__ import annotations

import json
import secrets
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.conf import settings
from django.core.cache import cache

from desktops.webapps.headers import Headers, cookies_in
from desktops.webapps.origins import Address
from instances.models.fields import box

TICKET_SECONDS = 30
PURPOSE = b"visa cookies of web applications"


def issue(session_key: str, address: Address) -> str:
    """A ticket for this session and application: good once, and for half a minute. Redis holds only its hash."""
    ticket = secrets.token_urlsafe(32)
    cache.set(_name(ticket), [session_key, str(address.uuid), address.app], TICKET_SECONDS)
    return ticket


def redeem(ticket: str, address: Address) -> str | None:
    """The session that the ticket was issued to; None where it is used, too old, or another application's."""
    held = cache.get(_name(ticket))
    # Of several that come at once, the one whose deletion counts has it.
    if held is None or not cache.delete(_name(ticket)):
        return None
    session_key, uuid, app = held
    if Address(UUID(uuid), app) != address:
        return None
    cache.delete(_out(session_key, address))
    return str(session_key)


def show_out(session_key: str, address: Address) -> None:
    """From now on the cookie opens nothing, until the person presses the button again: applications come back alone."""
    cache.set(_out(session_key, address), True, settings.SESSION_COOKIE_AGE)


def shown_out(session_key: str, address: Address) -> bool:
    return bool(cache.get(_out(session_key, address)))


def _out(session_key: str, address: Address) -> str:
    return f"webapps.out.{sha256(_said(session_key, address)).hexdigest()}"


def _name(ticket: str) -> str:
    return f"webapps.ticket.{sha256(ticket.encode()).hexdigest()}"


def cookie_names() -> tuple[str, str]:
    """Of the cookie of a whole tab, and of the one of a frame beside the desktop."""
    return ("__Host-visa-app", "__Host-visa-frame") if settings.HTTPS else ("visa-app", "visa-frame")


def cookie(session_key: str, address: Address, *, framed: bool = False) -> str:
    """The Set-Cookie of an application's origin: for this host only, out of scripts' reach, gone with the browser.

    Lax, not Strict: the person comes from another site, and follows links. In a frame of the site, which may be
    another site to the browser, only a cookie for this frame alone goes along (CHIPS); it needs Secure, and browsers
    take that from localhost too.
    """
    sealed = box(tuple(settings.ENCRYPTION_KEYS), PURPOSE).encrypt(_said(session_key, address)).decode()
    kept = "SameSite=None; Secure; Partitioned" if framed else "SameSite=Lax" + ("; Secure" if settings.HTTPS else "")
    return f"{cookie_names()[framed]}={sealed}; Path=/; HttpOnly; {kept}"


def no_cookie(*, framed: bool = False) -> str:
    """The Set-Cookie that takes the other cookie away, where a browser sends both: one is of an older session."""
    kept = "; SameSite=None; Secure; Partitioned" if framed else "; Secure" if settings.HTTPS else ""
    return f"{cookie_names()[framed]}=; Path=/; Max-Age=0; HttpOnly{kept}"


def is_framed(headers: Headers) -> bool:
    """Whether the request comes from a frame of another site's page: there only the frame's cookie goes along."""
    whole, frame = cookie_names()
    found = cookies_in(headers)
    return bool(found.get(frame)) and not found.get(whole)


def session_of(headers: Headers, address: Address) -> str | None:
    """The key of the session that a request to this application stands for; None where nothing says so.

    Scripts of the guest may add cookies of the same name for longer paths; ours, for all paths, comes after them.
    """
    sent, ours = cookies_in(headers), tuple(settings.ENCRYPTION_KEYS)
    found = [value for name in cookie_names() for value in sent.get(name, ())]
    opened = (_opened(value, ours) for value in found)
    keys = [said[0] for said in opened if said and said[1] == address]
    return keys[-1] if keys else None


def _said(session_key: str, address: Address) -> bytes:
    return json.dumps([session_key, str(address.uuid), address.app]).encode()


@lru_cache(maxsize=1024)
def _opened(sealed: str, keys: tuple[str, ...]) -> tuple[str, Address] | None:
    """The session and the application of a cookie that is ours."""
    try:
        session_key, uuid, app = json.loads(box(keys, PURPOSE).decrypt(sealed.encode()))
    except (InvalidToken, ValueError):
        return None
    return session_key, Address(UUID(uuid), app)
