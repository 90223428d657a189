"""The application that uvicorn and daphne serve: pages and API by Django, sockets by Channels' routing, and on hosts of
their own the web applications of machines.
"""

import os

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "visa_site.settings")
pages = get_asgi_application()

from desktops.routing import application as sockets  # noqa: E402 - Django's apps must be loaded first
from desktops.webapps.application import OwnOrigins  # noqa: E402

application = OwnOrigins(ProtocolTypeRouter({"http": pages, "websocket": sockets}))
