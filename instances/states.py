"""The states of a machine and the moves between them. Pure: imports nothing of ours."""

from enum import StrEnum


class State(StrEnum):
    BUILDING = "building"
    STARTING = "starting"
    ACTIVE = "active"
    STOPPING = "stopping"
    STOPPED = "stopped"
    REBOOTING = "rebooting"
    HIBERNATING = "hibernating"
    HIBERNATED = "hibernated"
    UNREACHABLE = "unreachable"
    ERROR = "error"
    DELETING = "deleting"
    BINNED = "binned"
    DELETED = "deleted"


_S = State

TRANSITIONS: dict[State, frozenset[State]] = {
    _S.BUILDING: frozenset({_S.STARTING, _S.DELETING, _S.ERROR}),
    _S.STARTING: frozenset({_S.ACTIVE, _S.DELETING, _S.ERROR}),
    _S.ACTIVE: frozenset(
        {
            *(_S.STOPPING, _S.REBOOTING, _S.HIBERNATING, _S.DELETING),
            *(_S.STOPPED, _S.HIBERNATED, _S.UNREACHABLE, _S.ERROR),
        }
    ),
    _S.STOPPING: frozenset({_S.STOPPED, _S.DELETING, _S.ERROR}),
    _S.STOPPED: frozenset({_S.STARTING, _S.HIBERNATED, _S.DELETING, _S.ERROR}),
    _S.REBOOTING: frozenset({_S.ACTIVE, _S.DELETING, _S.ERROR}),
    _S.HIBERNATING: frozenset({_S.HIBERNATED, _S.ACTIVE, _S.DELETING, _S.ERROR}),
    _S.HIBERNATED: frozenset({_S.STARTING, _S.STOPPED, _S.DELETING, _S.ERROR}),
    _S.UNREACHABLE: frozenset({_S.ACTIVE, _S.STOPPED, _S.HIBERNATED, _S.DELETING, _S.ERROR}),
    _S.ERROR: frozenset({_S.STARTING, _S.STOPPED, _S.DELETING}),
    _S.DELETING: frozenset({_S.BINNED, _S.DELETED, _S.ERROR}),
    _S.BINNED: frozenset({_S.STOPPED, _S.DELETING}),
    _S.DELETED: frozenset(),
}

WORKING = frozenset({_S.BUILDING, _S.STARTING, _S.STOPPING, _S.REBOOTING, _S.HIBERNATING, _S.DELETING})
"""A worker or the observer owes the next step; every one has a deadline."""

SETTLED = frozenset(State) - WORKING
"""Nothing moves until somebody asks or the host changes."""

LIVE = frozenset(State) - {_S.BINNED, _S.DELETED}
"""Exists for its owner and counts towards the quota."""

ON_HOST = frozenset(State) - {_S.DELETED}
"""Holds disk on a host: what is live, and what lies in the recycle bin."""

OPENABLE = frozenset({_S.ACTIVE})
"""The desktop may be entered."""

HOLDS_CPU = frozenset({_S.BUILDING, _S.STARTING, _S.ACTIVE, _S.STOPPING, _S.REBOOTING, _S.HIBERNATING, _S.UNREACHABLE})
"""Claims CPU and memory of its host."""
