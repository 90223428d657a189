"""The machine's side of RFB (RFC 6143), sans-I/O: where its messages end, so that several viewers can have them.

Understood is what can be given to viewers who come at different times, and no more is asked for: raw, CopyRect and
Tight rectangles, pointers' shapes, and changes of size. https://github.com/rfbproto/rfbproto/blob/master/rfbproto.rst
"""

from __future__ import annotations

import struct
from collections.abc import Generator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

from desktops.rfb import ENCODINGS, MAX_CUT_TEXT, PIXEL_FORMAT, ProtocolError
from instances.screen import MAX_PIXELS, MAX_SIDE, READ_LIMIT, PixelFormat

MAX_MESSAGE = 64 * 1024 * 1024
"""Bytes; no update of a screen is larger."""

RAW, COPY_RECT, TIGHT = 0, 1, 7
DESKTOP_SIZE, LAST_RECT, CURSOR, VMWARE_CURSOR = -223, -224, -239, 0x574D5664

EMPTY_UPDATE = b"\0\0\0\0"

_QUALITIES = range(-32, -22)
_QUALITY, _COMPRESSION = -26, -254
_ENCODINGS = (TIGHT, COPY_RECT, RAW, LAST_RECT, DESKTOP_SIZE, VMWARE_CURSOR, CURSOR)
_ENDLESS = 0xFFFF
_FILL, _JPEG = 8, 9
_PALETTE, _MAX_FILTER = 1, 2
_UNCOMPRESSED = 12
_RESETS = 0x0F
_ZLIB_HEAD = 2

Steps = Generator[int, None, int]
"""Yields how many bytes must have come before it can go on; returns where the next thing begins."""


class Kind(IntEnum):
    """What a machine says (RFC 6143, 7.6)."""

    UPDATE = 0
    COLOURS = 1
    BELL = 2
    CUT_TEXT = 3


class ServerMessage(NamedTuple):
    """One whole message; `size` is the screen's new one, in pixels, where it changes with it.

    `beginnings`: the numbers of Tight's compression streams that begin here, and where the length of their data stands.
    """

    kind: Kind
    data: bytes
    size: tuple[int, int] | None = None
    beginnings: tuple[tuple[int, int], ...] = ()

    def continuing(self, begun: set[int]) -> bytes:
        """The message for a viewer with whom the streams in `begun` have begun before; what begins now is added.

        A viewer's streams go on over connections: data refers to nothing before its own beginning, and without its
        head (RFC 1950, 2.2) it is a continuation. Resetting a stream instead is more than noVNC's inflater survives.
        """
        parts, at = [], 0
        for stream, place in self.beginnings:
            if stream in begun:
                length, end = _counted(self.data, place)
                parts += [self.data[at:place], count(length - _ZLIB_HEAD)]
                at = end + _ZLIB_HEAD
            begun.add(stream)
        return b"".join([*parts, self.data[at:]]) if parts else self.data


class Unreadable(Exception):
    """The machine said something that it was not asked for."""


@dataclass(frozen=True)
class Wish:
    """How a viewer wants to be shown a screen. Those with the same wish can share."""

    pixel_format: PixelFormat
    encodings: tuple[int, ...] = (RAW,)

    def said(self, message: bytes) -> Wish:
        """The wish after the viewer's SetPixelFormat or SetEncodings. Raises ProtocolError."""
        if message[0] == PIXEL_FORMAT:
            wanted = PixelFormat.unpack(message[4:])
            if wanted.bits_per_pixel not in (8, 16, 32):
                raise ProtocolError(f"Pixels of {wanted.bits_per_pixel} bits are not known here.")
            return replace(self, pixel_format=wanted)
        return replace(self, encodings=shared_encodings(struct.unpack(f">{(len(message) - 4) // 4}i", message[4:])))

    def orders(self) -> bytes:
        """SetPixelFormat and SetEncodings for the machine."""
        set_format = struct.pack(">B3x", PIXEL_FORMAT) + self.pixel_format.pack()
        return set_format + struct.pack(f">BxH{len(self.encodings)}i", ENCODINGS, len(self.encodings), *self.encodings)


def shared_encodings(announced: tuple[int, ...]) -> tuple[int, ...]:
    """Those of a viewer's encodings that can be shared, with one quality for all."""
    kept = [encoding for encoding in _ENCODINGS if encoding in announced or encoding == RAW]
    if TIGHT in kept:
        kept += [_COMPRESSION, *[_QUALITY for encoding in announced if encoding in _QUALITIES][:1]]
    return tuple(kept)


BROWSERS = Wish(PixelFormat(32, 24, False, True, 255, 255, 255, 0, 8, 16), shared_encodings((*_ENCODINGS, _QUALITY)))
"""What noVNC says, which is in the page."""


def desktop_size(width: int, height: int) -> bytes:
    """An update that says nothing but the screen's size."""
    return struct.pack(">BxH4Hi", Kind.UPDATE, 1, 0, 0, width, height, DESKTOP_SIZE)


def count(length: int) -> bytes:
    """A length as Tight writes it: seven bits in each of the first two bytes and eight in a third."""
    if length < 1 << 7:
        return bytes([length])
    if length < 1 << 14:
        return bytes([length & 0x7F | 0x80, length >> 7])
    return bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14])


def _counted(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """The length that is written there, and where it ends."""
    length = data[at] & 0x7F
    if data[at] < 0x80:
        return length, at + 1
    length |= (data[at + 1] & 0x7F) << 7
    if data[at + 1] < 0x80:
        return length, at + 2
    return length | data[at + 2] << 14, at + 3


class ServerMessages:
    """Takes one connection's stream apart, from after the handshake on.

    At most one message is kept; clipboard texts that are too long are left out.
    """

    def __init__(self, pixel_format: PixelFormat) -> None:
        self._pixel = pixel_format.bits_per_pixel // 8
        self._tight_pixel = 3 if _is_24_bit(pixel_format) else self._pixel
        self._buffer = bytearray()
        self._whole: list[ServerMessage] = []
        self._size: tuple[int, int] | None = None
        self._begun: set[int] = set()
        self._beginnings: list[tuple[int, int]] = []
        self._reading = self._read()
        self._needed = next(self._reading)

    def receive(self, data: bytes) -> list[ServerMessage]:
        """The messages that are whole now. Raises Unreadable."""
        self._buffer += data
        while len(self._buffer) >= self._needed:
            self._needed = next(self._reading)
            if self._needed > MAX_MESSAGE:
                raise Unreadable(f"A message of more than {self._needed} bytes is not for us.")
        whole, self._whole = self._whole, []
        return whole

    def _read(self) -> Generator[int]:
        readers = {
            Kind.UPDATE: self._update,
            Kind.COLOURS: self._colours,
            Kind.BELL: self._bell,
            Kind.CUT_TEXT: self._cut_text,
        }
        while True:
            yield 1
            kind = self._buffer[0]
            if kind not in readers:
                raise Unreadable(f"A message of the type {kind} was not asked for.")
            self._size, self._beginnings = None, []
            end = yield from readers[Kind(kind)]()
            if end:
                yield end
                data = bytes(self._buffer[:end])
                self._whole.append(ServerMessage(Kind(kind), data, self._size, tuple(self._beginnings)))
                del self._buffer[:end]

    def _update(self) -> Steps:
        yield 4
        count, at = self._number(2, 2), 4
        for _ in range(count):
            yield at + 12
            width, height, encoding = struct.unpack_from(">4xHHi", self._buffer, at)
            at += 12
            if encoding == LAST_RECT and count == _ENDLESS:
                break
            at = yield from self._rectangle(encoding, at, width, height)
        return at

    def _rectangle(self, encoding: int, at: int, width: int, height: int) -> Steps:
        if encoding == TIGHT:
            return (yield from self._tight(at, width, height))
        if encoding == DESKTOP_SIZE:
            if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
                raise Unreadable(f"A screen of {width} x {height} pixels is not one that we show.")
            self._size = width, height
            return at
        if encoding == VMWARE_CURSOR:
            yield at + 2
            return at + 2 + width * height * (8 if self._buffer[at] == 0 else 4)
        sizes = {
            RAW: width * height * self._pixel,
            COPY_RECT: 4,
            CURSOR: width * height * self._pixel + (width + 7) // 8 * height,
        }
        if encoding not in sizes:
            raise Unreadable(f"The encoding {encoding} was not asked for.")
        return at + sizes[encoding]

    def _tight(self, at: int, width: int, height: int) -> Steps:
        yield at + 1
        # A stream that the machine resets begins anew like those of a new connection.
        self._begun -= {number for number in range(4) if self._buffer[at] >> number & 1}
        self._buffer[at] &= ~_RESETS
        way = self._buffer[at] >> 4
        if way == _FILL:
            return at + 1 + self._tight_pixel
        if way == _JPEG:
            return (yield from self._data(at + 1))
        if way > _JPEG:
            raise Unreadable(f"Tight has no compression {way}.")
        return (yield from self._basic(at + 1, width, height, way))

    def _basic(self, at: int, width: int, height: int, way: int) -> Steps:
        row = width * self._tight_pixel
        if way & 4:
            yield at + 2
            kind, colours = self._buffer[at], self._buffer[at + 1] + 1
            if kind > _MAX_FILTER:
                raise Unreadable(f"Tight has no filter {kind}.")
            at += 1
            if kind == _PALETTE:
                at += 1 + colours * self._tight_pixel
                row = (width + 7) // 8 if colours <= 2 else width
        if row * height < _UNCOMPRESSED:
            return at + row * height
        end = yield from self._data(at)
        if way & 3 not in self._begun:
            if _counted(self._buffer, at)[0] < _ZLIB_HEAD:
                raise Unreadable("A compression stream begins without its head.")
            self._begun.add(way & 3)
            self._beginnings.append((way & 3, at))
        return end

    def _data(self, at: int) -> Steps:
        """Bytes after their length."""
        size = 1
        while True:
            yield at + size
            if size == 3 or self._buffer[at + size - 1] < 0x80:
                length, begin = _counted(self._buffer, at)
                return begin + length
            size += 1

    def _colours(self) -> Steps:
        yield 6
        return 6 + 6 * self._number(4, 2)

    def _bell(self) -> Steps:
        yield from ()
        return 1

    def _cut_text(self) -> Steps:
        yield 8
        length = self._number(4, 4)
        if length <= MAX_CUT_TEXT:
            return 8 + length
        left = 8 + length
        while left:
            piece = min(left, READ_LIMIT)
            yield piece
            del self._buffer[:piece]
            left -= piece
        return 0

    def _number(self, at: int, width: int) -> int:
        return int.from_bytes(self._buffer[at : at + width], "big")


def _is_24_bit(f: PixelFormat) -> bool:
    """Whether Tight leaves out the fourth byte of a pixel."""
    deep = f.true_colour and f.bits_per_pixel == 32 and f.depth == 24
    return deep and f.red_max == f.green_max == f.blue_max == 255
