"""A page that the network cut off from a kernel: what the kernel says meanwhile waits for it, and for nobody else."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiohttp import WSMsgType, web

from desktops.webapps import kept
from desktops.webapps.kernels import V1
from tests.desktops.viewers import until
from tests.desktops.webapps.conftest import Browser, Grounds
from tests.desktops.webapps.test_proxy import behind

Kernel = defaultdict[str, list[web.WebSocketResponse]]
"""Each socket that the kernel's end has taken, by the id of its page."""


@pytest.fixture(autouse=True)
def nobody_is_left() -> Iterator[None]:
    yield
    assert not kept._away
    assert not kept._present


@asynccontextmanager
async def at_a_kernel(grounds: Grounds) -> AsyncIterator[tuple[Browser, Kernel, str]]:
    """Alice, what the kernel's end sees, and where pages open their sockets to it."""
    taken: Kernel = defaultdict(list)

    async def kernel(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=[V1], autoping=False)
        await socket.prepare(request)
        taken[request.query["session_id"]].append(socket)
        async for message in socket:
            if message.type is WSMsgType.PONG:
                taken["pong"].append(socket)
        return socket

    async with behind(grounds, kernel) as browser, asyncio.timeout(30):
        yield browser, taken, f"/api/kernels/{uuid4()}/channels?session_id="
        kept.let_all_go()
        await until(lambda: not kept._away and not kept._present)


def cut_off(page: object) -> None:
    page._response.connection.transport.abort()  # type: ignore[attr-defined]


async def test_it_waits_while_others_are_at_the_kernel(grounds: Grounds) -> None:
    async with at_a_kernel(grounds) as (browser, taken, path), browser.socket(f"{path}other"):
        page = await browser.socket(f"{path}page", protocols=[V1])
        await taken["page"][0].send_bytes(b"one")
        assert (await page.receive()).data == b"one"
        cut_off(page)
        await until(lambda: kept._away)
        await taken["page"][0].send_bytes(b"two")
        await taken["page"][0].ping(b"there?")
        await until(lambda: taken["pong"])
        async with browser.socket(f"{path}page", protocols=[V1]) as again:
            assert again.protocol == V1
            assert (await again.receive()).data == b"two"
            await taken["page"][0].send_bytes(b"three")
            assert (await again.receive()).data == b"three"
        assert len(taken["page"]) == 1


async def test_the_last_at_a_kernel_leaves_it_to_jupyter_server(grounds: Grounds) -> None:
    async with at_a_kernel(grounds) as (browser, taken, path):
        page = await browser.socket(f"{path}page")
        cut_off(page)
        await until(lambda: taken["page"] and taken["page"][0].closed)
        assert not kept._away


async def test_who_is_cut_off_together_is_kept_until_the_last(grounds: Grounds) -> None:
    async with at_a_kernel(grounds) as (browser, taken, path):
        pages = [await browser.socket(f"{path}{name}") for name in ("first", "second")]
        for page in pages:
            cut_off(page)
        await until(lambda: len(kept._away) == 2)
        await taken["second"][0].send_bytes(b"meanwhile")
        async with browser.socket(f"{path}second") as again:
            assert (await again.receive()).data == b"meanwhile"


async def test_who_says_that_they_leave_is_not_waited_for(grounds: Grounds) -> None:
    async with at_a_kernel(grounds) as (browser, taken, path), browser.socket(f"{path}other"):
        async with browser.socket(f"{path}page"):
            await until(lambda: taken["page"])
        await until(lambda: taken["page"][0].closed)
        assert not kept._away


async def test_another_person_does_not_get_it(grounds: Grounds) -> None:
    async with (
        at_a_kernel(grounds) as (browser, taken, path),
        grounds.browsing(grounds.people.bob) as bob,
        bob.socket(f"{path}other"),
    ):
        cut_off(await browser.socket(f"{path}page"))
        await until(lambda: kept._away)
        await taken["page"][0].send_bytes(b"for Alice")
        async with bob.socket(f"{path}page"):
            await until(lambda: len(taken["page"]) == 2)
            await taken["page"][1].send_bytes(b"for Bob")
        async with browser.socket(f"{path}page") as again:
            assert (await again.receive()).data == b"for Alice"


async def test_what_waits_for_a_page_is_bounded(grounds: Grounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_BYTES", 16)
    async with at_a_kernel(grounds) as (browser, taken, path), browser.socket(f"{path}other"):
        cut_off(await browser.socket(f"{path}page"))
        await until(lambda: kept._away)
        await taken["page"][0].send_bytes(bytes(17))
        await until(lambda: taken["page"][0].closed and not kept._away)


async def test_a_machine_that_takes_no_answers_is_given_up(grounds: Grounds) -> None:
    async with at_a_kernel(grounds) as (browser, taken, path), browser.socket(f"{path}other"):
        cut_off(await browser.socket(f"{path}page"))
        await until(lambda: kept._away)
        next(iter(kept._away.values())).pause_writing()
        await until(lambda: taken["page"][0].closed)
        assert not kept._away


async def test_only_so_many_pages_are_waited_for(grounds: Grounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_AWAY", 1)
    async with at_a_kernel(grounds) as (browser, taken, path), browser.socket(f"{path}other"):
        for name in ("first", "second"):
            cut_off(await browser.socket(f"{path}{name}"))
            await until(lambda: kept._away)
        await until(lambda: taken["second"][0].closed)
        assert not taken["first"][0].closed


async def test_one_place_is_kept_once(grounds: Grounds) -> None:
    """Whoever opens many in one name would else fill memory that nobody counts."""
    async with at_a_kernel(grounds) as (browser, taken, path), browser.socket(f"{path}other"):
        pages = [await browser.socket(f"{path}page") for _ in range(3)]
        for page in pages:
            cut_off(page)
        await until(lambda: sum(socket.closed for socket in taken["page"]) == 2)
        assert len(kept._away) == 1


async def test_a_page_that_stays_away_is_given_up(grounds: Grounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "PATIENCE", 1.0)
    async with at_a_kernel(grounds) as (browser, taken, path), browser.socket(f"{path}other"):
        cut_off(await browser.socket(f"{path}page"))
        await until(lambda: kept._away)
        await until(lambda: taken["page"][0].closed and not kept._away)
