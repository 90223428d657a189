"""One viewer at a machine's shared terminal. asyncio only; speaks ASGI to the viewer.

Binary messages are the terminal's bytes, both ways; text messages are JSON. The viewer says its size, first and
whenever it changes: `{"cols": 80, "rows": 24}`, and how many bytes it has drawn: `{"drawn": 4096}`. We say whether it
may type, first and whenever that changes: `{"types": true}`. What somebody types who may not is dropped here, and the
machine shows them a terminal that takes no keys either. Output comes as fast as the viewer draws it; the rest waits in
the machine.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import asyncssh

from desktops.relay import (
    GREETING_PATIENCE,
    VIEWER_LEFT,
    Code,
    Ending,
    Line,
    Receive,
    Send,
    Viewer,
    first,
)
from desktops.rfb import Role
from desktops.shell.ssh import SHELL_PATIENCE, WINDOW

READ_LIMIT = 32 * 1024
MOST = 1000
"""Columns and rows that a terminal may have."""

AHEAD = 256 * 1024
"""Bytes that may be on their way to a viewer that has not drawn them: browsers queue without end what they are sent."""

USE, WATCH = "/usr/lib/visa/terminal use", "/usr/lib/visa/terminal watch"
"""What a certificate lets run (guest/files/usr/lib/visa/terminal)."""

ENDED = Ending(Code.ENDED, "The shell ended.")
NO_ANSWER = Ending(Code.NO_ANSWER, "The machine's terminal stopped answering.")


def command_of(role: Role) -> str:
    return USE if role is Role.CONTROL else WATCH


class Nonsense(Exception):
    """The viewer said what is not understood."""


class Terminal(Line):
    """An accepted WebSocket and an SSH connection, until one side ends it or `end` is called.

    `inputs` rises with everything that somebody typed or pasted and went up. `direct` as in `desktops.relay`.
    """

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        receive: Receive,
        send: Send,
        role: Role,
        direct: Viewer | None = None,
    ) -> None:
        super().__init__(receive, send, direct)
        self.role = role
        self.inputs = 0
        self._connection = connection
        self._undrawn = 0
        self._room = asyncio.Event()
        self._room.set()
        self._changed = asyncio.Event()
        self._changed.set()

    def change_role(self, role: Role) -> None:
        """From the viewer's next message on."""
        self.role = role
        self._changed.set()

    def close(self) -> None:
        """Let go of the machine; again does no harm."""
        self._connection.abort()

    async def _talk(self) -> Ending:
        try:
            async with asyncio.timeout(GREETING_PATIENCE):
                size = await self._first_size()
            async with asyncio.timeout(SHELL_PATIENCE):
                process = await self._begin(size)
            return await first(
                asyncio.ensure_future(self._down(process)),
                asyncio.ensure_future(self._up(process)),
                asyncio.ensure_future(self._tell()),
            )
        except Nonsense as wrong:
            return Ending(Code.NONSENSE, str(wrong))
        except _ViewerLeft:
            return VIEWER_LEFT
        except (asyncssh.Error, OSError):
            return NO_ANSWER

    async def _first_size(self) -> tuple[int, int]:
        said = await self._hear()
        if isinstance(said, bytes):
            raise Nonsense("The terminal's size comes first.")
        return size_of(understood(said))

    async def _begin(self, size: tuple[int, int]) -> asyncssh.SSHClientProcess[bytes]:
        # The command is the certificate's; what is asked for here is not run.
        return await self._connection.create_process(
            term_type="xterm-256color", term_size=size, encoding=None, window=WINDOW
        )

    async def _down(self, process: asyncssh.SSHClientProcess[bytes]) -> Ending:
        while data := await process.stdout.read(READ_LIMIT):
            await self._send({"type": "websocket.send", "bytes": data})
            self.traffic.down += len(data)
            self.traffic.messages += 1
            self._count(len(data))
            await self._room.wait()
        await process.wait_closed()
        return ENDED if process.exit_status is not None else NO_ANSWER

    async def _up(self, process: asyncssh.SSHClientProcess[bytes]) -> Ending:
        while True:
            said = await self._hear()
            if isinstance(said, str):
                self._heed(process, understood(said))
            elif self.role is Role.CONTROL:
                process.stdin.write(said)
                self.inputs += by_hand(said)
                self.traffic.up += len(said)
                await process.stdin.drain()

    def _heed(self, process: asyncssh.SSHClientProcess[bytes], note: dict[str, Any]) -> None:
        if "drawn" in note:
            self._count(-drawn_of(note))
        else:
            process.change_terminal_size(*size_of(note))

    def _count(self, size: int) -> None:
        self._undrawn = max(0, self._undrawn + size)
        if self._undrawn > AHEAD:
            self._room.clear()
        else:
            self._room.set()

    async def _tell(self) -> Ending:
        while True:
            await self._changed.wait()
            self._changed.clear()
            types = self.role is Role.CONTROL
            await self._send({"type": "websocket.send", "text": json.dumps({"types": types})})

    async def _hear(self) -> bytes | str:
        message = await self._receive()
        if message["type"] == "websocket.disconnect":
            raise _ViewerLeft
        data: bytes | None = message.get("bytes")
        return data if data is not None else str(message["text"])


class _ViewerLeft(Exception):
    """The viewer closed its side."""


_REPORTS = re.compile(rb"(?:\x1b\[[?>=]?[\d;]*[cnRIO]|\x1bP[^\x1b]*\x1b\\)+")


def by_hand(said: bytes) -> bool:
    """Whether a person typed it: not what a terminal says of itself when programs ask, or when its window is left."""
    return _REPORTS.fullmatch(said) is None


def understood(said: str) -> dict[str, Any]:
    """A text message. Raises Nonsense."""
    try:
        note = json.loads(said)
    except ValueError as wrong:
        raise Nonsense("JSON was expected.") from wrong
    if not isinstance(note, dict):
        raise Nonsense("An object was expected.")
    return note


def size_of(note: dict[str, Any]) -> tuple[int, int]:
    """Columns and rows. Raises Nonsense."""
    cols, rows = note.get("cols"), note.get("rows")
    if type(cols) is int and type(rows) is int and 1 <= cols <= MOST and 1 <= rows <= MOST:
        return cols, rows
    raise Nonsense("A terminal's size was expected.")


def drawn_of(note: dict[str, Any]) -> int:
    """Bytes. Raises Nonsense."""
    drawn = note["drawn"]
    if type(drawn) is int and drawn >= 0:
        return drawn
    raise Nonsense("A number of bytes was expected.")
