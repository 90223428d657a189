"""The events socket: what happens to somebody's machines, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.conf import settings

from desktops import access, control
from experiments.models import User

LOOK_EVERY = 60.0
"""Seconds between looks at the session; its end is also told at once."""


class Events(AsyncJsonWebsocketConsumer):
    """Sends `desktops.news.Event` objects; hears nothing. Closes with 4401 when the session ends."""

    looking: asyncio.Task[None] | None = None
    joined: tuple[str, ...] = ()

    async def connect(self) -> None:
        self.key = self.scope["cookies"].get(settings.SESSION_COOKIE_NAME)
        user = await self._signed_in()
        await self.accept()
        if user is None or self.key is None:
            await self._say_signed_out()
            return
        self.joined = (control.of_user(user.pk), control.of_session(self.key))
        for group in self.joined:
            await self.channel_layer.group_add(group, self.channel_name)
        self.looking = asyncio.create_task(self._look_on())

    async def disconnect(self, code: int) -> None:
        if self.looking:
            self.looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.looking
        for group in self.joined:
            await self.channel_layer.group_discard(group, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """There is nothing that a page may say here."""

    async def news(self, message: dict[str, Any]) -> None:
        await self.send_json(message["event"])

    async def look_again(self, message: dict[str, Any]) -> None:
        if await self._signed_in() is None:
            await self._say_signed_out()

    async def session_ended(self, message: dict[str, Any]) -> None:
        await self._say_signed_out()

    async def _look_on(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            await self.look_again({})

    async def _signed_in(self) -> User | None:
        answer: User | None = await database_sync_to_async(access.signed_in, thread_sensitive=False)(self.key)
        return answer

    async def _say_signed_out(self) -> None:
        ending = access.SIGN_IN.ending
        await self.close(code=int(ending.code), reason=ending.reason)
