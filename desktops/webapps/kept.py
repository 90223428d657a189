"""The WebSocket of a page that was cut off from a kernel: what the kernel says meanwhile waits for it. asyncio only.

Jupyter Server itself keeps that for the last page at a kernel, and for no other: of two people in one notebook, whoever
is cut off would lose what is printed. So where others are at the kernel, its end of the socket is kept open here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import NamedTuple

from desktops.frames import Malformed, Opcode, Reader, masked
from desktops.webapps.client import Upgraded

PATIENCE = 3600.0
"""Seconds that a page may be away."""

MOST_BYTES = 4 * 1024 * 1024
"""Of what waits for one page."""

MOST_AWAY = 32
"""Pages that may be away at one time, whosever they are: what all wait for fills no memory either."""

Kernel = tuple[str, int, bytes]
"""Host, port and path."""


class Seat(NamedTuple):
    """Whose place at which kernel: of one page, by the id that it gives itself in the query."""

    visitor: str
    kernel: Kernel
    query: bytes


_present: Counter[Kernel] = Counter()
_away: dict[Seat, Away] = {}


class Away(asyncio.Protocol):
    """Holds the place of a page; answers the machine's pings."""

    def __init__(self, seat: Seat, connection: Upgraded, protocol: str | None) -> None:
        self.connection = connection
        self.protocol = protocol
        self._seat = seat
        self._said = bytearray()
        self._reader = Reader(0, masked=False)
        self._timer = asyncio.get_running_loop().call_later(PATIENCE, connection.abort)
        connection.transport.set_protocol(self)
        connection.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._said += data
        try:
            pings = [one for one in self._reader.feed(data) if one.opcode is Opcode.PING]
        except Malformed:
            self.connection.abort()
        else:
            self.connection.transport.writelines(masked(Opcode.PONG, ping.payload or b"") for ping in pings)
        if len(self._said) > MOST_BYTES or self._reader.has_closed:
            self.connection.abort()

    def pause_writing(self) -> None:
        """A machine that asks and takes no answers."""
        self.connection.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()

    def end(self) -> Upgraded:
        """The connection, with what was said in the `rest` of it; its reader is the next who takes it."""
        self._forget()
        self.connection.transport.pause_reading()
        self.connection.rest = bytes(self._said)
        return self.connection

    def _forget(self) -> None:
        self._timer.cancel()
        if _away.get(self._seat) is self:
            del _away[self._seat]


def come(seat: Seat) -> None:
    """Somebody sits down; `leave` follows."""
    _present[seat.kernel] += 1


def leave(seat: Seat) -> None:
    _present[seat.kernel] -= 1
    if not _present[seat.kernel]:
        del _present[seat.kernel]


def keep(seat: Seat, connection: Upgraded, protocol: str | None) -> bool:
    """Hold the place of a page that was cut off. False: nobody else is there, and Jupyter Server does it better."""
    others = _present[seat.kernel] > 1 or any(seat.kernel == other.kernel for other in _away)
    if not others or seat in _away or len(_away) >= MOST_AWAY:
        return False
    _away[seat] = Away(seat, connection, protocol)
    return True


def take(seat: Seat) -> tuple[Upgraded, str | None] | None:
    """What was kept for this page, which has come back, and the protocol in which it talked."""
    away = _away.get(seat)
    return (away.end(), away.protocol) if away else None


def let_all_go() -> None:
    for away in list(_away.values()):
        away.connection.abort()
