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
    OFF_MEANWHILE = "off_meanwhile"
    SAVED = "saved"
    FORGOTTEN = "forgotten"
    FOUND = "found"
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
    State.UNREACHABLE: Move(State.STOPPED, Cause.OFF_MEANWHILE),
    State.HIBERNATED: Move(State.STOPPED, Cause.FORGOTTEN),
}
_WHEN_ASLEEP = {
    State.ACTIVE: Move(State.HIBERNATED, Cause.SAVED),
    State.STOPPING: Move(State.STOPPED, Cause.DONE),
    State.STOPPED: Move(State.HIBERNATED, Cause.SAVED),
    State.UNREACHABLE: Move(State.HIBERNATED, Cause.SAVED),
}
_WHEN_CRASHED = {
    State.ACTIVE: Move(State.ERROR, Cause.CRASHED),
    State.REBOOTING: Move(State.ERROR, Cause.CRASHED),
    State.STOPPING: Move(State.STOPPED, Cause.DONE),
    State.UNREACHABLE: Move(State.ERROR, Cause.CRASHED),
    State.HIBERNATED: Move(State.STOPPED, Cause.FORGOTTEN),
}
_WHEN_RUNNING = {
    State.STOPPED: Move(State.STARTING, Cause.STARTED_ELSEWHERE),
    State.HIBERNATED: Move(State.STARTING, Cause.STARTED_ELSEWHERE),
    State.UNREACHABLE: Move(State.ACTIVE, Cause.BACK),
}
_WHEN_RUNNING_STILL = {
    State.ERROR: Move(State.STARTING, Cause.STARTED_ELSEWHERE),
    State.BINNED: Move(State.STOPPED, Cause.STARTED_ELSEWHERE),
}
_WHEN_GONE = {
    state: Move(State.ERROR, Cause.LOST)
    for state in (
        *(State.ACTIVE, State.STOPPED, State.HIBERNATED),
        *(State.UNREACHABLE, State.REBOOTING, State.STOPPING),
    )
}


def on_power(state: State, power: Power, *, asleep: bool = False, ran_before: bool = False) -> Move | None:
    """The move that a domain's power asks for, or None when all is as it should be (or a worker's turn).

    `asleep`: its memory lies saved on the host. `ran_before`: an earlier look in this state saw it running, too.
    """
    if power in RUNNING:
        return _WHEN_RUNNING.get(state) or (_WHEN_RUNNING_STILL.get(state) if ran_before else None)
    if asleep:
        return _WHEN_ASLEEP.get(state)
    return (_WHEN_CRASHED if power == Power.CRASHED else _WHEN_OFF).get(state)


def on_absence(state: State, *, seen_missing_before: bool) -> Move | None:
    """The move for a built machine that its host no longer has; only at the second look, as one may be mistaken."""
    return _WHEN_GONE.get(state) if seen_missing_before else None


def on_return(state: State, power: Power) -> Move | None:
    """The move for a machine that its host has again, after looks that missed it."""
    if state != State.ERROR:
        return None
    return Move(State.STARTING if power in RUNNING else State.STOPPED, Cause.FOUND)
