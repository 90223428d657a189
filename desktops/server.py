"""uvicorn's WebSocket with a way past ASGI, for pixels and for tunnels: `uvicorn --ws desktops.server:DirectSocket`.

An ASGI `send` costs more than everything else that a relay does for a frame. Under this class the scope carries the
extension `visa.direct`, a `desktops.relay.Viewer`; on other servers the relay does without it. Knows no Django.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request

from desktops import frames

EXTENSION = "visa.direct"

TAKE_PATIENCE = 30.0
"""Seconds that a browser gets to take what was sent to it before the end."""


class Taker(Protocol):
    """Who takes over what a browser says. `may_interrupt`: what it sends to the browser ends between two frames."""

    @property
    def may_interrupt(self) -> bool: ...

    def data_received(self, data: bytes) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...


MOST_GATHERED = 64 * 1024
"""Bytes of an answer that wait for more of it, until the next turn of the loop."""


class Gathering:
    """A transport over which what is written in one turn of the loop goes out as one: head and body of an answer."""

    def __init__(self, bare: asyncio.Transport) -> None:
        self.bare = bare
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        if not self._held:
            asyncio.get_running_loop().call_soon(self._let_go)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_GATHERED:
            self._let_go()

    def close(self) -> None:
        self._let_go()
        self.bare.close()

    def _let_go(self) -> None:
        held, self._held, self._size = self._held, [], 0
        if held and not self.bare.is_closing():
            self.bare.writelines(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bare, name)


class GatheredRequests(HttpToolsProtocol):
    """uvicorn's HTTP with one write for a small answer, where it makes three: `uvicorn --http`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._gathering = Gathering(transport)
        self.transport = cast(asyncio.Transport, self._gathering)

    def handle_websocket_upgrade(self) -> None:
        self.transport = self._gathering.bare
        super().handle_websocket_upgrade()


class Unheard:
    """In place of a queue that nobody listens to: an idle socket needs no 3 KB for those who may wait at one."""

    def __init__(self, queue: asyncio.Queue[Any]) -> None:
        self.events = [queue.get_nowait() for _ in range(queue.qsize())]
        self.put_nowait = self.events.append

    def heard(self) -> asyncio.Queue[Any]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        for event in self.events:
            queue.put_nowait(event)
        return queue


class DirectSocket(WebSocketsSansIOProtocol):
    """One WebSocket. permessage-deflate must be off: what goes directly is not compressed."""

    _full: Callable[[], None] | None = None
    _free: Callable[[], None] | None = None
    _taker: Taker | None = None

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
            self.transport.writelines((frames.head(len(data)), data))

    def hand_over(self, taker: Taker | None) -> None:
        """Frames go to and fro as they are, past ASGI; None takes them back, so that ASGI can say the last word."""
        self._taker = taker
        if isinstance(self.queue, Unheard):
            self.queue = self.queue.heard()
        if taker:  # a socket that waits for hours needs no memory for how it began
            self.queue = cast(asyncio.Queue[Any], Unheard(self.queue))
            self.request.headers.clear()
            self.response.headers.clear()
            self.scope.clear()  # type: ignore[attr-defined]
        if not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()

    def pong(self, payload: bytes) -> None:
        """A browser's answer, maybe to our own ping."""
        self.handle_pong(Frame(Opcode.PONG, payload))

    def send_keepalive_ping(self) -> None:
        if self._taker is None or self._taker.may_interrupt:
            super().send_keepalive_ping()
        else:
            self.schedule_ping()

    def keepalive_timeout(self) -> None:
        """Who does not answer may take nothing either, and would never be gone."""
        super().keepalive_timeout()
        self.loop.call_later(TAKE_PATIENCE, self.transport.abort)

    def abort(self) -> None:
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._taker:
            self._taker.data_received(data)
        else:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._taker:
            self._taker.connection_lost(exc)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """A browser that takes nothing would keep what was sent to it in our memory, long after the conversation."""
        super().on_task_complete(task)
        if not self.writable.is_set():
            self.loop.call_later(TAKE_PATIENCE, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._full:
            self._full()
        if self._taker:
            self._taker.pause_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._free:
            self._free()
        if self._taker:
            self._taker.resume_writing()
