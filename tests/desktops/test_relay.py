"""The relay between real sockets, on both ways to the viewer: uvicorn's own and plain ASGI."""

from __future__ import annotations

import asyncio
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from desktops import frames
from desktops import relay as relay_module
from desktops.relay import NO_ANSWER, VIEWER_LEFT, Code, Ending, Relay
from desktops.rfb import Role
from desktops.server import EXTENSION
from instances.screen import open_screen
from tests.desktops.machines import Deaf, Machine, listening
from tests.desktops.test_rfb import UNKNOWN, cut_text, key, pointer, update_request
from tests.desktops.viewers import DIRECT, PLAIN, Viewer, serving, until, viewing

pytestmark = pytest.mark.parametrize("way", [DIRECT, PLAIN], ids=["direct", "asgi"])
MIB = 1024 * 1024


class Stand:
    """A relay application before one machine; `relay` and `ending` tell of its last visit."""

    def __init__(self, machine: Machine, role: Role, way: str) -> None:
        self.machine = machine
        self.role = role
        self.way = way
        self.relay: Relay
        self.ending: asyncio.Future[Ending]
        self.port = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.ending = asyncio.get_running_loop().create_future()
        direct = scope["extensions"].get(EXTENSION)
        assert (direct is not None) is (self.way == DIRECT)
        await receive()
        screen = await open_screen("127.0.0.1", self.machine.port, self.machine.password, 5)
        await send({"type": "websocket.accept"})
        self.relay = Relay(screen, receive, send, self.role, direct)
        ending = await self.relay.run()
        await self.relay.say_farewell(ending)
        self.ending.set_result(ending)

    async def ended(self) -> Ending:
        async with asyncio.timeout(10):
            return await self.ending


@asynccontextmanager
async def standing(way: str, machine: Machine, role: Role = Role.CONTROL) -> AsyncIterator[Stand]:
    async with listening(machine):
        stand = Stand(machine, role, way)
        async with serving(stand, way) as port:
            stand.port = port
            yield stand


@asynccontextmanager
async def visiting(way: str, machine: Machine, role: Role = Role.CONTROL) -> AsyncIterator[tuple[Stand, Viewer]]:
    """A viewer who has come as far as the desktop."""
    async with standing(way, machine, role) as stand, viewing(stand.port) as viewer:
        await viewer.shake_hands()
        await machine.visited()
        yield stand, viewer


async def test_pixels_come_down_whole_and_in_order(way: str) -> None:
    pixels = os.urandom(3 * MIB)
    async with visiting(way, Machine()) as (stand, viewer):
        (await stand.machine.visited()).write(pixels)
        assert await viewer.until(len(pixels)) == pixels
        assert stand.relay.traffic.down >= len(pixels)


async def test_a_close_stream_of_small_pieces_comes_down_in_few_messages(way: str) -> None:
    pieces = [os.urandom(700) for _ in range(400)]
    async with visiting(way, Machine()) as (stand, viewer):
        writer = await stand.machine.visited()
        before = stand.relay.traffic.messages
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        whole = b"".join(pieces)
        assert await viewer.until(len(whole)) == whole
        assert stand.relay.traffic.messages - before < len(pieces) / 2


async def test_an_answer_is_not_held_back_by_a_stream_that_is_being_gathered(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "GATHER", 3600.0)
    async with visiting(way, Machine()) as (stand, viewer):
        writer = await stand.machine.visited()
        seen = 0
        for _ in range(20):
            await viewer.say(update_request())
            await stand.machine.until(lambda: len(stand.machine.heard) >= len(update_request()))
            stand.machine.heard.clear()
            writer.write(bytes(1000))
            seen += 1000
            await viewer.until(seen)


async def test_what_a_machine_says_at_once_is_not_lost(way: str) -> None:
    class Eager(Machine):
        async def listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"early")
            await super().listen(reader, writer)

    async with visiting(way, Eager()) as (_, viewer):
        assert await viewer.until(5) == b"early"


async def test_input_goes_up_and_counts(way: str) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        said = update_request() + key(97) + pointer(1)
        for byte in said:
            await viewer.say(bytes([byte]))
        await stand.machine.until(lambda: bytes(stand.machine.heard) == said)
        assert stand.relay.inputs == 2
        assert stand.relay.traffic.up == len(said)


async def test_what_is_said_in_one_breath_with_the_handshake_goes_up(way: str) -> None:
    async with standing(way, Machine()) as stand, viewing(stand.port) as viewer:
        await viewer.say(b"RFB 003.008\n\x01\x01" + update_request())
        await stand.machine.until(lambda: bytes(stand.machine.heard) == update_request())


async def test_a_watcher_sees_and_does_nothing(way: str) -> None:
    async with visiting(way, Machine(), Role.WATCH) as (stand, viewer):
        (await stand.machine.visited()).write(b"pixels")
        assert await viewer.until(6) == b"pixels"
        await viewer.say(key(97) + pointer(1) + update_request())
        await stand.machine.until(lambda: stand.machine.heard)
        assert bytes(stand.machine.heard) == update_request()
        assert stand.relay.inputs == 0


async def test_a_role_changes_while_somebody_looks(way: str) -> None:
    async with visiting(way, Machine(), Role.CONTROL) as (stand, viewer):
        await viewer.say(key(97))
        await stand.machine.until(lambda: bytes(stand.machine.heard) == key(97))
        stand.relay.change_role(Role.WATCH)
        released = key(97) + key(97, down=False)
        await stand.machine.until(lambda: bytes(stand.machine.heard) == released)
        await viewer.say(key(98) + update_request())
        await stand.machine.until(lambda: bytes(stand.machine.heard) == released + update_request())
        stand.relay.change_role(Role.CONTROL)
        await viewer.say(key(99))
        await stand.machine.until(lambda: bytes(stand.machine.heard).endswith(key(99)))


async def test_a_viewer_who_leaves_frees_the_machine(way: str) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        await viewer.socket.close()
        assert await stand.ended() == VIEWER_LEFT
        await stand.machine.until(lambda: not stand.machine.writers)


async def test_a_viewer_whose_line_breaks_frees_the_machine(way: str) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        viewer.socket.transport.abort()
        assert await stand.ended() == VIEWER_LEFT
        await stand.machine.until(lambda: not stand.machine.writers)


async def test_a_machine_that_hangs_up_ends_the_visit_with_4502(way: str) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        (await stand.machine.visited()).transport.abort()
        assert await viewer.ended() == (4502, NO_ANSWER.reason)
        assert (await stand.ended()).code == Code.NO_ANSWER


async def test_the_last_pixels_come_before_the_end(way: str) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        writer = await stand.machine.visited()
        writer.write(b"the last picture")
        writer.close()
        assert (await viewer.ended())[0] == 4502
        assert bytes(viewer.seen) == b"the last picture"


@pytest.mark.parametrize("message", UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_what_is_not_known_ends_the_visit_and_stays_here(way: str, message: bytes) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        await viewer.say(message)
        assert (await viewer.ended())[0] == Code.PROTOCOL
        await stand.machine.until(lambda: not stand.machine.writers)
        assert not stand.machine.heard


async def test_text_is_not_understood(way: str) -> None:
    async with visiting(way, Machine()) as (_, viewer):
        await viewer.socket.send("hello")
        assert (await viewer.ended())[0] == Code.PROTOCOL


async def test_a_viewer_that_does_not_finish_the_handshake_is_not_waited_for(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_module, "GREETING_PATIENCE", 0.2)
    async with standing(way, Machine()) as stand, viewing(stand.port) as viewer:
        await viewer.say(b"RFB 003")
        assert (await viewer.ended())[0] == Code.PROTOCOL
        await stand.machine.until(lambda: not stand.machine.writers)


@pytest.mark.parametrize("code", [Code.SIGN_IN, Code.WITHDRAWN, Code.NOT_FOUND, Code.OWNER_AWAY, Code.STOPPED])
async def test_the_control_line_ends_a_visit_with_its_reason(way: str, code: Code) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        stand.relay.end(Ending(code, "Because."))
        stand.relay.end(Ending(Code.PROTOCOL, "Too late to count."))
        assert await viewer.ended() == (code, "Because.")
        await stand.machine.until(lambda: not stand.machine.writers)


async def flood(machine: Machine, most: int) -> int:
    """Send until nothing more is taken for half a second; how much went."""
    writer, sent, piece = await machine.visited(), 0, bytes(65536)
    try:
        while sent < most:
            writer.write(piece)
            sent += len(piece)
            await asyncio.wait_for(writer.drain(), 0.5)
    except TimeoutError:
        return sent
    raise AssertionError("the machine was never slowed")


async def stall(port: int, says: bytes = update_request()) -> socket.socket:
    """A viewer that finishes the handshake and then takes nothing any more."""
    loop = asyncio.get_running_loop()
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setblocking(False)
    await loop.sock_sendall(
        raw,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    assert b" 101 " in await loop.sock_recv(raw, 1024)
    said = b"RFB 003.008\n\x01\x01" + says
    await loop.sock_sendall(raw, bytes([0x82, 0xFE, *len(said).to_bytes(2, "big")]) + bytes(4) + said)
    return raw


async def test_a_stalled_viewer_slows_the_machine_and_adds_little_memory(way: str) -> None:
    async with standing(way, Machine()) as stand:
        raw = await stall(stand.port)
        await stand.machine.until(lambda: stand.machine.heard)
        tracemalloc.start()
        sent = await flood(stand.machine, 200 * MIB)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 4 * MIB
        assert stand.relay.traffic.down <= sent
        raw.close()
        assert await stand.ended() == VIEWER_LEFT


async def test_a_viewer_that_wakes_up_misses_nothing(way: str) -> None:
    async with visiting(way, Machine()) as (stand, viewer):
        viewer.socket.transport.pause_reading()
        sent = await flood(stand.machine, 200 * MIB)
        viewer.socket.transport.resume_reading()
        assert len(await viewer.until(sent)) == sent


async def test_a_stalled_viewer_is_shut_out_within_a_second(way: str) -> None:
    async with standing(way, Machine()) as stand:
        raw = await stall(stand.port)
        await stand.machine.until(lambda: stand.machine.heard)
        await flood(stand.machine, 200 * MIB)
        begin = asyncio.get_running_loop().time()
        stand.relay.end(Ending(Code.WITHDRAWN, "Because."))
        await stand.machine.until(lambda: not stand.machine.writers)
        assert (await stand.ended()).code == Code.WITHDRAWN
        assert asyncio.get_running_loop().time() - begin < 1
        raw.close()


async def test_a_role_changes_while_the_viewer_is_stalled(way: str) -> None:
    async with standing(way, Machine()) as stand:
        raw = await stall(stand.port)
        await stand.machine.until(lambda: stand.machine.heard)
        await flood(stand.machine, 200 * MIB)
        stand.relay.change_role(Role.WATCH)
        loop = asyncio.get_running_loop()
        said = key(97) + update_request()
        await loop.sock_sendall(raw, bytes([0x82, 0x80 | len(said)]) + bytes(4) + said)
        await stand.machine.until(lambda: len(stand.machine.heard) >= 2 * len(update_request()))
        assert bytes(stand.machine.heard) == 2 * update_request()
        raw.close()
        await stand.ended()


async def type_on(viewer: Viewer, most: int) -> None:
    """Paste until nothing more is taken for half a second, which raises TimeoutError, or `most` bytes went."""
    text = cut_text(bytes(65528))
    for _ in range(most // len(text)):
        await asyncio.wait_for(viewer.say(text), 0.5)


async def test_a_deaf_machine_slows_the_viewer_and_adds_little_memory(way: str) -> None:
    async with visiting(way, Deaf()) as (stand, viewer):
        tracemalloc.start()
        with pytest.raises(TimeoutError):
            await type_on(viewer, 200 * MIB)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < 4 * MIB
        viewer.socket.transport.abort()
        (await stand.machine.visited()).transport.abort()
        await stand.ended()


async def test_five_hundred_visits_leave_nothing_behind(way: str) -> None:
    async with standing(way, Machine()) as stand:

        async def visit() -> None:
            async with viewing(stand.port) as viewer:
                await viewer.shake_hands()

        await visit()
        await stand.machine.until(lambda: not stand.machine.writers)
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            await asyncio.gather(*(visit() for _ in range(10)))
        await stand.machine.until(lambda: not stand.machine.writers)
        await until(lambda: len(asyncio.all_tasks()) <= tasks and len(os.listdir("/proc/self/fd")) <= files)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536, 300_000])
async def test_frames_of_every_length_arrive_whole(way: str, size: int) -> None:
    head = frames.head(size)
    assert head[0] == 0x82
    async with visiting(way, Machine()) as (stand, viewer):
        (await stand.machine.visited()).write(bytes(size) + b"end")
        assert await viewer.until(size + 3) == bytes(size) + b"end"
