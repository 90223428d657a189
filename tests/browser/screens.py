"""A machine's screen for browsers: it paints what noVNC asks for, and can go away and come back."""

from __future__ import annotations

import asyncio
import struct

from tests.desktops.machines import Machine

# noVNC asks for 32 bits with red in the first byte
BLUE = bytes([0x00, 0x40, 0xA0, 0])
AMBER = bytes([0xFF, 0xB4, 0x3C, 0])


class Screen(Machine):
    """320 x 200 pixels of 32 bits, blue above and amber below; the keys, clicks and text that it was sent are kept."""

    def __init__(self, password: str) -> None:
        super().__init__(password=password, size=(320, 200))
        self.keys: list[int] = []
        self.text = ""
        self.clicks = 0
        self.server: asyncio.Server | None = None

    async def open(self) -> None:
        """Serve, on the port of the first time."""
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port)
        self.port = self.server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Gone, with all who look."""
        assert self.server is not None
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()

    async def say(self, data: bytes) -> None:
        self.writers[-1].write(data)

    async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 6143, 7.5: each client message in its length."""
        painted = False
        while True:
            kind = (await reader.readexactly(1))[0]
            if kind == 0:
                await reader.readexactly(19)
            elif kind == 2:
                await reader.readexactly(4 * int.from_bytes((await reader.readexactly(3))[1:], "big"))
            elif kind == 3:
                incremental, *area = struct.unpack(">B4H", await reader.readexactly(9))
                if not (incremental and painted):
                    writer.write(self.picture(*area))
                    painted = True
            elif kind == 4:
                down, key = struct.unpack(">B2xI", await reader.readexactly(7))
                self.keys += [key] if down else []
            elif kind == 5:
                self.clicks += (await reader.readexactly(5))[0] != 0
            elif kind == 6:
                length = int.from_bytes((await reader.readexactly(7))[3:], "big")
                self.text = (await reader.readexactly(length)).decode("latin-1")
            else:
                raise OSError(f"message {kind}")

    @staticmethod
    def picture(x: int, y: int, width: int, height: int) -> bytes:
        rows = b"".join((BLUE if row < 100 else AMBER) * width for row in range(y, y + height))
        return struct.pack(">BxH4Hi", 0, 1, x, y, width, height, 0) + rows
