"""The control line by itself, on a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from channels.layers import get_channel_layer

from desktops import control, news, visit
from instances.models import Instance
from tests.desktops.conftest import in_database
from tests.desktops.viewers import until
from tests.people import facility

STEPS = 40
"""So many turns of the loop a line takes at most to join."""


async def listen(heard: list[object]) -> None:
    async with control.listening(["room"]) as line:
        while True:
            heard.append(await line.hear(60))


async def let_turn(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_who_is_cut_off_at_any_moment_of_joining_leaves_nothing_behind() -> None:
    layer = get_channel_layer()._get_layer()
    before = asyncio.all_tasks()
    for turns in range(STEPS):
        listener = asyncio.create_task(listen([]))
        await let_turn(turns)
        listener.cancel()
        done, _ = await asyncio.wait({listener}, timeout=10)
        assert done, f"listens on after {turns} turns"
        assert listener.cancelled()
        assert (layer.channels, layer.groups) == ({}, {})
    assert {task for task in asyncio.all_tasks() - before if "_do_receiving" not in repr(task)} == set()
    await layer.flush()


async def test_who_is_cut_off_while_it_rings_leaves_nothing_behind() -> None:
    layer = get_channel_layer()._get_layer()
    async with control.listening(["room"]) as line:
        await layer.group_send("room", control.LOOK_AGAIN)
        await until(lambda: line._waiting)
    assert (layer.channels, layer.groups) == ({}, {})
    await layer.flush()


async def test_ten_rings_before_anybody_listens_are_heard_once() -> None:
    layer = get_channel_layer()
    async with control.listening(["room"]) as line:
        for _ in range(10):
            await layer.group_send("room", control.LOOK_AGAIN)
        await layer.group_send("room", control.SESSION_ENDED)
        await until(lambda: control.SESSION_ENDED in line._waiting)
        assert [await line.hear(0.01) for _ in range(3)] == [control.LOOK_AGAIN, control.SESSION_ENDED, None]
    await layer.flush()


@pytest.mark.django_db(transaction=True)
async def test_an_owner_who_closes_many_screens_has_left_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = (await in_database(facility)).machine
    rung: list[Instance] = []
    monkeypatch.setattr(news, "tell_room", rung.append)
    bells = []
    for _ in range(10):
        visit._later(0.05, machine.pk)
        bells.append(visit._bells[machine.pk])
    await asyncio.wait(bells, timeout=10)
    assert rung == [machine]
