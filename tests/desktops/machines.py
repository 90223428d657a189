"""Machines' screens as tests need them: RFB servers on loopback that say what they heard, and some that misbehave."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from instances.screen import PixelFormat, vnc_response

M = TypeVar("M", bound="Machine")

TRUE_COLOUR = PixelFormat(32, 24, False, True, 255, 255, 255, 16, 8, 0)
PATIENCE = 30.0

Paint = Callable[[int, int], int]
"""The 16-bit pixel at x, y."""


class Machine:
    """An RFB server with one kind of manners. What viewers say after the handshake is kept in `heard`."""

    def __init__(
        self,
        *,
        password: str = "",
        version: int = 8,
        size: tuple[int, int] = (64, 48),
        name: bytes = b"machine",
        paint: Paint = lambda x, y: 0,
        offers: bytes | None = None,
        before_updates: bytes = b"",
        encoding: int = 0,
        bands: int = 1,
    ) -> None:
        self.password = password
        self.version = version
        self.size = size
        self.name = name
        self.paint = paint
        self.offers = offers or (b"\x02" if password else b"\x01")
        self.before_updates = before_updates
        self.encoding = encoding
        self.bands = bands
        self.heard = bytearray()
        self.writers: list[asyncio.StreamWriter] = []
        self._news = asyncio.Condition()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self.shake_hands(reader, writer)
            async with self._news:
                self.writers.append(writer)
                self._news.notify_all()
            await self.listen(reader, writer)
        writer.transport.abort()
        async with self._news:
            if writer in self.writers:
                self.writers.remove(writer)
            self._news.notify_all()

    async def shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.%03d\n" % self.version)
        await reader.readexactly(12)
        if self.version == 3:
            kind = self.offers[0]
            writer.write(struct.pack(">I", kind))
        else:
            writer.write(bytes([len(self.offers)]) + self.offers)
            kind = (await reader.readexactly(1))[0]
        await self.authenticate(kind, reader, writer)
        await reader.readexactly(1)
        head = struct.pack(">HH", *self.size) + TRUE_COLOUR.pack()
        writer.write(head + struct.pack(">I", len(self.name)) + self.name)

    async def authenticate(self, kind: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if kind == 2:
            challenge = os.urandom(16)
            writer.write(challenge)
            if await reader.readexactly(16) != vnc_response(self.password, challenge):
                reason = struct.pack(">I", 5) + b"wrong" if self.version == 8 else b""
                writer.write(b"\0\0\0\x01" + reason)
                raise OSError
        if kind == 2 or self.version == 8:
            writer.write(b"\0\0\0\0")

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            async with self._news:
                self.heard += data
                self._news.notify_all()

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once the condition holds; it is looked at whenever something was heard or somebody came or went."""
        async with asyncio.timeout(PATIENCE), self._news:
            await self._news.wait_for(lambda: bool(condition()))

    async def visited(self) -> asyncio.StreamWriter:
        """The viewer's connection, once its handshake is done."""
        await self.until(lambda: self.writers)
        return self.writers[-1]


class Painter(Machine):
    """Answers requests with raw pixels of 16 bits, as `instances.screen` asks for them."""

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind = (await reader.readexactly(1))[0]
            if kind == 0:
                await reader.readexactly(19)
            elif kind == 2:
                count = int.from_bytes((await reader.readexactly(3))[1:], "big")
                await reader.readexactly(4 * count)
            else:
                _, x, y, w, h = struct.unpack(">B4H", await reader.readexactly(9))
                writer.write(self.before_updates + self.update(x, y, w, h))

    def update(self, x: int, y: int, w: int, h: int) -> bytes:
        """The rectangle in as many bands as there should be."""
        rows = [range(y + h * i // self.bands, y + h * (i + 1) // self.bands) for i in range(self.bands)]
        parts = [struct.pack(">BxH", 0, self.bands)]
        for band in rows:
            parts.append(struct.pack(">4Hi", x, band.start, w, len(band), self.encoding))
            parts.append(b"".join(struct.pack("<H", self.paint(i, j)) for j in band for i in range(x, x + w)))
        return b"".join(parts)


class Silent(Machine):
    """Accepts and says nothing."""

    async def shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()


class Babbling(Machine):
    """Says something that is not RFB."""

    async def shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()


class Hasty(Machine):
    """Hangs up in the middle of the handshake."""

    async def shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"RFB 003.008\n\x01")
        raise OSError


class Deaf(Machine):
    """Lets a viewer in and never reads what it says."""

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()


@asynccontextmanager
async def listening(machine: M) -> AsyncIterator[M]:
    """The machine on a loopback port, named in `machine.port`, until the block ends."""
    server = await asyncio.start_server(machine.serve, "127.0.0.1", 0)
    machine.port = server.sockets[0].getsockname()[1]
    try:
        yield machine
    finally:
        server.close()
        for writer in list(machine.writers):
            writer.transport.abort()


class Easel(Machine):
    """Shows one flat colour in Tight. Answers a request when the picture changed since, as a real screen does."""

    def __init__(self, **manners: Any) -> None:
        super().__init__(**manners)
        self.colour = b"\x10\x20\x30"
        self.requests: list[tuple[int, ...]] = []
        self.encodings: list[tuple[int, ...]] = []
        self.drawn = 0
        self.bulk = 0
        self._asking: set[asyncio.StreamWriter] = set()
        self._stale: set[asyncio.StreamWriter] = set()

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await reader.readexactly(1)
            if message[0] == 2:
                message += await reader.readexactly(3)
            rest = {0: 19, 2: 4 * int.from_bytes(message[2:4], "big"), 3: 9}.get(message[0], 0)
            message += await reader.readexactly(rest)
            async with self._news:
                self._heard(message, writer)
                self._news.notify_all()

    def _heard(self, message: bytes, writer: asyncio.StreamWriter) -> None:
        self.heard += message
        if message[0] == 2:
            self.encodings.append(struct.unpack(f">{len(message) // 4 - 1}i", message[4:]))
        elif message[0] == 3:
            self.requests.append(struct.unpack(">B4H", message[1:]))
            self._asking.add(writer)
            if not message[1]:
                self._stale.add(writer)
            self._answer()

    def show(self, colour: bytes) -> None:
        self.colour = colour
        self._stale |= set(self.writers)
        self._answer()

    def _answer(self) -> None:
        for writer in self._asking & self._stale:
            writer.write(self.picture())
            self.drawn += 1
        answered = self._asking & self._stale
        self._asking -= answered
        self._stale -= answered

    def picture(self) -> bytes:
        """The whole screen as one filled rectangle, with a pointer's shape of `bulk` bytes, a multiple of 4096."""
        shape = struct.pack(">4HiBx", 0, 0, 1024, self.bulk // 4096, 0x574D5664, 1) + bytes(self.bulk)
        rectangles = [shape] if self.bulk else []
        filled = struct.pack(">4HiB", 0, 0, *self.size, 7, 0x80) + self.colour
        rectangles.append(filled)
        return struct.pack(">BxH", 0, len(rectangles)) + b"".join(rectangles)

    def resize(self, width: int, height: int) -> None:
        self.size = width, height
        for writer in self.writers:
            writer.write(struct.pack(">BxH4Hi", 0, 1, 0, 0, width, height, -223))
