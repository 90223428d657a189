"""A machine's screens through the whole site: who comes in, what they may do, and how quickly it ends."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.test import Client
from django.utils import timezone
from websockets.exceptions import InvalidStatus

from desktops import endpoint, visit
from desktops.models import Connection, Room, Which
from desktops.relay import Code
from desktops.updates import BROWSERS, EMPTY_UPDATE
from experiments.models import RoleGrant, User
from instances.models import Instance, Member, MemberRole
from instances.states import State
from tests.desktops.conftest import CONSOLE_SECRET, DESKTOP_SECRET, House, in_database, sign_in
from tests.desktops.machines import Machine, listening
from tests.desktops.test_gallery import QUESTION
from tests.desktops.test_relay import MIB, flood
from tests.desktops.test_rfb import DOING, key, update_request
from tests.desktops.test_updates import tight, update
from tests.desktops.viewers import MESSAGE_LIMIT, Viewer, serving, until, viewing
from tests.servers import RedisServer

SCREENS = Which.SCREEN, Which.CONSOLE
A_SECOND = 1.0
"""From the commit of what ends a right to the end of the socket; tests saw 0.12 s at most, with ten others at work."""


@asynccontextmanager
async def looking(house: House, user: User, which: Which = Which.SCREEN) -> AsyncIterator[tuple[Viewer, Client]]:
    """A signed-in person before the desktop, whose visit is known to the database and listens to its control line."""
    client, headers = await sign_in(user)
    async with viewing(house.port, house.path(which), additional_headers=headers) as viewer:
        await viewer.shake_hands()
        await house.screen_of(which).visited()
        yield viewer, client


async def ending(house: House, headers: dict[str, str], path: str) -> tuple[int, str]:
    async with viewing(house.port, path, additional_headers=headers) as viewer:
        answer = await viewer.ended()
        assert not viewer.seen
        return answer


async def sees(house: House, viewer: Viewer) -> None:
    (await house.desktop.visited()).write(b"pixels")
    assert await viewer.until(6) == b"pixels"


async def does(house: House, viewer: Viewer, which: Which = Which.SCREEN) -> bool:
    """Whether a key reaches the machine."""
    machine = house.screen_of(which)
    await viewer.say(key(97) + update_request())
    await machine.until(lambda: machine.heard.endswith(update_request()))
    did = key(97) in machine.heard
    machine.heard.clear()
    return did


async def watches(house: House, viewer: Viewer) -> None:
    """The picture comes, and nothing that the viewer says goes to the machine."""
    asked = update_request(incremental=False)
    await viewer.say(BROWSERS.orders() + asked)
    await house.desktop.until(lambda: house.desktop.heard.endswith(asked))
    begin = len(viewer.seen)
    (await house.desktop.visited()).write(update(tight(0x80, b"red")))
    seen = await viewer.until(begin + len(update(tight(0x80, b"red"))))
    assert seen[begin:] == update(tight(0x80, b"red"))
    await house.desktop.until(lambda: house.desktop.heard.endswith(update_request()))
    heard = bytes(house.desktop.heard)
    await viewer.say(b"".join(DOING) + QUESTION)
    assert (await viewer.until(len(seen) + 4)).endswith(EMPTY_UPDATE)
    assert bytes(house.desktop.heard) == heard


async def test_the_owner_sees_and_does(house: House) -> None:
    async with looking(house, house.people.alice) as (viewer, _):
        await sees(house, viewer)
        assert await does(house, viewer)


async def test_a_member_with_full_control_sees_and_does(house: House) -> None:
    async with looking(house, house.people.bob) as (viewer, _):
        assert await does(house, viewer)


# SEC-04
async def test_a_guest_sees_and_does_nothing(house: House) -> None:
    async with looking(house, house.gwen) as (viewer, _):
        await watches(house, viewer)


@pytest.mark.parametrize("name", ["sam", "admin"])
@pytest.mark.parametrize("which", SCREENS)
async def test_support_sees_and_does_on_both_screens(house: House, name: str, which: Which) -> None:
    async with looking(house, getattr(house.people, name), which) as (viewer, _):
        assert await does(house, viewer, which)


async def test_the_owner_has_the_console(house: House) -> None:
    async with looking(house, house.people.alice, Which.CONSOLE) as (viewer, _):
        assert await does(house, viewer, Which.CONSOLE)


async def test_members_do_not_have_the_console(house: House) -> None:
    for user in (house.people.bob, house.gwen):
        _, headers = await sign_in(user)
        assert (await ending(house, headers, house.path(Which.CONSOLE)))[0] == 4404


async def test_a_stranger_does_not_learn_whether_a_machine_exists(house: House) -> None:
    for user in (house.people.charlie, house.people.ines):
        _, headers = await sign_in(user)
        for which in SCREENS:
            foreign = await ending(house, headers, house.path(which))
            nowhere = f"/desktops/00000000-0000-4000-8000-000000000000/{which}/"
            assert foreign == await ending(house, headers, nowhere)
            assert foreign[0] == 4404
    assert not house.desktop.writers


# SEC-02
@pytest.mark.parametrize("which", SCREENS)
async def test_without_a_session_nobody_comes_in(house: House, which: Which) -> None:
    for headers in ({}, {"Cookie": "visa=nonsense"}, {"Cookie": "visa="}, {"Cookie": "another=thing"}):
        assert (await ending(house, headers, house.path(which)))[0] == 4401


# SEC-02
async def test_an_expired_session_does_not_come_in(house: House) -> None:
    client, headers = await sign_in(house.people.alice)

    def expire() -> None:
        session = client.session
        session.set_expiry(-1)
        session.save()

    await in_database(expire)
    assert (await ending(house, headers, house.path()))[0] == 4401


async def test_a_disabled_person_does_not_come_in(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    await in_database(User.objects.filter(username="alice").update, is_active=False)
    assert (await ending(house, headers, house.path()))[0] == 4401


async def test_an_unknown_path_is_refused(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    for path in ("/", f"/desktops/{house.uuid}/", "/desktops/1/screen/", f"/desktops/{house.uuid}/files/"):
        with pytest.raises(InvalidStatus) as refused:
            async with viewing(house.port, path, additional_headers=headers):
                pass
        assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (State.STOPPED, 4410),
        (State.HIBERNATED, 4410),
        (State.DELETED, 4410),
        (State.ERROR, 4410),
        (State.BUILDING, 4502),
        (State.STARTING, 4502),
        (State.REBOOTING, 4502),
        (State.UNREACHABLE, 4502),
    ],
)
async def test_a_machine_that_does_not_run_says_so(house: House, state: State, code: int) -> None:
    _, headers = await sign_in(house.people.alice)
    await in_database(Instance.objects.update, state=state)
    assert (await ending(house, headers, house.path()))[0] == code


async def test_the_console_opens_while_the_machine_starts(house: House) -> None:
    await in_database(Instance.objects.update, state=State.STARTING, address=None)
    async with looking(house, house.people.alice, Which.CONSOLE) as (viewer, _):
        assert await does(house, viewer, Which.CONSOLE)


async def test_a_screen_that_does_not_answer_is_4502(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    await in_database(Instance.objects.update, console_port=1)
    assert (await ending(house, headers, house.path(Which.CONSOLE)))[0] == 4502


async def test_anothers_machine_on_the_same_port_stays_closed(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    async with listening(Machine(password="s0m30ther")) as another:
        await in_database(Instance.objects.update, console_port=another.port)
        assert (await ending(house, headers, house.path(Which.CONSOLE)))[0] == 4502
        assert not another.heard
    async with listening(Machine()) as another:
        await in_database(Instance.objects.update, console_port=another.port)
        assert (await ending(house, headers, house.path(Which.CONSOLE)))[0] == 4502


async def test_the_subprotocol_binary_is_taken_where_it_is_offered(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    for offered, taken in ((["binary"], "binary"), (["binary", "base64"], "binary"), (None, None)):
        options: dict[str, Any] = {"additional_headers": headers, "subprotocols": offered}
        async with viewing(house.port, house.path(), **options) as viewer:
            assert viewer.socket.subprotocol == taken


# SEC-09
async def test_no_secret_reaches_the_browser_or_the_log(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client, headers = await sign_in(house.people.alice)
    for which in SCREENS:
        async with viewing(house.port, house.path(which), additional_headers=headers) as viewer:
            await viewer.until(12)
            await viewer.say(b"RFB 003.008\n\x01\x01")
            seen = await viewer.until(14 + 4 + 24)
            headers_seen = str(viewer.socket.response.headers if viewer.socket.response else "")
            for secret in (DESKTOP_SECRET, CONSOLE_SECRET):
                assert secret.encode() not in seen
                assert secret not in headers_seen
    await in_database(Instance.objects.update, console_port=1)
    await ending(house, headers, house.path(Which.CONSOLE))
    # uvicorn at DEBUG writes down the request itself; production's level is INFO.
    ours = "\n".join(
        r.getMessage() for r in caplog.records if not (r.levelno == logging.DEBUG and "websockets" in r.pathname)
    )
    ours = "\n".join(line for line in ours.splitlines() if not line.startswith(("< ", "> ", "= ")))
    for secret in (DESKTOP_SECRET, CONSOLE_SECRET, client.cookies["visa"].value):
        assert secret not in ours


# How a visit ends, or changes, while it goes on.


def sign_out(house: House, client: Client) -> None:
    client.logout()


def disable(house: House, client: Client) -> None:
    person = User.objects.get(username="bob")
    person.is_active = False
    person.save()


def change_password(house: House, client: Client) -> None:
    person = User.objects.get(username="bob")
    person.set_password("another-password-9")
    person.save()


def remove_member(house: House, client: Client) -> None:
    Member.objects.get(instance=house.people.machine, user=house.people.bob).delete()


def remove_members_at_once(house: House, client: Client) -> None:
    Member.objects.filter(user=house.people.bob).delete()


def stop_machine(house: House, client: Client) -> None:
    Instance.objects.get(uuid=house.uuid).transition(State.STOPPING)


def delete_machine(house: House, client: Client) -> None:
    Instance.objects.get(uuid=house.uuid).transition(State.DELETING)


def reboot_machine(house: House, client: Client) -> None:
    Instance.objects.get(uuid=house.uuid).transition(State.REBOOTING)


REVOCATIONS: list[tuple[Callable[[House, Client], None], int]] = [
    (sign_out, 4401),
    (disable, 4401),
    (change_password, 4401),
    (remove_member, 4403),
    (remove_members_at_once, 4403),
    (stop_machine, 4410),
    (delete_machine, 4410),
    (reboot_machine, 4502),
]


def within_a_second_of(moment: float) -> bool:
    return asyncio.get_running_loop().time() - moment < A_SECOND


# SEC-05
async def revoked(house: House, viewer: Viewer, revoke: Callable[[], None], code: int) -> None:
    """Within a second the viewer hears that it ended, and the machine has nobody before it."""
    await heard_by_control_line(house)
    await in_database(revoke)
    begin = asyncio.get_running_loop().time()
    assert (await viewer.ended())[0] == code
    assert within_a_second_of(begin)
    await house.desktop.until(lambda: not house.desktop.writers)


@pytest.mark.parametrize(("revoke", "code"), REVOCATIONS, ids=[r.__name__ for r, _ in REVOCATIONS])
async def test_an_open_desktop_ends_at_once(
    house: House, revoke: Callable[[House, Client], None], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "SEEN_EVERY", timedelta(hours=1))
    async with looking(house, house.people.bob) as (viewer, client):
        await revoked(house, viewer, lambda: revoke(house, client), code)


async def test_a_stalled_viewer_is_shut_out_within_a_second(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "SEEN_EVERY", timedelta(hours=1))
    async with looking(house, house.people.bob) as (viewer, client):
        await heard_by_control_line(house)
        viewer.socket.transport.pause_reading()
        await flood(house.desktop, 200 * MIB)
        await in_database(remove_member, house, client)
        begin = asyncio.get_running_loop().time()
        await house.desktop.until(lambda: not house.desktop.writers)
        assert within_a_second_of(begin)
        viewer.socket.transport.resume_reading()


async def heard_by_control_line(house: House) -> None:
    """Return once the visit has joined its groups: then its first look at the rows has been written down."""
    row = await in_database(Connection.objects.latest, "opened_at")
    await until_async(lambda: in_database(Connection.objects.filter(pk=row.pk, seen_at__gt=row.opened_at).exists))


async def until_async(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not await condition():  # noqa: ASYNC110 - rows tell nobody when they change
            await asyncio.sleep(0.02)


async def test_logging_out_ends_only_that_sessions_desktops(house: House) -> None:
    async with looking(house, house.people.alice) as (stays, _), looking(house, house.people.alice) as (goes, client):
        await heard_by_control_line(house)
        await in_database(client.logout)
        assert (await goes.ended())[0] == 4401
        await stays.say(key(98))
        await house.desktop.until(lambda: key(98) in house.desktop.heard)


async def test_support_ends_with_the_role(house: House) -> None:
    async with looking(house, house.people.sam) as (viewer, _):
        await heard_by_control_line(house)
        await in_database(lambda: [grant.delete() for grant in RoleGrant.objects.filter(user=house.people.sam)])
        assert (await viewer.ended())[0] == 4403


def become(user: User, role: MemberRole) -> None:
    member = Member.objects.get(user=user)
    member.role = role
    member.save()


async def test_who_is_made_a_guest_comes_again_and_only_watches(house: House) -> None:
    async with looking(house, house.people.bob) as (viewer, _):
        assert await does(house, viewer)
        await heard_by_control_line(house)
        await in_database(become, house.people.bob, MemberRole.GUEST)
        assert (await viewer.ended())[0] == Code.COME_AGAIN
    # What was held down is let go.
    await house.desktop.until(lambda: house.desktop.heard.endswith(key(97, down=False)))
    async with looking(house, house.people.bob) as (viewer, _):
        await watches(house, viewer)


async def test_a_guest_who_may_control_comes_again_for_it(house: House) -> None:
    async with looking(house, house.gwen) as (viewer, _):
        await heard_by_control_line(house)
        await in_database(become, house.gwen, MemberRole.USER)
        assert (await viewer.ended())[0] == Code.COME_AGAIN
    await house.desktop.until(lambda: not house.desktop.writers)
    house.desktop.heard.clear()
    async with looking(house, house.gwen) as (viewer, _):
        assert await does(house, viewer)


def freeze(house: House) -> None:
    room = Room.objects.get(instance=house.people.machine)
    room.frozen = True
    room.save()


async def test_who_may_not_control_for_a_while_keeps_the_line(house: House) -> None:
    async with looking(house, house.people.bob) as (viewer, _):
        assert await does(house, viewer)
        await heard_by_control_line(house)
        await in_database(freeze, house)
        await house.desktop.until(lambda: house.desktop.heard.endswith(key(97, down=False)))
        assert not await does(house, viewer)
        await sees(house, viewer)


async def test_what_is_copied_reaches_watchers_once_the_owner_says_so(house: House) -> None:
    copied = struct.pack(">BxxxI", 3, 5) + b"hello"
    async with looking(house, house.gwen) as (viewer, _):
        await watches(house, viewer)
        await heard_by_control_line(house)
        begin = len(viewer.seen)
        (await house.desktop.visited()).write(copied + b"\2")
        assert (await viewer.until(begin + 1))[begin:] == b"\2"

        def allow() -> None:
            room = Room.of(house.people.machine)
            room.watchers_clipboard = True
            room.save()

        await in_database(allow)

        async def copies() -> bool:
            begin = len(viewer.seen)
            (await house.desktop.visited()).write(copied + b"\2")
            return (await viewer.until(begin + 1))[begin:].startswith(copied[:1])

        await until_async(copies)


async def test_watchers_share_one_line_and_each_is_remembered(house: House) -> None:
    async with looking(house, house.gwen) as (first, _), looking(house, house.gwen):
        await watches(house, first)
        await until_async(lambda: in_database(lambda: Connection.objects.count() == 2))
        assert len(house.desktop.writers) == 1
        await first.socket.close()
        await until_async(lambda: in_database(Connection.objects.filter(closed_at__isnull=False).exists))
        row = await in_database(Connection.objects.get, closed_at__isnull=False)
    assert (row.role, row.bytes_up, row.last_input_at) == ("watch", 0, None)
    assert row.bytes_down > len(update(tight(0x80, b"red")))


@pytest.mark.parametrize(("revoke", "code"), [(delete_machine, 4410), (reboot_machine, 4502)])
async def test_a_watchers_desktop_ends_at_once_too(
    house: House, revoke: Callable[[House, Client], None], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "SEEN_EVERY", timedelta(hours=1))
    async with looking(house, house.gwen) as (viewer, client):
        await watches(house, viewer)
        await revoked(house, viewer, lambda: revoke(house, client), code)


async def test_a_change_that_nobody_told_is_found_within_seconds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "SEEN_EVERY", timedelta(seconds=0.1))
    async with looking(house, house.people.sam) as (viewer, _):
        await heard_by_control_line(house)
        await in_database(RoleGrant.objects.update, expires_at=timezone.now() - timedelta(seconds=1))
        assert (await viewer.ended())[0] == 4403


# SEC-07
async def test_a_machine_built_anew_is_another_machine(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "SEEN_EVERY", timedelta(seconds=0.1))
    async with looking(house, house.people.alice) as (viewer, _):
        await in_database(Instance.objects.update, generation=2)
        assert (await viewer.ended())[0] == 4410


async def test_a_dead_redis_costs_seconds_and_no_desktop(
    house: House, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(visit, "SEEN_EVERY", timedelta(seconds=0.1))
    _, headers = await sign_in(house.people.bob)
    redis.kill()
    try:
        async with viewing(house.port, house.path(), additional_headers=headers) as viewer:
            await viewer.shake_hands()
            assert await does(house, viewer)
            await in_database(remove_member, house, None)
            assert (await viewer.ended())[0] == 4403
    finally:
        redis.start()


async def test_a_slow_query_elsewhere_delays_nobody(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    done = threading.Event()
    slow = asyncio.create_task(sync_to_async(done.wait)(60))
    try:
        async with viewing(house.port, house.path(), additional_headers=headers) as viewer:
            await viewer.shake_hands()
            assert await does(house, viewer)
            assert not slow.done()
    finally:
        done.set()
        await slow


async def test_every_visit_is_remembered(house: House) -> None:
    before = timezone.now()
    async with looking(house, house.people.bob) as (viewer, _):
        await sees(house, viewer)
        assert await does(house, viewer)
        assert await in_database(lambda: Connection.objects.open_at(timezone.now()).count()) == 1
        await viewer.socket.close()
        await until_async(lambda: in_database(Connection.objects.filter(closed_at__isnull=False).exists))
    row = await in_database(Connection.objects.get)
    assert (row.user_id, row.instance_id) == (house.people.bob.pk, house.people.machine.pk)
    assert (row.which, row.role, row.code) == (Which.SCREEN, "control", 1000)
    assert row.closed_at is not None
    assert before < row.opened_at < row.closed_at
    assert row.last_input_at is not None
    assert row.bytes_down > 6
    assert row.bytes_up == len(key(97) + update_request())
    assert (await house.machine()).last_used_at == row.last_input_at
    assert await in_database(lambda: Connection.objects.open_at(timezone.now()).count()) == 0


async def test_watching_is_no_use_of_a_machine(house: House) -> None:
    async with looking(house, house.gwen) as (viewer, _):
        await watches(house, viewer)
        await viewer.socket.close()
        await until_async(lambda: in_database(Connection.objects.filter(closed_at__isnull=False).exists))
    assert (await in_database(Connection.objects.get)).last_input_at is None
    assert (await house.machine()).last_used_at is None


async def test_a_machine_that_hangs_up_is_remembered_as_4502(house: House) -> None:
    async with looking(house, house.people.alice) as (viewer, _):
        (await house.desktop.visited()).transport.abort()
        assert (await viewer.ended())[0] == 4502
        await until_async(lambda: in_database(Connection.objects.filter(code=4502).exists))


async def test_a_machine_that_hangs_up_because_it_stopped_says_so(house: House) -> None:
    async with looking(house, house.people.alice) as (viewer, _):
        await in_database(Instance.objects.update, state=State.STOPPED)
        (await house.desktop.visited()).transport.abort()
        assert (await viewer.ended())[0] == 4410


async def test_no_visit_is_left_open_when_the_site_ends(house: House) -> None:
    from visa_site.asgi import application  # noqa: PLC0415

    _, headers = await sign_in(house.people.alice)
    async with serving(application) as port:
        leaving = viewing(port, house.path(), additional_headers=headers)
        viewer = await leaving.__aenter__()
        await viewer.shake_hands()
        await house.desktop.visited()
    assert await in_database(lambda: Connection.objects.filter(closed_at=None).count()) == 0
    assert await in_database(Connection.objects.count) == 1
    await house.desktop.until(lambda: not house.desktop.writers)
    await leaving.__aexit__(None, None, None)


async def test_a_message_larger_than_the_server_allows_ends_the_visit(house: House) -> None:
    async with looking(house, house.people.alice) as (viewer, _):
        await viewer.say(bytes(MESSAGE_LIMIT + 1))
        assert (await viewer.ended())[0] == 1009
        await house.desktop.until(lambda: not house.desktop.writers)


async def test_who_has_too_many_screens_open_is_told_and_comes_in_once_one_is_closed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many browsers they use; others are not held up."""
    monkeypatch.setattr(endpoint, "MOST_AT_ONE_MACHINE", 2)
    _, headers = await sign_in(house.people.bob)
    async with looking(house, house.people.bob), looking(house, house.people.alice):
        async with looking(house, house.people.bob):
            code, reason = await ending(house, headers, house.path(Which.SCREEN))
            assert code == Code.FLOOD
            assert reason.startswith("You have too many screens open.")
            monkeypatch.setattr(endpoint, "MOST_AT_ONE_MACHINE", 20)
            monkeypatch.setattr(endpoint, "MOST_IN_ALL", 2)
            assert (await ending(house, headers, house.path(Which.SCREEN)))[0] == Code.FLOOD
        await until(lambda: sum(endpoint._seats.values()) == 2)
        async with looking(house, house.people.bob):
            pass
    await until(lambda: not endpoint._seats)
