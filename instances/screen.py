"""An RFB client (RFC 6143): open a machine's screen, ask whether something is drawn on it, take its picture.

asyncio only. The machine is not trusted: every wait has an end and every size that it announces a limit.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from PIL import Image

MAX_SIDE = 8192
"""No screen is wider or higher, in pixels."""

MAX_PIXELS = 7680 * 4320
"""No screen has more pixels (8K UHD)."""

READ_LIMIT = 64 * 1024
"""Bytes; what is read of a screen at a time. Twice this may wait in memory before the machine is slowed."""

_MAX_TEXT = 4096
_MAX_CUT_TEXT = 64 * 1024 * 1024
_NONE, _VNC_AUTH, _VENCRYPT = 1, 2, 19
_VENCRYPT_VERSION, _X509_VNC = b"\x00\x02", 261
_RAW, _CURSOR = 0, -239
_SET_PIXEL_FORMAT, _SET_ENCODINGS, _UPDATE_REQUEST = 0, 2, 3
_UPDATE, _COLOUR_MAP, _BELL, _CUT_TEXT = 0, 1, 2, 3
_DRAWN_SHARE = 0.995


class ScreenUnavailable(Exception):
    """Nobody answers at this address, or not in time, or not in RFB. It may answer later."""


class ScreenRefused(Exception):
    """The machine answers and does not let us in: wrong password, or a security type that we do not speak."""


@dataclass(frozen=True)
class PixelFormat:
    """PIXEL_FORMAT of RFC 6143, 7.4."""

    bits_per_pixel: int
    depth: int
    big_endian: bool
    true_colour: bool
    red_max: int
    green_max: int
    blue_max: int
    red_shift: int
    green_shift: int
    blue_shift: int

    def pack(self) -> bytes:
        return _PIXEL_FORMAT.pack(
            self.bits_per_pixel, self.depth, self.big_endian, self.true_colour,
            self.red_max, self.green_max, self.blue_max, self.red_shift, self.green_shift, self.blue_shift,
        )  # fmt: skip

    @classmethod
    def unpack(cls, data: bytes) -> PixelFormat:
        bits, depth, big_endian, true_colour, *rest = _PIXEL_FORMAT.unpack(data)
        return cls(bits, depth, bool(big_endian), bool(true_colour), *rest)


_PIXEL_FORMAT = struct.Struct(">BBBBHHHBBB3x")
_RGB565 = PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0)


@dataclass
class Screen:
    """An open screen: the handshake is done, both sides may send messages. Sizes in pixels."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    width: int
    height: int
    pixel_format: PixelFormat
    name: str

    def abort(self) -> None:
        """Drop the connection at once, with what was not sent yet."""
        self.writer.transport.abort()


class Rectangle(NamedTuple):
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Tls:
    """What a screen across a network must show: a certificate of `name`, signed by who is in the file `authorities`."""

    authorities: str
    name: str

    def context(self) -> ssl.SSLContext:
        """Raises OSError where the file cannot be read."""
        return ssl.create_default_context(cafile=self.authorities)


async def open_screen(
    host: str,
    port: int,
    password: str,
    timeout: float,  # noqa: ASYNC109 - it bounds several waits
    tls: Tls | None = None,
) -> Screen:
    """Connect and authenticate within `timeout` seconds, asking for a shared session.

    With a password the machine must ask for it: one that lets anybody in is not the one whose password we hold. With
    `tls` nothing but the first words goes unencrypted, and the password goes only to who has the certificate.
    Raises ScreenUnavailable, ScreenRefused.
    """
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port, limit=READ_LIMIT)
            try:
                return await _handshake(reader, writer, password, tls)
            except BaseException:
                writer.transport.abort()
                raise
    except (OSError, asyncio.IncompleteReadError) as cause:
        raise ScreenUnavailable(f"No screen answers at {host}:{port}: {cause!r}") from cause


async def is_drawn(host: str, port: int, password: str, timeout: float) -> bool:  # noqa: ASYNC109
    """Whether more than one flat colour is on the screen, judged by its edges and its middle lines.

    The pointer does not count. Raises ScreenUnavailable, ScreenRefused.
    """
    async with _looking(host, port, password, timeout) as screen:
        colours: Counter[bytes] = Counter()
        async for _, pixels in _pixels(screen, _samples(screen.width, screen.height)):
            colours.update(pixels[i : i + 2] for i in range(0, len(pixels), 2))
    return colours.most_common(1)[0][1] < _DRAWN_SHARE * colours.total()


async def snapshot(host: str, port: int, password: str, timeout: float) -> tuple[int, int, bytes]:  # noqa: ASYNC109
    """Width, height and the pixels of the whole screen, three bytes each: red, green, blue, row by row.

    Raises ScreenUnavailable, ScreenRefused.
    """
    async with _looking(host, port, password, timeout) as screen:
        stride = screen.width * 2
        canvas = bytearray(stride * screen.height)
        async for area, pixels in _pixels(screen, [Rectangle(0, 0, screen.width, screen.height)]):
            _paste(canvas, stride, area, pixels)
    picture = Image.frombytes("RGB", (screen.width, screen.height), bytes(canvas), "raw", "BGR;16")
    return screen.width, screen.height, picture.tobytes()


async def _handshake(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, password: str, tls: Tls | None
) -> Screen:
    version = await _agree_on_version(reader, writer)
    await _authenticate(reader, writer, version, password, tls)
    writer.write(b"\x01")
    width, height = struct.unpack(">HH", await reader.readexactly(4))
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise ScreenUnavailable(f"A screen of {width} x {height} pixels is not one that we show.")
    pixel_format = PixelFormat.unpack(await reader.readexactly(16))
    return Screen(reader, writer, width, height, pixel_format, await _text(reader))


async def _agree_on_version(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """The minor version of RFB 3 that both speak: 3, 7 or 8 (RFC 6143, 7.1.1)."""
    said = await reader.readexactly(12)
    match = re.fullmatch(rb"RFB (\d{3})\.(\d{3})\n", said)
    if not match or match[1] < b"003":
        raise ScreenUnavailable(f"What answers does not speak RFB but begins with {said!r}.")
    minor = 8 if match[1] > b"003" or match[2] >= b"008" else 7 if match[2] == b"007" else 3
    writer.write(b"RFB 003.%03d\n" % minor)
    return minor


async def _authenticate(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int, password: str, tls: Tls | None
) -> None:
    wanted = _VENCRYPT if tls else _VNC_AUTH if password else _NONE
    offered = await _security_types(reader, version)
    if wanted not in offered:
        raise ScreenRefused(f"The machine offers the security types {sorted(offered)}, not {wanted}.")
    if version > 3:  # In RFB 3.3 the server decides alone
        writer.write(bytes([wanted]))
    if tls:
        await _encrypt(reader, writer, tls)
    if password:
        writer.write(vnc_response(password, await reader.readexactly(16)))
    elif version < 8:  # Before RFB 3.8 there is no result after "none"
        return
    if await _number(reader) != 0:
        why = await _text(reader) if version >= 8 else "no reason given"
        raise ScreenRefused(f"The machine did not accept our password: {why!r}")


async def _encrypt(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tls: Tls) -> None:
    """VeNCrypt 0.2 (the community's RFB specification, 7.2.19), as a server with a certificate and a password."""
    if await reader.readexactly(2) != _VENCRYPT_VERSION:
        raise ScreenRefused("The machine speaks another version of VeNCrypt than 0.2.")
    writer.write(_VENCRYPT_VERSION)
    accepted, count = await reader.readexactly(2)
    ways = struct.unpack(f">{count}I", await reader.readexactly(4 * count))
    if accepted != 0 or _X509_VNC not in ways:
        raise ScreenRefused(f"The machine offers the ways {ways}, and not a certificate with a password.")
    writer.write(struct.pack(">I", _X509_VNC))
    if await reader.readexactly(1) != b"\x01":
        raise ScreenRefused("The machine did not begin with TLS.")
    await writer.start_tls(tls.context(), server_hostname=tls.name)


async def _security_types(reader: asyncio.StreamReader, version: int) -> set[int]:
    if version == 3:
        types = {await _number(reader)}
    else:
        types = set(await reader.readexactly((await reader.readexactly(1))[0])) or {0}
    if types == {0}:
        raise ScreenRefused(f"The machine turned us away: {await _text(reader)!r}")
    return types


def vnc_response(password: str, challenge: bytes) -> bytes:
    """The answer to a challenge of VNC Authentication (RFC 6143, 7.2.2): DES, each byte of the key mirrored."""
    key = password.encode("latin-1", "replace")[:8].ljust(8, b"\0")
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in key)
    encryptor = Cipher(TripleDES(mirrored * 3), modes.ECB()).encryptor()  # noqa: S305 - the protocol's own choice
    return encryptor.update(challenge) + encryptor.finalize()


@asynccontextmanager
async def _looking(host: str, port: int, password: str, timeout: float) -> AsyncIterator[Screen]:  # noqa: ASYNC109
    """A screen set to 16 bits a pixel, raw; everything done with it ends within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            screen = await open_screen(host, port, password, timeout)
            try:
                screen.writer.write(struct.pack(">B3x", _SET_PIXEL_FORMAT) + _RGB565.pack())
                # Whoever takes the pointer's shape apart gets pictures without a pointer in them.
                screen.writer.write(struct.pack(">BxH2i", _SET_ENCODINGS, 2, _RAW, _CURSOR))
                yield screen
            finally:
                screen.abort()
    except (OSError, asyncio.IncompleteReadError) as cause:
        raise ScreenUnavailable(f"The screen at {host}:{port} stopped answering: {cause!r}") from cause


def _samples(width: int, height: int) -> Sequence[Rectangle]:
    """Strips of at most four pixels along the top, the bottom and both middle lines."""
    thick = min(4, width, height)
    return (
        Rectangle(0, 0, width, thick),
        Rectangle(0, height - thick, width, thick),
        Rectangle(0, (height - thick) // 2, width, thick),
        Rectangle((width - thick) // 2, 0, thick, height),
    )


async def _pixels(screen: Screen, wanted: Iterable[Rectangle]) -> AsyncIterator[tuple[Rectangle, bytes]]:
    """Ask for each rectangle in turn and yield what arrives until it is covered."""
    for rectangle in wanted:
        screen.writer.write(struct.pack(">BB4H", _UPDATE_REQUEST, 0, *rectangle))
        missing = rectangle.width * rectangle.height
        while missing > 0:
            for _ in range(await _next_update(screen.reader)):
                area, pixels = await _rectangle(screen)
                if pixels:
                    missing -= area.width * area.height
                    yield area, pixels


async def _next_update(reader: asyncio.StreamReader) -> int:
    """Skip what else a server may say (RFC 6143, 7.6) and return how many rectangles the next update has."""
    while (kind := (await reader.readexactly(1))[0]) != _UPDATE:
        if kind == _COLOUR_MAP:
            _, colours = struct.unpack(">xHH", await reader.readexactly(5))
            await _skip(reader, colours * 6)
        elif kind == _CUT_TEXT:
            (length,) = struct.unpack(">3xi", await reader.readexactly(7))
            await _skip(reader, abs(length))
        elif kind != _BELL:
            raise ScreenUnavailable(f"The screen sent a message of the unknown type {kind}.")
    (count,) = struct.unpack(">xH", await reader.readexactly(3))
    return int(count)


async def _rectangle(screen: Screen) -> tuple[Rectangle, bytes]:
    """The next rectangle of an update; no pixels where it is a pointer's shape."""
    *where, encoding = struct.unpack(">4Hi", await screen.reader.readexactly(12))
    area = Rectangle(*where)
    if encoding == _CURSOR:
        await _skip(screen.reader, area.width * area.height * 2 + (area.width + 7) // 8 * area.height)
        return area, b""
    inside = area.x + area.width <= screen.width and area.y + area.height <= screen.height
    if encoding != _RAW or not inside:
        raise ScreenUnavailable(f"The screen sent {area} in encoding {encoding}, which was not asked for.")
    return area, await screen.reader.readexactly(area.width * area.height * 2)


def _paste(canvas: bytearray, stride: int, area: Rectangle, pixels: bytes) -> None:
    row = area.width * 2
    for line in range(area.height):
        start = (area.y + line) * stride + area.x * 2
        canvas[start : start + row] = pixels[line * row : (line + 1) * row]


async def _number(reader: asyncio.StreamReader) -> int:
    return int.from_bytes(await reader.readexactly(4), "big")


async def _text(reader: asyncio.StreamReader) -> str:
    length = await _number(reader)
    if length > _MAX_TEXT:
        raise ScreenUnavailable(f"The machine announced a text of {length} bytes.")
    return (await reader.readexactly(length)).decode("utf-8", "replace")


async def _skip(reader: asyncio.StreamReader, length: int) -> None:
    if length > _MAX_CUT_TEXT:
        raise ScreenUnavailable(f"The screen announced a message of {length} bytes.")
    while length > 0:
        length -= len(await reader.readexactly(min(length, READ_LIMIT)))
