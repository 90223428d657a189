"""Who may be at which machine's files now, and the one line that this process keeps for them."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from uuid import UUID

import asyncssh

from desktops import access
from desktops.access import Denied, Ticket
from desktops.models import Which
from desktops.rfb import Role
from desktops.shell import files
from desktops.shell.files import Files
from desktops.shell.line import FileLine
from desktops.shell.ssh import SHELL_PATIENCE, Shell, ShellUnavailable
from desktops.threads import in_database
from desktops.visit import INTERRUPTED, Visit, present_role
from instances.models import Instance

log = logging.getLogger(__name__)

_lines: dict[tuple[str, UUID], asyncio.Task[FileLine | Denied]] = {}
_visits: set[asyncio.Task[None]] = set()


async def line_of(session_key: str, uuid: UUID) -> FileLine | Denied:
    """The person's line to the files: the one that is, or a new one; or why there is none."""
    key = (session_key, uuid)
    opening = _lines.get(key)
    if opening is not None and opening.done() and _over(opening):
        opening = None
    if opening is None:
        opening = _lines[key] = asyncio.create_task(_open(session_key, uuid))
    return await asyncio.shield(opening)


def shell_of(ticket: Ticket) -> Shell:
    return Shell(ticket.host, ticket.port, ticket.generation, ticket.password)


async def admit(session_key: str, uuid: UUID) -> Ticket | Denied:
    """Whether the person of this session may be at the machine's files."""
    return await in_database(lambda: access.admit(access.signed_in(session_key), uuid, Which.FILES))


def _over(opening: asyncio.Task[FileLine | Denied]) -> bool:
    if opening.cancelled() or opening.exception():
        return True
    line = opening.result()
    return isinstance(line, Denied) or line.ended


async def _open(session_key: str, uuid: UUID) -> FileLine | Denied:
    ticket = await admit(session_key, uuid)
    if isinstance(ticket, Denied):
        return ticket
    command = files.WRITE if ticket.role is Role.CONTROL else files.READ
    try:
        folders = await in_database(folders_of, ticket.instance_id)
        connection = await shell_of(ticket).connect(ticket.username, command, SHELL_PATIENCE)
        found = await _files_over(connection, folders)
    except (ShellUnavailable, asyncssh.Error, OSError) as why:
        log.warning("machine %s: its files did not open: %s", ticket.instance_id, why)
        return access.NOT_YET
    line = FileLine(connection, found, present_role(ticket))
    visit = asyncio.create_task(Visit(session_key, uuid, ticket, line).run())
    _visits.add(visit)
    visit.add_done_callback(partial(_visited, (session_key, uuid), line))
    return line


async def _files_over(connection: asyncssh.SSHClientConnection, folders: list[str]) -> Files:
    """Whatever keeps them from opening leaves no connection behind."""
    try:
        return await Files.open(connection, folders)
    except BaseException:
        connection.abort()
        raise


def _visited(key: tuple[str, UUID], line: FileLine, visit: asyncio.Task[None]) -> None:
    """A line lasts as long as somebody watches over who is at it, and is forgotten with its end."""
    _visits.discard(visit)
    line.end(INTERRUPTED)
    opening = _lines.get(key)
    if opening is not None and opening.done() and _over(opening):
        del _lines[key]
    if not visit.cancelled() and (error := visit.exception()):
        log.error("machine's files at %s were left unwatched", key[1], exc_info=error)


def folders_of(instance_id: int) -> list[str]:
    """Where the data of the machine's experiments lie."""
    machine = Instance.objects.get(pk=instance_id)
    return [path for path in machine.experiments.values_list("data_path", flat=True) if path.startswith("/")]


async def end_all() -> None:
    """Everybody leaves, and that is written down."""
    for opening in list(_lines.values()):
        if opening.done() and not _over(opening):
            line = opening.result()
            if isinstance(line, FileLine):
                line.close()
    _lines.clear()
    await asyncio.gather(*_visits, return_exceptions=True)
