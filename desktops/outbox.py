"""What waits to be sent to one page. It stays small however slowly the page takes it. asyncio only."""

from __future__ import annotations

import asyncio
from typing import Any

from desktops.talk import PLACES, TOLD_ON

Event = dict[str, Any]

FLEETING_LIMIT = 128
"""So many events may wait for a page that takes none; then what is not kept anywhere is dropped."""

LIMIT = 512
"""A page that lets so many doorbells wait had better come again and fetch everything."""


class Overflow(Exception):
    """The page does not listen."""


class Outbox:
    """Events in the order they came. A doorbell that waits does not ring twice; of a pointer the last place counts."""

    def __init__(self) -> None:
        self._waiting: dict[object, Event] = {}
        self._filled = asyncio.Event()
        self._number = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, event: Event) -> None:
        """Raises Overflow where a doorbell would have to be forgotten."""
        fleeting = event["type"] in TOLD_ON
        if fleeting and len(self) >= FLEETING_LIMIT:
            return
        if len(self) >= LIMIT:
            raise Overflow
        key = self._key(event, fleeting)
        self._waiting.pop(key, None)
        self._waiting[key] = event
        self._filled.set()

    def _key(self, event: Event, fleeting: bool) -> object:
        """Two events with the same key say the same, or the later one makes the earlier one pointless."""
        if event["type"] in PLACES:
            return event["type"], event["id"], event["who"]["id"]
        if fleeting:
            self._number += 1
            return self._number
        return event["type"], event.get("id"), event.get("what")

    async def take(self) -> Event:
        """The next event, once there is one."""
        await self._filled.wait()
        event = self._waiting.pop(next(iter(self._waiting)))
        if not self._waiting:
            self._filled.clear()
        return event
