"""One person with a machine of their own cannot fill the proxy's memory, in either direction."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest
from aiohttp import web

from desktops.relay import Code
from desktops.webapps import flight, visits
from desktops.webapps.flight import FREE, Flight, Purse
from tests.desktops.conftest import in_database
from tests.desktops.webapps.conftest import Browser, Grounds, put_behind
from tests.desktops.webapps.test_proxy import Peak, behind

MIB = 1024 * 1024
MANY = 40
LARGE = 60 * MIB
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


# The account


def flight_of(*purses: Purse) -> Flight:
    return Flight(purses, asyncio.get_running_loop().create_future())


async def test_little_is_free() -> None:
    one = flight_of(Purse(0))
    for _message in range(1000):
        assert one.came(FREE)
        one.left(FREE)
    assert not one.came(FREE + 1)


async def test_what_has_left_is_given_back() -> None:
    person, process = Purse(10 * MIB), Purse(100 * MIB)
    one, other, third = (flight_of(person, process) for _flight in range(3))
    assert one.came(8 * MIB)
    assert not other.came(8 * MIB)
    other.end()
    one.left(8 * MIB)
    assert third.came(8 * MIB)
    third.end()
    assert third.came(50 * MIB), "nobody would give it back"
    assert (person.left, process.left) == (10 * MIB, 100 * MIB)


async def test_the_beginning_of_the_next_message_stays_counted() -> None:
    purse = Purse(10 * MIB)
    one = flight_of(purse)
    one.came(6 * MIB)
    one.left(2 * MIB)
    assert purse.left == 6 * MIB + FREE


async def test_heads_of_frames_never_add_up() -> None:
    one = flight_of(Purse(0))
    for _message in range(100_000):
        assert one.came(110)
        one.left(100)


def test_sockets_of_a_person_share_a_purse_and_all_share_the_process() -> None:
    mine, others = flight.purses_of(1), flight.purses_of(2)
    assert flight.purses_of(1) == mine
    assert mine[0] is not others[0]
    assert mine[1] is others[1]


# A hostile machine and a browser that does not read


async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = await reader.readuntil(b"\r\n\r\n")
    (key,) = [line.split(b": ")[1] for line in asked.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")]
    accept = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 - RFC 6455
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(head + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")


def head(size: int) -> bytes:
    return struct.pack(">BBQ", 0x82, 127, size)


@asynccontextmanager
async def flooding(grounds: Grounds, whole: bool) -> AsyncIterator[Browser]:
    """Alice before a machine that sends a large message into each socket, or all of it but a byte."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await shake_hands(reader, writer)
            writer.write(head(LARGE))
            piece = bytes(MIB)
            for _number in range(LARGE // MIB - 1):
                writer.write(piece)
                await writer.drain()
            writer.write(piece if whole else piece[1:])
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    await in_database(put_behind, grounds.people.machine, server.sockets[0].getsockname()[1])
    async with server, grounds.browsing(grounds.people.alice) as browser:
        yield browser


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


async def said(reader: asyncio.StreamReader) -> bytes:
    """What came and comes within half a second."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            return await reader.readuntil(b"try again.")
    return b""


async def running(most: int) -> None:
    """Until no more than so many sockets are open."""
    async with asyncio.timeout(60):
        while len(next(iter(visits._visits.values()))._running) > most:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("whole", [True, False])
async def test_large_messages_that_nobody_takes_fill_no_memory(grounds: Grounds, whole: bool) -> None:
    """Without a limit these would hold 40 times 60 MiB, some of it twice.

    Who finds no room gives it back before they are gone, so that for half a second a few times as much may be there.
    """
    async with flooding(grounds, whole) as browser:
        peak = Peak()
        sockets = await asyncio.gather(*[deaf(browser) for _socket in range(MANY)])
        await running(most=flight.PERSON // LARGE)
        person, process = flight.purses_of(grounds.people.alice.pk)
        assert 0 <= person.left <= flight.PERSON - LARGE + FREE, "one or two large ones wait to be taken"
        assert peak.grown() < 6 * flight.PERSON, "about 200 MiB of 2,400, on a busy host 600"
        for _reader, writer in sockets:
            writer.transport.abort()
        await running(most=0)
        assert (person.left, process.left) == (flight.PERSON, flight.PROCESS)


async def test_large_messages_that_never_end_fill_no_memory_on_their_way_up(grounds: Grounds) -> None:
    async def listen(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _message in socket:
            pass
        return socket

    async with behind(grounds, listen) as browser:
        sockets = await asyncio.gather(*[raw(browser) for _socket in range(12)])
        for _reader, writer in sockets:
            writer.write(struct.pack(">BBQI", 0x82, 0xFF, 16 * MIB, 0) + bytes(15 * MIB))
        await running(most=flight.PERSON // (15 * MIB))
        told = [await said(reader) for reader, _writer in sockets]
        assert sum(struct.pack(">H", Code.FLOOD) in one for one in told) >= 4
        for _reader, writer in sockets:
            writer.transport.abort()


async def test_a_person_has_so_much_open_in_all_their_browsers_together(
    grounds: Grounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def listen(request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            return web.Response(text="here")
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    monkeypatch.setattr(visits, "MOST_AT_ONCE", 1)
    async with behind(grounds, listen) as browser, grounds.browsing(grounds.people.alice) as elsewhere:
        async with browser.socket("/api/kernels/x/channels"):
            async with elsewhere.get("/lab") as refused:
                assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
            async with grounds.browsing(grounds.people.bob) as another, another.get("/lab") as answer:
                assert answer.status == 200
        await running(most=0)
        async with elsewhere.get("/lab") as answer:
            assert answer.status == 200
