"""Frames of WebSockets, beside those of the library that serves them."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame
from websockets.frames import Opcode as Theirs

from desktops.frames import MOST_AT_ONCE, Malformed, Message, Opcode, Reader, head, masked

MOST = 300


def frame(opcode: Opcode, payload: bytes, *, final: bool = True, mask: bool = True) -> bytes:
    return Frame(Theirs(opcode), payload, final).serialize(mask=mask, extensions=[])


MESSAGES = st.lists(
    st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.lists(st.binary(max_size=400), min_size=1))
)


@given(MESSAGES, st.lists(st.integers(1, 500)), st.booleans())
def test_wherever_the_pieces_end_the_messages_are_the_same(
    said: list[tuple[Opcode, list[bytes]]], cuts: list[int], mask: bool
) -> None:
    stream, expected = b"", []
    for opcode, parts in said:
        for number, part in enumerate(parts):
            kind = Opcode.CONTINUED if number else opcode
            stream += frame(kind, part, final=number == len(parts) - 1, mask=mask) + frame(Opcode.PING, b"?", mask=mask)
            expected += [] if number < len(parts) - 1 else [Message(opcode, whole(parts))]
            expected.append(Message(Opcode.PING, b"?"))
    reader, found = Reader(MOST, masked=mask), []
    for cut in [*cuts, len(stream)]:
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert found == expected
    assert reader.is_between


def whole(parts: list[bytes]) -> bytes | None:
    joined = b"".join(parts)
    return joined if len(joined) <= MOST else None


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_are_written_as_the_library_writes_them(size: int) -> None:
    payload = bytes(size)
    assert head(size) + payload == frame(Opcode.BINARY, payload, mask=False)
    (message,) = Reader(size, masked=True).feed(masked(Opcode.TEXT, payload))
    assert message.said == payload.decode()


def test_in_the_middle_of_a_frame_nothing_can_be_said() -> None:
    reader = Reader(0, masked=False)
    for piece, between in ((b"\x82", False), (b"\x7e\x01\x00", False), (bytes(255), False), (b"\0", True)):
        reader.feed(piece)
        assert reader.is_between is between


def test_parts_of_nothing_are_not_kept() -> None:
    """Two bytes each, and as many as somebody likes to send."""
    reader = Reader(0, masked=False)
    reader.feed(b"\x01\x00")
    tracemalloc.start()
    for _number in range(10):
        reader.feed(b"\x00\x00" * 10_000)
    held, _most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000


def test_frames_of_nothing_do_not_hold_up_everybody_else() -> None:
    Reader(0, masked=False).feed(b"\x82\x00" * MOST_AT_ONCE)
    with pytest.raises(Malformed):
        Reader(0, masked=False).feed(b"\x82\x00" * (MOST_AT_ONCE + 1))


BAD = [
    b"\xc1\x80",
    b"\x84\x80",
    b"\x82\x00",
    b"\x80\x80\0\0\0\0",
    b"\x09\x80",
    b"\x88\xfe",
    b"\x01\x80\0\0\0\0\x81\x80\0\0\0\0",
]


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_frame_is_malformed(bad: bytes) -> None:
    with pytest.raises(Malformed):
        Reader(MOST, masked=True).feed(bad)


def test_a_text_that_is_none_is_malformed() -> None:
    with pytest.raises(Malformed):
        _ = Message(Opcode.TEXT, b"\xff").said
