"""One person in one web application, as this process serves it: all their requests and sockets, under one watch.

The rows are read when the person comes, whenever the control line rings, and every few seconds. Between, requests are
admitted from memory; when the right ends, everything that runs for them is cut off at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any

from django.db import DatabaseError
from django.utils import timezone

from desktops import control
from desktops.access import DISMISSED, SIGN_IN, Denied
from desktops.models import SEEN_EVERY, Connection, Which
from desktops.relay import Code, Ending
from desktops.rfb import Role
from desktops.signals import came_or_went
from desktops.threads import in_database
from desktops.webapps import door, tickets
from desktops.webapps.door import Admission
from desktops.webapps.origins import Address
from desktops.webapps.upstream import Traffic
from instances.models import Instance

log = logging.getLogger(__name__)

LINGER = 30.0
"""Seconds after the last request in which the person still counts as there."""

MOST_AT_ONCE = 256
"""Requests and sockets of one person in this process: as many as a browser opens, each with its read-ahead."""

LEFT = Ending(Code.LEFT, "The person left.")
BROKEN = Ending(Code.INTERRUPTED, "The proxy was interrupted.")


class Visit:
    """From the first request until `LINGER` after the last, or until the right ends."""

    def __init__(self, session_key: str, address: Address) -> None:
        self.address = address
        self.ending: Ending | None = None
        self.bytes_up = self.bytes_down = self.inputs = 0
        self._key = session_key
        self._admission: Admission | Denied = SIGN_IN
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running: set[asyncio.Timeout] = set()
        self._noted = 0
        self._used = asyncio.get_running_loop().time()
        self._watch = asyncio.create_task(self._live())

    @property
    def admission(self) -> Admission | Denied:
        """What holds now, without asking the rows."""
        return Denied(self.ending) if self.ending else self._admission

    async def begun(self) -> None:
        """Once it is known whether the person may come in."""
        await asyncio.shield(self._begun)

    @property
    def full(self) -> bool:
        return _at_once[self.who] >= MOST_AT_ONCE

    @property
    def who(self) -> object:
        """The same for all visits of one person, from whatever browser and to whatever machine."""
        return self._admission.user_id if isinstance(self._admission, Admission) else self

    @property
    def has_worked(self) -> bool:
        """Whether somebody did something that the rows do not know of yet."""
        return self.inputs != self._noted

    def count(self, traffic: Traffic) -> None:
        self.bytes_up += traffic.up
        self.bytes_down += traffic.down
        self.inputs += traffic.inputs

    async def during(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do this as part of the visit. False: what the person may do changed, and took the work along."""
        cut, who = asyncio.timeout(None), self.who
        self._running.add(cut)
        _at_once[who] += 1
        try:
            async with cut:
                await work
        except TimeoutError:
            if not cut.expired():
                raise
            return False
        finally:
            self._running.discard(cut)
            _at_once[who] -= 1
            if not _at_once[who]:
                del _at_once[who]
            self._used = asyncio.get_running_loop().time()
        return True

    def end(self, ending: Ending) -> None:
        """Cut off everything that runs. The first call counts."""
        if self.ending is None:
            self.ending = ending
            _visits.pop((self._key, self.address), None)
            self._cut()

    async def stop(self) -> None:
        """End it, and return once that is in the rows."""
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)

    def _cut(self) -> None:
        for cut in self._running:
            if not cut.expired():
                cut.reschedule(0)

    async def _live(self) -> None:
        row: int | None = None
        try:
            self._admission = await in_database(door.come_in, self._key, self.address)
            if isinstance(self._admission, Denied):
                return
            row = await in_database(self._begin, self._admission)
            await self._listen(row, self._admission)
            if self.admission == DISMISSED:
                await in_database(tickets.show_out, self._key, self.address)
        except DatabaseError as error:
            log.warning("%s: could not look whether somebody may come in: %r", self.address, error)
        finally:
            self.end(self._admission.ending if isinstance(self._admission, Denied) else BROKEN)
            if not self._begun.done():
                self._begun.set_result(None)
            if row is not None:
                await asyncio.shield(in_database(self._finish, row))

    async def _listen(self, row: int, admission: Admission) -> None:
        groups = [control.of_user(admission.user_id), control.of_instance(self.address.uuid)]
        async with control.listening([*groups, control.of_session(self._key)]) as line:
            message: dict[str, Any] | None = None
            while self._goes_on(message, admission.user_id):
                if message is None or message["type"] == control.LOOK_AGAIN["type"]:
                    await self._look(row)
                    if isinstance(self._admission, Denied):
                        return
                if not self._begun.done():
                    self._begun.set_result(None)
                message = await line.hear(self._patience())

    def _goes_on(self, message: dict[str, Any] | None, user_id: int) -> bool:
        """Whether nothing ends it: the session, somebody who shows them out, or their own absence."""
        if message and message["type"] == control.SESSION_ENDED["type"]:
            self._admission = SIGN_IN
        elif message and message["type"] == control.DISMISSED and message["user"] == user_id:
            self._admission = DISMISSED
        elif not self._running and asyncio.get_running_loop().time() - self._used > LINGER:
            self._admission = Denied(LEFT)
        return not isinstance(self._admission, Denied)

    def _patience(self) -> float:
        """Seconds until the next look: the usual ones, or until the right to be here runs out."""
        usual = SEEN_EVERY.total_seconds()
        until = self._admission.standing.until if isinstance(self._admission, Admission) else None
        return usual if until is None else min(usual, max(0.0, (until - timezone.now()).total_seconds()))

    async def _look(self, row: int) -> None:
        """Where what they may do is not as before, all that runs ends, and the browser comes anew."""
        try:
            answer = await in_database(self._note, row)
        except DatabaseError as error:
            log.warning("%s: could not look whether to go on: %r", self.address, error)
            return
        changed = _kind(answer) != _kind(self._admission)
        self._admission = answer
        if isinstance(answer, Denied):
            self.end(answer.ending)
        elif changed:
            self._cut()

    def _begin(self, admission: Admission) -> int:
        row = Connection.objects.create(
            instance_id=admission.instance_id, user_id=admission.user_id, which=Which.APP, role=_role(admission)
        )
        came_or_went.send(Connection, connection=row)
        return row.pk

    def _note(self, row: int) -> Admission | Denied:
        answer = door.admit(self._key, self.address, inside=True)
        if isinstance(answer, Admission):
            self._write(row, answer.instance_id, role=_role(answer))
        return answer

    def _finish(self, row: int) -> None:
        ending = self.ending or BROKEN
        found = Connection.objects.select_related("instance").filter(pk=row).first()
        if found:
            facts = {"closed_at": timezone.now(), "code": ending.code, "reason": ending.reason}
            self._write(row, found.instance_id, **facts)
            came_or_went.send(Connection, connection=found)

    def _write(self, row: int, instance_id: int, **facts: Any) -> None:
        now = timezone.now()
        if self.has_worked:
            self._noted = self.inputs
            facts["last_input_at"] = now
            Instance.objects.filter(pk=instance_id).update(last_used_at=now)
        counted = {"bytes_down": self.bytes_down, "bytes_up": self.bytes_up}
        Connection.objects.filter(pk=row).update(seen_at=now, **counted, **facts)


def _kind(admission: Admission | Denied) -> object:
    """What of an admission decides how requests are served."""
    if isinstance(admission, Denied):
        return admission
    return admission.standing.controls, admission.host, admission.generation, admission.app


def _role(admission: Admission) -> Role:
    return Role.CONTROL if admission.standing.controls else Role.WATCH


_visits: dict[tuple[str, Address], Visit] = {}
_at_once: Counter[object] = Counter()
"""By person, what runs for them in this process."""


async def visit_of(session_key: str, address: Address) -> Visit:
    """The person's visit in this process: the one that is, or a new one; its `admission` says whether they are in."""
    visit = _visits.get((session_key, address))
    if visit is None:
        visit = _visits[(session_key, address)] = Visit(session_key, address)
    await visit.begun()
    return visit


async def end_all() -> None:
    """Whoever is in is cut off, and written down as gone."""
    await asyncio.gather(*(visit.stop() for visit in list(_visits.values())))
