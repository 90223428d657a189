"""A viewer that takes frames and looks at nothing: a WebSocket client and the RFB handshake, for measuring relays."""

import asyncio
import base64
import os
import struct
from typing import cast

from bench._machine import FRAME, NAME, SERVER_INIT

UPDATE_REQUEST = struct.pack(">BB4H", 3, 0, 0, 0, 1024, 768)


def stream_frames(on: bool, rate: int = 0) -> bytes:
    """EnableContinuousUpdates as _machine.py understands it."""
    return struct.pack(">BB4H", 150, on, rate, 0, 1024, 768)


class Viewer(asyncio.Protocol):
    """Counts the payload of the frames that arrive, keeps it only during the handshake, and answers pings."""

    def __init__(self) -> None:
        self.received = 0
        self.kept: bytearray | None = bytearray()
        self._raw = bytearray()
        self._left = 0
        self._ping: bytearray | None = None
        self._upgraded = False
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            f"GET /desktops/bench/ HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: binary\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if not self._upgraded:
            self._raw += data
            head, end, rest = bytes(self._raw).partition(b"\r\n\r\n")
            if not end:
                return
            assert b" 101 " in head, head
            self._upgraded, data = True, rest
            self._raw.clear()
        self._count(data)
        while self._waiters and self.received >= self._waiters[0][0]:
            waiter = self._waiters.pop(0)[1]
            if not waiter.done():
                waiter.set_result(None)

    def _count(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._left:
                taken = min(self._left, len(data) - at)
                self._take(data[at : at + taken])
                self._left -= taken
                at += taken
            else:
                self._raw += data[at : at + 1]
                at += 1
                self._begin_frame()

    def _take(self, payload: bytes) -> None:
        if self._ping is not None:
            self._ping += payload
            if len(payload) == self._left:
                self._send(0x8A, bytes(self._ping))
            return
        self.received += len(payload)
        if self.kept is not None:
            self.kept += payload

    def _begin_frame(self) -> None:
        raw = self._raw
        if len(raw) < 2:
            return
        size = raw[1] & 0x7F
        head = 2 if size < 126 else 4 if size == 126 else 10
        if len(raw) == head:
            self._left = size if size < 126 else int.from_bytes(raw[2:head], "big")
            self._ping = bytearray() if raw[0] & 0x0F == 9 else None
            raw.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(ConnectionResetError("the relay hung up"))

    def _send(self, kind: int, data: bytes) -> None:
        """One masked WebSocket frame of less than 126 bytes (RFC 6455, 5.2), with a mask of zeros."""
        self.transport.write(struct.pack(">BB", kind, 0x80 | len(data)) + b"\0\0\0\0" + data)

    def say(self, data: bytes) -> None:
        self._send(0x82, data)

    async def has(self, total: int) -> None:
        """Return when `total` bytes of payload have arrived since the beginning."""
        if self.received < total:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((total, waiter))
            await waiter

    async def request_frame(self) -> None:
        wanted = self.received + FRAME
        self.say(UPDATE_REQUEST)
        await self.has(wanted)


async def open_viewer(port: int) -> Viewer:
    """Connect through the relay on this port up to the end of the RFB handshake."""
    _, viewer = await asyncio.get_running_loop().create_connection(Viewer, "127.0.0.1", port)
    async with asyncio.timeout(30):
        await viewer.has(12)
        viewer.say(b"RFB 003.008\n")
        await viewer.has(14)
        viewer.say(b"\x01")
        await viewer.has(18)
        viewer.say(b"\x01")
        await viewer.has(18 + len(SERVER_INIT) + 4 + len(NAME))
    viewer.kept = None
    return viewer
