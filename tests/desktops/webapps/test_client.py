"""The HTTP client before machines that end, delay, or add what nobody asked for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

import pytest

from desktops.webapps import upstream
from desktops.webapps.client import MOST_HEAD, PIECE, ClientConnection, Unanswered
from desktops.webapps.headers import Confines, Framing
from desktops.webapps.upstream import Request, Traffic

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def machine(*answers: bytes, close_after: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """One that answers its requests with these bytes, on whatever connections they come; and what it was asked."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                asked.append(head)
                writer.write(answers[min(len(asked), len(answers)) - 1])
                await writer.drain()
                if close_after:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked
        await upstream.hang_up()


def request(port: int, method: str = "GET", headers: list[tuple[bytes, bytes]] | None = None) -> Request:
    framing = Framing(body=False)
    return Request(method, "127.0.0.1", port, b"/x", b"", headers or [], framing, Confines(frozenset()))


async def ask(asked: Request) -> tuple[int, bytes]:
    """Status and body as the browser gets them."""
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(10):
        await upstream.exchange(asked, receive, send, Traffic())
    assert sent[-1] == {"type": "http.response.body", "body": b""}, "the answer has an end"
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


async def test_a_connection_serves_one_request_after_the_other() -> None:
    places: set[Any] = set()

    async with machine(OK) as (port, asked):
        for _ in range(3):
            assert await ask(request(port)) == (200, b"ok")
            places.update(upstream.client()._kept[("127.0.0.1", port)])
    assert (len(asked), len(places)) == (3, 1)


async def test_what_comes_before_the_answer_is_not_the_answer() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    async with machine(early + OK) as (port, _):
        assert await ask(request(port)) == (200, b"ok")


async def test_without_a_length_the_end_of_the_connection_is_the_end() -> None:
    async with machine(b"HTTP/1.1 200 OK\r\n\r\nall of it", close_after=True) as (port, _):
        assert await ask(request(port)) == (200, b"all of it")


@pytest.mark.parametrize("extra", [b"x", OK, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"])
async def test_what_nobody_asked_for_is_nobodys_answer(extra: bytes) -> None:
    async with machine(OK + extra, OK) as (port, _):
        for _ in range(2):
            assert await ask(request(port)) == (200, b"ok")


async def test_an_answer_to_head_has_no_body_and_the_next_is_its_own() -> None:
    async with machine(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", OK) as (port, _):
        assert await ask(request(port, "HEAD")) == (200, b"")
        assert await ask(request(port)) == (200, b"ok")


@asynccontextmanager
async def closing_at_the_second_request() -> AsyncIterator[tuple[int, list[bytes]]]:
    """A machine that closes a connection when a second request comes on it, as one whose patience has just run out."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], asked
        await upstream.hang_up()


async def test_a_connection_that_ends_at_the_wrong_moment_is_not_noticed() -> None:
    async with closing_at_the_second_request() as (port, asked):
        for _ in range(3):
            assert await ask(request(port)) == (200, b"ok")
        assert len(asked) == 3


async def test_what_changes_something_is_never_asked_twice() -> None:
    async with closing_at_the_second_request() as (port, asked):
        assert await ask(request(port)) == (200, b"ok")
        with pytest.raises(Unanswered):
            await ask(request(port, "POST"))
        assert len(asked) == 1


async def test_trailers_are_not_headers() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nSet-Cookie: a=b\r\n\r\n"
    async with machine(chunked, OK) as (port, _):
        assert await ask(request(port)) == (200, b"ok")
        assert await ask(request(port)) == (200, b"ok")


async def test_who_turns_to_another_protocol_unasked_is_asked_no_more_on_that_line() -> None:
    turned = b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
    async with machine(turned, OK) as (port, _):
        with pytest.raises(Unanswered):
            await ask(request(port))
        assert await ask(request(port)) == (200, b"ok")


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("begin", [CHUNKED + b"0\r\nX: ", CHUNKED + b"2;x=", b"HTTP/1.1 200 OK\r\nX: "])
async def test_what_says_nothing_and_does_not_end_is_ended(begin: bytes) -> None:
    """httptools keeps the value of a header, or of a trailer, until it ends."""
    connection = ClientConnection()
    connection.connection_made(Mock(is_closing=lambda: False))
    connection.ask(b"")
    connection.data_received(begin)
    for _ in range(3):
        connection.data_received(bytes(b"x" * MOST_HEAD))
    with pytest.raises(ConnectionError):
        async for _piece in connection.pieces():
            pass


async def test_small_pieces_that_nobody_takes_count_with_what_they_cost() -> None:
    connection, paused = ClientConnection(), Mock(is_closing=lambda: False)
    connection.connection_made(paused)
    connection.ask(b"")
    connection.data_received(CHUNKED + b"2\r\nab\r\n" * 10_000)
    assert sum(map(sys.getsizeof, connection._pieces)) > PIECE
    paused.pause_reading.assert_called()


@pytest.mark.parametrize("value", [b"a\r\nX: y", b"a\nX: y", b"a\rX: y", b"a\0b"])
def test_a_request_is_one_request(value: bytes) -> None:
    with pytest.raises(ValueError, match="end of a line"):
        request(1, headers=[(b"x", value)]).head()
