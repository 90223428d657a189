"""Many who only watch one machine's screen share one connection to it. asyncio only; what watchers say goes nowhere.

A machine draws and compresses its screen once for a gallery, however many look. Somebody who comes later needs a whole
picture, and compressed data from its beginning: a new connection is opened, which begins with both, and everybody moves
over to it. So soon there is one connection again. Who cannot keep up misses updates and comes in anew like that.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Iterable
from typing import NamedTuple

from desktops.relay import (
    NO_ANSWER,
    Code,
    Conversation,
    Ending,
    Receive,
    Send,
    SendQueue,
    Viewer,
    first,
    introduce,
    nothing,
)
from desktops.rfb import ENCODINGS, PIXEL_FORMAT, UPDATE_REQUEST, Handshake, ProtocolError, Role
from desktops.updates import (
    BROWSERS,
    DESKTOP_SIZE,
    EMPTY_UPDATE,
    Kind,
    ServerMessage,
    ServerMessages,
    Unreadable,
    Wish,
    desktop_size,
)
from instances.screen import READ_LIMIT, Screen, ScreenRefused, ScreenUnavailable, open_screen

log = logging.getLogger(__name__)

CONNECT_PATIENCE = 5.0
"""Seconds in which the machine's screen must have let us in."""

GATHER = 0.25
"""Seconds in which those who come at about the same time are gathered, to need one whole picture."""

RENEW_EVERY = 1.0
"""Seconds between two whole pictures, at least."""

LAG = 2.0
"""Seconds after which an update that could not be sent is out of date."""

LAG_BYTES = 4 * 1024 * 1024
"""What may wait for one viewer; a single update may be larger."""

MOST_WISHES = 4
"""Ways in which one screen is shown here at the same time, besides that of our page: each costs the machine a line."""

MOST_CHANGES = 8
"""Times that a viewer may want to be shown the screen in another way: each costs the machine a new line."""

COME_AGAIN = Ending(Code.COME_AGAIN, "The screen is shown in another way now.")


class Place(NamedTuple):
    """Where a screen is, and of which build of the machine."""

    host: str
    port: int
    password: str
    generation: int


class Gallery:
    """A machine's screen for all watchers with one wish. Closes with the last that leaves."""

    def __init__(self, place: Place, wish: Wish) -> None:
        self.place = place
        self.wish = wish
        self._watchers: set[Watcher] = set()
        self._opening: asyncio.Task[_Line] | None = None
        self._line: _Line | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._renewed_at = float("-inf")
        self._owed = False

    @classmethod
    def at(cls, place: Place, wish: Wish) -> Gallery:
        """The one that is open in this process, or a new one. Raises ProtocolError for one wish too many."""
        others = [1 for where, wanted in _galleries if where == place and wanted not in {wish, BROWSERS}]
        if wish != BROWSERS and len(others) >= MOST_WISHES:
            raise ProtocolError("the screen is shown in too many other ways")
        return _galleries.setdefault((place, wish), cls(place, wish))

    async def enter(self, watcher: Watcher) -> Screen:
        """The screen, to introduce it; nothing is shown before `show_all`. Raises ScreenUnavailable, ScreenRefused."""
        self._watchers.add(watcher)
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        try:
            opened = await asyncio.shield(self._opening)
        except (ScreenUnavailable, ScreenRefused, asyncio.CancelledError):
            self.leave(watcher)
            raise
        return (self._line or opened).screen

    def leave(self, watcher: Watcher) -> None:
        """Again does no harm."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._close()

    def show_all(self, watcher: Watcher) -> None:
        """Give this watcher the whole picture as soon as may be, and what follows."""
        if self._line and not self._line.reading:
            watcher.begin(self._line.screen)
            self._start(self._line)
        elif self._renewing is None:
            self._renewing = asyncio.create_task(self._renew())

    def go_on(self) -> None:
        """A watcher can take another update; if the machine waits for that, ask it."""
        if self._owed and self._line:
            self._owed = False
            self._ask(self._line.screen, incremental=True)

    async def _open(self) -> _Line:
        self._line = await self._connect()
        return self._line

    async def _connect(self) -> _Line:
        return _Line(await open_screen(self.place.host, self.place.port, self.place.password, CONNECT_PATIENCE))

    def _start(self, line: _Line) -> None:
        line.screen.writer.write(self.wish.orders())
        self._ask(line.screen, incremental=False)
        line.reading = asyncio.create_task(self._read(line))
        line.reading.add_done_callback(lambda reading: self._read_ended(line, reading))

    def _ask(self, screen: Screen, *, incremental: bool) -> None:
        if not screen.writer.is_closing():
            screen.writer.write(struct.pack(">BB4H", UPDATE_REQUEST, incremental, 0, 0, screen.width, screen.height))

    async def _read(self, line: _Line) -> None:
        messages = ServerMessages(self.wish.pixel_format)
        try:
            while data := await line.screen.reader.read(READ_LIMIT):
                for message in messages.receive(data):
                    self._show(line, message)
        except (OSError, Unreadable) as why:
            log.warning("the screen at %s:%s is shown no longer: %s", self.place.host, self.place.port, why)

    def _show(self, line: _Line, message: ServerMessage) -> None:
        if line is not self._line:
            self._move_to(line)
        if message.size:
            line.screen.width, line.screen.height = message.size
        shown = [watcher for watcher in self._watchers if watcher.attached]
        for watcher in shown:
            watcher.show(message)
        if message.kind is Kind.UPDATE:
            self._owed = True
            if any(watcher.keeps_up for watcher in shown):
                self.go_on()

    async def _renew(self) -> None:
        """Open a new connection and move to it with its first update, which begins a whole picture."""
        due = self._renewed_at + RENEW_EVERY - asyncio.get_running_loop().time()
        await asyncio.sleep(max(GATHER, due))
        fresh = None
        try:
            fresh = await self._connect()
            self._start(fresh)
            async with asyncio.timeout(CONNECT_PATIENCE):
                await fresh.spoke
        except (ScreenUnavailable, ScreenRefused, TimeoutError) as why:
            log.warning("the screen at %s:%s does not open again: %r", self.place.host, self.place.port, why)
            self._end(watcher for watcher in self._watchers if watcher.waits)
        finally:
            self._renewing = None
            if fresh and fresh is not self._line:
                fresh.close()

    def _move_to(self, fresh: _Line) -> None:
        if self._line:
            self._line.close()
        self._line, self._owed = fresh, False
        self._renewed_at = asyncio.get_running_loop().time()
        fresh.spoke.set_result(None)
        for watcher in self._watchers:
            if watcher.attached or watcher.waits:
                watcher.begin(fresh.screen)

    def _read_ended(self, line: _Line, reading: asyncio.Task[None]) -> None:
        if reading.cancelled():
            return
        if error := reading.exception():
            log.error("a gallery broke", exc_info=error)
        if line is self._line:
            self._end(self._watchers)
        elif not line.spoke.done():
            line.spoke.set_exception(ScreenUnavailable("It hung up."))

    def _end(self, watchers: Iterable[Watcher]) -> None:
        for watcher in watchers:
            watcher.end(NO_ANSWER)

    def _close(self) -> None:
        for task in filter(None, (self._opening, self._renewing)):
            task.cancel()
        if self._line:
            self._line.close()
        if _galleries.get((self.place, self.wish)) is self:
            del _galleries[self.place, self.wish]


_galleries: dict[tuple[Place, Wish], Gallery] = {}


class _Line:
    """One connection to the machine, and the task that reads it once it was started."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.reading: asyncio.Task[None] | None = None
        self.spoke: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def close(self) -> None:
        self.screen.abort()
        if self.reading:
            self.reading.cancel()


class Watcher(Conversation):
    """One viewer in a gallery. `clipboard`: what is copied in the machine reaches them.

    `attached` is who gets the updates, `waits` who will be with the next whole picture. Updates are only sent to a
    viewer that asked and whose socket is free; they wait no longer than `LAG` and in no more than `LAG_BYTES`.
    """

    def __init__(
        self, place: Place, receive: Receive, send: Send, direct: Viewer | None = None, *, clipboard: bool = False
    ) -> None:
        super().__init__(receive, send, Role.WATCH, direct)
        self.clipboard = clipboard
        self.attached = False
        self._queue = SendQueue(send)
        self._viewer = direct or self._queue
        self._gallery = Gallery.at(place, BROWSERS)
        self._updates: list[ServerMessage] = []
        self._since = 0.0
        self._compressed: set[int] = set()
        self._began = False
        self._wants = False
        self._full = False
        self._changes = 0

    async def enter(self) -> None:
        """Find the screen, before anything else. Raises ScreenUnavailable, ScreenRefused."""
        self._screen = await self._gallery.enter(self)
        self._wish = Wish(self._screen.pixel_format)

    def close(self) -> None:
        self._gallery.leave(self)

    @property
    def waits(self) -> bool:
        """Whether the whole picture is awaited and can be sent."""
        return self._began and not self.attached and self._wants and not self._full

    @property
    def keeps_up(self) -> bool:
        return self.attached and not self._updates

    def begin(self, screen: Screen) -> None:
        """What is shown next begins a whole picture of this screen; what was before is out of date."""
        self.attached = True
        self._updates.clear()
        size = screen.width, screen.height
        if size == self._size:
            return
        if DESKTOP_SIZE in self._wish.encodings:
            self.show(ServerMessage(Kind.UPDATE, desktop_size(*size), size))
        else:
            self.end(COME_AGAIN)

    def show(self, message: ServerMessage) -> None:
        """Send it now, or as soon as the viewer is ready; who is not for too long misses what follows."""
        if message.kind is Kind.CUT_TEXT and not self.clipboard:
            return
        now = asyncio.get_running_loop().time()
        if not self._updates:
            self._since = now
        elif now - self._since > LAG or sum(len(kept.data) for kept in self._updates) > LAG_BYTES:
            self._fall_behind()
            return
        self._updates.append(message)
        self._send_updates()

    def _introduction(self) -> Handshake:
        self._size = self._screen.width, self._screen.height
        return introduce(self._screen)

    async def _pump(self, rest: bytes) -> Ending:
        self._viewer.follow(self._stop, self._go_on)
        try:
            return await first(asyncio.ensure_future(self._listen(rest)), asyncio.ensure_future(self._queue.pump()))
        except (ScreenUnavailable, ScreenRefused) as why:
            log.warning("a screen did not open in another way: %s", why)
            return NO_ANSWER
        finally:
            self._viewer.follow(nothing, nothing)

    async def _listen(self, said: bytes) -> Ending:
        while True:
            for message in self._messages.take_apart(said):
                if message[0] in (PIXEL_FORMAT, ENCODINGS):
                    self._wish = self._wish.said(message)
                elif message[0] == UPDATE_REQUEST:
                    await self._requested(message)
            said = await self._from_viewer()

    async def _requested(self, message: bytes) -> None:
        """An update is wanted. Our page asks for one pixel to see how long an answer takes; it gets one at once."""
        _, incremental, _, _, width, height = struct.unpack(">BB4H", message)
        self._wants = True
        if self._wish != self._gallery.wish:
            await self._change_gallery()
        if self._began and not incremental and width * height == 1:
            self.show(ServerMessage(Kind.UPDATE, EMPTY_UPDATE))
        elif not incremental:
            self._fall_behind()
        self._began = True
        self._proceed()

    async def _change_gallery(self) -> None:
        self._changes += 1
        if self._changes > MOST_CHANGES:
            raise ProtocolError("the way to show the screen changes too often")
        self.attached = self._began = False
        self._updates.clear()
        self._gallery.leave(self)
        self._gallery = Gallery.at(self._gallery.place, self._wish)
        await self._gallery.enter(self)

    def _fall_behind(self) -> None:
        self.attached = False
        self._updates.clear()

    def _proceed(self) -> None:
        self._send_updates()
        if self.waits:
            self._gallery.show_all(self)

    def _send_updates(self) -> None:
        asked = self._wants or all(message.kind is not Kind.UPDATE for message in self._updates)
        if self._full or not self._updates or not asked:
            return
        updates = self._updates.copy()
        self._updates.clear()
        self._wants = False
        data = b"".join(message.continuing(self._compressed) for message in updates)
        self._size = next((message.size for message in reversed(updates) if message.size), self._size)
        self.traffic.down += len(data)
        self.traffic.messages += 1
        self._viewer.send_bytes(data)
        self._gallery.go_on()

    def _stop(self) -> None:
        self._full = True

    def _go_on(self) -> None:
        self._full = False
        self._proceed()
