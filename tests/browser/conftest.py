"""VISA on a port of its own, over the test's database, with sockets; and Debian's Chromium before it."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
import uvicorn
from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.test import Client, override_settings
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from desktops.routing import application as sockets
from desktops.webapps.application import OwnOrigins
from desktops.webapps.origins import Address
from experiments.models import User
from tests.browser.screens import Screen
from tests.chromium import SHELL, launch
from tests.desktops.webapps.conftest import put_behind
from tests.desktops.webapps.jupyter import Jupyter, jupyterlab
from tests.people import Facility, facility
from tests.servers import wait_until

T = TypeVar("T")
SCREEN_PASSWORD = "secret12"
USUAL: dict[str, Any] = {
    "viewport": {"width": 1280, "height": 800},
    "locale": "en-GB",
    "reduced_motion": "reduce",  # what moves all the time is painted all the time, by the processor
}


@dataclass
class Site:
    """The running site: its address, and its event loop for screens that tests put behind machines."""

    url: str
    loop: asyncio.AbstractEventLoop
    screens: list[Screen] = field(default_factory=list)

    def call(self, work: Any) -> Any:
        """Run a coroutine beside the server and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def screen(self, password: str) -> Screen:
        made = Screen(password=password)
        self.call(made.open())
        self.screens.append(made)
        return made


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Served by uvicorn in a thread, as production serves it; static files come from where they are written."""
    with override_settings(WHITENOISE_AUTOREFRESH=True, WHITENOISE_USE_FINDERS=True):
        app = OwnOrigins(ProtocolTypeRouter({"http": ASGIHandler(), "websocket": sockets}))
    config = uvicorn.Config(
        app,
        port=0,
        ws="desktops.server:DirectSocket",
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    wait_until(lambda: server.started, "the site")
    port = server.servers[0].sockets[0].getsockname()[1]
    running = Site(f"http://localhost:{port}", loops[0])
    domain = running.url.removeprefix("http://")
    with override_settings(PUBLIC_URL=running.url, CSRF_TRUSTED_ORIGINS=[running.url], APPS_DOMAIN=domain):
        yield running
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """For the time of one module: while it lives, its event loop stands in the way of asyncio's tests."""
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as running:
        yield running
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="module")
def chromium(playwright: Playwright) -> Iterator[Browser]:
    browser = launch(playwright, SHELL)
    yield browser
    browser.close()


@pytest.fixture
def people(site: Site, transactional_db: None) -> Iterator[Facility]:
    """Alice and the others, in the database that the site reads."""
    yield aside(facility)
    for screen in site.screens:
        site.call(screen.close())
    site.screens.clear()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jupyter]:
    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as running:
        yield running


@pytest.fixture
def address(people: Facility, lab: Jupyter) -> Address:
    """Where Alice's machine has its JupyterLab, which is a real one."""
    aside(put_behind, people.machine, lab.port)
    return Address(people.machine.uuid)


Visit = Callable[..., Page]

APPLICATIONS = re.compile(r"//[0-9a-f-]{36}\.localhost:")
"""Origins of what machines run. JupyterLab's scripts throw when it is left amid work; that is not the site's fault."""


def aside(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """What `work` returns, done in another thread: beside Playwright's loop Django's signals cannot be sent."""

    def whole() -> T:
        try:
            return work(*args, **kwargs)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(whole).result()


@pytest.fixture
def screen(people: Facility, site: Site) -> Screen:
    """Alice's machine has a screen that answers."""
    painted = site.screen(SCREEN_PASSWORD)
    people.image.protocols.filter(kind="vnc").update(port=painted.port)
    machine = people.machine
    machine.vnc_password = machine.console_password = SCREEN_PASSWORD
    machine.address = machine.console_host = "127.0.0.1"
    machine.console_port = painted.port
    aside(machine.save)
    return painted


@pytest.fixture
def visit(site: Site, chromium: Browser) -> Iterator[Visit]:
    """`visit(person, path, ...)`: a page in a browser of the person's own, who has signed in already."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def go(person: User | None, path: str = "/", **options: Any) -> Page:
        context = chromium.new_context(**USUAL | options)
        contexts.append(context)
        if person is not None:
            context.add_cookies([session(site, person)])
        page = context.new_page()
        page.on(
            "pageerror", lambda error: None if APPLICATIONS.search(error.stack or "") else complaints.append(str(error))
        )
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.goto(f"{site.url}{path}")
        return page

    yield go
    for context in contexts:
        context.close()
    assert not complaints, complaints


def hearing(page: Page) -> Page:
    """The page, once its events socket is there: what is told from now on it hears, each for itself."""
    page.evaluate(
        """async () => {
            const { listen } = await import("/static/js/events.js");
            await new Promise((done) => listen(() => {}, (yes) => yes && done(), () => {}));
        }"""
    )
    return page


def session(site: Site, person: User) -> Any:
    """The cookie of somebody who has signed in; how one signs in is the matter of tests/flows."""
    client = Client()
    aside(client.force_login, person)
    return {
        "name": settings.SESSION_COOKIE_NAME,
        "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
        "url": site.url,
    }
