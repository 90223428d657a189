"""uvicorn's WebSocket with a way past ASGI for pixels: `uvicorn --ws desktops.server:DirectSocket`.

An ASGI `send` costs more than everything else that a relay does for a frame. Under this class the scope carries the
extension `visa.direct`, a `desktops.relay.Viewer`; on other servers the relay does without it. Knows no Django.
"""

import asyncio
import struct
from collections.abc import Callable

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "visa.direct"

TAKE_PATIENCE = 30.0
"""Seconds that a browser gets to take what was sent to it before the end."""

_BINARY = 0x82  # FIN and opcode 2 (RFC 6455, 5.2)
_SHORT, _MEDIUM = 126, 0x10000


def frame_head(size: int) -> bytes:
    """The head of an unmasked, final binary frame with this payload (RFC 6455, 5.2)."""
    if size < _SHORT:
        return struct.pack(">BB", _BINARY, size)
    if size < _MEDIUM:
        return struct.pack(">BBH", _BINARY, 126, size)
    return struct.pack(">BBQ", _BINARY, 127, size)


class DirectSocket(WebSocketsSansIOProtocol):
    """One WebSocket. permessage-deflate must be off: what goes directly is not compressed."""

    _full: Callable[[], None] | None = None
    _free: Callable[[], None] | None = None
    _came: Callable[[int], bool] | None = None

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope") and not self.config.ws_per_message_deflate:
            self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]

    def follow(self, full: Callable[[], None], free: Callable[[], None]) -> None:
        self._full, self._free = full, free
        if not self.writable.is_set():
            full()

    def send_bytes(self, data: bytes) -> None:
        if not self.close_sent and not self.transport.is_closing():
            self.transport.writelines((frame_head(len(data)), data))

    def allow(self, size: int) -> None:
        """Let messages of up to so many bytes come in, whatever the server's own limit."""
        self.conn.max_message_size = size

    def count(self, came: Callable[[int], bool]) -> None:
        """Be told how many bytes come in, before they make whole messages; on False nothing more is read."""
        self._came = came

    async def drain(self) -> None:
        """Until the browser has taken nearly all that was sent, or has gone."""
        await self.writable.wait()

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._came is None or self._came(len(data)):
            super().data_received(data)
        else:
            self.transport.pause_reading()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """A browser that takes nothing would keep what was sent to it in our memory, long after the conversation."""
        super().on_task_complete(task)
        if not self.writable.is_set():
            self.loop.call_later(TAKE_PATIENCE, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._full:
            self._full()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._free:
            self._free()
