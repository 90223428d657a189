"""A uvicorn on loopback inside the test's own loop, and viewers that come to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

DIRECT = "desktops.server:DirectSocket"
GATHERED = "desktops.server:GatheredRequests"
PLAIN = "websockets-sansio"
PATIENCE = 30.0
MESSAGE_LIMIT = 1024 * 1024


async def until(condition: Callable[[], object]) -> None:
    """Return once the condition holds; raises TimeoutError when it does not in ten seconds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what it looks at tells nobody when it changes
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(app: Any, ws: str = DIRECT, **more: Any) -> AsyncIterator[int]:
    """The application on a port of its own, as production serves it."""
    config = uvicorn.Config(
        app,
        port=0,
        ws=ws,
        http=GATHERED,
        ws_per_message_deflate=False,
        ws_max_size=MESSAGE_LIMIT,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
        **more,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running


class Viewer:
    """A browser's side of a screen, reduced to bytes."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.seen = bytearray()

    async def shake_hands(self) -> None:
        """Up to and including ServerInit; its bytes are left out of `seen`."""
        await self.until(12)
        await self.say(b"RFB 003.008\n")
        await self.until(14)
        await self.say(b"\x01")
        await self.until(18)
        await self.say(b"\x01")
        await self.until(42)
        await self.until(42 + int.from_bytes(self.seen[38:42], "big"))
        del self.seen[: 42 + int.from_bytes(self.seen[38:42], "big")]

    async def say(self, data: bytes) -> None:
        await self.socket.send(data)

    async def until(self, size: int) -> bytes:
        """Everything seen so far, once it is at least so much."""
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < size:
                message = await self.socket.recv()
                assert isinstance(message, bytes)
                self.seen += message
        return bytes(self.seen)

    async def ended(self) -> tuple[int, str]:
        """Code and reason of the close, once it comes; what is seen until then is kept."""
        async with asyncio.timeout(PATIENCE):
            try:
                while True:
                    self.seen += await self.socket.recv(decode=False)
            except ConnectionClosed as closed:
                end = closed.rcvd
        assert end is not None, "closed without a word"
        return end.code, end.reason


@asynccontextmanager
async def viewing(port: int, path: str = "/", **options: Any) -> AsyncIterator[Viewer]:
    """A viewer with an accepted socket, before any handshake of RFB."""
    options = {"origin": "http://localhost:8000", "compression": None, "max_size": None} | options
    async with connect(f"ws://127.0.0.1:{port}{path}", **options) as socket:
        yield Viewer(socket)
