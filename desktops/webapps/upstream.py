"""The way to a machine's web server: one exchange, streamed both ways. asyncio only.

Each piece is passed on before the next is read, so a slow side slows the other, not the memory. Redirects are the
browser's to follow: following one here would let a guest send the proxy anywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from desktops.webapps.client import Client, ClientConnection, Unanswered
from desktops.webapps.headers import ALONE, Confines, Framing, Headers, downward

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SOON = 0.1
"""Seconds of an exchange after which it is noticed that the browser left: most are over by then."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that may be asked again where a kept connection turns out to be closed (RFC 9110, 9.2.1)."""


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

    def head(self, *more: tuple[bytes, bytes]) -> bytes:
        """As it goes over the line, the path letter for letter. Raises ValueError where it would be more than one."""
        target = self.path + b"?" + self.query if self.query else self.path
        headers = [*self.headers, *self.framing.headers, *more]
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), target), *(b"%b: %b" % header for header in headers)]
        head = b"\r\n".join(lines)
        if not head.count(b"\n") == head.count(b"\r") == len(headers) or b"\0" in head:
            raise ValueError("a header holds the end of a line")
        return head + b"\r\n\r\n"


@dataclass
class Traffic:
    """Bytes towards the machine and towards the browser; how often somebody did something there."""

    up: int = 0
    down: int = 0
    inputs: int = 0


_clients: dict[asyncio.AbstractEventLoop, Client] = {}


def client() -> Client:
    """That of the running loop; `hang_up` closes what it keeps."""
    loop = asyncio.get_running_loop()
    if loop not in _clients:
        _clients[loop] = Client()
    return _clients[loop]


async def hang_up() -> None:
    """Close what the running loop keeps open to machines."""
    kept = _clients.pop(asyncio.get_running_loop(), None)
    if kept:
        kept.close()


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

    def is_empty(self) -> None:
        """There is none: only its end comes."""
        self._ended.set()

    async def left(self) -> None:
        """Once the browser has left after its request."""
        await self._ended.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


async def exchange(request: Request, receive: Receive, send: Send, traffic: Traffic) -> None:
    """One request and its answer. Raises Unanswered while nothing was sent to the browser; an answer that the machine
    breaks off stays without its end. Ends early where the browser leaves.
    """
    body = Body(receive, traffic)
    if not request.framing.body:
        body.is_empty()
    async with _while_there(body):
        connection = await _ask(request)
        sending = asyncio.create_task(_send_body(request, body, connection)) if request.framing.body else None
        try:
            await _answer(connection, request, send, traffic)
        finally:
            if sending and not sending.done():
                sending.cancel()
                connection.abort()
            client().give_back(request.host, request.port, connection)


@asynccontextmanager
async def _while_there(body: Body) -> AsyncIterator[None]:
    """What takes longer ends when the browser leaves."""
    watch: asyncio.Task[None] | None = None

    async def look() -> None:
        await body.left()
        stay.reschedule(0)

    def begin() -> None:
        nonlocal watch
        watch = asyncio.create_task(look())

    timer = asyncio.get_running_loop().call_later(SOON, begin)
    try:
        async with asyncio.timeout(None) as stay:
            yield
    except TimeoutError:
        if not stay.expired():
            raise
    finally:
        timer.cancel()
        if watch:
            watch.cancel()


async def _ask(request: Request) -> ClientConnection:
    """A connection on which the request is on its way; where it has no body, also the head of the answer is there.

    The machine may have closed a kept one at this moment, and has then not seen what was asked.
    """
    head = request.head()
    while True:
        connection = await client().take(request.host, request.port)
        connection.ask(head, bodiless=request.method == "HEAD")
        if request.framing.body:
            return connection
        try:
            await connection.head()
        except ConnectionError as error:
            if not connection.is_kept or connection.is_heard or request.method not in SAFE:
                raise Unanswered(repr(error)) from error
        except asyncio.CancelledError:
            connection.abort()
            raise
        else:
            return connection


async def _send_body(request: Request, body: Body, connection: ClientConnection) -> None:
    try:
        if request.framing.length is not None:
            async for piece in body.pieces():
                await connection.say(piece)
            return
        async for piece in body.pieces():
            await connection.say(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.say(b"0\r\n\r\n")
    except ConnectionError:
        connection.abort()


async def _answer(connection: ClientConnection, request: Request, send: Send, traffic: Traffic) -> None:
    try:
        await connection.head()
    except ConnectionError as error:
        raise Unanswered(repr(error)) from error
    if not 200 <= connection.status < 600:
        raise Unanswered(f"status {connection.status}")
    headers = [*downward(connection.headers, request.confines), ALONE, request.confines.policy]
    if connection.status in {204, 304}:
        # It may name a length that it does not have, which uvicorn would wait for.
        headers = [header for header in headers if header[0] != b"content-length"]
    await send({"type": "http.response.start", "status": connection.status, "headers": headers})
    pieces = connection.pieces()
    if request.secret and _is_page(connection.headers):
        pieces = without(request.secret, pieces)
    try:
        async for piece in pieces:
            traffic.down += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    except ConnectionError:
        return
    await send({"type": "http.response.body", "body": b""})


def _is_page(headers: Headers) -> bool:
    """Whether any of its content types is that of a page, as some browser may take it."""
    return any(name == b"content-type" and value.lower().lstrip().startswith(b"text/html") for name, value in headers)


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
