"""The browser's side of RFB (RFC 6143), sans-I/O: the handshake, and what a viewer may say to a machine.

Nothing here reads or writes; bytes come in, bytes to pass on come out. Message numbers and extensions beyond the RFC:
https://github.com/rfbproto/rfbproto/blob/master/rfbproto.rst
"""

from __future__ import annotations

import struct
import unicodedata
from enum import StrEnum

from instances.screen import MAX_PIXELS, MAX_SIDE, PixelFormat

MAX_CUT_TEXT = 10 * 1024 * 1024
"""Bytes; a longer text is not passed on."""

_VERSION = b"RFB 003.008\n"
_NONE = b"\x01"
_MAX_NAME = 120
_MAX_ENCODINGS = 256
_MAX_FENCE = 64
_MAX_HELD = 64


class ProtocolError(Exception):
    """The viewer said something that is not RFB, or that we never pass on; the connection must end."""


class Role(StrEnum):
    """What a viewer may do: WATCH sees, CONTROL also types, points, pastes and resizes."""

    WATCH = "watch"
    CONTROL = "control"


class Handshake:
    """The server's side of the RFB 3.8 handshake. It asks for no password: who may come in was decided before.

    Send `greeting`, then feed what the viewer says and send what `receive` returns until `done`. `rest` is what the
    viewer sent after it: the beginning of its messages.
    """

    greeting = _VERSION

    def __init__(self, width: int, height: int, pixel_format: PixelFormat, name: str) -> None:
        title = clean_name(name).encode()
        self._server_init = struct.pack(">HH", width, height) + pixel_format.pack() + _packed(title)
        self._awaited = [
            (_VERSION, b"\x01" + _NONE),
            (_NONE, b"\0\0\0\0"),
            (None, self._server_init),
        ]
        self.rest = b""

    @property
    def done(self) -> bool:
        return not self._awaited

    def receive(self, data: bytes) -> bytes:
        """What to answer; empty while more is needed. Raises ProtocolError."""
        self.rest += data
        answers = []
        while self._awaited:
            expected, answer = self._awaited[0]
            # ClientInit is one byte, shared or not; we share always.
            size = len(expected) if expected else 1
            if expected and not expected.startswith(self.rest[:size]):
                raise ProtocolError(f"{self.rest[:size]!r} came instead of {expected!r}.")
            if len(self.rest) < size:
                break
            answers.append(answer)
            self.rest = self.rest[size:]
            del self._awaited[0]
        return b"".join(answers)


def clean_name(name: str) -> str:
    """A machine's name for its screen, without control characters and not endless."""
    return "".join(c for c in name if unicodedata.category(c)[0] != "C")[:_MAX_NAME]


def _packed(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


PIXEL_FORMAT, ENCODINGS, UPDATE_REQUEST = 0, 2, 3
_KEY, _POINTER, _CUT_TEXT = 4, 5, 6
_CONTINUOUS_UPDATES, _FENCE, _DESKTOP_SIZE, _QEMU = 150, 248, 251, 255

FIXED_SIZE = {PIXEL_FORMAT: 20, UPDATE_REQUEST: 10, _KEY: 8, _POINTER: 6, _CONTINUOUS_UPDATES: 10, _QEMU: 12}
"""Bytes of the messages that always have the same length."""

WATCHED = frozenset({PIXEL_FORMAT, ENCODINGS, UPDATE_REQUEST, _CONTINUOUS_UPDATES, _FENCE})
"""What everybody may send: how to be shown the picture, and when."""

CONTROLLED = frozenset({_KEY, _POINTER, _CUT_TEXT, _DESKTOP_SIZE, _QEMU})
"""What only CONTROL may send."""

INPUT = frozenset({_KEY, _POINTER, _CUT_TEXT, _QEMU})

# Encodings by which a viewer says that it will send messages which are refused here or whose length would then change:
# QEMU audio, gii, xvp, extended mouse buttons. The machine never hears of them, so both sides read the same stream.
REFUSED_ENCODINGS = frozenset({-259, -305, -309, -316})

# A viewer that did not announce this may not ask for another size: Xvnc 1.12 falls over such a request.
_EXTENDED_DESKTOP_SIZE = -308


class ClientMessages:
    """Takes a viewer's stream apart and lets through what its role may send.

    A message of a role that one does not have is left out; an unknown one raises ProtocolError. `role` may change at
    any moment and counts from the next message on. `inputs` counts what a person did: keys, pointer, clipboard.
    No more than one message of a few KiB is ever kept; clipboard texts stream through.
    """

    def __init__(self, role: Role) -> None:
        self.role = role
        self.inputs = 0
        self._kept = b""
        self._streaming = 0
        self._streaming_passes = False
        self._held_keys: dict[int, bytes] = {}
        self._pointer = b"\0\0\0\0"
        self._held_buttons = False
        self._resizes = False

    def receive(self, data: bytes) -> bytes:
        """The bytes to pass on to the machine. Raises ProtocolError."""
        return b"".join(self.take_apart(data))

    def take_apart(self, data: bytes) -> list[bytes]:
        """The same, message by message; of a clipboard text its head and pieces. Raises ProtocolError."""
        passed: list[bytes] = []
        data = self._kept + data if self._kept else data
        at = 0
        while at < len(data):
            if self._streaming:
                chunk = data[at : at + self._streaming]
                self._streaming -= len(chunk)
                at += len(chunk)
                if self._streaming_passes:
                    passed.append(chunk)
                continue
            size = self._size(data, at)
            if size is None or at + size > len(data):
                break
            if message := self._filtered(data[at : at + size]):
                passed.append(message)
            at += size
        self._kept = data[at:]
        return passed

    def release(self) -> bytes:
        """What lets go of every key and button that this viewer holds down; for one who loses control."""
        let_go = b"".join(self._held_keys.values())
        if self._held_buttons:
            let_go += struct.pack(">BB", _POINTER, 0) + self._pointer
        self._held_keys.clear()
        self._held_buttons = False
        return let_go

    def _size(self, data: bytes, at: int) -> int | None:
        """Bytes of the message at `at`, of a clipboard text only its head; None where too little came to tell."""
        kind = data[at]
        if kind not in WATCHED and kind not in CONTROLLED:
            raise ProtocolError(f"A message of the type {kind} is not known here.")
        if kind == _QEMU and data[at + 1 : at + 2] not in (b"", b"\0"):
            raise ProtocolError(f"A QEMU message of the type {data[at + 1]} is not known here.")
        if kind in FIXED_SIZE:
            return FIXED_SIZE[kind]
        if kind == _CUT_TEXT:
            return 8
        return self._counted_size(kind, data, at)

    def _counted_size(self, kind: int, data: bytes, at: int) -> int | None:
        head, offset, width, most = {
            ENCODINGS: (4, 2, 4, _MAX_ENCODINGS),
            _FENCE: (9, 8, 1, _MAX_FENCE),
            _DESKTOP_SIZE: (8, 6, 16, 255),
        }[kind]
        if at + head > len(data):
            return None
        count = int.from_bytes(data[at + offset : at + 4], "big") if kind == ENCODINGS else data[at + offset]
        if count > most:
            raise ProtocolError(f"A message of the type {kind} announces {count} parts.")
        return head + count * width

    def _filtered(self, message: bytes) -> bytes:
        """The message, or what of it may pass."""
        kind = message[0]
        allowed = kind in WATCHED or self.role is Role.CONTROL
        if kind == _CUT_TEXT:
            allowed = self._begin_text(message, allowed)
        if not allowed:
            return b""
        if kind in INPUT:
            self.inputs += 1
            self._remember(kind, message)
        if kind == ENCODINGS:
            return self._agreed(message)
        if kind == _DESKTOP_SIZE and not (self._resizes and _sane_size(message)):
            return b""
        return message

    def _agreed(self, message: bytes) -> bytes:
        encodings = struct.unpack(f">{(len(message) - 4) // 4}i", message[4:])
        kept = [encoding for encoding in encodings if encoding not in REFUSED_ENCODINGS]
        self._resizes = _EXTENDED_DESKTOP_SIZE in kept
        return struct.pack(f">BxH{len(kept)}i", ENCODINGS, len(kept), *kept)

    def _begin_text(self, head: bytes, allowed: bool) -> bool:
        # A negative length announces the extended clipboard; its absolute value counts.
        length = abs(int.from_bytes(head[4:8], "big", signed=True))
        self._streaming = length
        self._streaming_passes = allowed and length <= MAX_CUT_TEXT
        return self._streaming_passes

    def _remember(self, kind: int, message: bytes) -> None:
        if kind == _POINTER:
            self._held_buttons = message[1] != 0
            self._pointer = message[2:]
        elif kind == _KEY:
            self._hold(message[4:8], message[1] != 0, struct.pack(">B3x", _KEY) + message[4:])
        elif kind == _QEMU:
            self._hold(message[4:8], message[2:4] != b"\0\0", message[:2] + b"\0\0" + message[4:])

    def _hold(self, keysym: bytes, down: bool, let_go: bytes) -> None:
        key = int.from_bytes(keysym, "big")
        if not down:
            self._held_keys.pop(key, None)
        elif len(self._held_keys) < _MAX_HELD:
            self._held_keys[key] = let_go


def _sane_size(message: bytes) -> bool:
    width, height = (int.from_bytes(message[at : at + 2], "big") for at in (2, 4))
    return 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS
