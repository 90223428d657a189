"""Who gets which socket of the site and of a machine's applications. A socket without a row fails. SEC-02, SEC-04."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from desktops.models import AccessRequest, Invitation, Pass
from desktops.routing import websocket_urlpatterns
from desktops.webapps import tickets, upstream, visits
from desktops.webapps.origins import Address
from experiments.models import Role, User
from instances.models import JUPYTER, ImageProtocol, MemberRole, Protocol
from tests.desktops.conftest import House, in_database, sign_in
from tests.desktops.rooms import looks
from tests.desktops.webapps.conftest import SITE, declare, guest, put_behind
from tests.desktops.webapps.test_entrance import Mirror
from tests.people import person

IN = 101  # switched protocols, and on the site's sockets something came
WHO = ("anonymous", "charlie", "gwen", "bob", "alice", "asker", "sam", "viewer", "admin")
"""Nobody; a stranger; those who may watch, and do, and own; support not let in, and let in; by a public link; staff."""

ROOM = "/api/collaboration/room/json:notebook:00000000-0000-4000-8000-000000000000"
DECLARED = "/of-a-declared-application"
KERNEL, TERMINAL = "/api/kernels/00000000-0000-4000-8000-000000000000/channels", "/terminals/websocket/1"
TABLE: dict[str, tuple[int, ...]] = {
    # Alice is at her machine: it runs, and its applications do. Administrators ask as support does.
    "events/": (4401, IN, IN, IN, IN, IN, IN, IN, IN),
    "desktops/<uuid:uuid>/screen/": (4401, 4404, IN, IN, IN, 4407, IN, IN, 4407),
    "desktops/<uuid:uuid>/console/": (4401, 4404, 4404, 4404, IN, 4407, IN, 4404, 4407),
    # Nothing answers there: who may come in hears so.
    "desktops/<uuid:uuid>/terminal/": (4401, 4404, 4502, 4502, 4502, 4407, 4502, 4404, 4407),
    "": (403,) * len(WHO),
    KERNEL: (403, 403, IN, IN, IN, 403, IN, 403, 403),
    TERMINAL: (403, 403, 403, IN, IN, 403, IN, 403, 403),
    ROOM: (403, 403, IN, IN, IN, 403, IN, 403, 403),
    DECLARED: (403, 403, 403, IN, IN, 403, IN, 403, 403),
}
APPS = {KERNEL: JUPYTER, TERMINAL: JUPYTER, ROOM: JUPYTER, DECLARED: "grafana"}
"""One callable serves all sockets of applications; it tells apart what shows a kernel's work and everything else."""


def test_every_socket_has_a_row() -> None:
    assert {str(pattern.pattern) for pattern in websocket_urlpatterns} | APPS.keys() == TABLE.keys()


@pytest.fixture
async def staffed(house: House) -> AsyncIterator[House]:
    async with guest(Mirror()) as port:
        await in_database(put_behind, house.people.machine, port)
        await in_database(declare, house.people.machine, port)
        await in_database(arrange, house)
        yield house
        await visits.end_all()
        await upstream.hang_up()


def arrange(house: House) -> None:
    machine = house.people.machine
    person("asker", Role.IT_SUPPORT)
    AccessRequest.objects.filter(asker=house.people.admin).delete()
    link = Invitation.objects.create(instance=machine, name="All", role=MemberRole.GUEST, public=True, secret_hash="x")
    Pass.objects.create(invitation=link, user=person("viewer"))
    looks(house.people.alice, machine)
    ImageProtocol.objects.filter(image=machine.plan.image, kind=Protocol.SSH).update(port=1)


async def key_of(who: str) -> dict[str, str]:
    """The cookie that the site gave the person."""
    if who == "anonymous":
        return {}
    _, headers = await sign_in(await in_database(User.objects.get, username=who))
    return headers


async def answer(house: House, row: str, headers: dict[str, str]) -> int:
    """The status of a handshake that was refused, the code of a socket that was closed at once, or `IN`."""
    address = Address(house.uuid, APPS.get(row, JUPYTER))
    host = address.host if row in APPS else "localhost:8000"
    path = row if row in APPS else "/" + (row or "nowhere/").replace("<uuid:uuid>", str(house.uuid))
    options: dict[str, Any] = {"origin": address.origin, "additional_headers": app_cookie(headers, address)}
    if row not in APPS:
        options = {"origin": SITE, "additional_headers": headers}
    try:
        async with connect(f"ws://{host}{path}", host="127.0.0.1", port=house.port, **options) as socket:
            if row not in APPS:  # these are refused before they are accepted
                await socket.recv()
    except InvalidStatus as refused:
        return refused.response.status_code
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0
    return IN


def app_cookie(headers: dict[str, str], address: Address) -> dict[str, str]:
    """As if this person had come in by a ticket, also where the site would give none."""
    key = headers.get("Cookie", "").partition("=")[2]
    return {"Cookie": tickets.cookie(key, address).partition(";")[0]} if key else {}


@pytest.mark.parametrize("who", WHO)
async def test_each_opens_the_sockets_of_the_table(staffed: House, who: str) -> None:
    headers = await key_of(who)
    assert {row: await answer(staffed, row, headers) for row in TABLE} == {
        row: answers[WHO.index(who)] for row, answers in TABLE.items()
    }
