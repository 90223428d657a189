"""Supporters and owners who press at the same moment, on PostgreSQL with real threads: one of them counts."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from desktops import support
from desktops.models import AccessRequest, HelpRequest
from desktops.support import Answer
from experiments.models import Role, User
from instances.actions import Refused
from instances.models import Notice
from instances.notices import Kind
from tests.concurrency.test_races import CROWD, all_at_once
from tests.people import Facility, facility, person

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

State = AccessRequest.State


@pytest.fixture
def house() -> Facility:
    return facility()


def ask(house: Facility) -> AccessRequest:
    return support.ask(house.machine, house.sam, "Why", 30, control=True)


def told(user: User, kind: Kind) -> int:
    return Notice.objects.filter(user=user, kind=kind).count()


def test_a_crowd_of_presses_asks_once(house: Facility) -> None:
    asked = all_at_once(lambda _number: ask(house))
    assert len({one.pk for one in asked}) == 1
    assert told(house.alice, Kind.SUPPORT_ASKS) == 1


def test_of_different_answers_one_counts(house: Facility) -> None:
    asked = ask(house)

    def answer(number: int) -> Answer | None:
        given = [Answer.CONTROL, Answer.WATCH, Answer.REFUSE][number % 3]
        try:
            support.answer(asked, house.alice, given)
        except Refused:
            return None
        return given

    counted = [given for given in all_at_once(answer) if given]
    assert len(counted) == 1
    asked.refresh_from_db()
    refused = counted == [Answer.REFUSE]
    assert (asked.state, asked.role) == ((State.REFUSED, "") if refused else (State.GRANTED, counted[0]))
    assert told(house.sam, Kind.SUPPORT_LET_IN) + told(house.sam, Kind.SUPPORT_REFUSED) == 1


def test_of_answer_timeout_and_change_of_mind_one_counts(house: Facility) -> None:
    asked = ask(house)

    def act(number: int) -> None:
        if number % 3 == 0:
            support.attend(timezone.now() + timedelta(minutes=5))
        elif number % 3 == 1:
            support.cancel(house.machine, house.sam)
        else:
            try:
                support.answer(asked, house.alice, Answer.CONTROL)
            except Refused:
                return

    all_at_once(act)
    asked.refresh_from_db()
    let_in, unanswered = told(house.sam, Kind.SUPPORT_LET_IN), told(house.sam, Kind.SUPPORT_UNANSWERED)
    assert {
        State.GRANTED: (1, 0),
        State.UNANSWERED: (0, 1),
        State.CANCELLED: (0, 0),
    }[State(asked.state)] == (let_in, unanswered)


def test_a_call_for_help_is_one_call(house: Facility) -> None:
    called = all_at_once(lambda _number: support.call(house.machine, house.alice, "Help"))
    assert len({one.pk for one in called}) == 1
    assert told(house.sam, Kind.HELP_WANTED) == 1


def test_of_a_crowd_of_supporters_one_takes_the_call(house: Facility) -> None:
    crowd = [person(f"sam{number}", Role.IT_SUPPORT) for number in range(CROWD)]
    support.call(house.machine, house.alice)

    def take(number: int) -> bool:
        try:
            support.take(house.machine, crowd[number])
        except Refused:
            return False
        return True

    assert sum(all_at_once(take)) == 1
    grant = AccessRequest.objects.get()
    assert grant.asker == HelpRequest.objects.get().taken_by
    assert told(house.alice, Kind.HELP_COMES) == 1


def test_a_supporter_who_presses_often_enters_once(house: Facility) -> None:
    entered = all_at_once(lambda _number: support.enter(house.machine, house.sam, "Why", 30))
    assert len({one.pk for one in entered}) == 1
    assert told(house.alice, Kind.SUPPORT_ENTERED) == 1


def test_support_ends_once_and_each_is_told_once(house: Facility) -> None:
    support.enter(house.machine, house.sam, "Why", 30)

    def end(number: int) -> None:
        if number % 2:
            support.end(house.machine, house.sam)
        else:
            support.attend(timezone.now() + timedelta(hours=1))

    all_at_once(end)
    ended, over = told(house.alice, Kind.SUPPORT_ENDED), told(house.alice, Kind.SUPPORT_OVER)
    assert ended + over == 1
    assert AccessRequest.objects.get().state == State.ENDED


def test_it_is_told_once_of_a_call_that_nobody_took(house: Facility) -> None:
    house.experiment.instrument.scientists.add(house.ines)
    support.call(house.machine, house.alice)
    all_at_once(lambda _number: support.attend(timezone.now() + timedelta(minutes=6)))
    assert told(house.sam, Kind.HELP_WANTED) == 1
