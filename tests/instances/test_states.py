"""The table of states: nothing is a dead end but the end, and every working state has a deadline."""

import pytest

from instances.models.instance import DEADLINES
from instances.states import HOLDS_CPU, LIVE, SETTLED, TRANSITIONS, WORKING, State


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_row_in_the_table(state: State) -> None:
    assert state in TRANSITIONS


@pytest.mark.parametrize("state", sorted(State))
def test_only_deleted_is_the_end(state: State) -> None:
    assert bool(TRANSITIONS[state]) == (state != State.DELETED)


@pytest.mark.parametrize("state", sorted(LIVE - {State.DELETING}))
def test_every_live_machine_can_be_deleted(state: State) -> None:
    assert State.DELETING in TRANSITIONS[state]


@pytest.mark.parametrize("state", sorted(WORKING))
def test_every_working_state_has_a_deadline_and_a_way_to_error(state: State) -> None:
    assert state in DEADLINES
    assert State.ERROR in TRANSITIONS[state]


def test_a_settled_state_has_no_deadline() -> None:
    assert not set(DEADLINES) & SETTLED


def test_every_state_but_building_can_be_reached() -> None:
    reachable = set().union(*TRANSITIONS.values())
    assert reachable == set(State) - {State.BUILDING}


def test_a_machine_that_holds_cpu_is_live() -> None:
    assert HOLDS_CPU < LIVE
