"""The way to a machine's web server: one exchange or one WebSocket, streamed both ways. asyncio and aiohttp only.

Each piece is passed on before the next is read, so a slow side slows the other, not the memory. Redirects are the
browser's to follow: following one here would let a guest send the proxy anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from aiohttp import (
    ClientError,
    ClientRequest,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    ClientWSTimeout,
    DummyCookieJar,
    TCPConnector,
    WSMessage,
    WSMsgType,
)
from yarl import URL

from desktops.webapps.flight import FREE, Flight, Meter, Purse
from desktops.webapps.headers import ALONE, Confines, Framing, Headers, downward

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CONNECT_PATIENCE = 5.0
"""Seconds in which a machine must take a connection."""

HANDSHAKE_PATIENCE = 120.0
"""Seconds that a WebSocket's handshake may take: Jupyter answers it only once the kernel does, which may be slow."""

KEEP = 4.0
"""Seconds that an idle connection is kept: less than the five after which common servers close theirs."""

PIECE = 256 * 1024
"""Bytes that are read from a machine ahead of the browser, at most about twice as many."""

MOST_DOWN = 64 * 1024 * 1024
"""Bytes of one WebSocket message from a machine: a notebook's largest output."""

MOST_UP = 16 * 1024 * 1024
"""Bytes of one WebSocket message to a machine; Jupyter Server itself takes 10 MiB."""

_SENDABLE = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)} - {1010}
"""Codes that a close frame may carry (RFC 6455, 7.4)."""


class Unanswered(Exception):
    """The machine did not take the connection, or ended it before it answered."""


class Refused(Exception):
    """The machine answered a WebSocket's handshake with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class TooMuch(Exception):
    """More was on its way than this person, or all together, may have in memory."""


@dataclass(frozen=True)
class Request:
    """What is asked of a machine; the headers are those of `headers.upward` and of the proxy itself."""

    method: str
    host: str
    port: int
    path: bytes
    query: bytes
    headers: Headers
    framing: Framing
    confines: Confines
    secret: bytes = b""

    @property
    def url(self) -> URL:
        """The path as the browser wrote it, letter for letter."""
        path, query = self.path.decode("ascii"), self.query.decode("ascii")
        return URL.build(scheme="http", host=self.host, port=self.port, path=path, query_string=query, encoded=True)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]


@dataclass
class Traffic:
    """Bytes towards the machine and towards the browser; how often somebody did something there."""

    up: int = 0
    down: int = 0
    inputs: int = 0


@dataclass
class Doors:
    """The connections of one event loop to all machines."""

    http: ClientSession
    sockets: ClientSession

    @classmethod
    def open(cls) -> Doors:
        return cls(_session(), _session(middlewares=(_stay,), ws_response_class=Machine))


_doors: dict[asyncio.AbstractEventLoop, Doors] = {}


def doors() -> Doors:
    """Those of the running loop, opened when first asked for; `hang_up` closes them."""
    loop = asyncio.get_running_loop()
    if loop not in _doors:
        _doors[loop] = Doors.open()
    return _doors[loop]


async def hang_up() -> None:
    """Close what the running loop has open to machines."""
    opened = _doors.pop(asyncio.get_running_loop(), None)
    if opened:
        await opened.http.close()
        await opened.sockets.close()


def _session(**options: Any) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=KEEP),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=None, sock_connect=CONNECT_PATIENCE),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        read_bufsize=PIECE,
        max_field_size=32 * 1024,
        **options,
    )


async def _stay(
    request: ClientRequest, handler: Callable[[ClientRequest], Awaitable[ClientResponse]]
) -> ClientResponse:
    """aiohttp follows redirects of a WebSocket's handshake, and has no option against it."""
    response = await handler(request)
    if response.status != 101:
        response.close()
        raise Refused(response.status)
    return response


class Body:
    """What the browser sends, piece by piece."""

    def __init__(self, receive: Receive, traffic: Traffic) -> None:
        self._receive = receive
        self._traffic = traffic
        self._ended = asyncio.Event()

    async def pieces(self) -> AsyncIterator[bytes]:
        """Raises ConnectionError where the browser leaves before the end: a part must not pass for the whole."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the browser left in the middle of its request")
            piece = message.get("body", b"")
            self._traffic.up += len(piece)
            if piece:
                yield piece
            if not message.get("more_body"):
                self._ended.set()
                return

    async def left(self) -> None:
        """Once the browser has left after its request."""
        await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def is_empty(self) -> bool:
        """Take the empty end that a request without a body still has; False where the browser has left."""
        try:
            return not [piece async for piece in self.pieces()]
        except ConnectionError:
            return False


async def exchange(request: Request, receive: Receive, send: Send, traffic: Traffic) -> None:
    """One request and its answer. Raises Unanswered while nothing was sent to the browser; an answer that the machine
    breaks off is left unfinished, so that nobody takes a part of a file for all of it.
    """
    body = Body(receive, traffic)
    if not request.framing.body and not await body.is_empty():
        return
    answer = asyncio.create_task(_answer(request, body, send, traffic))
    leaving = asyncio.create_task(body.left())
    try:
        await asyncio.wait((answer, leaving), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            answer.result()
    finally:
        answer.cancel()
        leaving.cancel()
        await asyncio.gather(answer, leaving, return_exceptions=True)


async def _answer(request: Request, body: Body, send: Send, traffic: Traffic) -> None:
    headers = request.said
    if request.framing.length is not None:
        headers.append(("Content-Length", str(request.framing.length)))
    data = body.pieces() if request.framing.body else None
    try:
        response = await doors().http.request(
            request.method, request.url, headers=headers, data=data, allow_redirects=False
        )
    except (ClientError, OSError) as error:
        raise Unanswered(repr(error)) from error
    try:
        await _pass_down(response, request, send, traffic)
    finally:
        response.release() if response.content.at_eof() else response.close()


async def _pass_down(response: ClientResponse, request: Request, send: Send, traffic: Traffic) -> None:
    if not 200 <= response.status < 600:
        raise Unanswered(f"status {response.status}")
    headers = [*downward(response.raw_headers, request.confines), ALONE, request.confines.policy]
    if response.status in {204, 304}:
        # It may name a length that it does not have, which uvicorn would wait for.
        headers = [header for header in headers if header[0] != b"content-length"]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    pieces: AsyncIterator[bytes] = response.content.iter_any()
    if request.secret and response.content_type == "text/html":
        pieces = without(request.secret, pieces)
    with suppress(ClientError, OSError):
        async for piece in pieces:
            traffic.down += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def without(secret: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, with each letter of the secret replaced: JupyterLab writes its token into its page."""
    held = b""
    async for piece in pieces:
        held = (held + piece).replace(secret, b"-" * len(secret))
        whole = len(held) - len(secret) + 1
        if whole > 0:
            yield held[:whole]
            held = held[whole:]
    if held:
        yield held


class Machine(ClientWebSocketResponse):
    """A WebSocket to a machine that counts what it brings."""

    def __init__(
        self, reader: Any, writer: Any, protocol: str | None, response: ClientResponse, *rest: Any, **more: Any
    ):
        super().__init__(reader, writer, protocol, response, *rest, **more)
        connection = cast(Any, response.connection)  # there, as long as the response is not closed
        self.meter = Meter(connection.transport, connection.protocol)


async def dial(request: Request, protocols: list[str]) -> Machine:
    """A WebSocket to the machine, with the first of these protocols that it speaks. Raises Refused or Unanswered."""
    try:
        async with asyncio.timeout(HANDSHAKE_PATIENCE):
            machine = await doors().sockets.ws_connect(
                request.url,
                headers=request.said,
                protocols=protocols,
                max_msg_size=MOST_DOWN,
                timeout=ClientWSTimeout(ws_close=1.0),
            )
            return cast(Machine, machine)
    except (ClientError, OSError) as error:
        raise Unanswered(repr(error)) from error


Sieve = Callable[[bytes | str], bytes | str | None]
"""What of a message goes up: it, another one, or nothing."""


class Direct(Protocol):
    """What a server can do beyond ASGI (`desktops.server`)."""

    def count(self, came: Callable[[int], bool]) -> None: ...

    async def drain(self) -> None: ...


@dataclass
class Joint:
    """An accepted WebSocket of a browser and one of a machine, joined until one side ends."""

    machine: Machine
    receive: Receive
    send: Send
    sieve: Sieve
    purses: tuple[Purse, ...]
    direct: Direct | None = None
    traffic: Traffic = field(default_factory=Traffic)

    async def run(self) -> None:
        """Until the end, which the other side is told with its code and reason. Raises TooMuch."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rising, self._falling = Flight(self.purses, over), Flight(self.purses, over)
        self.machine.meter.came = self._falling.came
        if self.direct:
            self.direct.count(self._rising.came)
        ways = [asyncio.create_task(self._up()), asyncio.create_task(self._down())]
        try:
            done, _ = await asyncio.wait([over, *ways], return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                self.machine.meter.hang_up()
                raise TooMuch
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            with suppress(ClientError, OSError):
                await self.machine.close(code=1001)
            self._rising.end()
            self._falling.end()

    async def _up(self) -> None:
        while (message := await self.receive())["type"] == "websocket.receive":
            text = message.get("text")
            said: bytes | str = text if text is not None else bytes(message["bytes"])
            size = _bytes_of(said)
            self.traffic.up += size
            passed = self.sieve(said)
            if isinstance(passed, str):
                await self.machine.send_str(passed)
            elif passed is not None:
                await self.machine.send_bytes(passed)
            self._rising.left(size)
        code = message.get("code", 1005)
        await self.machine.close(code=code if code in _SENDABLE else 1001)

    async def _down(self) -> None:
        while (message := await self.machine.receive()).type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            size = _bytes_of(message.data)
            self.traffic.down += size
            await self._show(message, size)
            self._falling.left(size)
        code = self.machine.close_code or 1006
        reason = message.extra if message.type is WSMsgType.CLOSE else ""
        await self.send(
            {"type": "websocket.close", "code": code if code in _SENDABLE else 1011, "reason": reason or ""}
        )

    async def _show(self, message: WSMessage, size: int) -> None:
        """Returns once the browser has taken it; behind a large one the machine waits with the next."""
        meter = self.machine.meter
        if size > FREE:
            meter.pause()
        kind = "text" if message.type is WSMsgType.TEXT else "bytes"
        await self.send({"type": "websocket.send", kind: message.data})
        if self.direct:
            await self.direct.drain()
        if size > FREE:
            meter.go_on()


def _bytes_of(said: bytes | str) -> int:
    """As it was on the wire."""
    return len(said.encode()) if isinstance(said, str) and not said.isascii() else len(said)
