"""Two web processes of one site: whoever is in the one reaches whoever is in the other, by Redis and the rows."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection

from desktops.models import Mode, Room
from desktops.relay import Code
from experiments.models import User
from tests.desktops.conftest import House, in_database, sign_in
from tests.desktops.test_consumers import heard
from tests.desktops.test_together import says
from tests.desktops.viewers import DIRECT, Viewer, viewing

SOON = 8.0
TOKEN = "t" * 32


@contextmanager
def web_process() -> Iterator[int]:
    """One process of the site, as production serves it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = ["tests.desktops.site:application", "--fd", str(listener.fileno()), "--ws", DIRECT]
        options = ["--ws-per-message-deflate", "false", "--lifespan", "off", "--log-level", "warning"]
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *served, *options],
            pass_fds=[listener.fileno()],
            env=os.environ | {"VISA_TEST_DATABASE": str(connection.settings_dict["NAME"])},
        )
        port = listener.getsockname()[1]
        try:
            answers(port)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def answers(port: int) -> None:
    """Returns once the process serves: until then its listener only queues who comes."""
    http = HTTPConnection("127.0.0.1", port, timeout=60)
    http.request("GET", "/", headers={"Host": "localhost:8000"})
    assert http.getresponse().status == 302
    http.close()


@pytest.fixture
def ports(rows: object) -> Iterator[tuple[int, int]]:
    with ExitStack() as processes:
        yield processes.enter_context(web_process()), processes.enter_context(web_process())


class Browser:
    """Somebody signed in whose every request and socket goes to one of the processes."""

    def __init__(self, port: int, cookie: str) -> None:
        self.port = port
        self.headers = {"Cookie": cookie, "Host": "localhost:8000"}

    def ask(self, method: str, path: str, form: dict[str, object] | None = None) -> dict[str, Any]:
        own = {"Content-Type": "application/x-www-form-urlencoded", "X-CSRFToken": TOKEN}
        own["Cookie"] = f"{self.headers['Cookie']}; {settings.CSRF_COOKIE_NAME}={TOKEN}"
        http = HTTPConnection("127.0.0.1", self.port, timeout=30)
        http.request(method, path, urlencode(form or {}), self.headers | own)
        answer = http.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        found: dict[str, Any] = json.loads(said)
        http.close()
        return found

    async def get(self, path: str) -> dict[str, Any]:
        return await asyncio.to_thread(self.ask, "GET", path)

    async def post(self, path: str, **form: object) -> dict[str, Any]:
        return await asyncio.to_thread(self.ask, "POST", path, form)


@asynccontextmanager
async def together(house: House, user: User, port: int) -> AsyncIterator[tuple[Browser, Viewer, Viewer]]:
    """Their browser, their page in the room, and their open desktop."""
    _, headers = await sign_in(user)
    async with AsyncExitStack() as stack:
        screen = await stack.enter_async_context(viewing(port, house.path(), additional_headers=headers))
        await screen.shake_hands()
        page = await stack.enter_async_context(viewing(port, "/events/", additional_headers=headers))
        await heard(page, "ready")
        await says(page, "join", house.uuid)
        await heard(page, "chat")
        yield Browser(port, headers["Cookie"]), page, screen


async def test_owner_and_member_meet_across_processes(house: House, ports: tuple[int, int]) -> None:
    """SEC-05"""
    await in_database(lambda: Room.objects.update(mode=Mode.BATON))
    here, there = ports
    at = f"/machines/{house.uuid}"
    people = house.people
    async with together(house, people.alice, here) as (alice, hers, _):
        async with together(house, people.bob, there) as (bob, his, screen):
            await heard(hers, "room")
            assert [one["id"] for one in (await alice.get(f"{at}/room/"))["people"]] == [
                str(people.alice.uuid),
                str(people.bob.uuid),
            ]
            await says(his, "pointer", house.uuid, x=0.5, y=0.5)
            assert (await heard(hers, "pointer"))["who"]["name"] == str(people.bob)

            await bob.post(f"{at}/chat/send/", key=uuid4(), text="Can you see this?")
            await heard(hers, "chat")
            assert (await alice.get(f"{at}/chat/"))["messages"][0]["text"] == "Can you see this?"

            await bob.post(f"{at}/room/control/", act="ask")
            await heard(hers, "request")
            await alice.post(f"{at}/room/control/", act="give", to=people.bob.uuid)
            await heard(his, "request")
            assert (await bob.get(f"{at}/room/"))["holder"] == str(people.bob.uuid)

            begin = asyncio.get_running_loop().time()
            await alice.post(f"{at}/room/dismiss/", user=people.bob.uuid)
            assert (await screen.ended())[0] == Code.WITHDRAWN
            assert asyncio.get_running_loop().time() - begin < SOON
        await heard(hers, "room")
        left = await alice.get(f"{at}/room/")
        assert [one["id"] for one in left["people"]] == [str(people.alice.uuid)]
        assert left["holder"] != str(people.bob.uuid)
