"""Alice's machine with real screens on loopback, and the site's sockets served as in production."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any, TypeVar
from uuid import UUID

import pytest
from channels.db import database_sync_to_async
from channels.layers import get_channel_layer
from django.conf import settings
from django.test import Client

from desktops.models import Which
from experiments.models import User
from instances.models import ImageProtocol, Instance, Member, MemberRole, Protocol
from tests.desktops.machines import Machine, listening
from tests.desktops.rooms import granted, members_may_work_alone
from tests.desktops.viewers import serving
from tests.people import Facility, facility, person

T = TypeVar("T")

DESKTOP_SECRET = "d3sktopS"
CONSOLE_SECRET = "c0nsoleS"


def in_database(work: Callable[..., T], *args: Any, **kwargs: Any) -> Awaitable[T]:
    """Synchronous work with rows, from an asynchronous test; in a thread and with a connection of its own."""
    threaded: Callable[..., Awaitable[T]] = database_sync_to_async(work, thread_sensitive=False)
    return threaded(*args, **kwargs)


@dataclass
class House:
    """The facility, the two screens of Alice's machine, Gwen who may only watch, and where the site listens.

    Members may work while Alice is away, and support was let in: tests of those rules take them back.
    """

    people: Facility
    gwen: User
    desktop: Machine
    console: Machine
    port: int = 0

    @property
    def uuid(self) -> UUID:
        return self.people.machine.uuid

    def path(self, which: Which = Which.SCREEN) -> str:
        return f"/desktops/{self.uuid}/{which}/"

    def screen_of(self, which: Which) -> Machine:
        return self.console if which is Which.CONSOLE else self.desktop

    async def machine(self) -> Instance:
        """The row as it is now."""
        return await in_database(Instance.objects.get, uuid=self.uuid)


def populated() -> tuple[Facility, User]:
    """The rows of a house."""
    made = facility()
    gwen = person("gwen")
    Member.objects.create(instance=made.machine, user=gwen, role=MemberRole.GUEST)
    members_may_work_alone(made.machine)
    for supporter in (made.sam, made.admin):
        granted(supporter, made.machine)
    return made, gwen


@pytest.fixture
def rows(transactional_db: None) -> tuple[Facility, User]:
    return populated()


@asynccontextmanager
async def furnished(people: Facility, gwen: User) -> AsyncIterator[House]:
    """The house with its screens on, and the site served."""
    from visa_site.asgi import application  # noqa: PLC0415 - what production serves, once the apps are loaded

    desktop, console = Machine(password=DESKTOP_SECRET), Machine(password=CONSOLE_SECRET, name=b"console")
    async with listening(desktop), listening(console), serving(application) as port:
        await in_database(_furnish, people.machine, desktop.port, console.port)
        yield House(people, gwen, desktop, console, port)
    await get_channel_layer().flush()


@pytest.fixture
async def house(rows: tuple[Facility, User]) -> AsyncIterator[House]:
    async with furnished(*rows) as made:
        yield made


def _furnish(machine: Instance, desktop: int, console: int) -> None:
    ImageProtocol.objects.filter(image=machine.plan.image, kind=Protocol.VNC).update(port=desktop)
    machine.address = machine.console_host = "127.0.0.1"
    machine.console_port = console
    machine.vnc_password, machine.console_password = DESKTOP_SECRET, CONSOLE_SECRET
    machine.save()


async def sign_in(user: User) -> tuple[Client, dict[str, str]]:
    """A signed-in browser's client, and the header that its sockets carry."""
    client = Client()
    await in_database(client.force_login, user, "django.contrib.auth.backends.ModelBackend")
    return client, {"Cookie": cookie_header(client.cookies)}


def cookie_header(cookies: SimpleCookie) -> str:
    return f"{settings.SESSION_COOKIE_NAME}={cookies[settings.SESSION_COOKIE_NAME].value}"
