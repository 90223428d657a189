"""People in one room through the events socket: what each hears and may say, and how quickly it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from channels.layers import get_channel_layer
from django.utils import timezone
from websockets.exceptions import ConnectionClosed

from desktops import chat, consumers, control, news, talk
from desktops.models import AccessRequest, ChatMessage, Connection, Room
from desktops.outbox import FLEETING_LIMIT, Outbox
from desktops.relay import Code
from experiments.models import User
from instances.models import Instance, Member, MemberRole
from instances.states import State
from tests.desktops.conftest import House, in_database, sign_in
from tests.desktops.rooms import looks
from tests.desktops.test_consumers import heard, hearing
from tests.desktops.viewers import Viewer, until, viewing
from tests.people import machine

A_SECOND = 1.0


async def says(page: Viewer, kind: str, about: UUID, **fields: Any) -> None:
    await page.socket.send(json.dumps({"type": kind, "id": str(about), **fields}))


@asynccontextmanager
async def joined(house: House, *people: User, looking: bool = True) -> AsyncIterator[list[Viewer]]:
    """Pages of these people in the room of Alice's machine; they look at its screen too."""
    async with AsyncExitStack() as stack:
        pages = []
        for user in people:
            if looking:
                await in_database(looks, user, house.people.machine)
            page, _client = await stack.enter_async_context(hearing(house, user))
            await says(page, "join", house.uuid)
            await heard(page, "room")
            pages.append(page)
        yield pages


async def next_after_bell(page: Viewer, user: User) -> dict[str, Any]:
    """Ring for this person; what their page hears next is the bell, unless something came before it."""
    bell = {"type": "news", "event": {"type": "bell"}}
    await get_channel_layer().group_send(control.of_user(user.pk), bell)
    return await heard(page)


BELL = {"type": "bell"}


async def test_joining_rings_for_all_that_the_room_has(house: House) -> None:
    async with hearing(house, house.people.bob) as (page, _):
        await says(page, "join", house.uuid)
        assert await heard(page) == {"type": "room", "id": str(house.uuid)}
        assert await heard(page) == {"type": "chat", "id": str(house.uuid)}


async def test_others_see_a_pointer_with_its_name(house: House) -> None:
    async with joined(house, house.people.alice, house.people.bob) as (alice, bob):
        await says(bob, "pointer", house.uuid, x=0.25, y=0.5)
        who = {"id": str(house.people.bob.uuid), "name": "Bob Example"}
        pointed = {"type": "pointer", "id": str(house.uuid), "who": who, "x": 0.25, "y": 0.5}
        assert await heard(alice, "pointer") == pointed


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("pointer", {}),
        ("laser", {"x": 0.1, "y": 0.1}),
        ("stroke", {"stroke": "s1", "points": [[0.1, 0.2], [0.3, 0.4]]}),
        ("clear", {}),
        ("typing", {}),
        ("quality", {"ms": 40}),
    ],
)
async def test_everything_said_in_a_room_arrives_with_who_said_it(
    house: House, kind: str, fields: dict[str, Any]
) -> None:
    async with joined(house, house.people.alice, house.people.bob) as (alice, bob):
        await says(bob, kind, house.uuid, **fields)
        event = await heard(alice, *talk.TOLD_ON)
        assert event["who"]["name"] == "Bob Example"
        assert event.items() >= {"type": kind, "id": str(house.uuid), **fields}.items()


async def test_one_does_not_hear_oneself(house: House) -> None:
    async with joined(house, house.people.alice, house.people.bob) as (alice, bob):
        await says(bob, "clear", house.uuid)
        await heard(alice, "clear")
        await heard(bob, "chat")
        assert await next_after_bell(bob, house.people.bob) == BELL


async def test_of_a_racing_pointer_the_others_get_few_places_and_the_last(house: House) -> None:
    async with joined(house, house.people.alice, house.people.bob) as (alice, bob):
        for number in range(50):
            await says(bob, "pointer", house.uuid, x=number / 100, y=0)
        places: list[float] = []
        while not places or places[-1] != 0.49:
            places.append((await heard(alice, "pointer"))["x"])
        assert places == sorted(places)
        assert len(places) < 15


async def test_a_watcher_points_and_draws_only_where_the_owner_allows_it(house: House) -> None:
    async with joined(house, house.people.alice, house.gwen) as (alice, gwen):
        await says(gwen, "laser", house.uuid, x=0, y=0)
        await says(gwen, "stroke", house.uuid, stroke="s", points=[[0, 0]])
        assert (await heard(gwen, "error"))["of"] == "stroke"
        await says(gwen, "quality", house.uuid, ms=1)
        assert (await heard(alice, *talk.TOLD_ON))["type"] == "quality"

        def allow() -> None:
            room = Room.objects.get(instance=house.people.machine)
            room.watchers_draw = True
            room.save()

        await in_database(allow)
        await heard(gwen, "room")
        await says(gwen, "stroke", house.uuid, stroke="s", points=[[0, 0]])
        assert (await heard(alice, *talk.TOLD_ON))["type"] == "stroke"


async def test_who_does_not_look_at_the_screen_neither_points_nor_sees_pointers(house: House) -> None:
    async with (
        joined(house, house.people.alice, house.gwen) as (alice, gwen),
        joined(house, house.people.bob, looking=False) as (bob,),
    ):
        await heard(bob, "chat")
        await says(alice, "pointer", house.uuid, x=0, y=0)
        await heard(gwen, "pointer")
        assert await next_after_bell(bob, house.people.bob) == BELL
        await says(bob, "pointer", house.uuid, x=0, y=0)
        await says(bob, "typing", house.uuid)
        assert (await heard(alice, *talk.TOLD_ON))["type"] == "typing"


async def test_a_stranger_cannot_join(house: House) -> None:
    async with hearing(house, house.people.charlie) as (charlie, _), joined(house, house.people.alice) as (alice,):
        await says(charlie, "join", house.uuid)
        assert (await heard(charlie))["of"] == "join"
        await says(charlie, "typing", house.uuid)
        await says(charlie, "clear", house.uuid)
        assert (await heard(charlie))["of"] == "clear"
        await heard(alice, "chat")
        assert await next_after_bell(alice, house.people.alice) == BELL
        await says(alice, "typing", house.uuid)
        assert await next_after_bell(charlie, house.people.charlie) == BELL


async def test_joining_what_is_not_there_sounds_like_joining_anothers(house: House) -> None:
    async with hearing(house, house.people.charlie) as (charlie, _):
        await says(charlie, "join", house.uuid)
        foreign = await heard(charlie)
        await says(charlie, "join", UUID(int=7))
        assert await heard(charlie) == foreign


async def test_who_only_waits_hears_that_the_room_changed_and_nothing_else(house: House) -> None:
    await in_database(AccessRequest.objects.all().delete)
    async with (
        joined(house, house.people.sam, looking=False) as (sam,),
        joined(house, house.people.alice, house.people.bob) as (alice, bob),
    ):
        for kind in ("pointer", "typing", "clear"):
            await says(alice, kind, house.uuid)
        await heard(bob, "clear")
        await get_channel_layer().group_send(
            control.of_room(house.uuid), {"type": "news", "event": {"type": "chat", "id": str(house.uuid)}}
        )
        bell = {"type": "news", "event": BELL}
        await get_channel_layer().group_send(control.of_user(house.people.sam.pk), bell)
        while (event := await heard(sam)) != BELL:
            assert event["type"] == "room"


def remove_bob(house: House) -> None:
    Member.objects.get(user=house.people.bob).delete()


def make_bob_a_guest(house: House) -> None:
    member = Member.objects.get(user=house.people.bob)
    member.role = MemberRole.GUEST
    member.save()


def close_bobs_screen(house: House) -> None:
    from desktops.signals import came_or_went  # noqa: PLC0415

    look = Connection.objects.get(user=house.people.bob)
    look.closed_at = timezone.now()
    look.save()
    came_or_went.send(Connection, connection=look)


def delete_machine(house: House) -> None:
    Instance.objects.get(uuid=house.uuid).transition(State.DELETING)
    Instance.objects.get(uuid=house.uuid).transition(State.DELETED)


def alice_leaves_and_nobody_may_be_alone(house: House) -> None:
    from desktops.signals import came_or_went  # noqa: PLC0415

    Room.objects.update(members_alone=False)
    look = Connection.objects.get(user=house.people.alice)
    Connection.objects.filter(pk=look.pk).update(seen_at=timezone.now() - timedelta(minutes=2))
    came_or_went.send(Connection, connection=look)


async def refused(page: Viewer, house: House) -> None:
    """Once what this page says is no longer told on: the bell rings a moment before the rights are looked at."""
    while True:
        await says(page, "stroke", house.uuid, stroke="s", points=[[0, 0]])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(A_SECOND):
                await heard(page, "error")
                return


@pytest.mark.parametrize("end", [remove_bob, close_bobs_screen, delete_machine, alice_leaves_and_nobody_may_be_alone])
async def test_the_end_of_a_right_ends_what_is_heard_at_once(house: House, end: Callable[[House], None]) -> None:
    """SEC-05"""
    async with joined(house, house.people.alice, house.people.bob, house.gwen) as (alice, bob, _):
        await heard(bob, "chat")
        await in_database(end, house)
        async with asyncio.timeout(A_SECOND * 8):
            await heard(bob, "room")
            await refused(bob, house)
        await says(alice, "pointer", house.uuid, x=0, y=0)
        await says(alice, "stroke", house.uuid, stroke="s", points=[[0, 0]])
        await says(bob, "stroke", house.uuid, stroke="s", points=[[0, 0]])
        assert (await heard(bob, "error", *talk.TOLD_ON))["type"] == "error"


@pytest.mark.parametrize("end", ["sign_out", "disable"])
async def test_the_end_of_a_session_ends_the_socket_in_the_room(house: House, end: str) -> None:
    """SEC-05"""

    def disable() -> None:
        person = User.objects.get(username="bob")
        person.is_active = False
        person.save()

    async with joined(house, house.people.alice) as (alice,), hearing(house, house.people.bob) as (bob, client):
        await says(bob, "join", house.uuid)
        await heard(bob, "room")
        await in_database(client.logout if end == "sign_out" else disable)
        assert (await bob.ended())[0] == Code.SIGN_IN
        await says(alice, "typing", house.uuid)


async def test_a_right_that_ended_without_a_word_is_found_within_seconds(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-05"""
    monkeypatch.setattr(consumers, "LOOK_EVERY", 0.1)
    async with joined(house, house.people.bob) as (bob,):
        await heard(bob, "chat")
        await in_database(lambda: Member.objects.filter(user=house.people.bob)._raw_delete("default"))
        assert await heard(bob) == {"type": "room", "id": str(house.uuid)}
        await says(bob, "clear", house.uuid)
        assert (await heard(bob))["type"] == "error"


async def test_a_page_that_leaves_hears_no_more(house: House) -> None:
    async with joined(house, house.people.alice, house.people.bob, house.gwen) as (alice, bob, gwen):
        await heard(bob, "chat")
        await says(bob, "leave", house.uuid)
        await says(bob, "clear", house.uuid)
        assert (await heard(bob))["type"] == "error"
        await says(alice, "clear", house.uuid)
        await heard(gwen, "clear")
        assert await next_after_bell(bob, house.people.bob) == BELL


async def test_a_page_shows_eight_machines_at_most(house: House) -> None:
    """SEC-06"""

    def more() -> list[UUID]:
        people = house.people
        return [machine(people.alice, people.plan, people.host).uuid for _ in range(consumers.MAX_ROOMS)]

    uuids = await in_database(more)
    async with joined(house, house.people.alice) as (alice,):
        await heard(alice, "chat")
        for uuid in uuids[:-1]:
            await says(alice, "join", uuid)
            await heard(alice, "chat")
        await says(alice, "join", uuids[-1])
        assert (await heard(alice))["of"] == "join"
        await says(alice, "leave", uuids[0])
        await says(alice, "join", uuids[-1])
        assert (await heard(alice))["type"] == "room"


@pytest.mark.parametrize(
    "said", ['{"type": "news"}', "{", '{"type": "pointer", "id": "x"}', '{"type": "typing"}' + " " * 4096, b"\x00\x01"]
)
async def test_nonsense_ends_the_socket(house: House, said: str | bytes) -> None:
    """SEC-06"""
    async with hearing(house, house.people.alice) as (page, _):
        await page.socket.send(said)
        assert (await page.ended())[0] == Code.NONSENSE


async def test_a_flood_ends_the_socket(house: House) -> None:
    """SEC-06"""
    async with hearing(house, house.people.alice) as (page, _):
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                await says(page, "clear", house.uuid)
        assert (await page.ended())[0] == Code.FLOOD


async def test_a_pointer_that_races_is_thinned_and_only_a_flood_ends_the_socket(house: House) -> None:
    """SEC-06"""
    async with joined(house, house.people.alice) as (page,):
        for _ in range(300):
            await says(page, "pointer", house.uuid, x=0, y=0)
        await heard(page, "chat")
        assert await next_after_bell(page, house.people.alice) == BELL
        with contextlib.suppress(ConnectionClosed):
            for _ in range(2000):
                await says(page, "pointer", house.uuid, x=0, y=0)
        assert (await page.ended())[0] == Code.FLOOD


async def test_a_page_that_does_not_listen_costs_little_and_still_ends_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-05, SEC-06"""
    boxes: list[Outbox] = []

    def kept() -> Outbox:
        boxes.append(Outbox())
        return boxes[-1]

    monkeypatch.setattr(consumers, "Outbox", kept)
    client, headers = await sign_in(house.people.bob)
    async with viewing(house.port, "/events/", max_queue=1, additional_headers=headers) as page:
        await heard(page, "ready")
        page.socket.transport.pause_reading()
        long = {"type": "stroke", "id": str(house.uuid), "points": [[0.1234, 0.5678]] * 600}
        for _ in range(2000):
            await get_channel_layer().group_send(control.of_user(house.people.bob.pk), {"type": "news", "event": long})
        await until(lambda: len(boxes[0]) == FLEETING_LIMIT)
        await in_database(client.logout)
        page.socket.transport.resume_reading()
        async with asyncio.timeout(A_SECOND * 8):
            await closed(page)


async def closed(page: Viewer) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await page.socket.recv()


async def test_no_message_is_missing_after_the_socket_was_gone(house: House) -> None:
    """The page joins again and fetches what came after its last message, each time its socket drops."""
    client, headers = await sign_in(house.people.bob)
    got: list[str] = []
    numbers: list[int] = []

    async def fetch() -> None:
        more = True
        while more:
            after = numbers[-1] if numbers else 0
            read = (await in_database(client.get, f"/machines/{house.uuid}/chat/", {"after": after})).json()
            got.extend(message["text"] for message in read["messages"])
            numbers.extend(message["n"] for message in read["messages"])
            more = read["more"]

    async def listen() -> None:
        async with viewing(house.port, "/events/", additional_headers=headers) as page:
            await heard(page, "ready")
            await says(page, "join", house.uuid)
            for _ in range(3):
                await heard(page, "chat")
                await fetch()
                if len(got) == 50:
                    return
            page.socket.transport.abort()

    async def write() -> None:
        for number in range(50):
            if number % chat.AT_ONCE == chat.AT_ONCE - 1:
                await in_database(lambda: ChatMessage.objects.update(at=timezone.now() - chat.WITHIN))
            await in_database(chat.send, house.people.alice, house.people.machine, uuid4(), str(number))

    writing = asyncio.create_task(write())
    async with asyncio.timeout(60):
        while len(got) < 50:
            await listen()
    await writing
    assert got == [str(number) for number in range(50)]


async def test_a_message_rings_in_the_room_and_counts_for_those_elsewhere(house: House) -> None:
    async with joined(house, house.people.bob) as (bob,), hearing(house, house.gwen) as (gwen, _):
        await heard(bob, "chat")
        message = await in_database(chat.send, house.people.alice, house.people.machine, uuid4(), "Hello")
        assert await heard(bob) == {"type": "chat", "id": str(house.uuid)}
        assert await heard(gwen) == {"type": "unread", "id": str(house.uuid)}
        assert await next_after_bell(bob, house.people.bob) == BELL
        await in_database(chat.read, house.people.bob, house.people.machine, message.pk)
        assert await heard(bob) == {"type": "chat", "id": str(house.uuid)}


async def test_support_pages_hear_of_the_machines_that_they_support(house: House) -> None:
    async with hearing(house, house.people.sam) as (sam, _), hearing(house, house.people.ines) as (ines, _):
        for page in (sam, ines):
            await page.socket.send('{"type": "support", "on": true}')
            assert await heard(page) == {"type": "support"}  # what came before it listened may be missing on the page
            await says(page, "clear", house.uuid)
            await heard(page, "error")
        await in_database(news.tell_room, house.people.machine)
        assert await heard(sam) == {"type": "support", "id": str(house.uuid)}
        assert await next_after_bell(ines, house.people.ines) == BELL
        await sam.socket.send('{"type": "support", "on": false}')
        await says(sam, "clear", house.uuid)
        await heard(sam, "error")
        await in_database(news.tell_room, house.people.machine)
        assert await next_after_bell(sam, house.people.sam) == BELL


async def test_the_bells_of_support_cost_nothing_for_others(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[User] = []
    monkeypatch.setattr(consumers, "_supports", lambda user, _uuid: asked.append(user))
    async with hearing(house, house.gwen) as (gwen, _):
        await gwen.socket.send('{"type": "support", "on": true}')
        await says(gwen, "clear", house.uuid)
        await heard(gwen, "error")
        await in_database(news.tell_room, house.people.machine)
        assert await next_after_bell(gwen, house.gwen) == BELL
    assert not asked
