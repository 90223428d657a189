"""An HTTP/1.1 client for the web servers of machines (RFC 9112), streaming both ways. asyncio and httptools only.

A general client costs several times what a proxy does otherwise for a request. Nothing that a machine says is trusted:
where it is not plain HTTP the connection ends, and what is held of it is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import httptools

from desktops.webapps.headers import Headers

CONNECT_PATIENCE = 5.0
"""Seconds in which a machine must take a connection."""

KEEP = 4.0
"""Seconds that an idle connection is kept: less than the five after which common servers close theirs."""

PIECE = 256 * 1024
"""Bytes that are read from a machine ahead of the browser, at most about twice as many."""

MOST_HEAD = 64 * 1024
"""Bytes of an answer before its body; also those between two pieces of its body, and after the last."""

COST = 64
"""Bytes that a piece takes beside its own."""

NO_BODY = frozenset({204, 304})
"""RFC 9110, 6.4.1. Such an answer may name a length that it does not have."""


class Unanswered(Exception):
    """The machine did not take the connection, or ended it before it answered, or did not speak HTTP."""


@dataclass(slots=True)
class Upgraded:
    """A connection that speaks HTTP no more. It is not read until somebody takes it over; `rest` has come already."""

    transport: asyncio.Transport
    rest: bytes

    def abort(self) -> None:
        self.transport.abort()


class ClientConnection(asyncio.Protocol):
    """One exchange after the other: `ask`, `head`, all `pieces`; then `is_reusable` says whether another may follow.

    `is_complete`: all of the answer is here, if not yet taken.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.status = 0
        self.headers: Headers = []
        self.rest = b""
        self.is_kept = self.is_heard = self.is_complete = self.is_upgraded = False
        self._parser: httptools.HttpResponseParser | None = None
        self._failure: Exception | None = None
        self._has_head = self._is_whole = self._is_bodiless = False
        self._size = self._held = 0
        self._pieces: list[bytes] = []
        self._change: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # What the proxy does

    def ask(self, head: bytes, *, bodiless: bool = False) -> None:
        """Begin an exchange. `bodiless`: the answer has no body whatever it says, as to HEAD."""
        self._parser = httptools.HttpResponseParser(self)
        self.is_heard = self.is_complete = self._has_head = self._is_whole = False
        self._is_bodiless = bodiless
        self.headers, self._size = [], 0
        self.transport.write(head)

    async def say(self, piece: bytes) -> None:
        """More of the request; returns once there is room for the next. Raises ConnectionError."""
        self._raise_failure()
        self.transport.write(piece)
        if self._room:
            await self._room
            self._raise_failure()

    async def head(self) -> None:
        """Until `status` and `headers` are there. Raises ConnectionError."""
        while not self._has_head:
            await self._changed()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises ConnectionError where it breaks off."""
        while True:
            if self._pieces:
                pieces, self._pieces = self._pieces, []
                if self._held > PIECE and not self.transport.is_closing():
                    self.transport.resume_reading()
                self._held = 0
                yield pieces[0] if len(pieces) == 1 else b"".join(pieces)
            elif self.is_complete:
                return
            else:
                await self._changed()

    @property
    def is_reusable(self) -> bool:
        """Whether the answer ended as the machine said that it would, and the connection goes on."""
        return self._is_whole and not (self._pieces or self.is_upgraded or self.transport.is_closing())

    @property
    def is_open(self) -> bool:
        return self._failure is None and not self.transport.is_closing()

    def abort(self) -> None:
        self.transport.abort()

    def _raise_failure(self) -> None:
        if self._failure:
            raise ConnectionError(repr(self._failure)) from self._failure

    async def _changed(self) -> None:
        self._raise_failure()
        self._change = asyncio.get_running_loop().create_future()
        await self._change

    # What comes from the machine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self.is_complete:
            self._fail(ConnectionError("the machine speaks without being asked"))
            return
        self.is_heard = True
        self._size += len(data)
        try:
            self._parser.feed_data(data)
            if not self.is_complete and self._size > MOST_HEAD:
                raise ConnectionError("the machine speaks without end and says nothing")
        except httptools.HttpParserUpgrade as upgrade:
            self.is_upgraded, self.rest = True, data[upgrade.args[0] :]
            self.transport.pause_reading()  # until whoever takes the connection over
        except (httptools.HttpParserError, ConnectionError) as error:
            self._fail(error)
        if self._held > PIECE and not self.transport.is_closing():
            self.transport.pause_reading()
        _wake(self._change)

    def on_message_begin(self) -> None:
        if self._has_head:
            raise ConnectionError("the machine answers what nobody asked")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._has_head:  # what comes later are trailers, which nobody asked for
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = cast(httptools.HttpResponseParser, self._parser).get_status_code()
        if 100 <= self.status < 200 and self.status != 101:
            self.headers = []  # the answer is still to come (RFC 9110, 15.2)
        elif sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD:
            raise ConnectionError("the head of the answer is too long")
        else:
            self._has_head = True
            self._is_bodiless = self._is_bodiless or self.status in NO_BODY
            self.is_complete = self._is_bodiless

    def on_body(self, piece: bytes) -> None:
        self._size = 0
        if not self._is_bodiless:
            self._pieces.append(piece)
            self._held += len(piece) + COST

    def on_message_complete(self) -> None:
        if self._has_head:
            self.is_complete = True
            self._is_whole = cast(httptools.HttpResponseParser, self._parser).should_keep_alive()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._is_whole = False
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._has_head and exc is None and self._failure is None and not self._is_sized():
            self.is_complete = True  # the end of the connection is the end of the body (RFC 9112, 6.3)
        if not self.is_complete:
            self._failure = self._failure or exc or ConnectionError("the machine ended the connection")
        _wake(self._change)
        self.resume_writing()

    def _is_sized(self) -> bool:
        return any(name in {b"content-length", b"transfer-encoding"} for name, _ in self.headers)

    def pause_writing(self) -> None:
        self._room = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        _wake(self._room)
        self._room = None


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting and not waiting.done():
        waiting.set_result(None)


class Client:
    """The connections of one event loop to all machines; those that an exchange left whole are kept a while."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], dict[ClientConnection, asyncio.TimerHandle]] = {}

    async def connect(self, host: str, port: int) -> ClientConnection:
        """Raises Unanswered."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_PATIENCE):
                _, connection = await loop.create_connection(ClientConnection, host, port)
        except OSError as error:  # TimeoutError is one
            raise Unanswered(repr(error)) from error
        return connection

    async def take(self, host: str, port: int) -> ClientConnection:
        """A kept connection or a new one. Raises Unanswered."""
        kept = self._kept.get((host, port))
        while kept:
            connection, timer = kept.popitem()  # the one that was used last
            timer.cancel()
            if connection.is_open:
                return connection
        self._kept.pop((host, port), None)
        return await self.connect(host, port)

    def give_back(self, host: str, port: int, connection: ClientConnection) -> None:
        """After an exchange, however it ended."""
        if not connection.is_reusable:
            connection.abort()
            return
        connection.is_kept = True
        place = (host, port)
        timer = asyncio.get_running_loop().call_later(KEEP, self._let_go, place, connection)
        self._kept.setdefault(place, {})[connection] = timer

    def close(self) -> None:
        """All that is kept."""
        for place, kept in list(self._kept.items()):
            for connection, timer in list(kept.items()):
                timer.cancel()
                self._let_go(place, connection)

    def _let_go(self, place: tuple[str, int], connection: ClientConnection) -> None:
        kept = self._kept[place]
        del kept[connection]
        if not kept:
            del self._kept[place]
        connection.abort()
