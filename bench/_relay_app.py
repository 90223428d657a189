"""The relay alone as an ASGI application, everybody admitted: to watch at /gallery, else to control.

Run under uvicorn by bench/relay.py and bench/watchers.py.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from desktops.gallery import Place, Watcher
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
    direct = scope["extensions"].get(EXTENSION)
    if scope["path"] == "/gallery":
        watcher = Watcher(Place("127.0.0.1", MACHINE, "", 1), receive, send, direct)
        await watcher.enter()
        await send({"type": "websocket.accept"})
        await watcher.run()
        return
    screen = await open_screen("127.0.0.1", MACHINE, "", timeout=10)
    await send({"type": "websocket.accept", "subprotocol": "binary" if "binary" in scope["subprotocols"] else None})
    await Relay(screen, receive, send, Role.CONTROL, direct).run()
