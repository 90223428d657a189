"""What of Yjs passes to a shared notebook from somebody who only watches."""

from __future__ import annotations

import pytest

from desktops.webapps import yjs
from desktops.webapps.yjs import Unreadable

EMPTY = b"\x00\x00\x01\x00"
LONG = b"\x00\x00\xac\x02" + bytes(300)


@pytest.mark.parametrize("said", [EMPTY, LONG])
def test_a_watcher_asks_for_what_is_there(said: bytes) -> None:
    assert yjs.for_watcher(said) == said


@pytest.mark.parametrize(
    "said",
    [
        b"\x00\x01\x02\x00\x00",  # an answer, which adds
        b"\x00\x02\x02\x00\x00",  # a change
        b"\x01\x02\x01\x00",  # where a cursor is
        b"\x02\x04save\x01",
        b"\x80\x00\x02\x02\x00\x00",  # a change, its zero written at length
        b"\x00\x80\x00\x01\x00",
        b"\x7d",
        b"",
        b"\x00\x00" + bytes(yjs.MOST_BYTES),
    ],
)
def test_a_watcher_adds_nothing(said: bytes) -> None:
    assert yjs.for_watcher(said) is None


@pytest.mark.parametrize(
    "said", ["text", b"\x00\x00", EMPTY + b"\x00\x02", b"\x00\x00\x05\x00", b"\x00\x00" + b"\xff" * 9]
)
def test_what_is_no_message_is_not_passed(said: bytes | str) -> None:
    with pytest.raises(Unreadable):
        yjs.for_watcher(said)


def test_only_changes_are_a_sign_of_work() -> None:
    assert yjs.is_change(b"\x00\x02\x02\x00\x00")
    assert not any(yjs.is_change(said) for said in (EMPTY, b"\x00\x01\x02\x00\x00", b"\x01\x02\x01\x00", "text"))
