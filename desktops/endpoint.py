"""The ASGI callables of a machine's screens and of its terminal: admit, connect, accept, relay, close with a reason.

Plain callables, not Channels consumers: a consumer awaits the one thread that all of Django's synchronous code shares
before each message, and costs more than twice as much for a frame.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from channels.db import database_sync_to_async
from django.conf import settings
from django.db import DatabaseError
from django.utils import timezone

from desktops import access, control, news
from desktops.access import Denied, Ticket
from desktops.gallery import COME_AGAIN, CONNECT_PATIENCE, Place, Watcher
from desktops.models import SEEN_EVERY, Connection, Policy, Which
from desktops.relay import NO_ANSWER, Code, Ending, Receive, Relay, Send, Viewer, say_farewell
from desktops.rfb import Role
from desktops.server import EXTENSION
from desktops.shell.ssh import Shell, ShellUnavailable
from desktops.shell.terminal import Terminal, command_of
from desktops.signals import came_or_went
from instances.models import Instance
from instances.screen import ScreenRefused, ScreenUnavailable, open_screen

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

Line = Relay | Watcher | Terminal

SHELL_PATIENCE = 20.0
"""Seconds in which a machine's SSH server must have let us in; an emulated one takes some for the arithmetic."""

MOST_AT_ONE_MACHINE, MOST_IN_ALL = 20, 60
"""Screens and terminals that one person may hold open in this process."""

TOO_MANY = Denied(Ending(Code.FLOOD, "You have too many screens open. Close one, and this one opens by itself."))

INTERRUPTED = Ending(Code.INTERRUPTED, "The relay was interrupted.")


async def screen(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The machine's desktop: for its owner, its members, and support."""
    await _serve(Which.SCREEN, scope, receive, send)


async def console(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The hypervisor's view of the machine: for its owner and support."""
    await _serve(Which.CONSOLE, scope, receive, send)


async def terminal(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """The machine's shared terminal: for its owner, its members, and support."""
    await _serve(Which.TERMINAL, scope, receive, send)


async def _serve(which: Which, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    uuid: UUID = scope["url_route"]["kwargs"]["uuid"]
    key: str | None = scope["cookies"].get(settings.SESSION_COOKIE_NAME)
    await receive()
    direct = scope.get("extensions", {}).get(EXTENSION)
    with _seated(await _in_database(_admit, key, uuid, which)) as ticket:
        line = await _open(ticket, receive, send, direct) if isinstance(ticket, Ticket) else ticket
        try:
            # Accepted in any case: a browser tells its page the code of a closed socket, not a refused one's status.
            await send({"type": "websocket.accept", "subprotocol": _subprotocol(scope)})
            if isinstance(ticket, Denied):
                await say_farewell(send, ticket.ending)
            elif isinstance(line, Denied):
                await say_farewell(send, line.ending)
            else:
                await Visit(key, uuid, ticket, line).run()
        finally:
            if not isinstance(line, Denied):
                line.close()


_seats: Counter[tuple[int, int]] = Counter()


@contextmanager
def _seated(ticket: Ticket | Denied) -> Iterator[Ticket | Denied]:
    """The same, while the person has a seat of their own; TOO_MANY where none is left for them."""
    if isinstance(ticket, Denied):
        yield ticket
        return
    seat = ticket.user_id, ticket.instance_id
    taken = sum(count for (user, _instance), count in _seats.items() if user == ticket.user_id)
    if _seats[seat] >= MOST_AT_ONE_MACHINE or taken >= MOST_IN_ALL:
        yield TOO_MANY
        return
    _seats[seat] += 1
    try:
        yield ticket
    finally:
        _seats[seat] -= 1
        if not _seats[seat]:
            del _seats[seat]


def _admit(key: str | None, uuid: UUID, which: Which) -> Ticket | Denied:
    return access.admit(access.signed_in(key), uuid, which)


async def _open(ticket: Ticket, receive: Receive, send: Send, direct: Viewer | None) -> Line | Denied:
    """A line to the machine. Who only watches its desktop shares one with the others who do."""
    try:
        if ticket.which is Which.TERMINAL:
            shell = Shell(ticket.host, ticket.port, ticket.generation, ticket.password)
            connection = await shell.connect(ticket.username, command_of(ticket.role), SHELL_PATIENCE)
            return Terminal(connection, receive, send, _present_role(ticket), direct)
        if ticket.role is Role.WATCH and ticket.which is Which.SCREEN:
            place = Place(ticket.host, ticket.port, ticket.password, ticket.generation)
            watcher = Watcher(place, receive, send, direct, clipboard=ticket.standing.clipboard)
            await watcher.enter()
            return watcher
        screen = await open_screen(ticket.host, ticket.port, ticket.password, CONNECT_PATIENCE, ticket.tls)
        return Relay(screen, receive, send, ticket.role, direct)
    except (ScreenUnavailable, ScreenRefused, ShellUnavailable) as why:
        log.warning("machine %s: %s did not open: %s", ticket.instance_id, ticket.which, why)
        return access.NOT_YET


def _subprotocol(scope: MutableMapping[str, Any]) -> str | None:
    return "binary" if "binary" in scope.get("subprotocols", ()) else None


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
        self._row = await _in_database(self._begin)
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
            await asyncio.shield(_in_database(self._finish, ending))
            if self._ticket.standing.relation is access.Relation.OWNER:
                _later(await _in_database(_grace), self._ticket.instance_id)

    async def _why_no_answer(self) -> Ending:
        answer = await _in_database(access.admit_again, self._key, self._uuid, self._ticket)
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
            answer = await _in_database(self._note)
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
            self._line.change_role(_present_role(ticket))
        if moves:
            self._line.end(COME_AGAIN)

    def _begin(self) -> int:
        ticket = self._ticket
        row = Connection.objects.create(
            instance_id=ticket.instance_id, user_id=ticket.user_id, which=ticket.which, role=ticket.role
        )
        came_or_went.send(Connection, connection=row)
        return row.pk

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
    await _in_database(lambda: news.tell_room(Instance.objects.get(pk=instance_id)))


def _grace() -> float:
    return Policy.current().grace.total_seconds()


def _present_role(ticket: Ticket) -> Role:
    return Role.CONTROL if ticket.standing.controls else Role.WATCH


def _in_database(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
    """In a thread of its own: Django's one shared thread may be waiting for somebody else's slow query."""
    threaded: Callable[P, Awaitable[T]] = database_sync_to_async(work, thread_sensitive=False)
    return threaded(*args, **kwargs)
