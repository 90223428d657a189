"""The WebSockets of a machine's web applications."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

from desktops import frames
from desktops.access import Denied
from desktops.relay import Code, Ending, say_farewell
from desktops.server import EXTENSION, DirectSocket
from desktops.webapps import kept, kernels, reading, tunnel, yjs
from desktops.webapps.asked import Asked, Entered, Scope
from desktops.webapps.client import Unanswered, Upgraded
from desktops.webapps.headers import Malformed
from desktops.webapps.kept import Seat
from desktops.webapps.tunnel import Broken, Refused, Said, Tunnel
from desktops.webapps.upstream import Receive, Request, Send
from desktops.webapps.visits import visit_of

CHANGED = Ending(Code.WITHDRAWN, "What you may do here has changed.")
BROKEN_OFF = Ending(Code.INTERRUPTED, "The machine broke off.")
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
    """One WebSocket of a person to an application: dial, accept with the protocol that the machine chose, join.

    Only of servers that hand their sockets over (`desktops.server`): ASGI would hold each message in memory.
    """

    def __init__(self, entered: Entered, scope: Scope, receive: Receive, send: Send) -> None:
        self._entered = entered
        self._protocols: list[str] = list(scope.get("subprotocols", ()))
        self._send = send
        self._tunnel: Tunnel | None = None
        self._protocol: str | None = None
        self._direct: DirectSocket | None = scope.get("extensions", {}).get(EXTENSION)
        jupyter, path = entered.admission.app.is_jupyter, entered.asked.path
        self._kernel = jupyter and reading.is_kernel_channel(path)
        self._room = jupyter and reading.is_room(path)
        request = entered.to_machine()
        self._seat = Seat(entered.key, (request.host, request.port, request.path), request.query)

    async def run(self) -> None:
        if self._direct is None:
            await _refuse(self._send, 501)
            return
        try:
            machine, self._protocol = self._kept() or await tunnel.dial(self._towards(), self._protocols)
        except Refused as no:
            await _refuse(self._send, no.status if 400 <= no.status < 600 else 502)
        except Unanswered:
            await _refuse(self._send, 502)
        else:
            await self._join(machine, self._direct)

    async def _join(self, machine: Upgraded, browser: DirectSocket) -> None:
        sieve = None if self._entered.controls else self._sieve
        keep = self._keep if self._kernel and self._entered.controls else None
        most = yjs.MOST_BYTES if sieve and self._room else kernels.MOST_BYTES
        self._tunnel = Tunnel(browser, machine, most, self._hear, sieve=sieve, keep=keep)
        kept.come(self._seat)
        try:
            await self._accept(machine)
            await self._tunnel.run()
        except (kernels.Unreadable, yjs.Unreadable, frames.Malformed):
            await self._let_go(NOT_UNDERSTOOD)
        except Broken:
            await self._let_go(BROKEN_OFF)
        finally:
            kept.leave(self._seat)
            self._entered.visit.count(self._tunnel.traffic)

    def _kept(self) -> tuple[Upgraded, str | None] | None:
        """What was kept for this page, if it speaks as before and may do as much."""
        found = kept.take(self._seat) if self._entered.controls else None
        if found and found[1] is not None and found[1] not in self._protocols:
            found[0].abort()
            return None
        return found

    def _keep(self, machine: Upgraded) -> bool:
        return kept.keep(self._seat, machine, self._protocol)

    async def _accept(self, machine: Upgraded) -> None:
        """Whoever left meanwhile leaves nothing open at the machine."""
        try:
            await self._send({"type": "websocket.accept", "subprotocol": self._protocol})
        except BaseException:
            machine.abort()
            raise

    async def cut_off(self) -> None:
        """What the person may do has changed; JupyterLab comes back by itself and gets what holds now."""
        if self._tunnel:
            await self._let_go(self._entered.visit.ending or CHANGED)
        else:
            await _refuse(self._send, 403)

    async def _let_go(self, ending: Ending) -> None:
        """Whoever does not listen is cut off: what waits for them takes memory. So is who has half a message."""
        told = bool(self._tunnel and self._tunnel.may_speak) and await say_farewell(self._send, ending)
        if not told and self._direct:
            self._direct.abort()

    def _towards(self) -> Request:
        """A watcher gets a session of their own: taking another's would close that one's socket at the kernel."""
        request = self._entered.to_machine()
        own = self._kernel and not self._entered.controls
        return replace(request, query=f"session_id={uuid4()}".encode()) if own else request

    def _sieve(self, said: Said) -> Said:
        """What of it goes up from who only watches."""
        if said is None:
            return None
        if self._room:
            return yjs.for_watcher(said)
        return kernels.for_watcher(said, self._protocol) if self._kernel else None

    def _hear(self, said: Said) -> None:
        """Once it is known that somebody works, the messages need not be looked into."""
        visit = self._entered.visit
        if self._entered.controls and not visit.has_worked:
            visit.inputs += self._works(said)

    def _works(self, said: Said) -> bool:
        """Whether somebody does something, and not merely a page that is open."""
        if self._room:  # a long message there is what an open page has to tell, or one change among many
            return said is not None and yjs.is_change(said)
        if said is None:
            return True
        return not (self._kernel and kernels.reads_only(said, self._protocol))
