"""The events socket: what happens to somebody's machines, and what people at one screen show each other.

One a tab. Doorbells say only what to fetch again, so a page that was away misses nothing: `ready` says for how long
nothing was told, the page then joins its rooms anew, and joining rings for everything that a room has. Pointers and
strokes are passed on and forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from itertools import count
from typing import Any
from uuid import UUID

from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override
from redis.exceptions import RedisError

from desktops import access, control, rooms, talk
from desktops.outbox import Event, Outbox, Overflow
from desktops.relay import Code, Ending, say_farewell
from desktops.rooms import Rights
from desktops.server import EXTENSION
from desktops.talk import Allowance, Said
from desktops.threads import in_database
from experiments.models import User
from instances.models import Instance

LOOK_EVERY = 10.0
"""Seconds between looks at the rights in joined rooms; whatever ends them is also told at once."""

PATIENT = 6
"""Where no room is joined, only every so many looks are taken."""

MAX_ROOMS = 8
POINTER_EVERY = 0.05
"""Seconds between two places of one pointer that the others are told."""

NONSENSE = Ending(Code.NONSENSE, "The page said something that is not understood. Load it again.")
FLOOD = Ending(Code.FLOOD, "That was too much at once. Load the page again.")
TOO_SLOW = Ending(Code.TRY_AGAIN, "The page takes too long to listen.")

Looks = dict[UUID, Rights | None]


class Events(AsyncWebsocketConsumer):
    """Sends events as JSON, hears `talk.TYPES`. Closes with 4401 when the session ends."""

    user: User
    key: str | None

    def __init__(self) -> None:
        super().__init__()
        self.rooms: dict[UUID, Rights] = {}
        self.outbox = Outbox()
        self.groups_joined: set[str] = set()
        self.tasks: list[asyncio.Task[None]] = []
        self.turn = asyncio.Lock()
        self.places: dict[tuple[str, UUID], Event] = {}
        self.pointing: asyncio.Task[None] | None = None
        self.usual, self.flood = Allowance(30, 60), Allowance(200, 400)
        self.ended = False

    async def dispatch(self, message: dict[str, Any]) -> None:
        """One after the other, without Channels' wait for the one thread that all synchronous views share."""
        async with self.turn:
            await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        self.key = self.scope["cookies"].get(settings.SESSION_COOKIE_NAME)
        await self.accept()
        if await self._look([]) is None or self.key is None:
            await self._end(access.SIGN_IN.ending)
            return
        for group in (control.of_user(self.user.pk), control.of_session(self.key)):
            await self._listen_to(group)
        self.outbox.put({"type": "ready", "quiet": await in_database(control.quiet_for, self.user.pk)})
        self.tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._look_on())]

    async def disconnect(self, code: int) -> None:
        self.ended = True
        tasks = [*self.tasks, self.pointing] if self.pointing else self.tasks
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for group in list(self.groups_joined):
            await self._listen_no_more(group)

    # What the page says.

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self.ended:
            return
        try:
            said = talk.read(text_data)
        except talk.Nonsense:
            await self._end(NONSENSE)
            return
        now, droppable = time.monotonic(), said.type in talk.DROPPABLE
        usual = self.usual.take(now)
        if not self.flood.take(now) or not (usual or droppable):
            await self._end(FLOOD)
        elif usual:
            await self._heed(said)

    async def _heed(self, said: Said) -> None:
        if said.about is None:
            await self._show_support(said.fields["on"])
        elif said.type == "join":
            await self._join(said.about)
        elif said.type == "leave":
            await self._leave(said.about)
        else:
            await self._pass_on(said, said.about)

    async def _join(self, uuid: UUID) -> None:
        """Listen first, then look: what happens in between rings."""
        if len(self.rooms.keys() | {uuid}) > MAX_ROOMS:
            self._refuse("join", _("This page shows too many machines at once."))
            return
        await self._listen_to(control.of_room(uuid))
        looks = await self._look([uuid])
        if looks and looks[uuid] is None:
            self._refuse("join", _("There is no such machine, or it is not shared with you."))
        elif looks:
            self._put({"type": "room", "id": str(uuid)})
            if self.rooms[uuid].chats:
                self._put({"type": "chat", "id": str(uuid)})

    async def _leave(self, uuid: UUID) -> None:
        self.rooms.pop(uuid, None)
        await self._listen_no_more(control.of_room(uuid))

    async def _show_support(self, on: bool) -> None:
        """Each bell of support costs a question for each page that listens: only supporters' do."""
        if not on:
            await self._listen_no_more(control.SUPPORT)
        elif await in_database(_is_supporter, self.user.pk):
            await self._listen_to(control.SUPPORT)
            self._put({"type": "support"})

    async def _pass_on(self, said: Said, uuid: UUID) -> None:
        if not may_say(self.rooms.get(uuid), said.type):
            if said.type not in talk.DROPPABLE:
                self._refuse(said.type, _("The owner does not let you draw here now."))
            return
        who = {"id": str(self.user.uuid), "name": str(self.user)}
        event = {"type": said.type, "id": str(uuid), "who": who, **said.fields}
        if said.type in talk.PLACES:
            self._point(uuid, event)
        else:
            await self._tell(uuid, event)

    def _point(self, uuid: UUID, event: Event) -> None:
        """The first place at once, then the latest one every so often."""
        self.places[event["type"], uuid] = event
        if self.pointing is None or self.pointing.done():
            self.pointing = asyncio.create_task(self._tell_places())

    async def _tell_places(self) -> None:
        while self.places:
            latest, self.places = self.places, {}
            for (_type, uuid), event in latest.items():
                if may_say(self.rooms.get(uuid), event["type"]):
                    await self._tell(uuid, event)
            await asyncio.sleep(POINTER_EVERY)

    async def _tell(self, uuid: UUID, event: Event) -> None:
        message = {"type": "fleeting", "event": event, "by": self.channel_name}
        with contextlib.suppress(RedisError, OSError):
            await self.channel_layer.group_send(control.of_room(uuid), message)

    # What is told.

    async def news(self, message: dict[str, Any]) -> None:
        event: Event = message["event"]
        if await self._concerns(event):
            self._put(event)

    async def _concerns(self, event: Event) -> bool:
        """Whether the page hears this, by the rights that hold now."""
        if event["type"] not in {"room", "chat", "unread", "support"}:
            return True
        uuid = UUID(event["id"])
        if event["type"] == "room":
            before = uuid in self.rooms
            await self._look([uuid] if before else [])
            return before
        if event["type"] == "support":
            return await in_database(_supports, self.user, uuid)
        chats = uuid in self.rooms and self.rooms[uuid].chats
        return chats if event["type"] == "chat" else not chats

    async def fleeting(self, message: dict[str, Any]) -> None:
        event: Event = message["event"]
        if message["by"] != self.channel_name and may_hear(self.rooms.get(UUID(event["id"])), event["type"]):
            self._put(event)

    async def look_again(self, message: dict[str, Any]) -> None:
        """What has changed rings; who may know of a room no more fetches it once and finds that it is not there."""
        before = dict(self.rooms)
        await self._look(list(before))
        for uuid, rights in before.items():
            if self.rooms.get(uuid) != rights:
                self._put({"type": "room", "id": str(uuid)})

    async def session_ended(self, message: dict[str, Any]) -> None:
        await self._end(access.SIGN_IN.ending)

    async def _look_on(self) -> None:
        for turn in count(1):
            await asyncio.sleep(LOOK_EVERY)
            if self.ended:  # redis-py may have forgotten that this was cancelled; see `control.listening`
                return
            if self.rooms or turn % PATIENT == 0:
                await self.dispatch(control.LOOK_AGAIN)

    async def _look(self, uuids: list[UUID]) -> Looks | None:
        """Look up who this is and what they may in these rooms; ends the socket, with None, for nobody."""
        found = await in_database(_rights, self.key, uuids)
        if found is None:
            await self._end(access.SIGN_IN.ending)
            return None
        self.user, looks = found
        for uuid, rights in looks.items():
            if rights:
                self.rooms[uuid] = rights
            else:
                await self._leave(uuid)
        return looks

    # What is sent.

    def _refuse(self, what: str, why: Promise) -> None:
        chosen = self.scope["cookies"].get(settings.LANGUAGE_COOKIE_NAME)
        with override(chosen if chosen in dict(settings.LANGUAGES) else self.user.language or None):
            self._put({"type": "error", "of": what, "error": str(why)})

    def _put(self, event: Event) -> None:
        try:
            self.outbox.put(event)
        except Overflow:
            self.tasks.append(asyncio.create_task(self._end(TOO_SLOW)))

    async def _write(self) -> None:
        """Apart from what is heard: a page that does not listen must not keep its socket from hearing of its end."""
        with contextlib.suppress(OSError):
            while True:
                await self.send(text_data=json.dumps(await self.outbox.take()))

    async def _end(self, ending: Ending) -> None:
        """Close, also before somebody who takes nothing."""
        if self.ended:
            return
        self.ended = True
        for task in self.tasks[:1]:
            task.cancel()
        direct = self.scope.get("extensions", {}).get(EXTENSION)
        if not await say_farewell(self.base_send, ending) and direct:
            direct.abort()

    async def _listen_to(self, group: str) -> None:
        self.groups_joined.add(group)
        await self.channel_layer.group_add(group, self.channel_name)

    async def _listen_no_more(self, group: str) -> None:
        self.groups_joined.discard(group)
        with contextlib.suppress(RedisError, OSError):
            await self.channel_layer.group_discard(group, self.channel_name)


def may_say(rights: Rights | None, what: str) -> bool:
    """Whether somebody with these rights in a room may tell it the others there."""
    if rights is None:
        return False
    if what == "typing":
        return rights.chats
    return rights.inside if what == "quality" else rights.draws


def may_hear(rights: Rights | None, what: str) -> bool:
    """Whether somebody with these rights in a room is told what others there say."""
    if rights is None:
        return False
    return rights.chats if what == "typing" else rights.inside


def _rights(key: str | None, uuids: list[UUID]) -> tuple[User, Looks] | None:
    user = access.signed_in(key)
    return (user, {uuid: rooms.rights_in(user, uuid) for uuid in uuids}) if user else None


def _is_supporter(user_id: int) -> bool:
    return User.objects.get(pk=user_id).supports


def _supports(user: User, uuid: UUID) -> bool:
    return Instance.objects.supported_by(user).filter(uuid=uuid).exists()
