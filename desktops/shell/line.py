"""One person at a machine's files, as this process serves them: one connection for all their requests. asyncio only."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh

from desktops.relay import Code, Ending, Traffic, first
from desktops.rfb import Role
from desktops.shell.files import Files

LINGER = 60.0
"""Seconds after the last request in which the connection is kept for the next."""

LEFT = Ending(Code.LEFT, "The person left.")
NO_ANSWER = Ending(Code.NO_ANSWER, "The machine's files stopped answering.")


class FileLine:
    """Until `end` is called, the machine hangs up, or nobody asked for anything for `LINGER` seconds.

    `inputs` rises with each thing that somebody did. What is under way when it ends is cut off.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection, files: Files, role: Role) -> None:
        self.files = files
        self.role = role
        self.traffic = Traffic()
        self.inputs = 0
        self._connection = connection
        self._asked: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._busy = 0
        self._used = asyncio.get_running_loop().time()

    @property
    def ended(self) -> bool:
        return self._asked.done()

    def change_role(self, role: Role) -> None:
        """From the next request on."""
        self.role = role

    def end(self, ending: Ending) -> None:
        """Stop now; the first call counts."""
        if not self._asked.done():
            self._asked.set_result(ending)
            self.close()

    def close(self) -> None:
        """Let go of the machine; again does no harm."""
        self._connection.abort()

    async def run(self) -> Ending:
        """Until the end."""
        try:
            return await first(
                self._asked, asyncio.ensure_future(self._unused()), asyncio.ensure_future(self._hung_up())
            )
        finally:
            self.close()

    async def say_farewell(self, ending: Ending) -> None:
        """Nobody listens: the next request is answered with the reason."""

    @contextmanager
    def busy(self) -> Iterator[None]:
        """While a request is served. Somebody asked for it: that is use."""
        self._busy += 1
        self.inputs += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._used = asyncio.get_running_loop().time()

    async def _unused(self) -> Ending:
        loop = asyncio.get_running_loop()
        while self._busy or loop.time() - self._used < LINGER:  # noqa: ASYNC110 - some seconds more are nothing
            await asyncio.sleep(LINGER / 4)
        return LEFT

    async def _hung_up(self) -> Ending:
        await self._connection.wait_closed()
        return NO_ANSWER
