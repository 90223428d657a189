"""The network between a browser and the site, which can be cut: what is open breaks off, and nothing new is taken."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from tests.browser.conftest import Site


@dataclass
class Wire:
    """Carries bytes from a port of its own to the site's; all in the site's event loop."""

    site: Site
    port: int = 0
    _server: asyncio.Server | None = None
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def mend(self) -> None:
        """Take connections, at the first port that was given, now and after each cut."""
        self.site.call(self._listen())

    def cut(self) -> None:
        self.site.call(self._break())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _break(self) -> None:
        if self._server:
            self._server.close()
        for end in list(self._ends):
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", int(self.site.url.rpartition(":")[2]))
        ends = {writer, back}
        self._ends |= ends
        await asyncio.gather(_pass(reader, back), _pass(there, writer))
        self._ends -= ends


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()
    writer.close()
