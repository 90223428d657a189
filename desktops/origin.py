"""Only our own pages may open our sockets: a browser sends cookies along from any page (CVE-2015-0259)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(address: str) -> str:
    """Scheme, host and port of an address as browsers write an Origin (RFC 6454, 6.2)."""
    parts = urlsplit(address.strip().lower())
    port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def allowed_origins() -> frozenset[str]:
    return _origins(settings.PUBLIC_URL, *settings.CSRF_TRUSTED_ORIGINS)


@lru_cache
def _origins(*addresses: str) -> frozenset[str]:
    return frozenset(origin_of(address) for address in addresses)


class AllowedOrigin:
    """Lets a socket through whose only Origin equals one of ours letter for letter; refuses others before accepting."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        origins = [value for name, value in scope["headers"] if name.lower() == b"origin"]
        if len(origins) == 1 and origins[0].decode("latin-1") in allowed_origins():
            await self._app(scope, receive, send)
        else:
            await refuse(scope, receive, send)


async def refuse(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """Close before accepting: the server answers the handshake with 403."""
    await receive()
    await send({"type": "websocket.close"})
