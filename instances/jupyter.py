"""What machines' JupyterLabs say of their kernels. asyncio and aiohttp only, and nothing that they say is trusted.

`/api/kernels` tells what runs and whether it computes, `/api/sessions` which notebook each belongs to (Jupyter Server's
REST API). Answers are small; one that is slow, large, elsewhere or nonsense is no answer.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from yarl import URL

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for all that is asked of one machine."""

MOST_BYTES = 512 * 1024
"""Of one answer: some thousand kernels."""

MOST_KERNELS = 50
"""Of one machine that are listed, busy ones first."""

AT_ONCE = 50
"""Machines that are asked at the same time."""


@dataclass(frozen=True)
class Lab:
    """Where a machine's JupyterLab answers, and the token that it takes."""

    host: str
    port: int
    token: str = field(repr=False)


@dataclass(frozen=True)
class Told:
    """A kernel in its machine's own words, made printable and short. `activity` is only good for seeing a change."""

    ident: str
    notebook: str
    language: str
    busy: bool
    activity: str


class Nonsense(Exception):
    """An answer that no JupyterLab gives."""


async def ask_all(labs: Sequence[Lab]) -> list[list[Told] | None]:
    """The kernels of each; None where it did not answer, which says nothing about them."""
    gate = asyncio.Semaphore(AT_ONCE)
    async with ClientSession(
        connector=TCPConnector(limit=0, force_close=True),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=PATIENCE),
        auto_decompress=False,
        skip_auto_headers=("Accept-Encoding",),
    ) as session:
        return await asyncio.gather(*[_ask(session, lab, gate) for lab in labs])


async def _ask(session: ClientSession, lab: Lab, gate: asyncio.Semaphore) -> list[Told] | None:
    try:
        async with gate, asyncio.timeout(PATIENCE):
            return kernels_of(await _get(session, lab, "/api/kernels"), await _get(session, lab, "/api/sessions"))
    except (ClientError, OSError, Nonsense) as error:
        log.info("no kernels from %s: %r", lab, error)
        return None


async def _get(session: ClientSession, lab: Lab, path: str) -> object:
    url = URL.build(scheme="http", host=lab.host, port=lab.port, path=path)
    said = {"Authorization": f"token {lab.token}"}
    async with session.get(url, headers=said, allow_redirects=False) as answer:
        if answer.status != 200:
            raise Nonsense(f"status {answer.status}")
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > MOST_BYTES:
                raise Nonsense("too much")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Nonsense(repr(error)[:100]) from error


def kernels_of(kernels: object, sessions: object) -> list[Told]:
    """What both answers say together, busy ones first. Raises Nonsense where they are no lists of kernels."""
    if not isinstance(kernels, list) or not isinstance(sessions, list):
        raise Nonsense("no lists")
    notebooks = {_text(_in(one, "kernel", "id"), 64): _notebook(one) for one in sessions}
    told = {one.ident: one for one in (_kernel(kernel, notebooks) for kernel in kernels) if one.ident}
    return sorted(told.values(), key=lambda one: not one.busy)[:MOST_KERNELS]


def _kernel(said: object, notebooks: dict[str, str]) -> Told:
    ident = _text(_in(said, "id"), 64)
    return Told(
        ident=ident,
        notebook=notebooks.get(ident, ""),
        language=_text(_in(said, "name"), 60),
        busy=_in(said, "execution_state") == "busy",
        activity=_text(_in(said, "last_activity"), 40),
    )


def _notebook(session: object) -> str:
    """The file; a console has none, but a name. What is edited together bears the mark of its drive."""
    named = _in(session, "path") if _in(session, "type") == "notebook" else _in(session, "name")
    return _text(named, 200).removeprefix("RTC:")


def _in(said: object, *names: str) -> Any:
    for name in names:
        said = said.get(name) if isinstance(said, dict) else None
    return said


def _text(said: object, longest: int) -> str:
    """One line of printable letters; nothing where it is none."""
    return "".join(letter for letter in said if letter.isprintable())[:longest] if isinstance(said, str) else ""
