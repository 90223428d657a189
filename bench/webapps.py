"""The proxy of machines' web applications, as production serves it: what a request, a gigabyte and an idle socket cost.

Run: python -m bench.webapps. The web server behind it is a process of its own, so that the costs are the proxy's alone;
files of 2 GB go both ways by curl.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.servers import redis_server, wait_until

GIB = 1024**3
SIZE = 2 * GIB
REQUESTS, AT_ONCE = 3000, 16
SOCKETS = 200
SITE_PORT, GUEST_PORT = 18600, 18601


def main() -> int:
    if sys.argv[1:] == ["guest"]:
        web.run_app(_guest(), host="127.0.0.1", port=GUEST_PORT, print=None, access_log=None)
        return 0
    with tempfile.TemporaryDirectory(prefix="visa-bench-") as folder:
        os.environ |= {
            "VISA_HOME": folder,
            "VISA_SECRET_KEY": secrets.token_urlsafe(50),
            "VISA_REDIS_SOCKET": f"{folder}/redis.sock",
            "VISA_PORT": str(SITE_PORT),
            "DJANGO_SETTINGS_MODULE": "visa_site.settings",
            "VISA_LOG_LEVEL": "ERROR",
        }
        Path(folder, "static").mkdir()
        with redis_server(Path(folder, "redis.sock")), _running([sys.executable, "-m", "bench.webapps", "guest"]):
            _measure()
    return 0


def _guest() -> web.Application:
    app = web.Application(client_max_size=0)
    app.add_routes([web.get("/small", _small), web.get("/large", _large), web.put("/take", _take)])
    app.add_routes([web.get("/echo", _echo)])
    return app


async def _small(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"x" * 1024)


async def _large(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": str(SIZE)})
    await answer.prepare(request)
    piece = bytes(1024 * 1024)
    for _ in range(SIZE // len(piece)):
        await answer.write(piece)
    return answer


async def _take(request: web.Request) -> web.StreamResponse:
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
    return web.Response(text=str(size))


async def _echo(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for said in socket:
        await socket.send_bytes(said.data)
    return socket


@contextmanager
def _running(command: list[str]) -> Iterator[int]:
    with subprocess.Popen(command) as process:
        yield process.pid
        process.terminate()


def _measure() -> None:
    import django  # noqa: PLC0415 - the environment had to be told first

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from deploy.supervision import site_programs  # noqa: PLC0415
    from desktops.webapps.origins import Address  # noqa: PLC0415
    from desktops.webapps.tickets import cookie  # noqa: PLC0415
    from tests.desktops.webapps.conftest import put_behind  # noqa: PLC0415
    from tests.people import facility  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    people = facility()
    put_behind(people.machine, GUEST_PORT)
    client = Client()
    client.force_login(people.alice, "django.contrib.auth.backends.ModelBackend")
    address = Address(people.machine.uuid)
    entered = cookie(str(client.session.session_key), address).split(";")[0]
    headers = {"Host": address.host, "Origin": address.origin, "Cookie": entered}
    with _running(site_programs("127.0.0.1", SITE_PORT)["web"]) as site:
        wait_until(lambda: _answers(headers), "the site", every=0.2)
        asyncio.run(_requests(site, headers))
        _streams(site, headers)
        asyncio.run(_idle(site, headers))


def _curl(headers: dict[str, str], path: str, *more: str) -> list[str]:
    said = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    return ["curl", "-sf", "-o", "/dev/null", *said, *more, f"http://127.0.0.1:{SITE_PORT}{path}"]


def _answers(headers: dict[str, str]) -> bool:
    return subprocess.run(_curl(headers, "/small"), check=False).returncode == 0


def _status(pid: int, name: str) -> float:
    """MiB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _cpu(pid: int) -> float:
    """Seconds of user and system time (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _requests(site: int, headers: dict[str, str]) -> None:
    connector = aiohttp.TCPConnector(limit=AT_ONCE)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def some() -> None:
            for _ in range(REQUESTS // AT_ONCE):
                async with session.get(f"http://127.0.0.1:{SITE_PORT}/small") as answer:
                    await answer.read()

        await some()
        cpu, began = _cpu(site), time.monotonic()
        await asyncio.gather(*(some() for _ in range(AT_ONCE)))
        each, rate = (_cpu(site) - cpu) / REQUESTS * 1e6, REQUESTS / (time.monotonic() - began)
    print(f"requests of 1 KiB: {each:.0f} us of CPU each, {rate:.0f} a second with this client on the same host")


def _streams(site: int, headers: dict[str, str]) -> None:
    ways = {"download": ("/large", []), "upload": ("/take", ["-T", "-"])}
    for name, (path, more) in ways.items():
        Path(f"/proc/{site}/clear_refs").write_text("5")
        before, cpu = _status(site, "VmHWM"), _cpu(site)
        feed = subprocess.Popen(["head", "-c", str(SIZE), "/dev/zero"], stdout=subprocess.PIPE)
        subprocess.run(_curl(headers, path, *more), stdin=feed.stdout if more else None, check=True)
        feed.kill()
        cost, grown = (_cpu(site) - cpu) / (SIZE / GIB), _status(site, "VmHWM") - before
        print(f"{name} of 2 GiB: {cost:.1f} s of CPU a GiB, memory grew by {grown:.0f} MiB at most")


async def _idle(site: int, headers: dict[str, str]) -> None:
    before, connector = _status(site, "VmRSS"), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        address = f"http://127.0.0.1:{SITE_PORT}/echo"
        open_ones: list[Any] = [await session.ws_connect(address) for _ in range(SOCKETS)]
        grown = _status(site, "VmRSS") - before
        print(f"{SOCKETS} idle sockets: {grown / SOCKETS * 1024:.0f} KiB each")
        trips = []
        for _ in range(500):
            began = time.perf_counter()
            await open_ones[0].send_bytes(b"x" * 500)
            await open_ones[0].receive()
            trips.append(time.perf_counter() - began)
        print(f"round trip of a message of 500 bytes: median {sorted(trips)[len(trips) // 2] * 1e6:.0f} us")
        for one in open_ones:
            await one.close()


if __name__ == "__main__":
    sys.exit(main())
