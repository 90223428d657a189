"""What do many watchers of one screen cost its machine? Debian's Xvnc, drawn upon, before one and many of them.

Run: python -m bench.watchers [--watchers 30] [--seconds 8]. In one run: nobody; one watcher on a line of its own, one
in a gallery, many in a gallery, and many on lines of their own, all over the relay as uvicorn serves it. The guest's
CPU is what Xvnc used, without what it needs to draw while nobody looks; the relay's is counted in the same way.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import statistics
import struct
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from threading import Event, Thread

from websockets.asyncio.client import ClientConnection, connect

from bench.relay import cpu_seconds, free_port, running, say
from desktops.updates import BROWSERS
from tests.desktops.xvnc import Pencil, XServer, xvnc

WIDTH, HEIGHT = 1280, 800
TARGET = 1.5
SETTLED = 5.0
"""Seconds until all have come in and moved to one connection."""

REQUEST = struct.pack(">BB4H", 3, 1, 0, 0, WIDTH, HEIGHT)
FIRST = BROWSERS.orders() + struct.pack(">BB4H", 3, 0, 0, 0, WIDTH, HEIGHT)


@dataclass(frozen=True)
class Cost:
    """CPU seconds a second, of the guest's Xvnc and of the relay; and updates a second that a watcher saw (median)."""

    guest: float
    relay: float
    updates: float


@contextmanager
def somebody_working(server: XServer) -> Iterator[None]:
    """Text that scrolls, a window of noise like a camera's picture, and marks that move; 25 times a second."""
    done = Event()
    worker = Thread(target=_work, args=(Pencil(server), done))
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()


def _work(pencil: Pencil, done: Event) -> None:
    step = 0
    while not done.wait(0.04):
        step += 1
        pencil.photo(900, 80, 256, 192)
        if step % 5 == 0:
            pencil.scroll(40, 80, 760, 640)
            pencil.fill(0xFFFFFF, 40, 704, 760, 16)
            for column in range(90):
                pencil.fill((step * 7919 + column * 104729) % 0x404040, 44 + column * 8, 706, 1 + column * step % 6, 11)
        pencil.fill(0x2266AA + step % 50, 900 + step % 300, 400, 20, 20)
        pencil.finish()


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


async def cost(pids: tuple[int, int], watching: AbstractAsyncContextManager[list[Watcher]], seconds: float) -> Cost:
    """Of Xvnc and of the relay, whose processes these are."""
    async with watching as watchers:
        await asyncio.sleep(SETTLED)
        before, begin = [cpu_seconds(pid) for pid in pids], time.monotonic()
        seen = [watcher.updates for watcher in watchers]
        await asyncio.sleep(seconds)
        took = time.monotonic() - begin
        guest, ours = (cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True))
        rates = [(watcher.updates - was) / took for watcher, was in zip(watchers, seen, strict=True)]
    return Cost(guest / took, ours / took, statistics.median(rates) if rates else 0)


async def compare(pids: tuple[int, int], port: int, many: int, seconds: float) -> list[tuple[str, Cost]]:
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
        rows.append((name, await cost(pids, watching(port, way, number), seconds)))
    return rows


def show(rows: list[tuple[str, Cost]]) -> int:
    """Print the table; 1 where many cost more than they may."""
    idle = rows[0][1]
    one = rows[2][1].guest - idle.guest
    print(f"{'watchers':<28} guest CPU  of one   relay CPU  updates/s each")
    for name, row in rows:
        guest, relay = row.guest - idle.guest, row.relay - idle.relay
        print(f"  {name:<26} {guest:>8.1%} {guest / one:>8.2f} {relay:>10.1%} {row.updates:>15.1f}")
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
        parts.enter_context(somebody_working(server))
        return show(asyncio.run(compare((server.pid, relay), port, options.watchers, options.seconds)))


if __name__ == "__main__":
    sys.exit(main())
