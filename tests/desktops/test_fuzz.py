"""No byte of somebody who may only watch reaches a machine, but those that say how to be shown it.

A million streams: `python -m bench.fuzz`.
"""

from __future__ import annotations

import pytest

from desktops.relay import Code
from desktops.rfb import CONTROLLED, WATCHED, ProtocolError, Role
from tests.desktops.fuzzing import check_cuts, check_sieve, check_watcher, streams, visit
from tests.desktops.test_rfb import (
    continuous_updates,
    cut_text,
    desktop_size,
    encodings,
    fence,
    key,
    pixel_format,
    pointer,
    qemu_key,
    resizing,
    update_request,
)

UP, OUT, NO, ITSELF = "passes", "is left out", "ends the visit", "the gallery asks itself"

# Type: an example, and what becomes of it for who controls, who may not at the moment, and who watches in a gallery.
TABLE: dict[int, tuple[bytes, str, str, str]] = {
    0: (pixel_format(), UP, UP, OUT),
    2: (encodings(7, 0), UP, UP, OUT),
    3: (update_request(), UP, UP, ITSELF),
    4: (key(97), UP, OUT, OUT),
    5: (pointer(1), UP, OUT, OUT),
    6: (cut_text(b"hello"), UP, OUT, OUT),
    150: (continuous_updates(), UP, UP, OUT),
    248: (fence(), UP, UP, OUT),
    251: (desktop_size(), UP, OUT, OUT),
    255: (qemu_key(97), UP, OUT, OUT),
}


def test_every_message_has_a_row() -> None:
    assert set(TABLE) == WATCHED | CONTROLLED


def on_a_line(role: Role, message: bytes) -> str:
    try:
        passed = resizing(role).receive(message)
    except ProtocolError:
        return NO
    assert passed in (message, b"")
    return UP if passed else OUT


async def in_a_gallery(message: bytes) -> str:
    heard, ending = await visit(message, 1)
    if ending.code == Code.PROTOCOL:
        return NO
    assert message not in heard
    return ITSELF if heard else OUT


@pytest.mark.parametrize("kind", range(256))
async def test_each_message_fares_as_the_table_says(kind: int) -> None:
    message, *expected = TABLE.get(kind, (bytes([kind]) + bytes(20), NO, NO, NO))
    outcomes = [on_a_line(Role.CONTROL, message), on_a_line(Role.WATCH, message), await in_a_gallery(message)]
    assert outcomes == expected


def test_what_only_watches_says_is_sieved_wherever_it_is_cut() -> None:
    for said in streams(seed=1, number=2000):
        check_sieve(said)
        check_cuts(said)


async def test_nothing_of_a_gallerys_watcher_reaches_the_machine() -> None:
    for said in streams(seed=2, number=2000):
        await check_watcher(said)
