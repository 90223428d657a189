"""How many bytes of WebSocket messages may be on their way at once: for one person, and for the whole process.

A message is held in memory until it is whole and the other side has taken it. One is allowed to be large; five hundred
that nobody takes would fill the process. asyncio only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakValueDictionary

MIB = 1024 * 1024

FREE = MIB // 4
"""Bytes of each direction of a socket that are not counted: whoever sends little is never stopped by who sends much."""

PERSON = 128 * MIB
"""Bytes of one person: twice the largest message."""

PROCESS = 512 * MIB
"""Bytes of all people. On its way a message is copied a few times, so that memory may be some times as much."""


class Purse:
    """What is left of an allowance."""

    def __init__(self, left: int) -> None:
        self.left = left


_process = Purse(PROCESS)
_people: WeakValueDictionary[int, Purse] = WeakValueDictionary()


def purses_of(user_id: int) -> tuple[Purse, ...]:
    """Those from which all sockets of this person in this process take."""
    purse = _people.get(user_id)
    if purse is None:
        purse = _people[user_id] = Purse(PERSON)
    return purse, _process


class Flight:
    """One direction of one socket: what came in and has not left yet. `over` is set when a purse is empty."""

    def __init__(self, purses: tuple[Purse, ...], over: asyncio.Future[None]) -> None:
        self._purses = purses
        self._over = over
        self._size = 0
        self._ended = False

    def came(self, size: int) -> bool:
        """So many bytes of messages, whole or not; False where there is no room for them, now and ever after."""
        if not (self._ended or self._over.done()):
            self._hold(self._size + size)
        return not self._over.done()

    def left(self, size: int) -> None:
        """A message has left. What remains uncounted (heads of frames, the beginning of the next) is forgotten."""
        rest = self._size - size
        self._hold(rest if rest > FREE else 0)

    def end(self) -> None:
        """All is given back; what still comes while the sockets close is not counted."""
        self._hold(0)
        self._ended = True

    def _hold(self, size: int) -> None:
        """Who finds no room gives back what they had at once, so that others in the same case go on."""
        more = max(0, size - FREE) - max(0, self._size - FREE)
        if more > min(purse.left for purse in self._purses):
            self._over.set_result(None)
            self._hold(0)
            return
        for purse in self._purses:
            purse.left -= more
        self._size = size


class Meter(asyncio.Protocol):
    """Stands before the protocol of an open connection and tells how many bytes come."""

    def __init__(self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
        self.came: Callable[[int], bool] = _nobody_counts
        self._protocol = cast(Any, protocol)
        self._transport = transport
        transport.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        if self.came(len(data)):
            self._protocol.data_received(data)
        else:
            self._transport.pause_reading()

    def hang_up(self) -> None:
        """At once, with whatever is on its way."""
        self._transport.abort()

    def pause(self) -> None:
        self._protocol.pause_reading()

    def go_on(self) -> None:
        self._protocol.resume_reading()

    def eof_received(self) -> bool | None:
        return cast("bool | None", self._protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def _nobody_counts(_size: int) -> bool:
    """Before a socket is joined."""
    return True
