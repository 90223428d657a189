"""The relay alone as an ASGI application, everybody admitted. Run by bench/relay.py under uvicorn."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from desktops.relay import Relay
from desktops.rfb import Role
from desktops.server import EXTENSION
from instances.screen import open_screen

MACHINE = int(os.environ["BENCH_MACHINE_PORT"])


async def application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    await receive()
    screen = await open_screen("127.0.0.1", MACHINE, "", timeout=10)
    await send({"type": "websocket.accept", "subprotocol": "binary" if "binary" in scope["subprotocols"] else None})
    await Relay(screen, receive, send, Role.CONTROL, scope["extensions"].get(EXTENSION)).run()
