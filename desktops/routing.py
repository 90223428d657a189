"""The sockets: which there are, and what stands before all of them."""

from __future__ import annotations

from channels.routing import URLRouter
from channels.sessions import CookieMiddleware
from django.urls import path, re_path

from desktops import endpoint
from desktops.consumers import Events
from desktops.origin import AllowedOrigin, refuse

websocket_urlpatterns = [
    path("events/", Events.as_asgi()),
    path("desktops/<uuid:uuid>/screen/", endpoint.screen),  # type: ignore[arg-type] # Channels routes ASGI callables
    path("desktops/<uuid:uuid>/console/", endpoint.console),  # type: ignore[arg-type]
    path("desktops/<uuid:uuid>/terminal/", endpoint.terminal),  # type: ignore[arg-type]
    re_path(r"", refuse),  # type: ignore[arg-type]
]

# Cookies only: every socket asks `access.signed_in`, now and again later. Channels' AuthMiddleware would ask once, and
# in the one thread that all synchronous views share.
application = AllowedOrigin(CookieMiddleware(URLRouter(websocket_urlpatterns)))
