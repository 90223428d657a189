"""How people come in, how quickly they are out again, and what of the site a guest never gets."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp import web
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from desktops import hosting
from desktops.models import Connection, Invitation, Pass, Room, Which
from desktops.webapps import tickets
from desktops.webapps.application import onward
from desktops.webapps.origins import Address, address_at
from experiments.models import User
from instances.models import Instance, Member
from instances.states import State
from tests.desktops.conftest import in_database
from tests.desktops.webapps.conftest import SITE, Browser, Grounds, enter, guest, put_behind, ticket_for
from tests.desktops.webapps.jupyter import TOKEN

SOON = 8.0
"""Seconds that a loaded test machine may take for what takes well under a second on an idle one."""


class Mirror:
    """A guest that tells what it was asked, streams for ever, or echoes a socket."""

    def __init__(self) -> None:
        self.asked: list[web.BaseRequest] = []
        self.left = asyncio.Event()

    async def __call__(self, request: Any) -> web.StreamResponse:
        self.asked.append(request)
        if request.headers.get("Upgrade") == "websocket":
            return await self.echo(request)
        if request.path == "/forever":
            return await self.forever(request)
        cookies = [("Set-Cookie", "visa-app=stolen; Path=/lab"), ("Set-Cookie", "own=1; Domain=localhost")]
        return web.Response(text="<p>here</p>", content_type="text/html", headers=cookies)

    async def forever(self, request: Any) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        try:
            while True:
                await answer.write(b"more")
                await asyncio.sleep(0.01)
        finally:
            self.left.set()

    async def echo(self, request: Any) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=("second", "third"))
        await socket.prepare(request)
        async for said in socket:
            if said.data == "close":
                await socket.close(code=4321, message=b"as told")
            elif said.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(said.data)
            else:
                await socket.send_bytes(said.data)
        return socket


@pytest.fixture
async def mirror() -> Mirror:
    return Mirror()


@pytest.fixture
async def at(grounds: Grounds, mirror: Mirror) -> AsyncIterator[Grounds]:
    """Alice's machine runs the mirror in place of JupyterLab."""
    async with guest(mirror) as port:
        await in_database(put_behind, grounds.people.machine, port)
        yield grounds


async def status(browser: Browser, path: str = "/lab", **headers: str) -> int:
    async with browser.get(path, headers=headers) as answer:
        code: int = answer.status
        return code


async def test_the_guest_gets_its_token_and_nothing_of_the_sites(at: Grounds, mirror: Mirror) -> None:
    async with at.browsing(at.people.alice) as browser:
        said = {"Cookie": f"{browser.cookie}; visa=session; visa-csrf=c; own=1", "Authorization": "token mine"}
        said |= {"X-Forwarded-User": "bob", "X-Forwarded-Name": "Bob"}
        async with browser.get("/lab?x=1", headers=said) as answer:
            assert answer.status == 200
            assert answer.headers.getall("Set-Cookie") == ["own=1"]
    got = mirror.asked[-1]
    assert got.headers.getall("Authorization") == [f"token {TOKEN}"]
    assert got.headers["Cookie"] == "own=1"
    assert got.headers.getall("X-Forwarded-User") == [str(at.people.alice.uuid)]
    assert got.headers.getall("X-Forwarded-Name") == ["Alice%20Example"]
    assert got.headers.getall("Host") == [at.address.host]
    assert got.raw_path == "/lab?x=1"


async def test_a_ticket_is_good_once(at: Grounds) -> None:
    """SEC-08"""
    async with at.outside(at.people.alice) as browser:
        ticket = await ticket_for(browser)
        assert (await enter(browser, ticket))[0] == 303
        answers = [await enter(browser, ticket), await enter(browser, "nonsense"), await enter(browser, "")]
        assert [cookie for _, cookie in answers] == ["", "", ""]


async def test_of_two_at_once_one_ticket_lets_one_in(at: Grounds) -> None:
    """SEC-08"""
    async with at.outside(at.people.alice) as browser:
        ticket = await ticket_for(browser)
        both = await asyncio.gather(*(enter(browser, ticket) for _ in range(8)))
        assert len([cookie for _, cookie in both if cookie]) == 1


async def test_a_ticket_is_for_one_machine(at: Grounds) -> None:
    """SEC-08"""
    async with at.outside(at.people.alice) as browser:
        ticket = await ticket_for(browser)
        browser.address = Address(uuid4())
        assert (await enter(browser, ticket))[1] == ""


async def test_redis_knows_no_ticket(at: Grounds) -> None:
    """SEC-08, SEC-12"""
    async with at.outside(at.people.alice) as browser:
        ticket = await ticket_for(browser)
        redis = cache._cache.get_client()  # type: ignore[attr-defined]
        held = {name: redis.get(name) for name in redis.keys("*webapps*")}
        assert held
        assert ticket not in str(held)
        assert all(0 < redis.ttl(name) <= 30 for name in held)


@pytest.mark.parametrize("origin", ["null", "http://evil.example", "http://localhost", "https://localhost:8000", ""])
async def test_only_the_sites_own_page_brings_a_ticket(at: Grounds, origin: str) -> None:
    """Else a page could sign somebody in as another, and see what they then do."""
    async with at.outside(at.people.alice) as browser:
        ticket = await ticket_for(browser)
        assert await enter(browser, ticket, origin) == (405, "")
        assert (await enter(browser, ticket, browser.address.origin)) == (405, "")
        assert (await enter(browser, ticket, SITE))[0] == 303


async def test_the_cookie_is_of_this_host_alone(at: Grounds) -> None:
    async with at.outside(at.people.alice) as browser:
        data = {"ticket": await ticket_for(browser), "next": "/lab/tree/a%20b.ipynb"}
        async with browser.ask("POST", "/visa-enter", {"Origin": SITE}, data=data) as answer:
            assert answer.headers["Location"] == "/lab/tree/a%20b.ipynb"
            cookie = answer.headers["Set-Cookie"]
    assert re.fullmatch(r"visa-app=[\w=-]+; Path=/; HttpOnly; SameSite=Lax", cookie)
    assert browser.client.session.session_key not in cookie


FRAME = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}


async def test_in_a_frame_the_cookie_is_for_this_frame_alone(at: Grounds, mirror: Mirror) -> None:
    """And other pages' frames stay refused: who comes in goes on from a page of the application's own origin."""
    async with at.outside(at.people.alice) as browser:
        data = {"ticket": await ticket_for(browser), "next": "/lab/tree/a%20b.ipynb"}
        async with browser.ask("POST", "/visa-enter", {"Origin": SITE, **FRAME}, data=data) as answer:
            own, other = answer.headers.getall("Set-Cookie")
            assert (answer.status, "Location" in answer.headers) == (200, False)
            found = re.search(r'data-next="([^"]+)"', await answer.text())
        assert re.fullmatch(r"visa-frame=[\w=-]+; Path=/; HttpOnly; SameSite=None; Secure; Partitioned", own)
        assert other == "visa-app=; Path=/; Max-Age=0; HttpOnly"
        assert found
        browser.cookie = own.split(";")[0]
        here = {"Origin": "", "Sec-Fetch-Site": "same-origin", **FRAME}
        async with browser.get(html.unescape(found[1]), headers=here) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/lab/tree/a%20b.ipynb")
        async with browser.get("/lab", headers=here) as answer:
            assert answer.headers.getall("Set-Cookie") == ["own=1; SameSite=None; Secure; Partitioned"]
            assert f"frame-ancestors 'self' {SITE}" in answer.headers.getall("Content-Security-Policy")
        for site in ("cross-site", "same-site"):
            assert await status(browser, "/lab", **here | {"Sec-Fetch-Site": site}) == 403
        assert mirror.asked[-1].headers.get("Cookie") is None


async def test_a_frame_in_which_nothing_is_kept_is_told_so_and_not_led_in_a_circle(at: Grounds) -> None:
    async with at.browsing(at.people.alice) as browser:
        for path, cookie in (("/visa-enter", browser.cookie), ("/visa-enter?next=/lab", "")):
            async with browser.get(path, headers={"Origin": "", "Cookie": cookie, **FRAME}) as answer:
                assert (answer.status, "a tab of its own" in await answer.text()) == (403, True)


async def test_a_whole_tab_takes_the_frames_cookie_away(at: Grounds) -> None:
    async with at.outside(at.people.alice) as browser:
        data = {"ticket": await ticket_for(browser)}
        async with browser.ask("POST", "/visa-enter", {"Origin": SITE}, data=data) as answer:
            gone = answer.headers.getall("Set-Cookie")[1]
    assert gone == "visa-frame=; Path=/; Max-Age=0; HttpOnly; SameSite=None; Secure; Partitioned"


async def test_the_way_in_is_framed_by_the_site_alone(at: Grounds) -> None:
    place = f"/machines/{at.uuid}/apps/jupyter/"
    async with at.outside(at.people.alice) as browser:
        for client, words in ((browser.client, "Opening JupyterLab"), (Client(), "Sign in in another tab")):
            page = await in_database(client.get, place, headers=FRAME)
            assert (page.status_code, page["X-Frame-Options"]) == (200, "SAMEORIGIN")
            assert "frame-ancestors 'self'" in page["Content-Security-Policy"]
            assert words in page.content.decode()
        desktop = await in_database(browser.client.get, f"/machines/{at.uuid}/desktop/")
        assert f"frame-src 'self' {at.address.origin};" in f"{desktop['Content-Security-Policy']};"


async def test_a_cookie_opens_no_other_machine(at: Grounds) -> None:
    async with at.browsing(at.people.alice) as browser:
        browser.address = Address(uuid4())
        assert await status(browser) == 401


async def test_a_cookie_that_a_script_added_does_not_shut_anybody_out(at: Grounds) -> None:
    async with at.browsing(at.people.alice) as browser:
        browser.cookie = f"visa-app=nonsense; {browser.cookie}"
        assert await status(browser) == 200


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "https://evil.example", "", "javascript:x", "x"])
def test_onward_is_never_elsewhere(path: str) -> None:
    assert onward(path) == "/"


def test_onward_is_one_line() -> None:
    assert onward("/lab\r\nSet-Cookie: a=b") == "/lab%0D%0ASet-Cookie:%20a=b"


async def test_without_the_cookie_people_are_led_to_the_site_and_scripts_are_told(at: Grounds, mirror: Mirror) -> None:
    async with at.outside(at.people.alice) as browser:
        said = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        async with browser.get("/lab/tree/a%20b?token=secret", headers=said | {"Origin": ""}) as answer:
            assert answer.status == 303
            place = f"{SITE}/machines/{at.uuid}/apps/jupyter/?next=/lab/tree/a%2520b"
            assert answer.headers["Location"] == place
        assert await status(browser, "/api/contents") == 401
        assert await status(browser, f"/api/kernels/{uuid4()}") == 503  # of 401 JupyterLab concludes that it is dead
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await browser.socket("/api/events/subscribe")
    assert not mirror.asked


async def sockets_status(browser: Browser, path: str = "/echo", **headers: str) -> int:
    try:
        async with browser.socket(path, headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as refused:
        return refused.status


ORIGINS = ["", "null", SITE, "http://evil.example", "https://{host}", "http://{host}.", "{own} {own}"]


@pytest.mark.parametrize("origin", ORIGINS)
async def test_only_the_applications_own_pages_open_sockets(at: Grounds, mirror: Mirror, origin: str) -> None:
    async with at.browsing(at.people.alice) as browser:
        said = origin.format(host=at.address.host, own=at.address.origin)
        assert await sockets_status(browser, Origin=said) == 403
        assert not mirror.asked
        assert await sockets_status(browser) == 101


async def test_what_is_refused_to_a_request_is_refused_to_a_socket(at: Grounds) -> None:
    """SEC-02"""
    """CVE-2024-28179: the proxy checked the one and not the other."""
    async with at.browsing(at.people.alice) as browser:
        good = browser.cookie
        for cookie in ("", "visa-app=x", good[:-4] + "AAA="):
            browser.cookie = cookie
            assert (await status(browser, "/api"), await sockets_status(browser)) == (401, 403)
        browser.cookie = good
        await in_database(browser.client.logout)
        assert (await status(browser, "/api"), await sockets_status(browser)) == (401, 403)


async def test_protocol_messages_and_close_codes_pass(at: Grounds) -> None:
    protocols = ("first", "second")
    async with at.browsing(at.people.alice) as browser, browser.socket("/echo", protocols=protocols) as socket:
        assert socket.protocol == "second"
        await socket.send_str("text")
        assert (await socket.receive()).data == "text"
        await socket.send_bytes(b"bytes" * 300_000)
        assert (await socket.receive()).data == b"bytes" * 300_000
        await socket.send_str("close")
        ending = await socket.receive()
        assert (ending.type, socket.close_code, ending.extra) == (aiohttp.WSMsgType.CLOSE, 4321, "as told")


def shown_out(at: Grounds, client: Any) -> None:
    Member.objects.filter(instance=at.people.machine, user=at.people.bob).first().delete()  # type: ignore[union-attr]


def signs_out(at: Grounds, client: Any) -> None:
    client.logout()


def disabled(at: Grounds, client: Any) -> None:
    bob = User.objects.get(pk=at.people.bob.pk)
    bob.is_active = False
    bob.save()


def stopped(at: Grounds, client: Any) -> None:
    Instance.objects.get(uuid=at.uuid).transition(State.STOPPING)


def owner_is_strict(at: Grounds, client: Any) -> None:
    room = Room.of(at.people.machine)
    room.members_alone = False
    room.save()


ENDS = [(shown_out, 4403), (signs_out, 4401), (disabled, 4401), (stopped, 4410), (owner_is_strict, 4409)]


@pytest.mark.parametrize(("what", "code"), ENDS)
async def test_everything_closes_within_a_moment(
    at: Grounds, mirror: Mirror, what: Callable[[Grounds, Any], None], code: int
) -> None:
    """The socket and the download alike, and the rows know that the person is gone."""
    async with at.browsing(at.people.bob) as browser, browser.get("/forever") as download:
        async with browser.socket("/echo") as socket:
            await download.content.readexactly(4)
            await in_database(what, at, browser.client)
            async with asyncio.timeout(SOON):
                await socket.receive()
                assert socket.close_code == code
                with pytest.raises(aiohttp.ClientError):
                    await download.content.read()
                await mirror.left.wait()
            assert await status(browser, "/api") in {401, 503}
        bobs = Connection.objects.filter(user=at.people.bob, which=Which.APP, closed_at__isnull=False)
        async with asyncio.timeout(SOON):
            while (row := await in_database(bobs.first)) is None:  # noqa: ASYNC110 - rows tell nobody
                await asyncio.sleep(0.05)
        assert row.code == code


async def test_a_download_that_nobody_wants_any_more_ends_at_the_machine(at: Grounds, mirror: Mirror) -> None:
    async with at.browsing(at.people.alice) as browser:
        download = await browser.get("/forever")
        await download.content.readexactly(4)
        download.close()
        async with asyncio.timeout(SOON):
            await mirror.left.wait()


async def test_the_owner_in_jupyterlab_counts_as_there(at: Grounds) -> None:
    await in_database(owner_is_strict, at, None)
    async with at.outside(at.people.bob) as bob, at.browsing(at.people.alice) as alice:
        assert await status(alice) == 200
        _, bob.cookie = await enter(bob, await ticket_for(bob))
        assert await status(bob) == 200


@pytest.mark.parametrize("name", ["charlie", "ines"])
async def test_a_stranger_finds_nothing(at: Grounds, mirror: Mirror, name: str) -> None:
    async with at.outside(getattr(at.people, name)) as browser:
        for uuid in (at.uuid, uuid4()):
            for method in ("get", "post"):
                page = await in_database(getattr(browser.client, method), f"/machines/{uuid}/apps/jupyter/")
                assert page.status_code == 404
        # Even with a ticket, which the site would not give out.
        stolen = await in_database(tickets.issue, browser.client.session.session_key, at.address)
        _, browser.cookie = await enter(browser, stolen)
        assert await status(browser) == 503
        assert await sockets_status(browser) == 403
    assert not mirror.asked


async def test_support_comes_in_by_consent_only(at: Grounds) -> None:
    async with at.browsing(at.people.sam) as browser:
        assert await status(browser) == 200
        grant = await in_database(at.people.machine.access_requests.get, asker=at.people.sam)
        grant.until = timezone.now() - timedelta(seconds=1)
        await in_database(grant.save)
        async with asyncio.timeout(SOON):
            while await status(browser) == 200:  # noqa: ASYNC110 - the visit hears it on its line
                await asyncio.sleep(0.05)
        async with browser.get("/lab", headers={"Accept": "text/html"}) as answer:
            assert "on the machine" in await answer.text()


async def test_who_is_shown_out_comes_back_only_by_the_button(at: Grounds) -> None:
    """JupyterLab itself asks again at once."""
    async with at.browsing(at.people.bob) as browser:
        assert await status(browser) == 200
        await in_database(hosting.dismiss, at.people.alice, at.people.machine, at.people.bob.uuid)
        async with asyncio.timeout(SOON):
            while await status(browser) == 200:  # noqa: ASYNC110 - the visit hears it on its line
                await asyncio.sleep(0.05)
        assert {await status(browser) for _ in range(3)} == {503}
        assert await sockets_status(browser) == 403
        async with browser.get("/lab", headers={"Accept": "text/html"}) as answer:
            assert "closed this for you" in await answer.text()
        _, browser.cookie = await enter(browser, await ticket_for(browser))
        assert await status(browser) == 200


async def test_who_came_by_a_public_link_sees_no_files(at: Grounds, mirror: Mirror) -> None:
    await in_database(public_pass, at, at.people.charlie)
    async with at.outside(at.people.charlie) as browser:
        page = await in_database(browser.client.get, f"/machines/{at.uuid}/apps/jupyter/")
        assert page.status_code == 404
    assert not mirror.asked


def public_pass(at: Grounds, user: User) -> None:
    later = timezone.now() + timedelta(hours=1)
    link = Invitation.objects.create(
        instance=at.people.machine, name="talk", public=True, role="guest", expires_at=later, secret_hash="x"
    )
    Pass.objects.create(invitation=link, user=user)


def test_hosts_name_machines_and_nothing_else() -> None:
    uuid = UUID("0123abcd-0000-4000-8000-000000000001")
    assert address_at(f"{uuid}.localhost:8000") == Address(uuid)
    assert address_at(f"{uuid}.LOCALHOST:8000".upper()) == Address(uuid)
    assert address_at(f"{uuid}-lab2.localhost:8000") == Address(uuid, "lab2")
    for host in ("localhost:8000", f"{uuid}.localhost", f"{uuid}.localhost:80", f"x{uuid}.localhost:8000"):
        assert address_at(host) is None
    for host in (f"a.{uuid}.localhost:8000", f"{uuid}..localhost:8000", f"{uuid.hex}.localhost:8000", ""):
        assert address_at(host) is None
    assert Address(uuid, "lab2").host == f"{uuid}-lab2.localhost:8000"


async def test_the_site_is_on_no_applications_host(at: Grounds) -> None:
    async with at.outside(at.people.alice) as browser:
        for host in (at.address.host, "x.localhost:8000", f"{at.uuid}-other.localhost:8000"):
            async with browser.get("/accounts/login/", headers={"Host": host, "Origin": ""}) as answer:
                assert answer.status in {400, 401}
                assert "csrf" not in await answer.text()
