"""What do many watchers of one screen cost its machine? Debian's Xvnc, drawn upon, before one and many of them.

Run: python -m bench.watchers [--watchers 30] [--seconds 8]. In one run: nobody; one watcher on a line of its own, one
in a gallery, many in a gallery, and many on lines of their own, all over the relay as uvicorn serves it. The guest's
CPU is what Xvnc used for each picture that was drawn, without what drawing costs while nobody looks; the relay's is
counted in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from threading import Event, Thread

from websockets.asyncio.client import ClientConnection, connect

from bench.relay import cpu_seconds, free_port, running, say
from desktops.updates import BROWSERS
from tests.desktops.xvnc import Pencil, XServer, xvnc

WIDTH, HEIGHT = 1280, 800
TARGET = 1.5
PICTURES = 25
"""A second."""
SETTLED = 5.0
"""Seconds until all have come in and moved to one connection."""

REQUEST = struct.pack(">BB4H", 3, 1, 0, 0, WIDTH, HEIGHT)
FIRST = BROWSERS.orders() + struct.pack(">BB4H", 3, 0, 0, 0, WIDTH, HEIGHT)


@dataclass(frozen=True)
class Cost:
    """Milliseconds of CPU for each picture drawn, of Xvnc and of the relay; updates of it that each saw (median)."""

    guest: float
    relay: float
    updates: float


class Work(Thread):
    """Text that scrolls, a window of noise like a camera's picture, and marks that move; 25 times a second."""

    def __init__(self, server: XServer) -> None:
        super().__init__()
        self.pictures = 0
        self._pencil = Pencil(server)
        self._done = Event()

    def run(self) -> None:
        while not self._done.wait(1 / PICTURES):
            self.pictures += 1
            self._draw(self._pencil, self.pictures)
            self._pencil.finish()

    def end(self) -> None:
        self._done.set()
        self.join()

    def _draw(self, pencil: Pencil, step: int) -> None:
        pencil.photo(900, 80, 256, 192)
        pencil.fill(0x2266AA + step % 50, 900 + step % 300, 400, 20, 20)
        if step % 5 == 0:
            pencil.scroll(40, 80, 760, 640)
            pencil.fill(0xFFFFFF, 40, 704, 760, 16)
            for column in range(90):
                pencil.fill((step * 7919 + column * 104729) % 0x404040, 44 + column * 8, 706, 1 + column * step % 6, 11)


class Watcher:
    """Reads what comes and asks for more."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.updates = 0

    async def watch(self) -> None:
        await self._shake_hands()
        await self._socket.send(FIRST)
        while True:
            await self._socket.recv()
            self.updates += 1
            await self._socket.send(REQUEST)

    async def _shake_hands(self) -> None:
        await self._socket.send(b"RFB 003.008\n\x01\x01")
        seen = b""
        while len(seen) < 42 or len(seen) < 42 + int.from_bytes(seen[38:42], "big"):
            seen += await self._socket.recv(decode=False)


@asynccontextmanager
async def watching(port: int, way: str, number: int) -> AsyncIterator[list[Watcher]]:
    async with AsyncExitStack() as stack:
        watchers = []
        for _ in range(number):
            address = f"ws://127.0.0.1:{port}/{way}"
            socket = await stack.enter_async_context(connect(address, compression=None, max_size=None))
            watchers.append(Watcher(socket))
        tasks = [asyncio.create_task(watcher.watch()) for watcher in watchers]
        try:
            yield watchers
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True)
class Stand:
    """What is measured: the processes of Xvnc and of the relay, where the relay listens, and who draws."""

    guest: int
    relay: int
    port: int
    work: Work

    async def cost(self, way: str, number: int, seconds: float) -> Cost:
        async with watching(self.port, way, number) as watchers:
            await asyncio.sleep(SETTLED)
            before, seen = self._counted(), [watcher.updates for watcher in watchers]
            await asyncio.sleep(seconds)
            guest, relay, pictures = (now - was for now, was in zip(self._counted(), before, strict=True))
            updates = [watcher.updates - was for watcher, was in zip(watchers, seen, strict=True)] or [0]
        return Cost(guest / pictures, relay / pictures, statistics.median(updates) / pictures)

    def _counted(self) -> tuple[float, float, int]:
        return cpu_seconds(self.guest) * 1000, cpu_seconds(self.relay) * 1000, self.work.pictures

    async def compare(self, many: int, seconds: float) -> list[tuple[str, Cost]]:
        rounds = [
            ("nobody", "gallery", 0),
            ("1 on a line of its own", "line", 1),
            ("1 in the gallery", "gallery", 1),
            (f"{many} in the gallery", "gallery", many),
            (f"{many} on lines of their own", "line", many),
        ]
        rows = []
        for name, way, number in rounds:
            say(name)
            rows.append((name, await self.cost(way, number, seconds)))
        return rows


def show(rows: list[tuple[str, Cost]]) -> int:
    """Print the table; 1 where many cost more than they may."""
    idle = rows[0][1]
    one = rows[2][1].guest - idle.guest
    print(f"{'CPU, ms a picture':<28}    guest   of one      relay  updates each")
    for name, row in rows:
        guest, relay = row.guest - idle.guest, row.relay - idle.relay
        print(f"  {name:<26} {guest:>8.2f} {guest / one:>8.2f} {relay:>10.2f} {row.updates:>13.2f}")
    ratio = (rows[3][1].guest - idle.guest) / one
    verdict = "reached" if ratio <= TARGET else "MISSED"
    print(f"  the gallery's guest CPU at most {TARGET} times that of one: {ratio:.2f}, {verdict}")
    return 0 if ratio <= TARGET else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--watchers", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started, too
    port = free_port()
    uvicorn = [
        sys.executable, "-m", "uvicorn", "bench._relay_app:application", "--port", str(port),
        "--ws", "desktops.server:DirectSocket", "--ws-per-message-deflate", "false",
        "--lifespan", "off", "--log-level", "warning",
    ]  # fmt: skip
    with ExitStack() as parts:
        server = parts.enter_context(xvnc(WIDTH, HEIGHT))
        relay = parts.enter_context(running(uvicorn, port, {"BENCH_MACHINE_PORT": str(server.port)}))
        work = Work(server)
        work.start()
        parts.callback(work.end)
        stand = Stand(server.pid, relay, port, work)
        return show(asyncio.run(stand.compare(options.watchers, options.seconds)))


if __name__ == "__main__":
    sys.exit(main())
