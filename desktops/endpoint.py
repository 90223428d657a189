"""The ASGI callables of a machine's screens and of its terminal: admit, connect, accept, relay, close with a reason.

Plain callables, not Channels consumers: a consumer awaits the one thread that all of Django's synchronous code shares
before each message, and costs more than twice as much for a frame.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.conf import settings

from desktops import access
from desktops.access import Denied, Ticket
from desktops.gallery import CONNECT_PATIENCE, Place, Watcher
from desktops.models import Which
from desktops.relay import Code, Ending, Receive, Relay, Send, Viewer, say_farewell
from desktops.rfb import Role
from desktops.server import EXTENSION
from desktops.shell.ssh import SHELL_PATIENCE, Shell, ShellUnavailable
from desktops.shell.terminal import Terminal, command_of
from desktops.threads import in_database
from desktops.visit import Line, Visit, present_role
from instances.screen import ScreenRefused, ScreenUnavailable, open_screen

log = logging.getLogger(__name__)

MOST_AT_ONE_MACHINE, MOST_IN_ALL = 20, 60
"""Screens and terminals that one person may hold open in this process."""

TOO_MANY = Denied(Ending(Code.FLOOD, "You have too many screens open. Close one, and this one opens by itself."))


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
    with _seated(await in_database(_admit, key, uuid, which)) as ticket:
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
            return Terminal(connection, receive, send, present_role(ticket), direct)
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
