"""A request to an application's host, once it is understood, and once somebody is in."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.conf import settings

from desktops.origin import allowed_origins
from desktops.webapps import pages, tickets
from desktops.webapps.door import Admission
from desktops.webapps.headers import Confines, Framing, Headers, Malformed, framing, from_elsewhere, only, upward
from desktops.webapps.origins import Address, address_at, scheme
from desktops.webapps.upstream import Request
from desktops.webapps.visits import Visit

Scope = MutableMapping[str, Any]

JUPYTERS_SIGN_IN = "username-"
"""How the names of the cookies begin that are worth as much as Jupyter's token."""


@dataclass(frozen=True)
class Asked:
    """A request or a WebSocket's handshake that can be understood in one way only."""

    address: Address
    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    framing: Framing
    origin: str | None

    @classmethod
    def of(cls, scope: Scope) -> Asked:
        """Raises Malformed."""
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        address = address_at(only(headers, b"host") or "")
        path, query = scope["raw_path"], scope["query_string"]
        if address is None or not path.startswith(b"/") or not (path + query).isascii():
            raise Malformed("this is no machine's address")
        framed, origin = framing(headers), only(headers, b"origin")
        if scope["type"] == "websocket" and framed.body:
            raise Malformed("a handshake has no body")
        return cls(address, scope.get("method", "GET"), path, query, headers, framed, origin)

    @property
    def from_elsewhere(self) -> bool:
        return from_elsewhere(self.method, self.headers, self.address.origin)

    @property
    def is_navigation(self) -> bool:
        return pages.is_navigation(self.method, self.headers)

    @property
    def in_frame(self) -> bool:
        """Whether what is answered becomes the page of a frame."""
        return only(self.headers, b"sec-fetch-dest") == "iframe"

    @property
    def session_key(self) -> str | None:
        return tickets.session_of(self.headers, self.address)


@dataclass(frozen=True)
class Entered:
    """A request of somebody who is in, with what they may do at this moment."""

    asked: Asked
    key: str
    visit: Visit
    admission: Admission

    @property
    def controls(self) -> bool:
        return self.admission.standing.controls

    def to_machine(self) -> Request:
        """The same request as the machine gets it: with its own token, and with nothing of the site's."""
        asked, app = self.asked, self.admission.app
        confines = _confines(_our_cookies(), allowed_origins(), tickets.is_framed(asked.headers))
        headers = [*_own_words(asked.address.host, scheme(), *self.admission.person)]
        headers += upward(asked.headers, confines)
        if app.token:
            # Uncompressed, so that the token can be taken out of every page that holds it.
            headers = [header for header in headers if header[0].lower() != b"accept-encoding"]
            headers.append((b"authorization", f"token {app.token}".encode()))
        place = (self.admission.host, app.port, asked.path, asked.query)
        return Request(asked.method, *place, headers, asked.framing, confines, app.token.encode())


@lru_cache(maxsize=1024)
def _own_words(host: str, proto: str, user: UUID, name: str) -> Headers:
    """What the proxy says with each request of a person."""
    where = [(b"host", host.encode()), (b"x-forwarded-host", host.encode()), (b"x-forwarded-proto", proto.encode())]
    return [*where, (b"x-forwarded-user", str(user).encode()), (b"x-forwarded-name", quote(name).encode())]


@lru_cache
def _confines(ours: frozenset[str], origins: frozenset[str], framed: bool) -> Confines:
    return Confines(ours, (JUPYTERS_SIGN_IN,), tuple(sorted(origins)), framed)


def _our_cookies() -> frozenset[str]:
    return frozenset({settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, *tickets.cookie_names()})
