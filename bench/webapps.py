"""Our proxy of machines' web applications beside configurable-http-proxy and jupyter-server-proxy, in turns in one run.

Run: python -m bench.webapps [rounds] [names of proxies]. All three stand before the same web server (`bench._guest`),
each as it is run in production; ours checks who asks and what they may do, the second nothing, the third its token. CPU
is what the kernel says that the proxy's processes used, memory their proportional set size. Of the rounds the median
counts.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from bench import _load as load
from bench._site import serving
from bench.relay import cpu_seconds, free_port, memory_kib, running

ROOT = Path(__file__).resolve().parent.parent
MIB, GIB = 1024**2, 1024**3
REQUESTS, AT_ONCE = 4000, 16
MESSAGES, MESSAGE, SOCKETS = 4000, 1024, 50
TURNS = 20
IDLE = 200
FILE, FILES = 64 * MIB, 8
"""Bytes of a file, and how many go each way in a round; jupyter-server-proxy holds each in memory and takes 100 MB."""

LONG = 2 * GIB


@dataclass
class Proxy:
    """One of the three: where it listens, how the machine is asked through it, and what was measured."""

    name: str
    port: int
    prefix: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    streams: bool = True
    pid: int = 0
    found: dict[str, list[float]] = field(default_factory=dict)

    def note(self, what: str, value: float) -> None:
        self.found.setdefault(what, []).append(value)

    def said(self, path: str) -> bytes:
        return load.request(self.prefix + path, self.headers)

    def curl(self, path: str, *more: str) -> None:
        said = [part for name, value in self.headers.items() for part in ("-H", f"{name}: {value}")]
        address = f"http://127.0.0.1:{self.port}{self.prefix}{path}"
        subprocess.run(["curl", "-sf", "-o", "/dev/null", *said, *more, address], check=True)


def main() -> int:
    rounds, wanted = int((sys.argv[1:] or ["3"])[0]), set(sys.argv[2:])
    with tempfile.TemporaryDirectory(prefix="visa-bench-") as folder, ExitStack() as stack:
        guest = free_port()
        stack.enter_context(running([sys.executable, "-m", "bench._guest", str(guest)], guest))
        home = Path(folder)
        ways = [ours(home, guest), configurable_http_proxy(guest), jupyter_server_proxy(home, guest)]
        proxies = [stack.enter_context(way) for way in ways]
        proxies = [proxy for proxy in proxies if not wanted or proxy.name in wanted]
        uvloop.run(_measure(proxies, rounds, home))
    _print_table(proxies)
    return 0


@contextmanager
def ours(home: Path, guest: int) -> Iterator[Proxy]:
    """The site as production serves it, and Alice in her machine's JupyterLab."""

    def place(machine: Any) -> None:
        from tests.desktops.webapps.conftest import put_behind  # noqa: PLC0415 - Django had to be set up first

        put_behind(machine, guest)

    with serving(home, place) as site:
        from desktops.webapps.origins import Address  # noqa: PLC0415
        from desktops.webapps.tickets import cookie  # noqa: PLC0415

        address = Address(site.machine)
        entered = cookie(site.session, address).split(";")[0]
        headers = {"Host": address.host, "Origin": address.origin, "Cookie": entered}
        yield Proxy("ours", site.port, "", load.USUAL | headers, pid=site.pid)


@contextmanager
def configurable_http_proxy(guest: int) -> Iterator[Proxy]:
    """As JupyterHub starts it, with the one route."""
    port, program = free_port(), ROOT / "node_modules/.bin/configurable-http-proxy"
    command = [str(program), "--ip", "127.0.0.1", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port"]
    command += [str(free_port()), "--log-level", "error", "--default-target", f"http://127.0.0.1:{guest}"]
    with running(command, port) as pid:
        origin = f"http://127.0.0.1:{port}"
        yield Proxy("configurable-http-proxy", port, "", load.USUAL | {"Host": origin[7:], "Origin": origin}, pid=pid)


@contextmanager
def jupyter_server_proxy(home: Path, guest: int) -> Iterator[Proxy]:
    """A Jupyter Server whose only extension it is."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyter_server",
        "--allow-root",
        "--no-browser",
        f"--port={port}",
        "--ip=127.0.0.1",
    ]
    command += ["--ServerApp.log_level=ERROR", "--IdentityProvider.token=secret", f"--ServerApp.root_dir={home}"]
    command += ["--ServerApp.jpserver_extensions={'jupyter_server_proxy': True}"]
    with running(command, port, {"JUPYTER_NO_CONFIG": "1"}) as pid:
        origin = f"http://127.0.0.1:{port}"
        headers = load.USUAL | {"Host": origin[7:], "Origin": origin, "Authorization": "token secret"}
        yield Proxy("jupyter-server-proxy", port, f"/proxy/127.0.0.1:{guest}", headers, streams=False, pid=pid)


async def _measure(proxies: list[Proxy], rounds: int, home: Path) -> None:
    file = home / "file"
    with file.open("wb") as empty:
        empty.truncate(FILE)
    for proxy in proxies:
        await _warm_up(proxy)
    for proxy in proxies:
        await _idle(proxy)
    for _ in range(rounds):
        await _requests(proxies)
        for sockets in (1, SOCKETS):
            await _messages(proxies, sockets)
        for proxy in proxies:
            await _streams(proxy, file)
    for proxy in proxies:
        await _one_long(proxy)


async def _warm_up(proxy: Proxy) -> None:
    line = await load.Line.open(proxy.port)
    for _ in range(300):
        answer = await line.ask(proxy.said("/small"))
        assert answer.startswith(b"HTTP/1.1 200 "), answer[:300]
        assert answer.endswith(b"x" * 1024)
    socket = await _open(proxy)
    await socket.ask(load.frame(load.kernel_message(MESSAGE)), MESSAGE + 4)
    _close([line, socket])


async def _requests(proxies: list[Proxy]) -> None:
    lines = [[await load.Line.open(proxy.port) for _ in range(AT_ONCE)] for proxy in proxies]
    found = await _in_turns(proxies, lines, [proxy.said("/small") for proxy in proxies], REQUESTS)
    for proxy, (times, cpu) in zip(proxies, found, strict=True):
        proxy.note("request cpu", cpu)
        proxy.note("requests", times.rate)
        proxy.note("request p50", times.of(0.5))
        proxy.note("request p99", times.of(0.99))


async def _messages(proxies: list[Proxy], sockets: int) -> None:
    lines = [[await _open(proxy) for _ in range(sockets)] for proxy in proxies]
    said = load.frame(load.kernel_message(MESSAGE))
    for first, *_ in lines:
        answer = await first.ask(said, MESSAGE + 4)
        assert answer[4:] == load.kernel_message(MESSAGE)
    found = await _in_turns(proxies, lines, [said] * len(proxies), MESSAGES, MESSAGE + 4)
    for proxy, (times, cpu) in zip(proxies, found, strict=True):
        proxy.note(f"message cpu {sockets}", cpu)
        proxy.note(f"message p50 {sockets}", times.of(0.5))
        proxy.note(f"message p99 {sockets}", times.of(0.99))


async def _in_turns(
    proxies: list[Proxy], lines: list[list[load.Line]], said: list[bytes], times: int, size: int | None = None
) -> list[tuple[load.Times, float]]:
    """How long each took and microseconds of CPU for it, by proxy: a few of the one, a few of the next, and again, so
    that what else the host does meets all alike.
    """
    taken, cpu = [load.Times() for _ in proxies], [0.0] * len(proxies)
    for turn in range(TURNS + 1):
        for at, proxy in enumerate(proxies):
            before = cpu_seconds(proxy.pid)
            found = await load.ask_all(lines[at], said[at], times // TURNS, size)
            if turn:  # the first one warms up
                cpu[at] += cpu_seconds(proxy.pid) - before
                taken[at].each += found.each
                taken[at].whole += found.whole
    for some in lines:
        _close(some)
    return [(one, used / len(one.each) * 1e6) for one, used in zip(taken, cpu, strict=True)]


async def _open(proxy: Proxy) -> load.Line:
    return await load.open_socket(proxy.port, proxy.prefix + load.KERNEL, proxy.headers)


def _close(lines: list[load.Line]) -> None:
    for line in lines:
        line.transport.abort()


async def _idle(proxy: Proxy) -> None:
    """Sockets over which one message went, as a kernel's do when a notebook is opened."""
    before = memory_kib(proxy.pid)
    lines = [await _open(proxy) for _ in range(IDLE)]
    await load.ask_all(lines, load.frame(load.kernel_message(MESSAGE)), IDLE, MESSAGE + 4)
    await asyncio.sleep(2)
    after = memory_kib(proxy.pid)
    proxy.note("idle", (after - before) / IDLE)
    proxy.note("whole", after / 1024)
    _close(lines)


async def _streams(proxy: Proxy, file: Path) -> None:
    for what, path, more in (("down", f"/large/{FILE}", []), ("up", "/take", ["-T", str(file), "-H", "Expect:"])):
        cpu = cpu_seconds(proxy.pid)
        for _ in range(FILES):
            await asyncio.to_thread(proxy.curl, path, *more)
        proxy.note(what, (cpu_seconds(proxy.pid) - cpu) / (FILE * FILES / GIB))


async def _one_long(proxy: Proxy) -> None:
    """How much memory grows at most while a long file goes down; only of who streams it."""
    if proxy.streams:
        before = peak(proxy.pid, anew=True)
        await asyncio.to_thread(proxy.curl, f"/large/{LONG}")
        proxy.note("long", peak(proxy.pid) - before)


def peak(pid: int, *, anew: bool = False) -> float:
    """MiB that the process held at most, since it began or from now on (proc(5): clear_refs)."""
    if anew:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


ROWS: list[tuple[str, str, str]] = [
    ("requests a second, 16 at once", "requests", "{:.0f}"),
    ("CPU per request", "request cpu", "{:.0f} µs"),
    ("request, median", "request p50", "{:.1f} ms"),
    ("request, p99", "request p99", "{:.1f} ms"),
    ("kernel message there and back, 1 socket, median", "message p50 1", "{:.2f} ms"),
    ("the same, p99", "message p99 1", "{:.2f} ms"),
    ("CPU per message there and back, 1 socket", "message cpu 1", "{:.0f} µs"),
    ("kernel message there and back, 50 sockets at once, median", "message p50 50", "{:.1f} ms"),
    ("the same, p99", "message p99 50", "{:.1f} ms"),
    ("CPU per message there and back, 50 sockets at once", "message cpu 50", "{:.0f} µs"),
    ("CPU per GiB down", "down", "{:.2f} s"),
    ("CPU per GiB up", "up", "{:.2f} s"),
    ("memory of an idle kernel socket, of 200", "idle", "{:.0f} KiB"),
    ("memory of the whole process with them", "whole", "{:.0f} MiB"),
    ("memory that 2 GiB down add at most", "long", "{:.0f} MiB"),
]


def _print_table(proxies: list[Proxy]) -> None:
    first, *others = proxies
    print("| |", " | ".join([first.name, *(f"{other.name} | ratio" for other in others)]), "|")
    print("|---|" + "---|" * (1 + 2 * len(others)))
    for words, what, form in ROWS:
        cells = [_cell(first, what, form.format)]
        for other in others:
            cells += [_cell(other, what, form.format), _ratio(first, other, what)]
        print(f"| {words} |", " | ".join(cells), "|")


def _cell(proxy: Proxy, what: str, form: Callable[[float], str]) -> str:
    return form(statistics.median(proxy.found[what])) if what in proxy.found else "–"


def _ratio(ours: Proxy, theirs: Proxy, what: str) -> str:
    if what not in theirs.found:
        return "–"
    return f"{statistics.median(ours.found[what]) / max(statistics.median(theirs.found[what]), 1e-9):.2f}"


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
