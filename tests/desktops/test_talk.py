"""What a page may say on the events socket."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from desktops.talk import TYPES, Allowance, Nonsense, read

ID = str(uuid4())


def line(**fields: Any) -> str:
    return json.dumps({"id": ID} | fields)


@pytest.mark.parametrize(
    "said",
    [
        line(type="join"),
        line(type="leave"),
        line(type="pointer", x=0, y=1),
        line(type="pointer"),
        line(type="laser", x=0.25, y=0.75),
        line(type="stroke", stroke="s1", points=[[0, 0], [1, 0.5]]),
        line(type="clear"),
        line(type="typing"),
        line(type="quality", ms=12),
        '{"type": "support", "on": true}',
    ],
)
def test_what_our_pages_say_is_understood(said: str) -> None:
    understood = read(said)
    assert understood.type == json.loads(said)["type"]
    assert understood.about is None or str(understood.about) == ID


@pytest.mark.parametrize(
    "said",
    [
        None,
        "",
        "null",
        "[]",
        "{",
        "[" * 4000,
        '"join"',
        "{}",
        '{"type": "news"}',
        '{"type": ["join"]}',
        '{"type": "join"}',
        '{"type": "join", "id": 7}',
        '{"type": "join", "id": "nonsense"}',
        line(type="join", extra=1),
        line(type="pointer", x=-0.1, y=0),
        line(type="pointer", x=1.1, y=0),
        line(type="pointer", x=True, y=0),
        line(type="pointer", x="0", y=0),
        line(type="pointer", x=float("nan"), y=0),
        line(type="pointer", x=0, y=float("inf")),
        line(type="pointer", x=0),
        line(type="pointer", x=0, y=0, who={"id": ID, "name": "The owner"}),
        line(type="stroke", stroke="s", points=[]),
        line(type="stroke", stroke="s", points=[[0, 0]] * 65),
        line(type="stroke", stroke="s", points=[[0]]),
        line(type="stroke", stroke="s", points=[[0, 0, 0]]),
        line(type="stroke", stroke="s", points=[7]),
        line(type="stroke", stroke="s", points={"0": [0, 0]}),
        line(type="stroke", stroke="s" * 17, points=[[0, 0]]),
        line(type="stroke", stroke="", points=[[0, 0]]),
        line(type="quality", ms=-1),
        line(type="quality", ms=1.5),
        line(type="quality"),
        '{"type": "support", "on": 1}',
        line(type="typing") + " " * 4096,
    ],
)
def test_anything_else_is_nonsense(said: str | None) -> None:
    with pytest.raises(Nonsense):
        read(said)


def test_every_message_about_a_machine_names_it() -> None:
    assert {name for name, fields in TYPES.items() if "id" not in fields} == {"support"}


def test_a_slow_connection_is_told_no_more_precisely_than_a_minute() -> None:
    assert read(line(type="quality", ms=10**9)).fields == {"ms": 60_000}


def test_an_allowance_lets_a_burst_through_and_then_the_rate() -> None:
    bucket = Allowance(rate=10, burst=3)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.take(100.125)  # 0.1 cannot be written in binary
    assert not bucket.take(100.125)


def test_an_allowance_saves_no_more_than_a_burst() -> None:
    bucket = Allowance(rate=10, burst=3)
    bucket.take(0.0)
    assert sum(bucket.take(3600.0) for _ in range(10)) == 3
