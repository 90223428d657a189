"""What a page may say on the events socket, and how much of it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

MESSAGE_LIMIT = 4096
"""Bytes of one message."""

MAX_POINTS = 64
MAX_STROKE_NAME = 16
SLOWEST = 60_000
"""Milliseconds above which the quality of a connection is not told any more precisely."""


class Nonsense(Exception):
    """A page of ours does not say this."""


@dataclass(frozen=True)
class Said:
    """One message: its type, the machine it is about where it is about one, and its other fields."""

    type: str
    about: UUID | None
    fields: dict[str, Any]


def read(text: str | None) -> Said:
    """The message with its fields checked; raises Nonsense."""
    if text is None or len(text.encode(errors="replace")) > MESSAGE_LIMIT:
        raise Nonsense("A message is a text of at most 4 KiB.")
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Nonsense("A message is JSON.") from error
    if not isinstance(said, dict) or not isinstance(said.get("type"), str) or said["type"] not in TYPES:
        raise Nonsense("There is no such message.")
    checks = TYPES[said["type"]]
    if not set(said) <= {"type", *checks}:
        raise Nonsense("The message has fields that are not known.")
    try:
        fields = {name: check(said.get(name)) for name, check in checks.items()}
    except (TypeError, ValueError) as error:
        raise Nonsense(f"The message {said['type']} has a wrong field.") from error
    if said["type"] in PLACES and (fields["x"] is None) is not (fields["y"] is None):
        raise Nonsense("Half a place is no place.")
    return Said(said["type"], fields.pop("id", None), fields)


def _machine(value: object) -> UUID:
    return UUID(_text(value, 36))


def _text(value: object, most: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise ValueError
    return value


def _stroke_name(value: object) -> str:
    return _text(value, MAX_STROKE_NAME)


def _share(value: object) -> float:
    """A place as a part of the screen's width or height, 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError
    return round(value, 4)


def _share_or_none(value: object) -> float | None:
    return None if value is None else _share(value)


def _points(value: object) -> list[list[float]]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_POINTS:
        raise ValueError
    return [[_share(x), _share(y)] for x, y in value]


def _milliseconds(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError
    return min(value, SLOWEST)


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


Check = Callable[[object], Any]

_PLACE: dict[str, Check] = {"id": _machine, "x": _share_or_none, "y": _share_or_none}

TYPES: dict[str, dict[str, Check]] = {
    "join": {"id": _machine},
    "leave": {"id": _machine},
    "pointer": _PLACE,
    "laser": _PLACE,
    "stroke": {"id": _machine, "points": _points, "stroke": _stroke_name},
    "clear": {"id": _machine},
    "typing": {"id": _machine},
    "quality": {"id": _machine, "ms": _milliseconds},
    "support": {"on": _switch},
}
"""Every message of a page, and its fields. What is not here is nonsense."""

PLACES = frozenset({"pointer", "laser"})
"""Only the latest counts. Without x and y: gone."""

TOLD_ON = frozenset({"pointer", "laser", "stroke", "clear", "typing", "quality"})
"""What the others in the room are told; nothing of it is kept."""

DROPPABLE = frozenset({"pointer", "laser", "typing", "quality"})
"""What the next one makes good, and so may be dropped without a word."""


class Allowance:
    """A token bucket: `rate` a second, and `burst` at once. Times are seconds of any clock that only goes forward."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._left = burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more is allowed at `now`; if so it is taken."""
        gained = 0.0 if self._at is None else (now - self._at) * self._rate
        self._left, self._at = min(self._burst, self._left + gained), now
        if self._left < 1:
            return False
        self._left -= 1
        return True
