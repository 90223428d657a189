"""Web applications that an image declares: the same way and rights as JupyterLab, without knowing what they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from instances.models import ImageApp
from tests.desktops.conftest import in_database
from tests.desktops.webapps.conftest import Grounds, declare, guest
from tests.desktops.webapps.test_entrance import SOON, Mirror, sockets_status, status

APP = "grafana"


@pytest.fixture
async def mirror() -> Mirror:
    return Mirror()


@pytest.fixture
async def at(grounds: Grounds, mirror: Mirror) -> AsyncIterator[Grounds]:
    """The mirror is what Alice's image declares."""
    async with guest(mirror) as port:
        await in_database(declare, grounds.people.machine, port)
        yield grounds


async def test_it_is_on_an_origin_of_its_own_without_jupyters_token(at: Grounds, mirror: Mirror) -> None:
    async with at.browsing(at.people.alice, APP) as browser:
        assert browser.address.host == f"{at.uuid}-{APP}.localhost:8000"
        assert await status(browser, "/d/home/") == 200
        assert await sockets_status(browser) == 101
        assert {"Authorization", "Cookie"}.isdisjoint(mirror.asked[0].headers)
        browser.address = at.address  # JupyterLab's
        assert await status(browser) == 401


async def test_the_button_leads_to_its_first_page(at: Grounds) -> None:
    async with at.outside(at.people.bob) as browser:
        page = await in_database(browser.client.get, f"/machines/{at.uuid}/apps/{APP}/")
        assert 'name="next" value="/d/home/"' in page.content.decode()


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_who_watches_reads_and_changes_nothing(at: Grounds, mirror: Mirror, method: str) -> None:
    async with at.browsing(at.gwen, APP) as browser:
        async with browser.ask(method, "/d/home/") as answer:
            assert answer.status == (200 if method in {"GET", "HEAD"} else 403)
        assert len(mirror.asked) == (answer.status == 200)
        assert await sockets_status(browser) == 403


@pytest.mark.parametrize("name", ["charlie", "ines"])
async def test_a_stranger_learns_nothing_of_it(at: Grounds, name: str) -> None:
    async with at.outside(getattr(at.people, name)) as browser:
        for slug in (APP, "other"):
            page = await in_database(browser.client.post, f"/machines/{at.uuid}/apps/{slug}/")
            assert page.status_code == 404


async def test_it_ends_when_the_image_declares_it_no_more(at: Grounds) -> None:
    async with at.browsing(at.people.bob, APP) as browser:
        assert await status(browser) == 200
        await in_database(ImageApp.objects.all().delete)
        await in_database(at.people.machine.tell, "desktop")
        async with asyncio.timeout(SOON):
            while await status(browser) == 200:  # noqa: ASYNC110 - the visit hears it on its line
                await asyncio.sleep(0.05)


async def test_it_is_waited_for_where_it_does_not_answer_yet(at: Grounds) -> None:
    await in_database(ImageApp.objects.update, port=1)
    async with at.browsing(at.people.alice, APP) as browser:
        async with browser.get("/", headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}) as answer:
            assert (answer.status, "Grafana does not answer at the moment" in await answer.text()) == (503, True)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await browser.socket("/live")
