"""A real SSH server with a real terminal, as machines have them, behind Alice's machine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from experiments.models import User
from tests.desktops.conftest import House, in_database, sign_in
from tests.desktops.shell.guest import Guest, a_guest, put_behind
from tests.desktops.viewers import PATIENCE, viewing

SIZE = {"cols": 100, "rows": 30}


@pytest.fixture(scope="package")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Gone with the last test here: other tests have an account of the same number, which nobody may be using."""
    with a_guest(tmp_path_factory.mktemp("guest")) as running:
        yield running


@pytest.fixture
async def wired(house: House, guest: Guest) -> House:
    """The house, with that server in Alice's machine."""

    await in_database(put_behind, house.people.machine, guest)
    return house


class Typist:
    """A browser's side of a terminal: what was shown so far, and what it was told besides."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.shown = ""
        self.told: list[dict[str, bool]] = []

    async def say(self, note: dict[str, int]) -> None:
        await self.socket.send(json.dumps(note))

    async def type(self, text: str) -> None:
        await self.socket.send(text.encode())

    async def hear(self) -> None:
        message = await self.socket.recv()
        if isinstance(message, str):
            self.told.append(json.loads(message))
        else:
            self.shown += message.decode(errors="replace")
            await self.say({"drawn": len(message)})

    async def until(self, condition: Callable[[Typist], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition(self):
                await self.hear()

    async def sees(self, text: str) -> None:
        await self.until(lambda me: text in me.shown)

    async def does(self, command: str, outcome: str) -> None:
        """Type a command line and wait for what it prints; the outcome must not stand in the command."""
        assert outcome not in command
        await self.type(f"{command}\r")
        await self.sees(outcome)

    async def ended(self) -> int:
        with pytest.raises(ConnectionClosed) as closed:
            await self.until(lambda _: False)
        return closed.value.rcvd.code if closed.value.rcvd else 0


@asynccontextmanager
async def at_terminal(house: House, user: User, size: dict[str, int] = SIZE) -> AsyncIterator[Typist]:
    """A signed-in person before the machine's terminal, once it was told whether they may type."""
    _, headers = await sign_in(user)
    path = f"/desktops/{house.uuid}/terminal/"
    async with viewing(house.port, path, additional_headers=headers) as viewer:
        typist = Typist(viewer.socket)
        await typist.say(size)
        await typist.until(lambda me: me.told)
        yield typist
