"""Notebooks in machines, for runs: what is asked for is looked at before anything is promised, and results come out."""

from __future__ import annotations

import asyncio
import json
import posixpath
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import asyncssh
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from desktops import access
from desktops.access import Denied, Ticket
from desktops.filing import folders_of, shell_of
from desktops.models import Connection, NotebookRun, Which
from desktops.models.runs import MAX_PATH
from desktops.relay import Code
from desktops.rfb import Role
from desktops.shell import files, runs
from desktops.shell.files import Entry, Files, Problem
from desktops.shell.paths import LONGEST_NAME
from desktops.shell.preview import values_in
from desktops.shell.ssh import SHELL_PATIENCE, ShellUnavailable
from desktops.threads import in_database
from experiments.models import User
from instances.actions import NotAllowed, Refused

LARGEST = 32 * 1024 * 1024
"""Bytes of a notebook that is run."""

MOST_VALUES = 2_000_000
"""Of a notebook's JSON, at most."""

_one_at_a_time = threading.Lock()
"""Is held while a notebook is taken apart, which takes some times its size."""

PATIENCE = 40.0
"""Seconds that looking into the machine may take while somebody waits for the answer."""

UNCLAIMED = 60.0
"""Seconds after which a result is let go that nobody began to read."""

CLOSED: dict[int, str | Promise] = {
    Code.STOPPED: gettext_lazy("The machine is not running. Start it first."),
    Code.OWNER_AWAY: gettext_lazy("The owner is away. This opens when they are back."),
}
NOT_YET = gettext_lazy("The machine does not answer yet. Try again in a moment.")


def refused(denied: Denied) -> Refused:
    """Why somebody may not be at the machine now, in words."""
    if denied in (access.ASK_FIRST, access.NOT_FOUND):
        return NotAllowed(_("This opens with the owner's consent. Ask for it on the desktop's page."))
    return Refused(str(CLOSED.get(denied.ending.code, NOT_YET)))


async def find(ticket: Ticket, notebook: str, output: str, ident: UUID) -> tuple[str, str]:
    """The absolute paths of notebook and output, once both are found fit. Raises Refused, with the field named."""
    folders = await in_database(folders_of, ticket.instance_id)
    try:
        connection = await shell_of(ticket).connect(ticket.username, files.READ, SHELL_PATIENCE)
        try:
            async with asyncio.timeout(PATIENCE):
                found = await Files.open(connection, folders)
                await _check_program(found)
                path = await _notebook(found, notebook)
                return _text(path, "notebook"), await _output(found, path, output, ident)
        finally:
            connection.abort()
    except (ShellUnavailable, asyncssh.Error, OSError) as why:
        raise Refused(str(NOT_YET)) from why


async def _check_program(found: Files) -> None:
    try:
        await found.entry(runs.PROGRAM)
    except Problem as why:
        raise Refused(_("This machine's image cannot run notebooks by itself. Choose one with JupyterLab.")) from why


async def _notebook(found: Files, said: str) -> bytes:
    path: bytes = await _at_field("notebook", found.resolve, _from_home(found, said, "notebook"))
    entry: Entry = await _at_field("notebook", found.entry, path)
    if entry.kind != "file" or not path.endswith(b".ipynb"):
        raise Refused(_("This is no notebook. Its name ends with .ipynb."), "notebook")
    if entry.size > LARGEST:
        raise Refused(_("This notebook is too large. Clear its outputs first."), "notebook")
    content = await _at_field("notebook", partial(_content, found, entry.size), path)
    if values_in(content) > MOST_VALUES:
        raise Refused(_("This notebook is too large. Clear its outputs first."), "notebook")
    if not await asyncio.to_thread(_is_notebook, content):
        raise Refused(_("This is no notebook: nothing in it can be read as one."), "notebook")
    return path


async def _content(found: Files, size: int, path: bytes) -> bytes:
    return b"".join([piece async for piece in found.read(path, 0, size)])


def _is_notebook(content: bytes) -> bool:
    """Of nbformat 4, as all have it since 2015."""
    try:
        with _one_at_a_time:
            said = json.loads(content)
        return isinstance(said["cells"], list) and isinstance(said["metadata"], dict)
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


async def _output(found: Files, notebook: bytes, said: str, ident: UUID) -> str:
    path = _from_home(found, said, "output") if said else _beside(notebook, ident)
    if not path.endswith(b".ipynb") or len(posixpath.basename(path)) > LONGEST_NAME:
        raise Refused(_("Give the result a name that ends with .ipynb and is not too long."), "output")
    place = await _at_field("output", found.place, path)
    await _at_field("output", found.entry, posixpath.dirname(place))
    try:
        await found.entry(place)
    except Problem as problem:
        if problem.what == "missing":
            return _text(place, "output")
        raise _at("output", problem) from problem
    raise Refused(_("There is something of that name already."), "output")


def _beside(notebook: bytes, ident: UUID) -> bytes:
    ending = f"-run-{ident.hex[:8]}.ipynb".encode()
    folder, name = posixpath.split(notebook.removesuffix(b".ipynb"))
    return posixpath.join(folder, name[: LONGEST_NAME - len(ending)] + ending)


def _from_home(found: Files, said: str, field: str) -> bytes:
    return _fit(posixpath.join(found.roots[0], said.encode()), field)


def _fit(path: bytes, field: str) -> bytes:
    """A path as rows keep it; also one that a machine made of another."""
    if b"\0" in path or len(path) > MAX_PATH:
        raise Refused(_("This is no name for a file. It may be too long."), field)
    return path


def _text(path: bytes, field: str) -> str:
    try:
        return _fit(path, field).decode()
    except UnicodeDecodeError as wrong:
        raise Refused(_("This path is not in UTF-8. Rename its folder first."), field) from wrong


async def _at_field(field: str, work: Callable[[bytes], Awaitable[Any]], path: bytes) -> Any:
    try:
        return await work(path)
    except ValueError as wrong:
        raise Refused(_("This is no name for a file. It may be too long."), field) from wrong
    except Problem as problem:
        raise _at(field, problem) from problem


def _at(field: str, problem: Problem) -> Refused:
    words = {
        "missing": _("It is not there."),
        "outside": _("It lies outside of the home and the experiments' folders."),
        "denied": _("The machine does not allow that for this file or folder."),
    }
    return Refused(words.get(problem.what, _("The machine could not do that.")), field)


async def fetch(user: User, ticket: Ticket, run: NotebookRun) -> tuple[int, AsyncIterator[bytes]]:
    """The size of a run's result, in bytes, and what streams it until the right to it ends. Raises Refused."""
    folders = await in_database(folders_of, ticket.instance_id)
    try:
        connection = await shell_of(ticket).connect(ticket.username, files.READ, SHELL_PATIENCE)
    except ShellUnavailable as why:
        raise Refused(str(NOT_YET)) from why
    # Whoever goes away before the first piece leaves nobody to close it.
    unclaimed = asyncio.get_running_loop().call_later(UNCLAIMED, connection.abort)
    try:
        async with asyncio.timeout(PATIENCE):
            found = await Files.open(connection, folders)
            path = await found.resolve(run.output.encode())
            entry = await found.entry(path)
        if entry.kind != "file":
            raise Problem("kind")
    except Problem as problem:
        connection.abort()
        raise Refused(_("The result is no longer there.")) from problem
    except (asyncssh.Error, OSError) as why:
        connection.abort()
        raise Refused(str(NOT_YET)) from why
    pieces = _while_admitted(user, run.instance.uuid, found.read(path, 0, entry.size))
    return entry.size, _sent(ticket, connection, unclaimed, pieces)


async def _sent(
    ticket: Ticket,
    connection: asyncssh.SSHClientConnection,
    unclaimed: asyncio.TimerHandle,
    pieces: AsyncIterator[bytes],
) -> AsyncIterator[bytes]:
    unclaimed.cancel()
    begun, size = timezone.now(), 0
    try:
        async for piece in pieces:
            size += len(piece)
            yield piece
    finally:
        connection.abort()
        await asyncio.shield(in_database(_write_down, ticket, begun, size))


def _write_down(ticket: Ticket, begun: datetime, size: int) -> None:
    """Who fetched it, among those who were at the machine's files."""
    now = timezone.now()
    Connection.objects.create(
        instance_id=ticket.instance_id,
        user_id=ticket.user_id,
        which=Which.FILES,
        role=Role.WATCH,
        opened_at=begun,
        seen_at=now,
        closed_at=now,
        bytes_down=size,
    )


async def _while_admitted(user: User, uuid: UUID, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Programs have no session whose end somebody would tell: the rows are looked at every second."""
    clock = asyncio.get_running_loop().time
    looked = clock()
    async for piece in pieces:
        if clock() - looked > 1:
            looked = clock()
            if isinstance(await in_database(access.admit, user, uuid, Which.FILES), Denied):
                return
        yield piece
