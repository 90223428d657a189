"""What waits for a page that does not listen stays small."""

from __future__ import annotations

from typing import Any

import pytest

from desktops.outbox import FLEETING_LIMIT, LIMIT, Outbox, Overflow


def by(name: str, **event: Any) -> dict[str, Any]:
    return {"id": "m", "who": {"id": name, "name": name}} | event


async def taken(box: Outbox) -> list[dict[str, Any]]:
    return [await box.take() for _ in range(len(box))]


async def test_a_doorbell_that_waits_does_not_ring_twice() -> None:
    box = Outbox()
    for machine in ("a", "b", "a"):
        box.put({"type": "room", "id": machine})
    assert await taken(box) == [{"type": "room", "id": "b"}, {"type": "room", "id": "a"}]


async def test_different_news_of_a_machine_all_wait() -> None:
    box = Outbox()
    for what in ("state", "step", "picture"):
        box.put({"type": "instance", "id": "a", "what": what})
    assert len(box) == 3


async def test_of_a_pointer_the_last_place_counts() -> None:
    box = Outbox()
    for x in (0.1, 0.2, 0.3):
        box.put(by("bob", type="pointer", x=x))
        box.put(by("alice", type="pointer", x=x))
    assert [event["x"] for event in await taken(box)] == [0.3, 0.3]


async def test_strokes_all_arrive_in_their_order() -> None:
    box = Outbox()
    for x in (0.1, 0.2):
        box.put(by("bob", type="stroke", points=[[x, 0]]))
    box.put(by("bob", type="clear"))
    assert [event["type"] for event in await taken(box)] == ["stroke", "stroke", "clear"]


async def test_what_is_kept_nowhere_is_dropped_first() -> None:
    box = Outbox()
    for x in range(10_000):
        box.put(by("bob", type="stroke", points=[[x, 0]]))
    box.put({"type": "chat", "id": "a"})
    assert len(box) == FLEETING_LIMIT + 1


async def test_a_doorbell_is_never_forgotten_in_silence() -> None:
    box = Outbox()
    for number in range(LIMIT):
        box.put({"type": "support", "id": number})
    with pytest.raises(Overflow):
        box.put({"type": "support", "id": LIMIT})
