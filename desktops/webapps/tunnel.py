"""A WebSocket of a browser and one of a machine, joined: what one says goes to the other as it comes. asyncio only.

Of who takes nothing the other side is read no more, and memory stays flat whatever is sent. Down goes all that the
machine says. Up goes the same from who controls; of who watches, message by message, what they may say.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from base64 import b64encode
from collections.abc import Callable

from desktops.frames import Malformed, Message, Opcode, Reader, masked
from desktops.server import DirectSocket
from desktops.webapps import headers
from desktops.webapps.client import ClientConnection, Unanswered, Upgraded
from desktops.webapps.headers import only
from desktops.webapps.upstream import Request, Traffic, client

HANDSHAKE_PATIENCE = 120.0
"""Seconds that a WebSocket's handshake may take: Jupyter answers it only once the kernel does, which may be slow."""

FAREWELL = 1.0
"""Seconds in which a machine must take what is still on its way to it."""

GOING_AWAY = struct.pack(">H", 1001)

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""


class Refused(Exception):
    """The machine answered a WebSocket's handshake with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Broken(Exception):
    """The machine ended in the middle, or said what no WebSocket says."""


async def dial(request: Request, protocols: list[str]) -> tuple[Upgraded, str | None]:
    """A WebSocket to the machine, and which of these protocols it chose. Raises Refused or Unanswered."""
    key = b64encode(os.urandom(16))
    more = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-version", b"13")]
    more += [(b"sec-websocket-key", key)]
    if protocols:
        more.append((b"sec-websocket-protocol", ", ".join(protocols).encode()))
    connection = await client().connect(request.host, request.port)
    try:
        connection.ask(request.head(*more))
        async with asyncio.timeout(HANDSHAKE_PATIENCE):
            await connection.head()
        return Upgraded(connection.transport, connection.rest), _agreed(connection, key, protocols)
    except (OSError, headers.Malformed) as error:  # TimeoutError is one
        connection.abort()
        raise Unanswered(repr(error)) from error
    except BaseException:
        connection.abort()
        raise


def _agreed(connection: ClientConnection, key: bytes, protocols: list[str]) -> str | None:
    """What the machine chose (RFC 6455, 4.1). A redirect is no choice."""
    if connection.status != 101:
        raise Refused(connection.status)
    accept = b64encode(hashlib.sha1(key + _GUID).digest()).decode()  # noqa: S324 - as the protocol wants it
    chosen = only(connection.headers, b"sec-websocket-protocol")
    known = chosen is None or chosen in protocols
    extended = only(connection.headers, b"sec-websocket-extensions")
    if not connection.is_upgraded or only(connection.headers, b"sec-websocket-accept") != accept:
        raise Unanswered("this is no WebSocket")
    if not known or extended:
        raise Unanswered("the machine chose what nobody offered")
    return chosen


class Side(asyncio.Protocol):
    """One end: what of its words `passes` goes to the other; while it takes nothing, the other says nothing."""

    def __init__(self, tunnel: Tunnel, other: asyncio.Transport, passes: Callable[[bytes], bytes]) -> None:
        self._tunnel = tunnel
        self._other = other
        self._passes = passes

    @property
    def may_interrupt(self) -> bool:
        return self._tunnel.may_speak

    def data_received(self, data: bytes) -> None:
        try:
            passed = self._passes(data)
        except Exception as error:  # noqa: BLE001 - whoever runs the tunnel hears of it
            self._tunnel.end(error)
        else:
            if passed and not self._other.is_closing():
                self._other.write(passed)

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.end(None if self._tunnel.has_closed else Broken(repr(exc)))


Said = bytes | str | None
"""A message; None: one that is too long to be looked at."""


class Tunnel:
    """An accepted WebSocket of a browser and one of a machine, until one side ends.

    `hear` is told each message that goes up, of at most `most` bytes. With a `sieve` only what it returns goes on.
    `keep` is offered the machine's end once the browser was cut off, and says whether it takes it.
    """

    def __init__(
        self,
        browser: DirectSocket,
        machine: Upgraded,
        most: int,
        hear: Callable[[Said], None],
        *,
        sieve: Callable[[Said], Said] | None = None,
        keep: Callable[[Upgraded], bool] | None = None,
    ) -> None:
        self.traffic = Traffic()
        self._browser = browser
        self._machine = machine
        self._hear = hear
        self._sieve = sieve
        self._keep = keep
        self._up = Reader(most, masked=True)
        self._down = Reader(0, masked=False)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def may_speak(self) -> bool:
        """Whether the browser can be told something of our own: not in the middle of a frame."""
        return self._down.is_between

    @property
    def has_closed(self) -> bool:
        """Whether one of both said that it ends."""
        return self._up.has_closed or self._down.has_closed

    @property
    def is_cut_off(self) -> bool:
        """Whether the browser alone is gone, without a word, and in the middle of none."""
        gone = self._browser.transport.is_closing() and not self._machine.transport.is_closing()
        return gone and not self.has_closed and self._up.is_between and self._down.is_between

    def end(self, error: Exception | None) -> None:
        """The first call counts."""
        if not self._over.done():
            self._over.set_result(None) if error is None else self._over.set_exception(error)

    async def run(self) -> None:
        """Raises Broken, Malformed, or what `hear` and `sieve` raise; the browser is still to be told then."""
        machine, browser = self._machine.transport, self._browser.transport
        try:
            fallen = Side(self, browser, self._fall)
            machine.set_protocol(fallen)
            self._browser.hand_over(Side(self, machine, self._rise))
            if machine.is_closing():
                raise Broken("ended at once")
            machine.resume_reading()  # before what may pause it again
            fallen.data_received(self._machine.rest)
            await self._over
        finally:
            self._browser.hand_over(None)
            if not (self._keep and self.is_cut_off and self._keep(self._machine)):
                self._leave(machine)

    def _leave(self, machine: asyncio.Transport) -> None:
        if machine.is_closing():
            return
        if self._up.is_between and not self._up.has_closed:
            machine.write(masked(Opcode.CLOSE, GOING_AWAY))
        machine.close()
        asyncio.get_running_loop().call_later(FAREWELL, machine.abort)

    def _fall(self, data: bytes) -> bytes:
        self.traffic.down += len(data)
        try:
            self._down.feed(data)
        except Malformed as error:
            raise Broken(repr(error)) from error
        return data

    def _rise(self, data: bytes) -> bytes:
        self.traffic.up += len(data)
        messages = self._up.feed(data)
        for message in messages:
            if message.opcode is Opcode.PONG:
                self._browser.pong(message.payload or b"")
            elif message.opcode < Opcode.CLOSE:
                self._hear(message.said)
        return data if self._sieve is None else b"".join(self._sifted(message) for message in messages)

    def _sifted(self, message: Message) -> bytes:
        """As it goes to the machine from who may not say all."""
        if message.opcode >= Opcode.CLOSE:
            return masked(message.opcode, message.payload or b"")
        passed = self._sieve(message.said) if self._sieve else message.said
        if isinstance(passed, str):
            return masked(Opcode.TEXT, passed.encode())
        return b"" if passed is None else masked(Opcode.BINARY, passed)
