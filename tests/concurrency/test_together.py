"""Many hands on one room, on PostgreSQL with real threads: one baton, and a chat without gaps."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from django.db import connection

from desktops import baton, chat
from desktops.models import ChatMessage, ControlAsk, Mode, Room
from experiments.models import User
from instances.actions import Refused
from instances.models import Member, MemberRole
from tests.concurrency.test_races import CROWD, all_at_once
from tests.desktops.rooms import looks
from tests.people import Facility, facility, person

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def house() -> Facility:
    return facility()


@pytest.fixture
def crowd(house: Facility) -> list[User]:
    """Members with full control, all at the screen."""
    people = [person(f"member{number}") for number in range(CROWD)]
    for one in people:
        Member.objects.create(instance=house.machine, user=one, role=MemberRole.USER)
        looks(one, house.machine)
    return people


def did(user: User, house: Facility, act: str, to: User | None = None) -> bool:
    try:
        baton.act(user, house.machine, act, to.uuid if to else None)
    except Refused:
        return False
    return True


def test_of_a_crowd_that_reaches_for_the_baton_one_gets_it(house: Facility, crowd: list[User]) -> None:
    Room.objects.create(instance=house.machine, mode=Mode.BATON, members_alone=True)
    won = all_at_once(lambda number: did(crowd[number], house, "take"))
    assert sum(won) == 1
    assert Room.objects.get().holder == crowd[won.index(True)]


def test_who_gives_it_in_two_tabs_gives_it_once(house: Facility, crowd: list[User]) -> None:
    looks(house.bob, house.machine)
    Room.objects.create(instance=house.machine, mode=Mode.BATON, members_alone=True, holder=house.bob)
    given = all_at_once(lambda number: did(house.bob, house, "give", crowd[number]))
    assert sum(given) == 1
    assert Room.objects.get().holder == crowd[given.index(True)]


def test_taking_back_beats_every_gift_that_comes_after_it(house: Facility, crowd: list[User]) -> None:
    looks(house.alice, house.machine)
    looks(house.bob, house.machine)
    Room.objects.create(instance=house.machine, mode=Mode.BATON, holder=house.bob)

    def act(number: int) -> bool:
        if number == 0:
            return did(house.alice, house, "take")
        return did(house.bob, house, "give", crowd[number])

    done = all_at_once(act)
    assert done[0]
    assert sum(done[1:]) <= 1
    holder = Room.objects.get().holder
    assert holder is None or done[crowd.index(holder)]


def test_a_crowd_that_asks_is_a_crowd_of_single_askers(house: Facility, crowd: list[User]) -> None:
    looks(house.alice, house.machine)
    Room.objects.create(instance=house.machine, mode=Mode.BATON)
    all_at_once(lambda number: did(crowd[number % 3], house, "ask"))
    assert ControlAsk.objects.count() == 3


def test_a_message_sent_by_a_crowd_of_presses_is_kept_once(house: Facility) -> None:
    key = uuid4()
    sent = all_at_once(lambda _number: chat.send(house.bob, house.machine, key, "Once").pk)
    assert len(set(sent)) == 1
    assert ChatMessage.objects.count() == 1


def test_a_crowd_cannot_say_more_than_is_allowed(house: Facility) -> None:
    def say(_number: int) -> int:
        said = 0
        for _ in range(4):
            try:
                chat.send(house.bob, house.machine, uuid4(), "Again")
            except Refused:
                continue
            said += 1
        return said

    assert sum(all_at_once(say)) == chat.AT_ONCE


def test_who_reads_along_while_all_write_misses_nothing(house: Facility, crowd: list[User]) -> None:
    """A reader goes on after the last number it has seen, so no smaller number may appear afterwards."""
    seen: list[int] = []
    written = threading.Event()

    def read_along() -> None:
        try:
            ending = False
            while not ending:
                ending = written.is_set()
                page = chat.history(house.alice, house.machine, seen[-1] if seen else 0)
                seen.extend(message["n"] for message in page["messages"])
        finally:
            connection.close()

    reader = threading.Thread(target=read_along)
    reader.start()
    all_at_once(lambda number: [chat.send(crowd[number], house.machine, uuid4(), "Hello") for _ in range(8)])
    written.set()
    reader.join()
    assert seen == list(ChatMessage.objects.order_by("pk").values_list("pk", flat=True))
    assert len(seen) == 8 * CROWD
