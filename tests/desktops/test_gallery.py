"""Many watchers of one screen: what they get, what it costs the machine, and that nothing of theirs reaches it."""

from __future__ import annotations

import asyncio
import os
import struct
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from desktops import gallery
from desktops.gallery import COME_AGAIN, MOST_CHANGES, MOST_WISHES, Place, Watcher
from desktops.relay import NO_ANSWER, VIEWER_LEFT, Code, Ending
from desktops.server import EXTENSION
from desktops.updates import BROWSERS, EMPTY_UPDATE
from instances.screen import ScreenRefused, snapshot
from tests.desktops.canvas import Canvas
from tests.desktops.machines import TRUE_COLOUR, Easel, Machine, listening
from tests.desktops.test_relay import MIB, stall
from tests.desktops.test_rfb import DOING, LOOKING, UNKNOWN, cut_text, encodings, pixel_format
from tests.desktops.viewers import DIRECT, PLAIN, Viewer, serving, until, viewing
from tests.desktops.xvnc import Pencil, xvnc

pytestmark = pytest.mark.parametrize("way", [DIRECT, PLAIN], ids=["direct", "asgi"])

RED, GREEN, BLUE = b"\xff\0\0", b"\0\xff\0", b"\0\0\xff"
BELL, COPIED = b"\2", struct.pack(">BxxxI", 3, 5) + b"hello"
QUESTION = struct.pack(">BB4H", 3, 0, 0, 0, 1, 1)
"""What the page's meter asks (static/js/desktop/meter.js)."""

NOVNC = encodings(1, 7, -260, 16, 21, 5, 2, 6, 0, -26, -254, -223, -224, -258, -261, -308, -309, -312, -313, -307,
                  -1063131698, -316, 0x574D5664, -239)  # fmt: skip
HERE = "127.0.0.1"


def request(incremental: int = 1, width: int = 64, height: int = 48) -> bytes:
    return struct.pack(">BB4H", 3, incremental, 0, 0, width, height)


class Eyes:
    """A watcher as the page is one: asks again after every update, and keeps what it sees."""

    def __init__(self, viewer: Viewer, size: tuple[int, int]) -> None:
        self.viewer = viewer
        self.canvas = Canvas(*size)
        self.others = b""

    async def open(self) -> None:
        await self.viewer.shake_hands()
        await self.viewer.say(BROWSERS.orders()[:20] + NOVNC + request(0))

    async def look(self, limit: float = 30.0) -> None:
        """One message of the relay."""
        async with asyncio.timeout(limit):
            data = await self.viewer.socket.recv(decode=False)
        if data[:1] != b"\0":
            self.others += data
            return
        before = self.canvas.updates
        self.canvas.receive(data)
        await self.viewer.say(request() * (self.canvas.updates - before))

    async def until(self, colour: bytes) -> None:
        while bytes(self.canvas.pixels[-1, -1]) != colour:
            await self.look()


class Hall:
    """An application that shows one screen to watchers."""

    def __init__(self, port: int, way: str, *, clipboard: bool = False) -> None:
        self.place = Place(HERE, port, "", 1)
        self.way = way
        self.clipboard = clipboard
        self.watchers: list[Watcher] = []
        self.endings: list[Ending] = []
        self.port = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        direct = scope["extensions"].get(EXTENSION)
        assert (direct is not None) is (self.way == DIRECT)
        await receive()
        watcher = Watcher(self.place, receive, send, direct, clipboard=self.clipboard)
        await watcher.enter()
        self.watchers.append(watcher)
        await send({"type": "websocket.accept"})
        ending = await watcher.run()
        await watcher.say_farewell(ending)
        self.endings.append(ending)

    @asynccontextmanager
    async def visited(self, size: tuple[int, int] = (64, 48)) -> AsyncIterator[Eyes]:
        async with viewing(self.port) as viewer:
            eyes = Eyes(viewer, size)
            await eyes.open()
            yield eyes


@asynccontextmanager
async def opened(
    way: str, machine: Easel | None = None, *, clipboard: bool = False
) -> AsyncIterator[tuple[Hall, Easel]]:
    async with listening(machine or Easel()) as easel:
        hall = Hall(easel.port, way, clipboard=clipboard)
        async with serving(hall, way) as hall.port:
            yield hall, easel


@asynccontextmanager
async def together(hall: Hall, number: int) -> AsyncIterator[list[Eyes]]:
    """So many watchers, who all see something."""
    async with AsyncExitStack() as stack:
        eyes = [await stack.enter_async_context(hall.visited()) for _ in range(number)]
        for one in eyes:
            await one.look()
        yield eyes


async def alone(easel: Easel) -> None:
    """Once a single connection is left."""
    await easel.until(lambda: len(easel.writers) == 1)


async def test_a_watcher_sees_the_screen_and_its_changes(way: str) -> None:
    async with opened(way) as (hall, easel), hall.visited() as eyes:
        await eyes.until(easel.colour)
        for colour in (RED, GREEN, BLUE):
            easel.show(colour)
            await eyes.until(colour)
        assert hall.watchers[0].traffic.down > 0
        assert hall.watchers[0].traffic.up == 0


async def test_many_watchers_cost_the_machine_one_drawing(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 10) as crowd:
        await alone(easel)
        drawn = easel.drawn
        for colour in (RED, GREEN, BLUE):
            easel.show(colour)
            for eyes in crowd:
                await eyes.until(colour)
        assert easel.drawn - drawn == 3


async def test_those_who_come_at_once_need_one_more_picture_between_them(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "GATHER", 1.0)
    async with opened(way) as (hall, easel), together(hall, 8):
        assert easel.drawn == 2


async def test_who_comes_late_gets_a_whole_picture_and_all_move_over(way: str) -> None:
    async with opened(way) as (hall, easel), hall.visited() as early:
        await early.until(easel.colour)
        easel.show(RED)
        await early.until(RED)
        async with hall.visited() as late:
            await late.until(RED)
            await alone(easel)
            easel.show(GREEN)
            await early.until(GREEN)
            await late.until(GREEN)
            # noVNC's inflater breaks when it is reset
            assert early.canvas.resets == late.canvas.resets == 0


async def test_nothing_that_watchers_say_reaches_the_machine(way: str) -> None:
    own = BROWSERS.orders()
    async with opened(way) as (hall, easel), together(hall, 3) as crowd:
        for eyes in crowd:
            for message in DOING + LOOKING[2:]:
                await eyes.viewer.say(message)
            await eyes.viewer.say(cut_text(os.urandom(100_000)) + QUESTION)
            await eyes.look()
        easel.show(RED)
        for eyes in crowd:
            await eyes.until(RED)
        left = bytes(easel.heard).replace(own, b"").replace(request(0), b"").replace(request(1), b"")
        assert left == b""
        assert [watcher.inputs for watcher in hall.watchers] == [0, 0, 0]


@pytest.mark.parametrize("message", UNKNOWN.values(), ids=UNKNOWN.keys())
async def test_what_is_not_known_ends_only_the_visit_of_who_said_it(way: str, message: bytes) -> None:
    async with opened(way) as (hall, easel), together(hall, 2) as (good, bad):
        await bad.viewer.say(message)
        assert (await bad.viewer.ended())[0] == Code.PROTOCOL
        easel.show(RED)
        await good.until(RED)


async def test_the_pages_question_is_answered_here(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (eyes,):
        await easel.until(lambda: len(easel.requests) == 2)
        for _ in range(5):
            await eyes.viewer.say(QUESTION)
            assert await eyes.viewer.socket.recv() == EMPTY_UPDATE
        assert len(easel.requests) == 2


async def test_who_asks_for_the_whole_picture_again_gets_it(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (eyes,):
        eyes.canvas.pixels[:] = 7
        await eyes.viewer.say(request(0))
        await eyes.until(easel.colour)


async def test_an_update_is_sent_only_to_who_asked(way: str) -> None:
    async with opened(way) as (hall, easel), viewing(hall.port) as viewer:
        eyes = Eyes(viewer, (64, 48))
        await eyes.open()
        assert len(await viewer.socket.recv()) > 4
        easel.show(RED)
        await until(lambda: not hall.watchers[0].keeps_up)
        await viewer.say(request())
        eyes.canvas.receive(bytes(await viewer.socket.recv(decode=False)))
        assert bytes(eyes.canvas.pixels[0, 0]) == RED


async def test_what_is_copied_in_the_machine_does_not_reach_watchers(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (eyes,):
        easel.writers[0].write(COPIED + BELL)
        await eyes.look()
        assert eyes.others == BELL


async def test_what_is_copied_in_the_machine_reaches_those_who_may_have_it(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 2) as (may, may_not):
        hall.watchers[0].clipboard = True
        await alone(easel)
        easel.writers[0].write(COPIED + BELL)
        for eyes in (may, may_not):
            while not eyes.others.endswith(BELL):
                await eyes.look()
        assert (may.others, may_not.others) == (COPIED + BELL, BELL)


async def test_a_new_size_reaches_all_and_those_who_come_later(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 2) as crowd:
        await alone(easel)
        easel.resize(100, 20)
        easel.show(RED)
        for eyes in crowd:
            await eyes.until(RED)
            assert eyes.canvas.pixels.shape == (20, 100, 3)
        assert easel.requests[-1][3:] == (100, 20)
        async with hall.visited((100, 20)) as late:
            await late.until(RED)


async def test_a_size_that_changed_while_somebody_came_in_is_told(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (early,), viewing(hall.port) as viewer:
        late = Eyes(viewer, (64, 48))
        await viewer.shake_hands()
        easel.resize(100, 20)
        easel.show(RED)
        await early.until(RED)
        await viewer.say(BROWSERS.orders()[:20] + NOVNC + request(0))
        await late.until(RED)
        assert late.canvas.pixels.shape == (20, 100, 3)


async def test_who_knows_of_no_other_size_is_asked_to_come_again(way: str) -> None:
    async with opened(way) as (hall, easel), viewing(hall.port) as viewer:
        await viewer.shake_hands()
        easel.size = (100, 20)
        await viewer.say(BROWSERS.orders()[:20] + encodings(7, 0) + request(0))
        assert await viewer.ended() == (COME_AGAIN.code, COME_AGAIN.reason)


async def test_another_wish_has_a_line_of_its_own(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (eyes,), viewing(hall.port) as viewer:
        await viewer.shake_hands()
        await viewer.say(pixel_format() + encodings(16, 0, 1) + request(0))
        await viewer.socket.recv()
        assert len(easel.writers) == 2
        assert easel.encodings[-1] == (1, 0)
        easel.show(RED)
        await eyes.until(RED)
        # It may become like the others' again.
        await viewer.say(BROWSERS.orders()[:20] + NOVNC + request(0))
        await alone(easel)


def odd(number: int) -> bytes:
    """A wish of its own: the red of a pixel stands there."""
    return b"\0\0\0\0" + replace(TRUE_COLOUR, red_shift=number).pack() + encodings(0) + request(0)


async def test_a_watcher_who_keeps_changing_the_way_costs_the_machine_few_lines(way: str) -> None:
    async with opened(way) as (hall, easel), viewing(hall.port) as viewer:
        await viewer.shake_hands()
        await viewer.say(b"".join(odd(1 + n % 2) for n in range(500)))
        assert (await viewer.ended())[0] == Code.PROTOCOL
        assert len(easel.encodings) <= MOST_CHANGES + 1


async def test_watchers_of_many_ways_shut_out_nobody_with_our_page(way: str) -> None:
    async with opened(way) as (hall, easel), AsyncExitStack() as stack:
        for n in range(MOST_WISHES):
            viewer = await stack.enter_async_context(viewing(hall.port))
            await viewer.shake_hands()
            await viewer.say(odd(n + 1))
            await viewer.socket.recv()
        another = await stack.enter_async_context(viewing(hall.port))
        await another.shake_hands()
        await another.say(odd(MOST_WISHES + 1))
        assert (await another.ended())[0] == Code.PROTOCOL
        eyes = await stack.enter_async_context(hall.visited())
        await eyes.until(easel.colour)


async def test_a_machine_that_hangs_up_ends_every_visit_with_4502(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 3) as crowd:
        await alone(easel)
        easel.writers[0].transport.abort()
        for eyes in crowd:
            assert await eyes.viewer.ended() == (NO_ANSWER.code, NO_ANSWER.reason)
        async with hall.visited() as again:
            await again.until(easel.colour)


async def test_a_machine_that_says_what_nobody_asked_for_ends_the_visit(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (eyes,):
        easel.writers[0].write(b"\x96")
        assert (await eyes.viewer.ended())[0] == Code.NO_ANSWER


async def test_where_the_machine_does_not_open_again_only_those_who_wait_go(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (early,), viewing(hall.port) as viewer:
        await viewer.shake_hands()
        shake_hands = easel.shake_hands
        easel.shake_hands = hang_up  # type: ignore[method-assign]
        await viewer.say(BROWSERS.orders()[:20] + NOVNC + request(0))
        assert (await viewer.ended())[0] == Code.NO_ANSWER
        easel.show(RED)
        await early.until(RED)
        easel.shake_hands = shake_hands  # type: ignore[method-assign]
        async with hall.visited() as later:
            await later.until(RED)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    raise OSError


async def test_one_that_shows_nothing_when_opened_again_is_not_waited_for(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (early,):
        monkeypatch.setattr(gallery, "CONNECT_PATIENCE", 0.2)
        easel.picture = lambda: b""  # type: ignore[method-assign]
        async with hall.visited() as late:
            assert (await late.viewer.ended())[0] == Code.NO_ANSWER
        del easel.picture
        await alone(easel)
        easel.show(RED)
        await early.until(RED)


@asynccontextmanager
async def stalled(hall: Hall) -> AsyncIterator[Watcher]:
    """A watcher that asks for everything and takes nothing."""
    raw = await stall(hall.port, BROWSERS.orders()[:20] + NOVNC + request(0) + request() * 50)
    try:
        yield hall.watchers[-1]
    finally:
        raw.close()


async def test_a_stalled_watcher_holds_up_nobody_and_takes_little_memory(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 1) as (eyes,), stalled(hall) as slow:
        await until(lambda: slow.attached)
        easel.bulk = MIB
        tracemalloc.start()
        for i in range(60):
            easel.show(bytes([i, 0, 1]))
            await eyes.until(bytes([i, 0, 1]))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert not slow.attached
        # What may wait, one update that is being read, and what the sockets hold.
        assert most < gallery.LAG_BYTES + 16 * MIB


async def test_who_could_not_keep_up_comes_in_anew(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "LAG", 0.0)
    async with opened(way) as (hall, easel), together(hall, 2) as (eyes, slow):
        await alone(easel)
        slow.viewer.socket.transport.pause_reading()
        easel.bulk = 8 * MIB
        watcher, i = hall.watchers[1], 0
        while watcher.attached:
            easel.show(bytes([i, 0, 1]))
            await eyes.until(bytes([i, 0, 1]))
            i += 1
        slow.viewer.socket.transport.resume_reading()
        easel.bulk = 0
        await slow.until(easel.colour)
        easel.show(BLUE)
        await slow.until(BLUE)
        await eyes.until(BLUE)
        await alone(easel)


async def test_where_nobody_keeps_up_the_machine_waits(way: str) -> None:
    async with opened(way) as (hall, easel), stalled(hall):
        easel.bulk = MIB
        await easel.until(lambda: len(easel.requests) >= 1)
        drawn = -1
        while drawn != easel.drawn:
            drawn = easel.drawn
            easel.show(RED)
            await asyncio.sleep(0.2)  # no longer than it takes to draw again, if it were asked to
        assert drawn < 20


async def test_a_stalled_watcher_is_shut_out_within_a_second(way: str) -> None:
    async with opened(way) as (hall, easel), stalled(hall) as watcher:
        easel.bulk = 8 * MIB
        await easel.until(lambda: len(easel.requests) >= 1)
        easel.show(RED)
        begin = asyncio.get_running_loop().time()
        watcher.end(Ending(Code.WITHDRAWN, "Because."))
        await easel.until(lambda: not easel.writers)
        await until(lambda: hall.endings)
        assert hall.endings[0].code == Code.WITHDRAWN
        assert asyncio.get_running_loop().time() - begin < 1


async def test_a_watcher_who_leaves_takes_only_themselves_away(way: str) -> None:
    async with opened(way) as (hall, easel), together(hall, 2) as (stays, goes):
        await alone(easel)
        await goes.viewer.socket.close()
        await until(lambda: hall.endings == [VIEWER_LEFT])
        easel.show(RED)
        await stays.until(RED)
        await stays.viewer.socket.close()
        await easel.until(lambda: not easel.writers)
        assert not gallery._galleries


async def test_a_machine_that_does_not_open_is_left_alone(way: str) -> None:
    async with listening(Machine(password="other")) as machine:
        watcher = Watcher(Place(HERE, machine.port, "mine", 1), asyncio.sleep, asyncio.sleep)  # type: ignore[arg-type]
        with pytest.raises(ScreenRefused):
            await watcher.enter()
        assert not gallery._galleries


async def test_three_hundred_visits_leave_nothing_behind(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "GATHER", 0.01)
    monkeypatch.setattr(gallery, "RENEW_EVERY", 0.0)
    async with opened(way) as (hall, easel):

        async def visit() -> None:
            async with hall.visited() as eyes:
                await eyes.look()

        await visit()
        await easel.until(lambda: not easel.writers)
        tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
        for _ in range(30):
            await asyncio.gather(*(visit() for _ in range(10)))
        await easel.until(lambda: not easel.writers)
        await until(lambda: len(asyncio.all_tasks()) <= tasks and len(os.listdir("/proc/self/fd")) <= files)
        assert not gallery._galleries


async def test_a_real_screen_looks_the_same_to_all_whenever_they_came(way: str) -> None:
    with xvnc(640, 480) as server:
        hall, pencil = Hall(server.port, way), Pencil(server)
        async with serving(hall, way) as hall.port, AsyncExitStack() as stack:
            crowd: list[Eyes] = []
            for i in range(4):
                crowd.append(await stack.enter_async_context(hall.visited((640, 480))))
                pencil.photo(20 * i, 200, 120, 120)
                for j in range(40):
                    pencil.fill(j * 0x030507 * (i + 1), 10 + j * 12, 20 + 30 * i, 7, 25)
                pencil.finish()
                await asyncio.gather(*(_until_still(eyes) for eyes in crowd))
            width, height, pixels = await snapshot(HERE, server.port, "", 5)
        pencil.close()
    real = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    for eyes in crowd:
        assert eyes.canvas.kinds >= {"fill", "palette", "jpeg"}
        assert np.abs(real.astype(int) - eyes.canvas.pixels).max() <= 12


async def _until_still(eyes: Eyes) -> None:
    try:
        while True:
            await eyes.look(3)
    except (TimeoutError, ConnectionClosed):
        return
