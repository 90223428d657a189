"""One admitted person at one line to a machine: watched over while it lasts, and written down."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError
from django.utils import timezone

from desktops import access, control, news
from desktops.access import Denied, Ticket
from desktops.gallery import COME_AGAIN, Watcher
from desktops.models import SEEN_EVERY, Connection, Policy, Which
from desktops.relay import NO_ANSWER, Code, Ending, Relay
from desktops.rfb import Role
from desktops.shell.line import FileLine
from desktops.shell.terminal import Terminal
from desktops.signals import came_or_went
from desktops.threads import in_database
from instances.models import Entry, Instance

log = logging.getLogger(__name__)

Line = Relay | Watcher | Terminal | FileLine

INTERRUPTED = Ending(Code.INTERRUPTED, "The relay was interrupted.")


class Visit:
    """One admitted person at one screen: the line to it, the control line beside it, and the row that remembers it."""

    def __init__(self, key: str | None, uuid: UUID, ticket: Ticket, line: Line) -> None:
        self._key = key
        self._uuid = uuid
        self._ticket = ticket
        self._line = line
        self._inputs = 0

    async def run(self) -> None:
        """Until the end, which is told to the viewer and written down however it comes."""
        self._row = await in_database(self._begin)
        self._change(self._ticket)
        watch = asyncio.create_task(self._watch())
        watch.add_done_callback(self._watch_ended)
        ending = INTERRUPTED
        try:
            ending = await self._line.run()
            if ending.code == Code.NO_ANSWER:
                ending = await self._why_no_answer()
            await self._line.say_farewell(ending)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await asyncio.shield(in_database(self._finish, ending))
            if self._ticket.standing.relation is access.Relation.OWNER:
                _later(await in_database(_grace), self._ticket.instance_id)

    async def _why_no_answer(self) -> Ending:
        answer = await in_database(access.admit_again, self._key, self._uuid, self._ticket)
        return answer.ending if isinstance(answer, Denied) else NO_ANSWER

    async def _watch(self) -> None:
        """Look at the rows now, whenever the line says so, and every few seconds."""
        key = [control.of_session(self._key)] if self._key else []
        groups = [control.of_user(self._ticket.user_id), control.of_instance(self._uuid), *key]
        async with control.listening(groups) as line:
            message: dict[str, Any] | None = None
            while (ending := self._heard(message)) is None:
                if message is None or message["type"] == control.LOOK_AGAIN["type"]:
                    await self._look()
                message = await line.hear(self._patience())
        self._line.end(ending)

    def _heard(self, message: dict[str, Any] | None) -> Ending | None:
        """The end that a message of the line means, if it means one."""
        if message and message["type"] == control.SESSION_ENDED["type"]:
            return access.SIGN_IN.ending
        if message and message["type"] == control.DISMISSED and message["user"] == self._ticket.user_id:
            return access.DISMISSED.ending
        return None

    def _patience(self) -> float:
        """Seconds until the next look: the usual ones, or until the right to be here runs out."""
        usual, until = SEEN_EVERY.total_seconds(), self._ticket.standing.until
        return usual if until is None else min(usual, max(0.0, (until - timezone.now()).total_seconds()))

    def _watch_ended(self, watch: asyncio.Task[None]) -> None:
        """Nobody looks on unwatched."""
        if not watch.cancelled() and (error := watch.exception()):
            log.error("machine %s: a control line broke", self._ticket.instance_id, exc_info=error)
            self._line.end(INTERRUPTED)

    async def _look(self) -> None:
        try:
            answer = await in_database(self._note)
        except DatabaseError as error:
            log.warning("machine %s: could not look whether to go on: %r", self._ticket.instance_id, error)
            return
        if isinstance(answer, Denied):
            self._line.end(answer.ending)
        elif answer.standing != self._ticket.standing:
            self._change(answer)

    def _change(self, ticket: Ticket) -> None:
        """From now on this counts. Whose right to control has changed comes again for another line."""
        moves = ticket.role is not self._ticket.role and ticket.which is not Which.CONSOLE
        self._ticket = ticket
        if isinstance(self._line, Watcher):
            self._line.clipboard = ticket.standing.clipboard
        else:
            self._line.change_role(present_role(ticket))
        if moves:
            self._line.end(COME_AGAIN)

    def _begin(self) -> int:
        ticket = self._ticket
        if ticket.which is Which.CONSOLE:
            self._write_down_console()
        row = Connection.objects.create(
            instance_id=ticket.instance_id, user_id=ticket.user_id, which=ticket.which, role=ticket.role
        )
        came_or_went.send(Connection, connection=row)
        return row.pk

    def _write_down_console(self) -> None:
        """In the machine's history; who only comes again is not named twice within an hour."""
        mine = Connection.objects.filter(instance=self._ticket.instance_id, user=self._ticket.user_id)
        if not mine.filter(which=Which.CONSOLE, seen_at__gt=timezone.now() - timedelta(hours=1)).exists():
            Entry.objects.create(instance_id=self._ticket.instance_id, kind="console", by_id=self._ticket.user_id)

    def _note(self) -> Ticket | Denied:
        """Write down what passed so far; whether it may go on."""
        self._write(seen_at=timezone.now())
        return access.admit_again(self._key, self._uuid, self._ticket)

    def _finish(self, ending: Ending) -> None:
        now = timezone.now()
        self._write(seen_at=now, closed_at=now, code=ending.code, reason=ending.reason)
        row = Connection.objects.select_related("instance").filter(pk=self._row).first()
        if row:
            came_or_went.send(Connection, connection=row)

    def _write(self, **facts: Any) -> None:
        line = self._line
        if line.inputs != self._inputs:
            self._inputs = line.inputs
            facts["last_input_at"] = timezone.now()
            Instance.objects.filter(pk=self._ticket.instance_id).update(last_used_at=facts["last_input_at"])
        facts |= {"role": line.role, "bytes_down": line.traffic.down, "bytes_up": line.traffic.up}
        Connection.objects.filter(pk=self._row).update(**facts)


_bells: dict[int, asyncio.Task[None]] = {}


def _later(seconds: float, instance_id: int) -> None:
    """Have everybody at the machine look again when the owner's grace is over; whoever misses it looks soon anyway.

    Who closes ten screens has left with the last: one bell rings.
    """
    if earlier := _bells.get(instance_id):
        earlier.cancel()
    _bells[instance_id] = asyncio.create_task(_ring_after(seconds, instance_id))


async def _ring_after(seconds: float, instance_id: int) -> None:
    await asyncio.sleep(seconds)
    del _bells[instance_id]
    await in_database(lambda: news.tell_room(Instance.objects.get(pk=instance_id)))


def _grace() -> float:
    return Policy.current().grace.total_seconds()


def present_role(ticket: Ticket) -> Role:
    return Role.CONTROL if ticket.standing.controls else Role.WATCH
