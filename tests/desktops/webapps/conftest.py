"""Alice's machine with a web server on loopback, and browsers of people who came in by the site's own way."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from channels.layers import get_channel_layer
from django.conf import settings
from django.test import Client
from django.utils import timezone
from yarl import URL

from desktops.webapps import upstream, visits
from desktops.webapps.origins import Address
from experiments.models import User
from instances.models import JUPYTER, ImageApp, ImageProtocol, Instance, Protocol
from tests.desktops.conftest import in_database, populated
from tests.desktops.viewers import serving
from tests.desktops.webapps.jupyter import TOKEN, Jupyter, jupyterlab
from tests.people import Facility

SITE = "http://localhost:8000"


@dataclass
class Browser:
    """Somebody's browser on the origin of a machine's application: it sends what browsers send."""

    port: int
    address: Address
    session: aiohttp.ClientSession
    client: Client
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def url(self, path: str) -> URL:
        return URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)

    def said(self, **more: str) -> dict[str, str]:
        own = {"Host": self.address.host, "Origin": self.address.origin, "Cookie": self.cookie}
        return {name: value for name, value in (own | self.headers | more).items() if value}

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, **options: Any) -> Any:
        said = self.said(**(headers or {}))
        return self.session.request(method, self.url(path), headers=said, allow_redirects=False, **options)

    def get(self, path: str, **options: Any) -> Any:
        return self.ask("GET", path, **options)

    def socket(self, path: str, headers: dict[str, str] | None = None, **options: Any) -> Any:
        return self.session.ws_connect(self.url(path), headers=self.said(**(headers or {})), max_msg_size=0, **options)


@dataclass
class Grounds:
    """The facility, and where the site and the applications' hosts are served."""

    people: Facility
    gwen: User
    port: int

    @property
    def uuid(self) -> UUID:
        return self.people.machine.uuid

    @property
    def address(self) -> Address:
        return Address(self.uuid)

    @asynccontextmanager
    async def outside(self, user: User) -> AsyncIterator[Browser]:
        """A signed-in person who has not entered yet."""
        client = Client()
        await in_database(client.force_login, user, "django.contrib.auth.backends.ModelBackend")
        async with aiohttp.ClientSession(
            auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), read_bufsize=256 * 1024
        ) as session:
            yield Browser(self.port, self.address, session, client)

    @asynccontextmanager
    async def browsing(self, user: User, app: str = JUPYTER) -> AsyncIterator[Browser]:
        """A person who pressed the application's button."""
        async with self.outside(user) as browser:
            browser.address = Address(self.uuid, app)
            ticket = await ticket_for(browser)
            status, cookie = await enter(browser, ticket)
            assert status == 303
            browser.cookie = cookie
            yield browser


async def ticket_for(browser: Browser) -> str:
    address = browser.address
    page = await in_database(browser.client.post, f"/machines/{address.uuid}/apps/{address.app}/")
    assert page.status_code == 200
    found = re.search(r'name="ticket" value="([^"]+)"', page.content.decode())
    assert found
    return html.unescape(found[1])


async def enter(browser: Browser, ticket: str, origin: str = SITE) -> tuple[int, str]:
    """The status of the entrance, and the cookie that it set."""
    data = {"ticket": ticket, "next": "/lab"}
    async with browser.ask("POST", "/visa-enter", {"Origin": origin}, data=data) as answer:
        return answer.status, answer.headers.get("Set-Cookie", "").split(";")[0]


Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def guest(behaviour: Behaviour) -> AsyncIterator[int]:
    """A web server of a machine that does whatever a test wants; its port."""
    server = web.Server(behaviour)  # type: ignore[arg-type]
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


def put_behind(machine: Instance, port: int) -> None:
    """The machine's JupyterLab is there."""
    ImageProtocol.objects.filter(image=machine.plan.image, kind=Protocol.JUPYTER).update(port=port)
    facts = {"address": "127.0.0.1", "jupyter_ready_at": timezone.now()}
    Instance.objects.filter(pk=machine.pk).update(jupyter_token=TOKEN, **facts)


def declare(machine: Instance, port: int) -> None:
    """The machine's image has a web application of its own, and there it is."""
    ImageApp.objects.create(image=machine.plan.image, name="Grafana", slug="grafana", port=port, path="/d/home/")
    Instance.objects.filter(pk=machine.pk).update(address="127.0.0.1")


@pytest.fixture
async def grounds(transactional_db: None) -> AsyncIterator[Grounds]:
    from visa_site.asgi import application  # noqa: PLC0415 - what production serves, once the apps are loaded

    assert settings.APPS_DOMAIN == "localhost:8000"
    people, gwen = await in_database(populated)
    async with serving(application) as port:
        yield Grounds(people, gwen, port)
        await visits.end_all()
        await upstream.hang_up()
    await get_channel_layer().flush()


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
async def at_lab(grounds: Grounds, lab: Jupyter) -> Grounds:
    """Alice's machine runs the real JupyterLab."""
    await in_database(put_behind, grounds.people.machine, lab.port)
    return grounds
