"""The proxy itself: large streams, slow sides, guests and browsers that try to be understood in two ways."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from desktops import news
from desktops.webapps.upstream import without
from instances.models import Instance
from instances.states import State
from tests.desktops.conftest import in_database
from tests.desktops.webapps.conftest import Behaviour, Browser, Grounds, guest, put_behind
from tests.desktops.webapps.jupyter import TOKEN

MIB = 1024 * 1024
LARGE = 200 * MIB
FLAT = 64 * MIB
"""What a whole test process may grow by while LARGE passes through it, server, machine and browser together."""

NAVIGATES = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Origin": ""}


@asynccontextmanager
async def behind(grounds: Grounds, behaviour: Behaviour) -> AsyncIterator[Browser]:
    """Alice before a machine that behaves so."""
    async with guest(behaviour) as port:
        await in_database(put_behind, grounds.people.machine, port)
        async with grounds.browsing(grounds.people.alice) as browser:
            yield browser


class Peak:
    """How much memory the process held at most since this was made, beyond what it held then (proc(5): clear_refs)."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")
        self._before = self._read()

    def grown(self) -> int:
        return self._read() - self._before

    def _read(self) -> int:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found
        return int(found[1]) * 1024


async def pieces(size: int) -> AsyncIterator[bytes]:
    piece = bytes(range(256)) * (MIB // 256)
    for _ in range(size // MIB):
        yield piece


async def test_a_large_download_leaves_memory_flat(grounds: Grounds) -> None:
    async def serve(request: Any) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Length": str(LARGE), "ETag": '"1"'})
        await answer.prepare(request)
        async for piece in pieces(LARGE):
            await answer.write(piece)
        return answer

    async with behind(grounds, serve) as browser, browser.get("/") as answer:
        peak, size = Peak(), 0
        assert (answer.headers["Content-Length"], answer.headers["ETag"]) == (str(LARGE), '"1"')
        async for piece in answer.content.iter_any():
            size += len(piece)
        assert size == LARGE
        assert peak.grown() < FLAT


@pytest.mark.parametrize("announced", [True, False])
async def test_a_large_upload_leaves_memory_flat(grounds: Grounds, announced: bool) -> None:
    async def count(request: Any) -> web.StreamResponse:
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
        return web.json_response([size, request.headers.get("Content-Length")])

    length = {"Content-Length": str(LARGE)} if announced else {}
    async with behind(grounds, count) as browser:
        peak = Peak()
        async with browser.ask("PUT", "/", length, data=pieces(LARGE)) as answer:
            assert await answer.json() == [LARGE, str(LARGE) if announced else None]
        assert peak.grown() < FLAT


async def test_a_slow_browser_slows_the_machine(grounds: Grounds) -> None:
    written, stalled = 0, asyncio.Event()

    async def serve(request: Any) -> web.StreamResponse:
        nonlocal written
        answer = web.StreamResponse()
        await answer.prepare(request)
        async for piece in pieces(LARGE):
            writing = asyncio.ensure_future(answer.write(piece))
            done, _ = await asyncio.wait({writing}, timeout=1)
            if not done:
                stalled.set()
            await writing
            written += len(piece)
        return answer

    async with behind(grounds, serve) as browser, browser.get("/") as answer:
        async with asyncio.timeout(60):
            await stalled.wait()
        assert written < LARGE / 2
        assert sum([len(piece) async for piece in answer.content.iter_any()]) == LARGE


async def test_status_and_headers_pass_and_redirects_are_the_browsers(grounds: Grounds) -> None:
    async def move(request: Any) -> web.StreamResponse:
        moved = [("Location", "/there?x=%20"), ("X-Own", "1"), ("X-Own", "2"), ("Vary", "Accept")]
        return web.Response(status=307, headers=moved)

    async with behind(grounds, move) as browser, browser.ask("POST", "/here", data=b"x") as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "/there?x=%20")
        assert answer.headers.getall("X-Own") == ["1", "2"]


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_may_name_a_length(grounds: Grounds, status: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f'HTTP/1.1 {status} X\r\nContent-Length: 5\r\nETag: "1"\r\n\r\n'.encode())

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await in_database(put_behind, grounds.people.machine, server.sockets[0].getsockname()[1])
    async with grounds.browsing(grounds.people.alice) as browser, browser.get("/") as got:
        assert (got.status, got.headers["ETag"], await got.read()) == (status, '"1"', b"")
    server.close()


async def test_who_is_cut_off_while_they_wait_is_told(grounds: Grounds) -> None:
    asked = asyncio.Event()

    async def never(request: Any) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        return web.Response()

    async with behind(grounds, never) as browser:
        waiting = asyncio.ensure_future(browser.get("/api").__aenter__())
        await asked.wait()
        await in_database(browser.client.logout)
        async with asyncio.timeout(10):
            assert (await waiting).status == 401


@pytest.mark.parametrize("path", ["/a%2Fb/%2e%2e/c", "//a//b", "/a;b=c?d=%20&e=+&&", "/%C3%A9", "/a/../b", "/?"])
async def test_a_path_arrives_letter_for_letter(grounds: Grounds, path: str) -> None:
    async def say(request: Any) -> web.StreamResponse:
        return web.Response(text=request.raw_path)

    async with behind(grounds, say) as browser, browser.get(path) as answer:
        assert await answer.text() in {path, path.removesuffix("?")}


async def test_of_a_file_that_breaks_off_nobody_takes_a_part_for_all(grounds: Grounds) -> None:
    async def break_off(request: Any) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"the first half")
        request.transport.abort()
        return answer

    async with behind(grounds, break_off) as browser, browser.get("/") as answer:
        with pytest.raises(aiohttp.ClientError):
            await answer.read()


async def test_of_an_upload_that_breaks_off_the_machine_takes_no_part_for_all(grounds: Grounds) -> None:
    got: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    begun = asyncio.Event()

    async def take(request: Any) -> web.StreamResponse:
        try:
            await request.content.readexactly(5)
            begun.set()
            await request.read()
            got.set_result("all of it")
        except (ConnectionError, aiohttp.ClientError, aiohttp.http_exceptions.HttpProcessingError) as error:
            got.set_result(repr(error))
        except asyncio.CancelledError:
            got.set_result("cut off")
            raise
        return web.Response()

    async with behind(grounds, take) as browser:
        head = f"PUT / HTTP/1.1\r\nHost: {browser.address.host}\r\nOrigin: {browser.address.origin}\r\n"
        head += f"Cookie: {browser.cookie}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", browser.port)
        writer.write(head.encode())
        await writer.drain()
        async with asyncio.timeout(10):
            await begun.wait()
            writer.transport.abort()
            assert await got != "all of it"


async def test_a_socket_follows_no_redirect(grounds: Grounds) -> None:
    elsewhere: list[Any] = []

    async def other(request: Any) -> web.StreamResponse:
        elsewhere.append(request)
        return web.Response()

    async with guest(other) as port:

        async def send_away(request: Any) -> web.StreamResponse:
            return web.Response(status=302, headers={"Location": f"http://127.0.0.1:{port}/"})

        async with behind(grounds, send_away) as browser:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await browser.socket("/echo")
            assert refused.value.status == 502
    assert not elsewhere


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
TRICKS = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"Content-Length: 0\r\nContent-Length: 60\r\n\r\n",
    b"Content-Length: -1\r\n\r\n",
    b"Content-Length: 0x10\r\n\r\n",
    b"Content-Length: 1e1\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"Host: other.localhost:8000\r\n\r\n",
    b"X\x00: y\r\n\r\n",
    b"X: y\rTransfer-Encoding: chunked\r\n\r\n",
]


@pytest.mark.parametrize("trick", TRICKS)
async def test_a_request_that_can_be_read_twice_is_not_passed_on(grounds: Grounds, trick: bytes) -> None:
    seen: list[str] = []

    async def note(request: Any) -> web.StreamResponse:
        seen.append(request.path)
        return web.Response(text="seen")

    async with behind(grounds, note) as browser:
        head = f"POST /outer HTTP/1.1\r\nHost: {browser.address.host}\r\nOrigin: {browser.address.origin}\r\n"
        answer = await raw(browser.port, head.encode() + f"Cookie: {browser.cookie}\r\n".encode() + trick + SMUGGLED)
        assert re.match(rb"HTTP/1.1 4\d\d ", answer), answer
        assert not seen
        async with browser.get("/after") as after:
            assert await after.text() == "seen"


async def raw(port: int, said: bytes) -> bytes:
    """Everything that the server answers to these bytes until it closes, or is silent for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    answer = b""
    try:
        async with asyncio.timeout(5):
            while piece := await reader.read(65536):
                answer += piece
                if b"HTTP/1.1 4" in answer:
                    break
    except TimeoutError:
        pass
    writer.close()
    return answer


@pytest.mark.parametrize("target", ["http://evil.example/outer", "http://{host}/outer", "*"])
async def test_the_target_is_the_hosts_own(grounds: Grounds, target: str) -> None:
    """Whatever address the request line names, only the path of it counts, and only on the Host's machine."""
    seen: list[tuple[str, str]] = []

    async def note(request: Any) -> web.StreamResponse:
        seen.append((request.raw_path, request.headers["Host"]))
        return web.Response(status=404)

    async with behind(grounds, note) as browser:
        line = f"OPTIONS {target.format(host=browser.address.host)} HTTP/1.1\r\nHost: {browser.address.host}\r\n"
        await raw(browser.port, f"{line}Origin: {browser.address.origin}\r\nCookie: {browser.cookie}\r\n\r\n".encode())
        assert set(seen) <= {("/outer", browser.address.host)}


Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BAD = [
    b"",
    b"SSH-2.0-OpenSSH\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 999999 OK\r\n\r\n",
]


@pytest.mark.parametrize("bad", BAD)
async def test_a_machine_that_speaks_no_http_is_a_machine_that_does_not_answer(grounds: Grounds, bad: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(bad)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    await in_database(put_behind, grounds.people.machine, server.sockets[0].getsockname()[1])
    async with grounds.browsing(grounds.people.alice) as browser, browser.get("/") as got:
        assert got.status == 503
        assert await got.json() == {"message": "The machine does not answer at the moment."}
    server.close()


WORDS = [
    (State.STARTING, "The machine is starting."),
    (State.REBOOTING, "The machine is starting."),
    (State.HIBERNATED, "The machine is asleep."),
    (State.STOPPED, "The machine is not running."),
    (State.UNREACHABLE, "host does not answer."),
    (State.ERROR, "Something went wrong with the machine."),
    (State.ACTIVE, "does not answer at the moment."),
]


@pytest.mark.parametrize(("state", "words"), WORDS)
async def test_a_page_says_why_and_goes_on_by_itself(grounds: Grounds, state: State, words: str) -> None:
    """And strings of people stay text in it."""
    await in_database(put_behind, grounds.people.machine, 1)
    facts = {"state": state, "name": "<img src=x onerror=alert(1)>"}
    await in_database(Instance.objects.filter(uuid=grounds.uuid).update, **facts)
    async with grounds.browsing(grounds.people.alice) as browser:
        async with browser.get("/lab", headers=NAVIGATES) as answer:
            page = await answer.text()
            assert answer.status == 503
            assert words in page.replace("&#x27;", "'")
            assert 'http-equiv="refresh"' in page
            assert "<img src=x" not in page
            assert "script-src 'none'" in answer.headers["Content-Security-Policy"]
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        async with browser.get("/api") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


async def test_when_the_machine_is_there_the_page_gives_way(grounds: Grounds) -> None:
    async def here(request: Any) -> web.StreamResponse:
        return web.Response(text="here")

    await in_database(put_behind, grounds.people.machine, 1)
    async with grounds.browsing(grounds.people.alice) as browser, guest(here) as port:
        async with browser.get("/lab", headers=NAVIGATES) as answer:
            assert answer.status == 503
        await in_database(put_behind, grounds.people.machine, port)
        await in_database(news.tell_room, grounds.people.machine)
        async with asyncio.timeout(15):
            while True:
                async with browser.get("/lab", headers=NAVIGATES) as answer:
                    if answer.status == 200:
                        break


async def test_no_service_worker_comes_between(grounds: Grounds) -> None:
    async def script(request: Any) -> web.StreamResponse:
        return web.Response(text="self.onfetch = 1", content_type="text/javascript")

    async with behind(grounds, script) as browser:
        async with browser.get("/sw.js", headers={"Service-Worker": "script"}) as answer:
            assert answer.status == 405
        for method in ("TRACE", "CONNECT", "PROPFIND"):
            async with browser.ask(method, "/x") as answer:
                assert answer.status in {400, 405}


@pytest.mark.parametrize("cut", range(1, 12))
async def test_a_secret_is_taken_out_wherever_the_pieces_end(cut: int) -> None:
    async def parts() -> AsyncIterator[bytes]:
        whole = b"ab secret cd secretsecret e"
        for start in range(0, len(whole), cut):
            yield whole[start : start + cut]

    assert b"".join([piece async for piece in without(b"secret", parts())]) == b"ab ------ cd ------------ e"


async def test_no_other_page_takes_in_what_a_machine_answers(grounds: Grounds) -> None:
    """Also in browsers that say nothing of who asks, as all do where there is no https."""

    async def serve(request: Any) -> web.StreamResponse:
        return web.Response(text="x", headers={"Cross-Origin-Resource-Policy": "cross-origin"})

    async with behind(grounds, serve) as browser, browser.get("/files/results.js") as answer:
        assert answer.headers.getall("Cross-Origin-Resource-Policy") == ["same-origin"]


async def test_a_machine_is_never_asked_to_compress_a_page_with_its_token(grounds: Grounds) -> None:
    """Compressed it would pass by what takes the token out: here on a page that is none of JupyterLab's own."""

    async def serve(request: Any) -> web.StreamResponse:
        answer = web.Response(text=f"<p>{TOKEN}</p>", content_type="text/html")
        answer.enable_compression()
        return answer

    asked = {"Accept-Encoding": "gzip, deflate"}
    async with behind(grounds, serve) as browser, browser.get("/tree", headers=asked) as answer:
        assert await answer.text() == f"<p>{'-' * len(TOKEN)}</p>"


@pytest.mark.parametrize("status", [600, 999])
async def test_a_status_that_does_not_exist_is_no_answer(grounds: Grounds, status: int) -> None:
    async def serve(request: Any) -> web.StreamResponse:
        return web.Response(status=status, reason="Odd")

    async with behind(grounds, serve) as browser, browser.get("/") as answer:
        assert answer.status == 503
