"""The control line: how every open socket hears within a moment that a right, a machine or a session has changed.

A message is only a doorbell: whoever hears it looks at the rows again. Sockets look every few seconds anyway, so a
message that Redis loses costs seconds, never a right that outlives its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any
from uuid import UUID

from channels.layers import get_channel_layer
from django.core.cache import cache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds that telling others may take; a hanging Redis must not hang who tells."""

_silence = {"until": 0.0}

LOOK_AGAIN = {"type": "look.again"}
SESSION_ENDED = {"type": "session.ended"}
DISMISSED = "dismissed"
PERSON = "user."
"""How the names of people's groups begin."""

REMEMBERED = 3600
"""Seconds for which it is known when somebody was told something; no page takes longer to load."""

SUPPORT = "support"
"""The group of the support pages."""


def of_user(user_id: int) -> str:
    return f"{PERSON}{user_id}"


def of_instance(uuid: UUID) -> str:
    return f"instance.{uuid.hex}"


def of_room(uuid: UUID) -> str:
    """The tabs that show who is at this machine."""
    return f"room.{uuid.hex}"


def dismissal(user_id: int) -> dict[str, Any]:
    """The owner shows somebody out, for now."""
    return {"type": DISMISSED, "user": user_id}


def of_session(session_key: str) -> str:
    """Named by a hash: whoever reads Redis' channels cannot take over a session."""
    return f"session.{sha256(session_key.encode()).hexdigest()[:32]}"


def quiet_for(user_id: int) -> float | None:
    """Seconds since somebody was last told anything of theirs; None where that is long ago."""
    told: float | None = cache.get(f"told.{of_user(user_id)}")
    return None if told is None else max(0.0, time.time() - told)


def tell(groups: Iterable[str], message: dict[str, Any]) -> None:
    """Send to all sockets in these groups, from any process."""
    ring([(group, message) for group in groups])


def ring(bells: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Send each group its message, over one connection; where Redis does not answer, log it and go on.

    After a Redis that hangs nothing is sent for a moment, lest an action that tells several things waits for each.
    """
    if time.monotonic() < _silence["until"]:
        return
    told = {f"told.{group}": time.time() for group, _message in bells if group.startswith(PERSON)}
    try:
        cache.set_many(told, REMEMBERED)  # first: who listens too late for the message sees that there was one
        asyncio.run_coroutine_threadsafe(_ring(bells), _Bell.loop()).result()
    except (RedisError, OSError) as error:
        log.warning("could not tell %r: %r", [message["type"] for _group, message in bells], error)
        if isinstance(error, TimeoutError):
            _silence["until"] = time.monotonic() + PATIENCE


class _Bell:
    """The event loop of all ringing in this process: it keeps its connection to Redis, where a new one costs 5 ms."""

    _lock = threading.Lock()
    _process = 0
    _loop: asyncio.AbstractEventLoop

    @classmethod
    def loop(cls) -> asyncio.AbstractEventLoop:
        with cls._lock:
            if cls._process != os.getpid():  # a worker that was forked has none of its parent's threads
                cls._loop = asyncio.new_event_loop()
                threading.Thread(target=cls._loop.run_forever, name="bell", daemon=True).start()
                cls._process = os.getpid()
            return cls._loop


async def _ring(bells: Sequence[tuple[str, dict[str, Any]]]) -> None:
    layer = get_channel_layer()
    async with asyncio.timeout(PATIENCE):
        for group, message in bells:
            try:
                await layer.group_send(group, message)
            except RedisError:
                # The first word after Redis was away goes into a connection that is no longer there.
                await layer.group_send(group, message)


class Line:
    """What one socket hears. While Redis does not answer it is a line to nowhere: only the time passes.

    Who rings ten times before anybody listened is heard once.
    """

    def __init__(self) -> None:
        self._layer = get_channel_layer()
        self._channel: str | None = None
        self._groups: list[str] = []
        self._reading: asyncio.Task[None] | None = None
        self._waiting: list[dict[str, Any]] = []
        self._rung = asyncio.Event()

    async def join(self, groups: list[str]) -> None:
        async with asyncio.timeout(PATIENCE):
            self._channel = await self._layer.new_channel()
            # It reads for the life of the line: cancelling a receive is what ends the channel's subscription.
            self._reading = asyncio.create_task(self._read())
            for group in groups:
                self._groups.append(group)
                await self._layer.group_add(group, self._channel)

    async def _read(self) -> None:
        while True:
            message = await self._layer.receive(self._channel)
            if message not in self._waiting:
                self._waiting.append(message)
            self._rung.set()

    async def hear(self, patience: float) -> dict[str, Any] | None:
        """The next message; None when there is none within `patience` seconds."""
        if not self._waiting:
            self._rung.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._rung.wait()
        return self._waiting.pop(0) if self._waiting else None

    async def leave(self) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        async with asyncio.timeout(PATIENCE):
            for group in self._groups:
                await self._layer.group_discard(group, self._channel)


@asynccontextmanager
async def listening(groups: list[str]) -> AsyncIterator[Line]:
    """A line that hears these groups until the block ends."""
    line = Line()
    # Shielded: redis-py waits with asyncio.wait_for, which until Python 3.12 forgets a cancellation that comes just
    # when what it waits for is done. Whoever was cancelled would listen on forever.
    joining = asyncio.create_task(line.join(groups))
    try:
        try:
            await asyncio.shield(joining)
        except (RedisError, OSError) as error:
            log.warning("a socket has no control line and looks only now and then: %r", error)
        yield line
    finally:
        await asyncio.gather(joining, return_exceptions=True)
        try:
            await line.leave()
        except (RedisError, OSError) as error:
            log.warning("could not leave %r: %r", groups, error)
