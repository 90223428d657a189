"""What somebody who may only watch could say, and what of it reaches a machine. For the tests, and for bench.fuzz."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest

from desktops import gallery
from desktops.gallery import Place, Watcher
from desktops.relay import Ending
from desktops.rfb import REFUSED_ENCODINGS, ClientMessages, ProtocolError, Role
from desktops.updates import BROWSERS
from instances.screen import Screen
from tests.desktops.machines import TRUE_COLOUR
from tests.desktops.test_rfb import DOING, LOOKING, UNKNOWN

HELLO = b"RFB 003.008\n\x01\x01"
MOST_KEPT = 8 + 255 * 16
WATCHED = {0, 2, 3, 150, 248}
VALID = [*LOOKING, *DOING, *DOING, BROWSERS.orders(), struct.pack(">BB4H", 3, 0, 0, 0, 1, 1)]


def streams(seed: int, number: int) -> Iterator[bytes]:
    """Valid messages, most of them changed somewhere, and noise; always the same for a seed."""
    chance = random.Random(seed)
    for _ in range(number):
        said = bytearray(b"".join(_part(chance) for _ in range(chance.randint(1, 6))))
        for _ in range(chance.choice((0, 0, 1, 1, 2, 5))):
            _change(said, chance)
        yield bytes(said)


def _part(chance: random.Random) -> bytes:
    way = chance.random()
    if way < 0.8:
        return chance.choice(VALID)
    if way < 0.9:
        return chance.choice(list(UNKNOWN.values()))
    return bytes([chance.randrange(256)]) + chance.randbytes(chance.randrange(24))


def _change(said: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(said) + 1)
    way = chance.randrange(4)
    if way == 0:
        del said[at : at + chance.randrange(1, 9)]
    elif way == 1:
        said[at:at] = chance.randbytes(chance.randrange(1, 9))
    elif way == 2:
        said[at : at + 1] = bytes([chance.choice((0, 1, 3, 4, 5, 6, 127, 128, 250, 255))])
    else:
        said[at:at] = said[: chance.randrange(40)]


def through_the_sieve(said: bytes, cuts: list[int]) -> bytes:
    """What passes upwards on a line of one's own of somebody who may only watch at the moment."""
    messages, passed = ClientMessages(Role.WATCH), b""
    try:
        for begin, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
            passed += messages.receive(said[begin:end])
            assert len(messages._kept) <= MOST_KEPT, "too much is kept"
    except ProtocolError:
        pass
    assert messages.inputs == 0
    return passed


def take_apart(passed: bytes) -> list[bytes]:
    """The messages in a stream, by a reader written apart from the one under test."""
    found, at = [], 0
    while at < len(passed):
        kind = passed[at]
        assert kind in WATCHED, f"a message of the type {kind} passed"
        if kind == 2:
            size = 4 + 4 * struct.unpack_from(">H", passed, at + 2)[0]
        elif kind == 248:
            size = 9 + passed[at + 8]
        else:
            size = {0: 20, 3: 10, 150: 10}[kind]
        found.append(passed[at : at + size])
        at += size
    assert at == len(passed), "the last message is not whole"
    return found


def check_sieve(said: bytes) -> None:
    """Whole and cut at every place at once: the same passes, and nothing but what watchers may say."""
    passed = through_the_sieve(said, list(range(1, len(said))))
    for message in take_apart(passed):
        announced = struct.unpack(f">{len(message) // 4 - 1}i", message[4:]) if message[0] == 2 else ()
        assert not REFUSED_ENCODINGS & set(announced)
    # Where the stream ends in an error, what came in one piece with it does not pass at all.
    assert passed.startswith(through_the_sieve(said, []))


def check_cuts(said: bytes) -> None:
    """Cut in two, at each place in turn."""
    passed = through_the_sieve(said, list(range(1, len(said))))
    for cut in range(1, len(said)):
        assert passed.startswith(through_the_sieve(said, [cut]))


class Recorder:
    """A machine's connection that notes what is said to it and never says anything."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.transport = self

    def write(self, data: bytes) -> None:
        self.heard += data

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        """Nothing to drop."""


async def check_watcher(said: bytes, step: int = 1) -> None:
    """A visit in a gallery that says this, `step` bytes at a time: the machine hears what a gallery asks for, alone."""
    heard, _ = await visit(said, step)
    for message in take_apart(heard):
        assert message[0] in {0, 2, 3}
        if message[0] == 3:
            assert message[2:] == struct.pack(">4H", 0, 0, 64, 48)
        elif message[0] == 2:
            announced = struct.unpack(f">{len(message) // 4 - 1}i", message[4:])
            assert set(announced) <= set(BROWSERS.encodings)
    assert not gallery._galleries


async def visit(said: bytes, step: int) -> tuple[bytes, Ending]:
    """A visit in a gallery, after the handshake: what its machines heard, and how it ended."""
    machines: list[Recorder] = []
    pieces = [said[at : at + step] for at in range(0, len(said), step)]
    pieces = [*reversed(pieces), HELLO]

    async def open_screen(*where: object) -> Screen:
        machines.append(Recorder())
        return Screen(asyncio.StreamReader(), machines[-1], 64, 48, TRUE_COLOUR, "")  # type: ignore[arg-type]

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "websocket.disconnect"}
        return {"type": "websocket.receive", "bytes": pieces.pop()}

    async def send(message: object) -> None:
        """Nobody looks."""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gallery, "open_screen", open_screen)
        watcher = Watcher(Place("", 0, "", 1), receive, send)
        await watcher.enter()
        ending = await watcher.run()
    assert len(watcher._messages._kept) <= MOST_KEPT
    return b"".join(bytes(machine.heard) for machine in machines), ending
