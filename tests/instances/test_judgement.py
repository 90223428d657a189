"""What an observation means for a machine."""

import pytest

from instances.drivers.base import Power
from instances.judgement import on_absence, on_power, on_return
from instances.states import TRANSITIONS, WORKING, State


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("power", list(Power))
@pytest.mark.parametrize("asleep", [False, True])
def test_the_observer_asks_only_for_moves_that_the_table_allows(state: State, power: Power, asleep: bool) -> None:
    for move in (
        on_power(state, power, asleep=asleep),
        on_power(state, power, asleep=asleep, ran_before=True),
        on_return(state, power),
    ):
        assert move is None or move.to in TRANSITIONS[state]


@pytest.mark.parametrize("state", list(State))
def test_nothing_is_concluded_from_one_look_at_a_missing_machine(state: State) -> None:
    assert on_absence(state, seen_missing_before=False) is None


@pytest.mark.parametrize("state", list(State))
def test_a_missing_machine_is_never_deleted(state: State) -> None:
    move = on_absence(state, seen_missing_before=True)
    assert move is None or move.to == State.ERROR


@pytest.mark.parametrize("state", sorted(WORKING - {State.STOPPING, State.REBOOTING}))
@pytest.mark.parametrize("power", [Power.RUNNING, Power.OFF])
def test_the_observer_leaves_a_machine_to_the_worker_that_moves_it(state: State, power: Power) -> None:
    assert on_power(state, power) is None


def test_a_machine_that_was_shut_down_from_inside_is_shown_as_stopped() -> None:
    move = on_power(State.ACTIVE, Power.OFF)
    assert move is not None
    assert move.to == State.STOPPED


def test_a_machine_that_was_started_behind_our_back_is_adopted() -> None:
    move = on_power(State.STOPPED, Power.RUNNING)
    assert move is not None
    assert move.to == State.STARTING
