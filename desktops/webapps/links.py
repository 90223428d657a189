"""The WebSockets of a machine's web applications."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from desktops.access import Denied
from desktops.relay import Code, Ending, say_farewell
from desktops.server import EXTENSION
from desktops.webapps import flight, kernels, reading, upstream, yjs
from desktops.webapps.asked import Asked, Entered, Scope
from desktops.webapps.headers import Malformed
from desktops.webapps.upstream import Receive, Refused, Send, Unanswered
from desktops.webapps.visits import visit_of

CHANGED = Ending(Code.WITHDRAWN, "What you may do here has changed.")
TOO_MUCH = Ending(Code.FLOOD, "Too much is on its way at once. Close something and try again.")
NOT_UNDERSTOOD = Ending(Code.PROTOCOL, "This is not a message for a kernel or a shared notebook.")


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """One handshake and what follows. Only the application's own pages may open a socket to it."""
    await receive()
    try:
        asked = Asked.of(scope)
    except Malformed:
        await _refuse(send, 400)
        return
    entered = await _let_in(asked) if asked.origin == asked.address.origin else None
    if entered is None:
        await _refuse(send, 403)
        return
    link = Link(entered, scope, receive, send)
    if not await entered.visit.during(link.run()):
        await link.cut_off()


async def _let_in(asked: Asked) -> Entered | None:
    key = asked.session_key
    if key is None:
        return None
    visit = await visit_of(key, asked.address)
    admission = visit.admission
    if isinstance(admission, Denied) or visit.full:
        return None
    allowed = admission.standing.controls or admission.app.tells(asked.path)
    return Entered(asked, key, visit, admission) if allowed else None


async def _refuse(send: Send, status: int) -> None:
    """Before accepting."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})


class Link:
    """One WebSocket of a person to an application: dial, accept with the protocol that the machine chose, join."""

    def __init__(self, entered: Entered, scope: Scope, receive: Receive, send: Send) -> None:
        self._entered = entered
        self._scope = scope
        self._receive = receive
        self._send = send
        self._accepted = False
        self._protocol: str | None = None
        self._direct = scope.get("extensions", {}).get(EXTENSION)
        jupyter, path = entered.admission.app.is_jupyter, entered.asked.path
        self._kernel = jupyter and reading.is_kernel_channel(path)
        self._room = jupyter and reading.is_room(path)

    async def run(self) -> None:
        try:
            machine = await upstream.dial(self._towards(), list(self._scope.get("subprotocols", ())))
        except Refused as no:
            await _refuse(self._send, no.status if no.status >= 400 else 502)
            return
        except Unanswered:
            await _refuse(self._send, 502)
            return
        self._protocol = machine.protocol
        purses = flight.purses_of(self._entered.admission.user_id)
        joint = upstream.Joint(machine, self._receive, self._send, self._sieve, purses, self._direct)
        try:
            await self._accept()
            await joint.run()
        except (kernels.Unreadable, yjs.Unreadable):
            await say_farewell(self._send, NOT_UNDERSTOOD)
        except upstream.TooMuch:
            await self._let_go(TOO_MUCH)
        finally:
            self._entered.visit.count(joint.traffic)

    async def cut_off(self) -> None:
        """What the person may do has changed; JupyterLab comes back by itself and gets what holds now."""
        if self._accepted:
            await self._let_go(self._entered.visit.ending or CHANGED)
        else:
            await _refuse(self._send, 403)

    async def _let_go(self, ending: Ending) -> None:
        """Whoever does not listen is cut off: what waits for them takes memory."""
        told = await say_farewell(self._send, ending)
        if not told and self._direct:
            self._direct.abort()

    async def _accept(self) -> None:
        if self._direct:
            self._direct.allow(upstream.MOST_UP)
        self._accepted = True
        await self._send({"type": "websocket.accept", "subprotocol": self._protocol})

    def _towards(self) -> upstream.Request:
        """A watcher gets a session of their own: taking another's would close that one's socket at the kernel."""
        request = self._entered.to_machine()
        own = self._kernel and not self._entered.controls
        return replace(request, query=f"session_id={uuid4()}".encode()) if own else request

    def _sieve(self, said: bytes | str) -> bytes | str | None:
        if self._entered.controls:
            self._entered.visit.inputs += self._works(said)
            return said
        if self._room:
            return yjs.for_watcher(said)
        return kernels.for_watcher(said, self._protocol) if self._kernel else None

    def _works(self, said: bytes | str) -> bool:
        """Whether somebody does something, and not merely a page that is open."""
        if self._room:
            return yjs.is_change(said)
        return not (self._kernel and kernels.reads_only(said, self._protocol))
