"""WebSockets through the proxy: nothing that either side sends or does not take fills memory or breaks the other."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from uvicorn.protocols.utils import ClientDisconnected

from desktops import server as server_module
from desktops.relay import Code
from desktops.server import Taker
from desktops.webapps import visits
from desktops.webapps.links import Link
from desktops.webapps.tunnel import Tunnel
from tests.desktops.conftest import in_database
from tests.desktops.viewers import serving
from tests.desktops.webapps.conftest import Browser, Grounds, put_behind
from tests.desktops.webapps.test_proxy import Peak, behind

MIB = 1024 * 1024
MANY = 40
LARGE = 60 * MIB
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = await reader.readuntil(b"\r\n\r\n")
    (key,) = [line.split(b": ")[1] for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 - RFC 6455
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def head(size: int) -> bytes:
    return struct.pack(">BBQ", 0x82, 127, size)


@asynccontextmanager
async def flooding(grounds: Grounds, whole: bool) -> AsyncIterator[tuple[Browser, list[int]]]:
    """Alice before a machine that sends a large message into each socket, or all but a byte; and what of it left."""
    taken: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await shake_hands(reader, writer)
            writer.write(head(LARGE))
            piece = bytes(MIB)
            for _number in range(LARGE // MIB - 1):
                writer.write(piece)
                await writer.drain()
                taken.append(MIB)
            writer.write(piece if whole else piece[1:])
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    await in_database(put_behind, grounds.people.machine, server.sockets[0].getsockname()[1])
    async with server, grounds.browsing(grounds.people.alice) as browser:
        yield browser, taken


Raw = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def raw(browser: Browser) -> Raw:
    """A WebSocket of the browser as bare bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", browser.port, limit=1024)
    said = browser.said(Upgrade="websocket", Connection="Upgrade")
    said |= {"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    writer.write(f"GET /api/kernels/x/channels HTTP/1.1\r\n{lines}\r\n".encode())
    assert b" 101 " in await reader.readline()
    return reader, writer


async def deaf(browser: Browser) -> Raw:
    """One whose browser takes nothing of what comes."""
    reader, writer = await raw(browser)
    cast(asyncio.Transport, writer.transport).pause_reading()
    return reader, writer


async def running(most: int) -> None:
    """Until no more than so many sockets are open."""
    async with asyncio.timeout(60):
        while len(next(iter(visits._visits.values()))._running) > most:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("whole", [True, False])
async def test_large_messages_that_nobody_takes_fill_no_memory(grounds: Grounds, whole: bool) -> None:
    """If they were held until they are whole or taken, these would be 2,400 MiB."""
    async with flooding(grounds, whole) as (browser, taken):
        peak = Peak()
        sockets = await asyncio.gather(*[deaf(browser) for _socket in range(MANY)])
        await still(lambda: len(taken))
        assert peak.grown() < MANY * 3 * MIB, "what buffers of sockets hold, and the machine of this test with them"
        for _reader, writer in sockets:
            writer.transport.abort()
        await running(most=0)


async def still(count: Callable[[], int]) -> None:
    """Until it has not changed for a second."""
    async with asyncio.timeout(60):
        before = -1
        while (now := count()) != before:
            before = now
            await asyncio.sleep(1)


async def test_large_messages_that_nobody_takes_fill_no_memory_on_their_way_up(grounds: Grounds) -> None:
    async def deaf_machine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cast(asyncio.Transport, writer.transport).set_write_buffer_limits(0)
        await shake_hands(reader, writer)
        cast(asyncio.Transport, writer.transport).pause_reading()
        await left.wait()
        writer.close()

    left = asyncio.Event()
    server = await asyncio.start_server(deaf_machine, "127.0.0.1", 0)
    await in_database(put_behind, grounds.people.machine, server.sockets[0].getsockname()[1])
    async with server, grounds.browsing(grounds.people.alice) as browser:
        sockets = await asyncio.gather(*[raw(browser) for _socket in range(12)])
        peak = Peak()
        for _reader, writer in sockets:
            writer.write(struct.pack(">BBQI", 0x82, 0xFF, LARGE, 0))
        feeding = [asyncio.create_task(feed(writer)) for _reader, writer in sockets]
        await asyncio.wait(feeding, timeout=3)
        assert not any(task.done() for task in feeding), "whoever sends is slowed down"
        assert peak.grown() < 12 * 3 * MIB
        for task, (_reader, writer) in zip(feeding, sockets, strict=True):
            task.cancel()
            writer.transport.abort()
        left.set()
        await running(most=0)


async def feed(writer: asyncio.StreamWriter) -> None:
    """A message that is large, as far as it is taken."""
    for _piece in range(LARGE // MIB):
        writer.write(bytes(MIB))
        await writer.drain()


async def test_what_comes_with_the_handshake_waits_for_the_browser_too() -> None:
    takers: list[Taker] = []
    browser, machine = Mock(hand_over=takers.append), Mock(rest=b"\x82\x05hello")
    browser.transport.write = lambda _data: takers[0].pause_writing()
    browser.transport.is_closing = machine.transport.is_closing = lambda: False
    tunnel = Tunnel(browser, machine, 0, lambda _said: None)
    running = asyncio.create_task(tunnel.run())
    await asyncio.sleep(0)
    heard = [name for name, *_rest in machine.transport.method_calls if name.endswith("_reading")]
    assert heard[-1] == "pause_reading"
    tunnel.end(None)
    await running


@pytest.mark.parametrize(
    ("down", "up", "unsent", "kept"),
    [
        (b"\x81\x02hi", b"\x81\x82\0\0\0\0hi", 0, True),
        (b"\x81\x02hi", b"\x81\x82\0\0\0\0hi", 1, False),  # the machine takes nothing
        (b"\x81\x02h", b"", 0, False),  # in the middle of a frame
        (b"", b"\x81\x82\0\0\0\0h", 0, False),
        (b"\x01\x02hi", b"", 0, False),  # and of a message of several
        (b"", b"\x01\x82\0\0\0\0hi", 0, False),
        (b"\x88\x00", b"", 0, False),  # it said that it ends
        (b"", b"no frame", 0, False),
    ],
)
async def test_a_place_is_kept_where_another_can_go_on(down: bytes, up: bytes, unsent: int, kept: bool) -> None:
    takers: list[Taker] = []
    keep = Mock()
    browser, machine = Mock(hand_over=takers.append), Mock(rest=down)
    browser.transport.is_closing = machine.transport.is_closing = lambda: False
    machine.transport.get_write_buffer_size = lambda: unsent
    tunnel = Tunnel(browser, machine, 100, lambda _said: None, keep=keep)
    running = asyncio.create_task(tunnel.run())
    await asyncio.sleep(0)
    assert machine.rest == b"", "nobody holds it for as long as the tunnel lasts"
    takers[0].data_received(up)
    browser.transport.is_closing = lambda: True
    takers[0].connection_lost(None)
    await asyncio.gather(running, return_exceptions=True)
    assert keep.called is kept


async def test_who_left_before_the_machine_answered_leaves_nothing_open_there() -> None:
    async def send(_message: object) -> None:
        raise ClientDisconnected

    machine = Mock()
    entered = Mock(asked=Mock(path=b"/"))
    with pytest.raises(ClientDisconnected):
        await Link(entered, {}, Mock(), send)._join(machine, Mock())
    machine.abort.assert_called()


BAD_FRAMES = [
    b"\x82\x05hello",  # not masked
    b"\xc2\x85\0\0\0\0hello",  # compressed, which nobody agreed on
    b"\x83\x80\0\0\0\0",  # no such kind
    b"\x80\x80\0\0\0\0",  # goes on where nothing began
    b"\x89\xfe\0\x7e\0\0\0\0",  # a ping of more than 125 bytes
    b"\x81\x81\0\0\0\0\xff",  # no text
]


@pytest.mark.parametrize("bad", BAD_FRAMES)
async def test_what_no_browser_sends_ends_the_socket(grounds: Grounds, bad: bytes) -> None:
    async with behind(grounds, listen) as browser:
        reader, writer = await raw(browser)
        writer.write(bad)
        async with asyncio.timeout(10):
            await reader.readuntil(struct.pack(">H", Code.PROTOCOL))


async def listen(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _message in socket:
        pass
    return socket


@pytest.mark.parametrize("bad", [b"\x82\x85\0\0\0\0hello", b"\xf2\x00", b"HTTP/1.1 200 OK\r\n\r\n"])
async def test_what_no_machine_sends_ends_the_socket(grounds: Grounds, bad: bytes) -> None:
    """It has gone on before it is looked at; a browser that goes on all the same is cut off."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await shake_hands(reader, writer)
        writer.write(b"\x82\x04good" + bad)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    await in_database(put_behind, grounds.people.machine, server.sockets[0].getsockname()[1])
    async with server, grounds.browsing(grounds.people.alice) as browser, asyncio.timeout(10):
        reader, _writer = await raw(browser)
        await reader.readuntil(b"good")
        with suppress(ConnectionResetError):
            await reader.read()


async def test_the_last_thing_that_was_said_is_heard_too() -> None:
    """What went on just before the end is looked at before that."""
    takers: list[Taker] = []
    heard: list[object] = []
    browser, machine = Mock(hand_over=takers.append), Mock(rest=b"")
    browser.transport.is_closing = machine.transport.is_closing = lambda: False
    tunnel = Tunnel(browser, machine, 100, heard.append)
    running = asyncio.create_task(tunnel.run())
    await asyncio.sleep(0)
    takers[0].data_received(b"\x81\x82\0\0\0\0hi")
    machine.transport.write.assert_called_once_with(b"\x81\x82\0\0\0\0hi")
    tunnel.end(None)
    await running
    assert (heard, tunnel.traffic.up) == (["hi"], 8)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + b"Sec-WebSocket-Protocol: x\r\n" * 2
        + b"\r\n",
        b"",
    ],
)
async def test_a_machine_that_speaks_no_websocket_opens_none(grounds: Grounds, head: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    await in_database(put_behind, grounds.people.machine, server.sockets[0].getsockname()[1])
    async with server, grounds.browsing(grounds.people.alice) as browser:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.socket("/api/kernels/x/channels")
        assert refused.value.status == 502


async def test_a_person_has_so_much_open_in_all_their_browsers_together(
    grounds: Grounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def here(request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            return web.Response(text="here")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    monkeypatch.setattr(visits, "MOST_AT_ONCE", 1)
    async with behind(grounds, here) as browser, grounds.browsing(grounds.people.alice) as elsewhere:
        async with browser.socket("/api/kernels/x/channels"):
            async with elsewhere.get("/lab") as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
            async with grounds.browsing(grounds.people.bob) as another, another.get("/lab") as answer:
                assert answer.status == 200
        await running(most=0)
        async with elsewhere.get("/lab") as answer:
            assert answer.status == 200


async def test_who_answers_no_ping_and_takes_nothing_is_gone_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = asyncio.Event()

    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})
        try:
            for _ in range(64):
                await send({"type": "websocket.send", "bytes": bytes(MIB)})
        except OSError:
            gone.set()

    monkeypatch.setattr(server_module, "TAKE_PATIENCE", 0.1)
    async with serving(application, ws_ping_interval=0.1, ws_ping_timeout=0.1) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        key = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        writer.write(f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n".encode())
        async with asyncio.timeout(10):
            await gone.wait()
        writer.transport.abort()
