"""Control passes between open screens: what was held down is let go, and who lost it reaches the machine no more."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.test import Client
from django.utils import timezone

from desktops import baton
from desktops.models import Connection, Mode, Room
from desktops.relay import Code
from tests.desktops.conftest import House, in_database
from tests.desktops.test_endpoint import does, heard_by_control_line, looking, until_async
from tests.desktops.test_rfb import key
from tests.desktops.viewers import Viewer


def asks(client: Client, house: House, act: str, to: UUID | None = None) -> int:
    form = {"act": act} | ({"to": str(to)} if to else {})
    return client.post(f"/machines/{house.uuid}/room/control/", form).status_code


def one_baton(house: House) -> None:
    Room.objects.update(mode=Mode.BATON)


async def gets_control(house: House, viewer: Viewer) -> None:
    """Returns once their keys reach the machine; the last one is held down."""
    await until_async(lambda: does(house, viewer))


async def loses_control(house: House, viewer: Viewer) -> None:
    async def refused() -> bool:
        return not await does(house, viewer)

    await until_async(refused)


async def lets_go(house: House) -> None:
    await house.desktop.until(lambda: house.desktop.heard.endswith(key(97, down=False)))
    house.desktop.heard.clear()


@pytest.mark.parametrize("act", ["take", "freeze"])
async def test_who_loses_control_lets_go_of_what_was_held_down(house: House, act: str) -> None:
    await in_database(one_baton, house)
    async with looking(house, house.people.alice) as (owner, client), looking(house, house.people.bob) as (member, _):
        await heard_by_control_line(house)
        assert await in_database(asks, client, house, "give", house.people.bob.uuid) == 200
        await gets_control(house, member)
        assert await in_database(asks, client, house, act) == 200
        await lets_go(house)
        await loses_control(house, member)
        await gets_control(house, owner)


async def test_who_gives_the_baton_away_lets_go_too(house: House) -> None:
    await in_database(one_baton, house)
    async with looking(house, house.people.alice) as (owner, client), looking(house, house.people.bob) as (member, _):
        await heard_by_control_line(house)
        await gets_control(house, owner)
        assert await in_database(asks, client, house, "give", house.people.bob.uuid) == 200
        await lets_go(house)
        await loses_control(house, owner)
        await gets_control(house, member)


async def test_who_holds_the_baton_and_leaves_returns_it(house: House) -> None:
    bob = house.people.bob
    await in_database(one_baton, house)
    async with looking(house, house.people.alice) as (owner, client):
        async with looking(house, bob) as (member, _):
            await heard_by_control_line(house)
            assert await in_database(asks, client, house, "give", bob.uuid) == 200
            await gets_control(house, member)
            await loses_control(house, owner)
        await until_async(lambda: in_database(Connection.objects.filter(user=bob, closed_at__isnull=False).exists))
        await in_database(baton.attend, timezone.now() + baton.GRACE)
        await gets_control(house, owner)


async def test_who_is_shown_out_is_out_and_may_open_the_desktop_again(house: House) -> None:
    async with looking(house, house.people.alice) as (_owner, client):
        async with looking(house, house.people.bob) as (member, _):
            await heard_by_control_line(house)
            form = {"user": str(house.people.bob.uuid)}
            answer = await in_database(client.post, f"/machines/{house.uuid}/room/dismiss/", form)
            assert answer.status_code == 200
            assert await member.ended() == (Code.WITHDRAWN, "The owner closed your screen.")
        async with looking(house, house.people.bob) as (member, _):
            assert await does(house, member)
