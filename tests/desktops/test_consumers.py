"""The events socket: each person hears of their own machines, until the session ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.core.cache import cache
from django.test import Client
from redis.exceptions import RedisError

from desktops import consumers, control
from experiments.models import User
from instances.models import Instance
from instances.states import State
from tests.desktops.conftest import House, in_database, sign_in
from tests.desktops.viewers import Viewer, viewing
from tests.servers import RedisServer


@asynccontextmanager
async def hearing(house: House, user: User) -> AsyncIterator[tuple[Viewer, Client]]:
    """A page that hears its person's events."""
    client, headers = await sign_in(user)
    async with viewing(house.port, "/events/", additional_headers=headers) as page:
        assert (await heard(page))["type"] == "ready"
        yield page, client


async def heard(page: Viewer, *types: str) -> dict[str, Any]:
    """The next event, or the next of these types."""
    async with asyncio.timeout(30):
        while True:
            event = json.loads(await page.socket.recv())
            assert isinstance(event, dict)
            if not types or event["type"] in types:
                return event


async def rung(page: Viewer, user: User) -> None:
    """Ring until it is heard: Redis may have been away."""
    async with asyncio.timeout(30):
        while True:
            with suppress(RedisError):
                message = {"type": "news", "event": {"type": "bell"}}
                await get_channel_layer().group_send(control.of_user(user.pk), message)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await heard(page, "bell")
                return


def stop(house: House) -> None:
    Instance.objects.get(uuid=house.uuid).transition(State.STOPPING)


def tell_step(house: House) -> None:
    Instance.objects.get(uuid=house.uuid).tell("step")


async def test_owner_and_members_hear_of_their_machine(house: House) -> None:
    async with hearing(house, house.people.alice) as (alice, _), hearing(house, house.people.bob) as (bob, _):
        await in_database(stop, house)
        moved = {"type": "instance", "id": str(house.uuid), "state": "stopping", "what": "state"}
        assert await heard(alice) == moved
        assert await heard(bob) == moved


async def test_a_page_learns_that_something_was_told_before_it_listened(house: House) -> None:
    _, headers = await sign_in(house.people.alice)
    await in_database(cache.clear)
    async with viewing(house.port, "/events/", additional_headers=headers) as page:
        assert (await heard(page))["quiet"] is None
    await in_database(stop, house)
    async with viewing(house.port, "/events/", additional_headers=headers) as page:
        assert 0 <= (await heard(page))["quiet"] < 60


async def test_steps_and_readiness_are_told_too(house: House) -> None:
    async with hearing(house, house.people.alice) as (alice, _):
        await in_database(tell_step, house)
        step = {"type": "instance", "id": str(house.uuid), "state": "active", "what": "step"}
        assert await heard(alice) == step


async def test_a_stranger_hears_nothing_of_it(house: House) -> None:
    async with hearing(house, house.people.charlie) as (charlie, _):
        await in_database(stop, house)
        bell = {"type": "bell"}
        group = control.of_user(house.people.charlie.pk)
        await get_channel_layer().group_send(group, {"type": "news", "event": bell})
        assert await heard(charlie) == bell


async def test_a_move_that_is_rolled_back_is_never_told(house: House) -> None:
    from django.db import transaction  # noqa: PLC0415

    def change_ones_mind() -> None:
        try:
            with transaction.atomic():
                stop(house)
                raise KeyError
        except KeyError:
            tell_step(house)

    async with hearing(house, house.people.alice) as (alice, _):
        await in_database(change_ones_mind)
        assert (await heard(alice))["what"] == "step"


async def test_without_a_session_nothing_is_told(house: House) -> None:
    for headers in ({}, {"Cookie": "visa=nonsense"}):
        async with viewing(house.port, "/events/", additional_headers=headers) as page:
            assert (await page.ended())[0] == 4401


async def test_it_ends_with_the_session(house: House) -> None:
    async with hearing(house, house.people.alice) as (goes, client), hearing(house, house.people.alice) as (stays, _):
        await in_database(client.logout)
        assert (await goes.ended())[0] == 4401
        await in_database(stop, house)
        assert (await heard(stays))["what"] == "state"


async def test_it_ends_when_the_person_is_disabled(house: House) -> None:
    def disable() -> None:
        person = User.objects.get(username="alice")
        person.is_active = False
        person.save()

    async with hearing(house, house.people.alice) as (page, _):
        await in_database(disable)
        assert (await page.ended())[0] == 4401


async def test_it_ends_when_nobody_told_it(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "LOOK_EVERY", 0.1)
    async with hearing(house, house.people.alice) as (page, _):
        await in_database(User.objects.filter(username="alice").update, is_active=False)
        assert (await page.ended())[0] == 4401


async def test_a_dead_redis_never_breaks_a_move(house: House, redis: RedisServer) -> None:
    redis.kill()
    try:
        await in_database(stop, house)
    finally:
        redis.start()
    assert (await house.machine()).state == State.STOPPING


async def test_events_come_again_after_redis_was_away(house: House, redis: RedisServer) -> None:
    async with hearing(house, house.people.alice) as (page, _):
        redis.kill()
        redis.start()
        await rung(page, house.people.alice)
        await in_database(stop, house)
        assert (await heard(page, "instance"))["what"] == "state"
