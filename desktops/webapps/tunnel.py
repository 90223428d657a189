"""A WebSocket of a browser and one of a machine, joined: what one says goes to the other as it comes. asyncio only.

Of who takes nothing the other side is read no more, and memory stays flat whatever is sent. Down goes all that the
machine says, and up all from who controls: it goes on first and is looked at afterwards. Of who watches goes up what
they may say, message by message.
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

SEEN_AFTER = 0.1
"""Seconds after which what went on is looked at: many frames at once cost less than each between two system calls."""

MOST_UNSEEN = 64 * 1024
"""Bytes that may have gone on unseen."""

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


class Unseen:
    """What went on and is still to be looked at: `look` is told each piece, and `fail` what it raises.

    `has_failed`: where its frames begin is not known any more.
    """

    def __init__(self, look: Callable[[bytes], None], fail: Callable[[Exception], None]) -> None:
        self._look_at = look
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._pieces: list[bytes] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self.has_failed = False

    def add(self, data: bytes) -> None:
        """Looked at soon."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > MOST_UNSEEN:
            self.look()
        elif self._timer is None:
            self._timer = self._loop.call_later(SEEN_AFTER, self.look)

    def see(self, data: bytes) -> None:
        """At once."""
        self._pieces.append(data)
        self.look()

    def look(self) -> None:
        """At all that there is."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        pieces, self._pieces, self._size = self._pieces, [], 0
        try:
            for piece in pieces:
                self._look_at(piece)
        except Exception as error:  # noqa: BLE001 - whoever runs the tunnel hears of it
            self.has_failed = True
            self._fail(error)


class Side(asyncio.Protocol):
    """One end: what it says goes to the other; while that takes nothing, it is not read."""

    def __init__(self, tunnel: Tunnel, other: asyncio.Transport, unseen: Unseen) -> None:
        self._tunnel = tunnel
        self._other = other
        self._unseen = unseen

    @property
    def may_interrupt(self) -> bool:
        return self._tunnel.may_speak

    def data_received(self, data: bytes) -> None:
        if not self._other.is_closing():
            self._other.write(data)
        self._unseen.add(data)

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._tunnel.end(None if self._tunnel.has_closed else Broken(repr(exc)))


class Watcher(Side):
    """The browser of somebody who only watches: what they say is looked at before anything of it goes on."""

    def data_received(self, data: bytes) -> None:
        self._unseen.see(data)


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
        self._risen = Unseen(self._rise, self.end)
        self._fallen = Unseen(self._fall, self.end)
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def may_speak(self) -> bool:
        """Whether the browser can be told something of our own: not in the middle of a frame."""
        self._look()
        return self._down.is_between and not self._fallen.has_failed

    @property
    def has_closed(self) -> bool:
        """Whether one of both said that it ends."""
        self._look()
        return self._up.has_closed or self._down.has_closed

    @property
    def is_cut_off(self) -> bool:
        """Whether the browser alone is gone, without a word and in the middle of none, and the machine has all it said.

        A transport says once that it takes no more: whoever went on with that one would never hear of it.
        """
        gone = self._browser.transport.is_closing() and not self._machine.transport.is_closing()
        if not gone or self._machine.transport.get_write_buffer_size() or self.has_closed:
            return False
        failed = self._risen.has_failed or self._fallen.has_failed
        return not failed and self._up.is_whole and self._down.is_whole

    @property
    def _may_be_told(self) -> bool:
        """Whether the machine can be told something of our own: of who is sieved, all that goes there is."""
        return self._sieve is not None or (self._up.is_between and not self._risen.has_failed)

    def end(self, error: Exception | None) -> None:
        """The first call counts."""
        if not self._over.done():
            self._over.set_result(None) if error is None else self._over.set_exception(error)

    async def run(self) -> None:
        """Raises Broken, Malformed, or what `hear` and `sieve` raise; the browser is still to be told then."""
        machine, browser = self._machine.transport, self._browser.transport
        try:
            fallen = Side(self, browser, self._fallen)
            machine.set_protocol(fallen)
            self._browser.hand_over((Watcher if self._sieve else Side)(self, machine, self._risen))
            if machine.is_closing():
                raise Broken("ended at once")
            machine.resume_reading()  # before what may pause it again
            self._let_fall(fallen)
            await self._over
        finally:
            self._look()
            self._browser.hand_over(None)
            if not (self._keep and self.is_cut_off and self._keep(self._machine)):
                self._leave(machine)

    def _let_fall(self, fallen: Side) -> None:
        """What came before there was a tunnel; nobody holds it for as long as that lasts."""
        rest, self._machine.rest = self._machine.rest, b""
        if rest:
            fallen.data_received(rest)

    def _leave(self, machine: asyncio.Transport) -> None:
        if machine.is_closing():
            return
        if self._may_be_told and not self._up.has_closed:
            machine.write(masked(Opcode.CLOSE, GOING_AWAY))
        machine.close()
        asyncio.get_running_loop().call_later(FAREWELL, machine.abort)

    def _look(self) -> None:
        self._fallen.look()
        self._risen.look()

    def _fall(self, data: bytes) -> None:
        self.traffic.down += len(data)
        try:
            self._down.feed(data)
        except Malformed as error:
            raise Broken(repr(error)) from error

    def _rise(self, data: bytes) -> None:
        self.traffic.up += len(data)
        messages = self._up.feed(data)
        for message in messages:
            if message.opcode is Opcode.PONG:
                self._browser.pong(message.payload or b"")
            elif message.opcode < Opcode.CLOSE:
                self._hear(message.said)
        passed = b"".join(self._sifted(message) for message in messages) if self._sieve else b""
        if passed and not self._machine.transport.is_closing():
            self._machine.transport.write(passed)

    def _sifted(self, message: Message) -> bytes:
        """As it goes to the machine from who may not say all."""
        if message.opcode >= Opcode.CLOSE:
            return masked(message.opcode, message.payload or b"")
        passed = self._sieve(message.said) if self._sieve else message.said
        if isinstance(passed, str):
            return masked(Opcode.TEXT, passed.encode())
        return b"" if passed is None else masked(Opcode.BINARY, passed)
