"""What an observation means for a machine. Pure: row facts and host facts in, the next move out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from instances.drivers.base import Power
from instances.states import State


class Cause(StrEnum):
    """Why the observer moves a machine; the sentence for people is made where the move is written."""

    SHUT_DOWN = "shut_down"
    CRASHED = "crashed"
    STARTED_ELSEWHERE = "started_elsewhere"
    BACK = "back"
    LOST = "lost"
    DONE = "done"


@dataclass(frozen=True)
class Move:
    to: State
    cause: Cause


RUNNING = frozenset({Power.RUNNING, Power.PAUSED})

_WHEN_OFF = {
    State.ACTIVE: Move(State.STOPPED, Cause.SHUT_DOWN),
    State.STOPPING: Move(State.STOPPED, Cause.DONE),
    State.UNREACHABLE: Move(State.STOPPED, Cause.SHUT_DOWN),
}
_WHEN_CRASHED = {
    State.ACTIVE: Move(State.ERROR, Cause.CRASHED),
    State.REBOOTING: Move(State.ERROR, Cause.CRASHED),
    State.STOPPING: Move(State.STOPPED, Cause.DONE),
    State.UNREACHABLE: Move(State.ERROR, Cause.CRASHED),
}
_WHEN_RUNNING = {
    State.STOPPED: Move(State.STARTING, Cause.STARTED_ELSEWHERE),
    State.HIBERNATED: Move(State.STARTING, Cause.STARTED_ELSEWHERE),
    State.UNREACHABLE: Move(State.ACTIVE, Cause.BACK),
}
_WHEN_GONE = {
    State.ACTIVE: Move(State.ERROR, Cause.LOST),
    State.UNREACHABLE: Move(State.ERROR, Cause.LOST),
    State.REBOOTING: Move(State.ERROR, Cause.LOST),
    State.STOPPING: Move(State.ERROR, Cause.LOST),
}


def on_power(state: State, power: Power) -> Move | None:
    """The move that a domain's power asks for, or None when all is as it should be (or a worker's turn)."""
    if power in RUNNING:
        return _WHEN_RUNNING.get(state)
    return (_WHEN_CRASHED if power == Power.CRASHED else _WHEN_OFF).get(state)


def on_absence(state: State, *, seen_missing_before: bool) -> Move | None:
    """The move for a built machine that its host no longer has; only at the second look, as one may be mistaken."""
    return _WHEN_GONE.get(state) if seen_missing_before else None
