"""WebSocket frames, taken apart as they come and put together (RFC 6455, 5.2). Pure."""

from __future__ import annotations

import os
import struct
from enum import IntEnum
from typing import NamedTuple

from websockets.speedups import apply_mask

MOST_AT_ONCE = 32 * 1024
"""Frames in what is read at once: of those with nothing in them there would be several times as many."""

MOST_CONTROL = 125
"""Bytes of a control frame's payload."""


class Opcode(IntEnum):
    CONTINUED = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Malformed(Exception):
    """What no WebSocket without extensions may send."""


class Message(NamedTuple):
    """A whole message or control frame; the payload is None where it is longer than was wanted."""

    opcode: Opcode
    payload: bytes | None

    @property
    def said(self) -> bytes | str | None:
        """Raises Malformed where a text is none."""
        if self.opcode is not Opcode.TEXT or self.payload is None:
            return self.payload
        try:
            return self.payload.decode()
        except UnicodeDecodeError as error:
            raise Malformed("not a text") from error


def head(size: int, opcode: Opcode = Opcode.BINARY, *, masked: bool = False) -> bytes:
    """The head of a final frame with a payload of so many bytes."""
    first, mask = 0x80 | opcode, 0x80 if masked else 0
    if size <= MOST_CONTROL:
        return struct.pack(">BB", first, mask | size)
    if size < 0x10000:
        return struct.pack(">BBH", first, mask | 126, size)
    return struct.pack(">BBQ", first, mask | 127, size)


def masked(opcode: Opcode, payload: bytes) -> bytes:
    """A frame of a client."""
    mask = os.urandom(4)
    return head(len(payload), opcode, masked=True) + mask + apply_mask(payload, mask)


class Reader:
    """One direction of a WebSocket. Messages of up to `most` bytes are held until they are whole, longer ones never."""

    def __init__(self, most: int, *, masked: bool) -> None:
        self.has_closed = False
        self._most = max(most, MOST_CONTROL)
        self._mask_bit = 0x80 if masked else 0
        self._held = bytearray()
        self._to_skip = 0
        self._kind: Opcode | None = None
        self._whole = bytearray()
        self._size = 0

    @property
    def is_between(self) -> bool:
        """Whether the bytes so far end where a frame does."""
        return not self._held and not self._to_skip

    @property
    def is_whole(self) -> bool:
        """Whether they end where a message does; control frames may stand within one."""
        return self.is_between and self._kind is None

    def feed(self, data: bytes) -> list[Message]:
        """What is whole with these bytes; of what is too long, that it came. Raises Malformed."""
        held: bytes | bytearray = data
        if self._held:
            self._held += data
            held = self._held
        found: list[Message] = []
        end, frames = len(held), 0
        at = self._skip(0, end) if self._to_skip else 0
        while end - at >= 2:
            final, opcode, size, begin = self._head(held, at)
            long = size > self._most
            if end < (begin if long else begin + size):
                break
            payload = b"" if long else self._payload(held, begin, size)
            self._to_skip = size if long else 0
            at = self._skip(begin, end) if long else begin + size
            message = self._join(final, opcode, payload, size)
            if message:
                found.append(message)
            frames += 1
            if frames > MOST_AT_ONCE:
                raise Malformed("frames of nothing, without end")
        if held is not data:
            del self._held[:at]
        elif at < end:
            self._held += data[at:]
        return found

    def _skip(self, at: int, end: int) -> int:
        step = min(self._to_skip, end - at)
        self._to_skip -= step
        return at + step

    def _head(self, held: bytes | bytearray, at: int) -> tuple[bool, int, int, int]:
        """Whether it is the last of its message, what it is, the size of its payload and where that begins."""
        first, second = held[at], held[at + 1]
        opcode = first & 0x7F  # with the bits of extensions, which nobody agreed on
        if opcode not in _OPCODES or second & 0x80 != self._mask_bit:
            raise Malformed("not a frame")
        size, begin = second & 0x7F, at + 2
        if opcode >= _CLOSE and (size > MOST_CONTROL or not first & 0x80):
            raise Malformed("not a control frame")
        if size >= 126:
            begin += 2 if size == 126 else 8
            size = int.from_bytes(held[at + 2 : begin], "big")
        return first >= 0x80, opcode, size, begin + (4 if self._mask_bit else 0)

    def _payload(self, held: bytes | bytearray, begin: int, size: int) -> bytes:
        payload = bytes(held[begin : begin + size])
        return apply_mask(payload, bytes(held[begin - 4 : begin])) if self._mask_bit else payload

    def _join(self, final: bool, opcode: int, payload: bytes, size: int) -> Message | None:
        """The message that this frame ends, or the control frame that it is."""
        if opcode >= _CLOSE:
            self.has_closed = self.has_closed or opcode == _CLOSE
            return Message(_OPCODES[opcode], payload)
        if (opcode == 0) is (self._kind is None):
            raise Malformed("a message within a message")
        if self._kind is None and final:
            return Message(_OPCODES[opcode], payload if size <= self._most else None)
        if self._kind is None:
            self._kind, self._whole, self._size = _OPCODES[opcode], bytearray(), 0
        self._size += size
        if self._size <= self._most:
            self._whole += payload
        if not final:
            return None
        kind, self._kind = self._kind, None
        return Message(kind, bytes(self._whole) if self._size <= self._most else None)


_OPCODES = {int(opcode): opcode for opcode in Opcode}
_CLOSE = int(Opcode.CLOSE)
