"""Our relay beside websockify, in one run, before the same dummy machine. Prints one table. Run: python -m bench.relay

CPU is what the kernel says the relay's processes used (/proc/PID/schedstat); memory is their proportional set size, so
that pages which websockify's forks share are counted once.
"""

import argparse
import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from bench._machine import FRAME
from bench._viewer import Viewer, open_viewer, stream_frames
from tests.servers import answers_on

HERE = Path(__file__).resolve().parent
BUSY, FILM, QUIET = 1000, 60, 10
"""Frames a second: a screen on which everything moves, a film, somebody reading."""


@dataclass
class Result:
    """Times in microseconds, memory in KiB, throughput in MB/s; by number of sessions where there are two."""

    cpu_busy: float = 0
    cpu_film: float = 0
    cpu_flood: float = 0
    throughput: float = 0
    p50: dict[int, float] = field(default_factory=dict)
    p99: dict[int, float] = field(default_factory=dict)
    memory: dict[int, float] = field(default_factory=dict)
    cpu_many: float = 0
    stalled: float = 0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[int]:
    """A server process, once it listens; its pid. It and its children end with the block."""
    process = subprocess.Popen(
        command, env=os.environ | (env or {}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        answers_on(port, process)
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def tree(pid: int) -> list[int]:
    """The process and all its living descendants."""
    children = _read(Path(f"/proc/{pid}/task/{pid}/children")).split()
    return [pid, *(p for child in children if child != "0" for p in tree(int(child)))]


def cpu_seconds(pid: int) -> float:
    threads = [thread for member in tree(pid) for thread in Path(f"/proc/{member}/task").glob("*/schedstat")]
    return sum(int(_read(thread).split()[0]) for thread in threads) / 1e9


def memory_kib(pid: int) -> int:
    """Proportional set size of the whole tree."""
    lines = [line for member in tree(pid) for line in _read(Path(f"/proc/{member}/smaps_rollup")).splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _read(path: Path) -> str:
    """A file of /proc; of a process that ended meanwhile, a zero."""
    try:
        return path.read_text() or "0"
    except (FileNotFoundError, ProcessLookupError):
        return "0"


async def cpu_per_frame(pid: int, viewers: list[Viewer], rate: int, seconds: float) -> tuple[float, float]:
    """Microseconds of CPU for each frame, beyond what the same viewers cost while nothing moves, and MB/s.

    Every viewer is sent `rate` frames a second, or with 0 as many as go through.
    """
    idle, begin = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds / 2)
    idle = (cpu_seconds(pid) - idle) / (time.monotonic() - begin)
    for viewer in viewers:
        viewer.say(stream_frames(True, rate))
    await asyncio.sleep(0.5)
    cpu, got, begin = cpu_seconds(pid), sum(v.received for v in viewers), time.monotonic()
    await asyncio.sleep(seconds)
    cpu, got, took = cpu_seconds(pid) - cpu, sum(v.received for v in viewers) - got, time.monotonic() - begin
    for viewer in viewers:
        viewer.say(stream_frames(False))
    await settle(viewers)
    return (cpu - idle * took) / (got / FRAME) * 1e6, got / took / 1e6


async def settle(viewers: list[Viewer]) -> None:
    """Return when nothing has arrived anywhere for a fifth of a second."""
    before = -1
    async with asyncio.timeout(60):
        while (now := sum(v.received for v in viewers)) != before:
            before = now
            await asyncio.sleep(0.2)


async def round_trips(viewers: list[Viewer], times: int) -> list[float]:
    """Microseconds from asking one viewer's frame to having it, the viewers one after the other."""
    clock = time.perf_counter
    result = []
    for i in range(times):
        begin = clock()
        await viewers[i % len(viewers)].request_frame()
        result.append((clock() - begin) * 1e6)
    return result


async def stalled_growth(pid: int, port: int) -> float:
    """KiB that one viewer adds within five seconds who asks for everything and reads nothing."""
    before = memory_kib(pid)
    viewer = await open_viewer(port)
    viewer.transport.pause_reading()
    viewer.say(stream_frames(True))
    most = 0
    for _ in range(50):
        await asyncio.sleep(0.1)
        most = max(most, memory_kib(pid))
    viewer.transport.abort()
    return most - before


async def measure(pid: int, port: int, many: int, seconds: float) -> Result:
    result = Result()
    (await open_viewer(port)).transport.abort()
    await alone(pid)
    empty = memory_kib(pid)
    viewers = [await open_viewer(port)]
    await round_trips(viewers, 200)
    result.memory[1] = memory_kib(pid) - empty
    say("one session")
    result.cpu_busy, _ = await cpu_per_frame(pid, viewers, BUSY, seconds)
    result.cpu_film, _ = await cpu_per_frame(pid, viewers, FILM, seconds)
    result.cpu_flood, result.throughput = await cpu_per_frame(pid, viewers, 0, seconds)
    _note_times(result, 1, await round_trips(viewers, 3000))
    say(f"{many} sessions")
    while len(viewers) < many:
        viewers.append(await open_viewer(port))
    await round_trips(viewers, many)
    result.memory[many] = (memory_kib(pid) - empty) / many
    result.cpu_many, _ = await cpu_per_frame(pid, viewers, QUIET, seconds)
    _note_times(result, many, await round_trips(viewers, 3000))
    for viewer in viewers:
        viewer.transport.abort()
    await alone(pid)
    say("a stalled viewer")
    result.stalled = await stalled_growth(pid, port)
    return result


async def alone(pid: int) -> None:
    """Return when the relay's children have ended and it has had a second to forget them."""
    async with asyncio.timeout(60):
        while len(tree(pid)) > 1:  # noqa: ASYNC110 - processes tell nobody
            await asyncio.sleep(0.2)
    await asyncio.sleep(1)


def say(what: str) -> None:
    print(f"  {what} ...", file=sys.stderr, flush=True)


def _note_times(result: Result, sessions: int, times: list[float]) -> None:
    result.p50[sessions] = statistics.median(times)
    result.p99[sessions] = statistics.quantiles(times, n=100)[98]


async def direct_round_trips(machine: int, times: int) -> list[float]:
    """The same request without any relay, for what a relay adds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", machine)
    writer.write(b"RFB 003.008\n\x01\x01")
    await reader.readexactly(12 + 2 + 4 + 24 + 5)
    clock = time.perf_counter
    result = []
    for _ in range(times):
        begin = clock()
        writer.write(b"\x03\0" + bytes(8))
        await reader.readexactly(FRAME)
        result.append((clock() - begin) * 1e6)
    writer.close()
    return result


def compare(many: int, seconds: float) -> tuple[Result, Result, float]:
    machine, ours, theirs = free_port(), free_port(), free_port()
    uvicorn = [
        sys.executable, "-m", "uvicorn", "_relay_app:application", "--app-dir", str(HERE), "--port", str(ours),
        "--ws", "desktops.server:DirectSocket", "--ws-per-message-deflate", "false",
        "--lifespan", "off", "--log-level", "warning",
    ]  # fmt: skip
    websockify = [sys.executable, "-m", "websockify", f"127.0.0.1:{theirs}", f"127.0.0.1:{machine}"]
    env = {"BENCH_MACHINE_PORT": str(machine), "PYTHONPATH": str(HERE.parent)}
    with running([sys.executable, str(HERE / "_machine.py"), str(machine)], machine):
        direct = statistics.median(uvloop.run(direct_round_trips(machine, 3000)))
        with running(websockify, theirs) as pid:
            say("websockify")
            there = uvloop.run(measure(pid, theirs, many, seconds))
        with running(uvicorn, ours, env) as pid:
            say("ours")
            here = uvloop.run(measure(pid, ours, many, seconds))
    return here, there, direct


def table(here: Result, there: Result, direct: float, many: int) -> tuple[str, bool]:
    """The lines to print, and whether every target is reached."""
    lines = [("", "ours", "websockify", "ratio", "target", "")]

    def line(name: str, ours: float, theirs: float, target: float | None = None) -> None:
        ratio = ours / theirs
        verdict = "" if target is None else "reached" if ratio <= target else "MISSED"
        lines.append((name, f"{ours:,.1f}", f"{theirs:,.1f}", f"{ratio:.3f}", f"{target or ''}", verdict))

    line(f"CPU per 8 KiB frame, 1 session, {BUSY} frames/s, us", here.cpu_busy, there.cpu_busy, 0.5)
    line(f"CPU per 8 KiB frame, {many} sessions, {QUIET} frames/s each, us", here.cpu_many, there.cpu_many, 0.5)
    line(f"CPU per 8 KiB frame, 1 session, {FILM} frames/s, us", here.cpu_film, there.cpu_film)
    line("CPU per 8 KiB, 1 session, as much as goes through, us", here.cpu_flood, there.cpu_flood)
    line("throughput, 1 session, MB/s", here.throughput, there.throughput)
    for sessions in (1, many):
        line(f"memory per session at {sessions}, KiB", here.memory[sessions], there.memory[sessions], 1 / 20)
        line(f"added round trip p50 at {sessions}, us", here.p50[sessions] - direct, there.p50[sessions] - direct)
        line(f"added round trip p99 at {sessions}, us", here.p99[sessions] - direct, there.p99[sessions] - direct)
    added, late = max(here.p50.values()) - direct, here.p99[many] - direct
    absolute = {
        f"added round trip p50 < 1 ms: {added / 1000:.2f} ms": added < 1000,
        f"added round trip p99 at {many} < 5 ms: {late / 1000:.2f} ms": late < 5000,
        f"a stalled viewer adds <= 8 MiB: {here.stalled / 1024:.2f} MiB": here.stalled <= 8 * 1024,
    }
    lines += [(name, "", "", "", "", "reached" if good else "MISSED") for name, good in absolute.items()]
    widths = [max(len(row[i]) for row in lines) for i in range(6)]
    text = "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in lines
    )
    return text, "MISSED" not in text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends what was started, too
    text, reached = table(*compare(options.sessions, options.seconds), options.sessions)
    print(text)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
