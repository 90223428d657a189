"""One viewer at one machine's screen: two pumps and a control line. asyncio only; speaks ASGI to the viewer.

Pixels go down as they come, at most `READ_LIMIT` bytes at a time and never faster than the viewer takes them: a slow
viewer slows the machine, not the memory. What the viewer says goes up message by message, if its role may say it.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, cast

from desktops.rfb import ClientMessages, Handshake, ProtocolError, Role
from instances.screen import READ_LIMIT, Screen

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

GREETING_PATIENCE = 10.0
"""Seconds in which a viewer must have finished the handshake."""

FAREWELL_PATIENCE = 0.5
"""Seconds that a stalled viewer gets to take the reason why it ends; then the connection ends without."""

GATHER = 0.008
"""Seconds that pieces of an unasked-for stream are gathered."""

CLOSE = 0.0015
"""Seconds between two pieces that make them such a stream."""


class Code(IntEnum):
    """Why a connection ends, as the page is told (close codes of RFC 6455, 7.4)."""

    LEFT = 1000
    PROTOCOL = 1002
    NONSENSE = 1003
    INTERRUPTED = 1011
    TRY_AGAIN = 1013
    SIGN_IN = 4401
    WITHDRAWN = 4403
    NOT_FOUND = 4404
    ASK_FIRST = 4407
    COME_AGAIN = 4408
    OWNER_AWAY = 4409
    STOPPED = 4410
    ENDED = 4411
    FLOOD = 4429
    NO_ANSWER = 4502


@dataclass(frozen=True)
class Ending:
    """How a connection ended; `reason` is a sentence for the person, at most 123 bytes (RFC 6455, 5.5)."""

    code: Code
    reason: str = ""


@dataclass
class Traffic:
    """Bytes towards the viewer and towards the machine, and how many messages made the former."""

    down: int = 0
    up: int = 0
    messages: int = 0


VIEWER_LEFT = Ending(Code.LEFT, "The viewer left.")
NO_ANSWER = Ending(Code.NO_ANSWER, "The machine's screen stopped answering.")


class Viewer(Protocol):
    """Where pixels go: `send_bytes` never waits, but says through `follow` when to stop and when to go on."""

    def send_bytes(self, data: bytes) -> None: ...

    def follow(self, full: Callable[[], None], free: Callable[[], None]) -> None: ...

    def abort(self) -> None: ...


class Line(ABC):
    """An accepted WebSocket of a viewer, until one side ends it or `end` is called.

    `direct` is a server's own way to its socket (`desktops.server`), which spares half the cost of a frame; without it
    what goes down goes through ASGI's `send`.
    """

    def __init__(self, receive: Receive, send: Send, direct: Viewer | None) -> None:
        self.traffic = Traffic()
        self._receive = receive
        self._send = send
        self._direct = direct
        self._asked: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def end(self, ending: Ending) -> None:
        """Stop now, whatever is waited for; the first call counts."""
        if not self._asked.done():
            self._asked.set_result(ending)

    @abstractmethod
    def close(self) -> None:
        """Let go of the machine; again does no harm."""

    async def run(self) -> Ending:
        """Until the end. The machine is let go afterwards; the viewer is still to be told."""
        try:
            return await first(self._asked, asyncio.ensure_future(self._talk()))
        finally:
            self.close()

    async def say_farewell(self, ending: Ending) -> None:
        """Tell the viewer why, if it is still there and listens."""
        if ending.code == Code.LEFT:
            return
        told = await say_farewell(self._send, ending)
        if not told and self._direct:
            self._direct.abort()

    @abstractmethod
    async def _talk(self) -> Ending:
        """With the viewer, until one of both is through."""


class Conversation(Line):
    """One whose viewer speaks RFB to us. `inputs` rises with every key, pointer movement or paste that went up."""

    def __init__(self, receive: Receive, send: Send, role: Role, direct: Viewer | None) -> None:
        super().__init__(receive, send, direct)
        self._messages = ClientMessages(role)

    @property
    def inputs(self) -> int:
        return self._messages.inputs

    @property
    def role(self) -> Role:
        return self._messages.role

    @abstractmethod
    def _introduction(self) -> Handshake:
        """How the screen presents itself to this viewer."""

    @abstractmethod
    async def _pump(self, rest: bytes) -> Ending:
        """What comes after the handshake, of which `rest` came with it."""

    async def _talk(self) -> Ending:
        try:
            async with asyncio.timeout(GREETING_PATIENCE):
                rest = await self._greet()
            return await self._pump(rest)
        except ProtocolError as wrong:
            return _broken(wrong)
        except TimeoutError:
            return _broken("The handshake took too long.")
        except (_ViewerLeft, OSError):
            return VIEWER_LEFT

    async def _greet(self) -> bytes:
        handshake = self._introduction()
        answer = handshake.greeting
        while True:
            if answer:
                await self._send({"type": "websocket.send", "bytes": answer})
                self.traffic.down += len(answer)
            if handshake.done:
                return handshake.rest
            answer = handshake.receive(await self._from_viewer())

    async def _from_viewer(self) -> bytes:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _ViewerLeft
        data = message.get("bytes")
        if data is None:
            raise ProtocolError("The viewer sent text where only bytes are understood.")
        return bytes(data)


class Relay(Conversation):
    """Joins a viewer and an open screen of its own."""

    def __init__(self, screen: Screen, receive: Receive, send: Send, role: Role, direct: Viewer | None = None) -> None:
        super().__init__(receive, send, role, direct)
        self._screen = screen

    def change_role(self, role: Role) -> None:
        """From the viewer's next message on. Who loses control lets go of what was held down."""
        if role is Role.WATCH and not self._screen.writer.is_closing():
            self._screen.writer.write(self._messages.release())
        self._messages.role = role

    def close(self) -> None:
        self._screen.abort()

    def _introduction(self) -> Handshake:
        return introduce(self._screen)

    async def _pump(self, rest: bytes) -> Ending:
        queue = SendQueue(self._send)
        machine = _Machine(self._screen, self._direct or queue, self.traffic)
        try:
            await machine.take_over(self._screen)
            return await first(
                machine.lost, asyncio.ensure_future(self._up(machine, rest)), asyncio.ensure_future(queue.pump())
            )
        finally:
            machine.let_go()

    async def _up(self, machine: _Machine, said: bytes) -> Ending:
        while True:
            passed = self._messages.receive(said)
            machine.viewer_spoke()
            if passed:
                await machine.write(passed)
            said = await self._from_viewer()


def introduce(screen: Screen) -> Handshake:
    """How this screen presents itself to a viewer."""
    return Handshake(screen.width, screen.height, screen.pixel_format, screen.name)


class _Machine(asyncio.Protocol):
    """The machine's connection once it only carries pixels and input.

    Where a machine sends without being asked, in pieces that follow each other closely, its socket is left alone for
    `GATHER` seconds after each piece, so that one message carries several. An answer to the viewer never waits.
    """

    def __init__(self, screen: Screen, viewer: Viewer, traffic: Traffic) -> None:
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Ending] = self._loop.create_future()
        self._transport = cast(asyncio.Transport, screen.writer.transport)
        self._socket: int = self._transport.get_extra_info("socket").fileno()
        self._viewer = viewer
        self._traffic = traffic
        self._writable = asyncio.Event()
        self._writable.set()
        self._answering = False
        self._viewer_full = False
        self._gathering: asyncio.TimerHandle | None = None
        self._free_since = 0.0

    async def take_over(self, screen: Screen) -> None:
        """From now on the bytes come here; what the screen's reader holds already goes first."""
        self._viewer.follow(self._stop, self._go_on)
        self._transport.set_protocol(self)
        ended = screen.reader.at_eof()
        screen.reader.feed_eof()
        early = await screen.reader.read()
        if early:
            self.data_received(early)
        if ended or self._transport.is_closing():
            self.connection_lost(None)

    def let_go(self) -> None:
        self._viewer.follow(nothing, nothing)
        if self._gathering:
            self._gathering.cancel()

    def data_received(self, data: bytes) -> None:
        self._deliver(data)
        now = self._loop.time()
        if self._answering:
            self._answering = False
        elif now - self._free_since < CLOSE and len(data) < READ_LIMIT:
            self._transport.pause_reading()
            self._gather()
        self._free_since = now

    def _deliver(self, data: bytes) -> None:
        self._viewer.send_bytes(data)
        self._traffic.down += len(data)
        self._traffic.messages += 1

    def _gather(self) -> None:
        self._gathering = self._loop.call_later(GATHER, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        # A closing transport's descriptor may belong to somebody else's connection already.
        if self._viewer_full or self._transport.is_closing():
            return
        # The transport is paused and does not look at its socket; waking it for one piece costs more than the piece.
        try:
            data = os.read(self._socket, READ_LIMIT)
        except OSError:
            data = b""
        if data:
            self._deliver(data)
        if data and len(data) < READ_LIMIT:
            self._gather()
        else:
            self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._gathering:
            self._gathering.cancel()
        self._writable.set()
        if not self.lost.done():
            self.lost.set_result(NO_ANSWER)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    async def write(self, data: bytes) -> None:
        self._transport.write(data)
        self._traffic.up += len(data)
        await self._writable.wait()

    def viewer_spoke(self) -> None:
        """What comes next may be the answer."""
        self._answering = True
        if self._gathering:
            self._gathering.cancel()
            self._gathering = None
            if not self._viewer_full:
                self._go_on()

    def _stop(self) -> None:
        self._viewer_full = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _go_on(self) -> None:
        self._viewer_full = False
        if not self._gathering and not self._transport.is_closing():
            self._free_since = self._loop.time()
            self._transport.resume_reading()


class SendQueue:
    """A Viewer over ASGI's `send`. Holds what comes during one `send`, and no more than asked for by then."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._waiting: list[bytes] = []
        self._size = 0
        self._filled = asyncio.Event()
        self._full: Callable[[], None] = nothing
        self._free: Callable[[], None] = nothing

    def follow(self, full: Callable[[], None], free: Callable[[], None]) -> None:
        self._full, self._free = full, free

    def send_bytes(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        self._filled.set()
        if self._size >= READ_LIMIT:
            self._full()

    def abort(self) -> None:
        """ASGI has no way to do this."""

    async def pump(self) -> Ending:
        while True:
            await self._filled.wait()
            data = b"".join(self._waiting)
            self._waiting.clear()
            self._filled.clear()
            await self._send({"type": "websocket.send", "bytes": data})
            self._size -= len(data)
            if self._size < READ_LIMIT:
                self._free()


def nothing() -> None:
    """Nobody follows."""


class _ViewerLeft(Exception):
    """The viewer closed its side."""


async def say_farewell(send: Send, ending: Ending) -> bool:
    """Close the WebSocket with the ending's code and reason; False where the viewer took nothing for half a second."""
    try:
        async with asyncio.timeout(FAREWELL_PATIENCE):
            await send({"type": "websocket.close", "code": int(ending.code), "reason": ending.reason})
    except OSError:
        return False
    return True


async def first(*ways: asyncio.Future[Ending]) -> Ending:
    """What the first of these says, in their order where several end at once; the others are cancelled."""
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        return next(way.result() for way in ways if way in done)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


def _broken(why: object) -> Ending:
    return Ending(Code.PROTOCOL, f"The viewer and the relay do not understand each other: {why}"[:120])
