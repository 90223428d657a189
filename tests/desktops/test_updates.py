"""Where a machine's messages end, with made-up ones and with Debian's Xvnc."""

from __future__ import annotations

import asyncio
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktops import updates
from desktops.rfb import MAX_CUT_TEXT, ProtocolError
from desktops.updates import BROWSERS, Kind, ServerMessage, ServerMessages, Unreadable, Wish, count, desktop_size
from instances.screen import PixelFormat, open_screen, snapshot
from tests.desktops.canvas import Canvas
from tests.desktops.machines import TRUE_COLOUR
from tests.desktops.test_rfb import encodings, pixel_format
from tests.desktops.xvnc import Pencil, xvnc

RGB565 = PixelFormat(16, 16, False, True, 31, 63, 31, 11, 5, 0)
LONG = bytes(range(256)) * 80


def update(*rectangles: bytes, count: int | None = None) -> bytes:
    return struct.pack(">BxH", 0, len(rectangles) if count is None else count) + b"".join(rectangles)


def rectangle(encoding: int, data: bytes = b"", width: int = 8, height: int = 4) -> bytes:
    return struct.pack(">4Hi", 0, 0, width, height, encoding) + data


def counted(data: bytes) -> bytes:
    return count(len(data)) + data


def tight(control: int, data: bytes = b"", width: int = 8, height: int = 4) -> bytes:
    return rectangle(7, bytes([control]) + data, width, height)


RECTANGLES = {
    "raw": rectangle(0, bytes(8 * 4 * 4)),
    "copied": rectangle(1, b"\0\1\0\2"),
    "filled": tight(0x80, b"rgb"),
    "jpeg": tight(0x90, counted(LONG)),
    "full colours": tight(0x00, counted(zlib.compress(LONG[:96]))),
    "another stream": tight(0x20, counted(b"x" * 200)),
    "copy filter": tight(0x40, b"\0" + counted(b"x" * 127)),
    "gradient filter": tight(0x60, b"\2" + counted(b"x" * 128)),
    "two colours": tight(0x50, b"\1\1" + b"rgbRGB" + b"mask"),
    "many colours": tight(0x50, b"\1\2" + b"rgb" * 3 + counted(b"x" * 20)),
    "few pixels": tight(0x00, b"rgb" * 3, 3, 1),
    "pointer": rectangle(-239, bytes(8 * 4 * 4 + 4)),
    "pointer with alpha": rectangle(0x574D5664, b"\1\0" + bytes(8 * 4 * 4)),
    "pointer with masks": rectangle(0x574D5664, b"\0\0" + bytes(8 * 4 * 8)),
    "new size": rectangle(-223),
}
OTHERS = [
    b"\2",
    struct.pack(">BxxxI", 3, 5) + b"hello",
    struct.pack(">BxxxI", 3, 0),
    struct.pack(">BxHH", 1, 0, 2) + bytes(12),
    update(count=0),
    update(tight(0x80, b"rgb"), rectangle(-224), count=0xFFFF),
]
MESSAGES = [update(one) for one in RECTANGLES.values()] + OTHERS + [update(*RECTANGLES.values())]


def reader() -> ServerMessages:
    return ServerMessages(BROWSERS.pixel_format)


@pytest.mark.parametrize("name", RECTANGLES)
def test_every_rectangle_ends_where_it_ends(name: str) -> None:
    said = update(RECTANGLES[name])
    read = reader()
    assert read.receive(said[:-1]) == []
    (message,) = read.receive(said[-1:] + b"\2")[:1]
    assert message.data == said
    assert message.size == ((8, 4) if name == "new size" else None)


@given(st.lists(st.sampled_from(MESSAGES), max_size=12), st.data())
def test_a_stream_is_the_same_however_it_is_cut(stream: list[bytes], data: st.DataObject) -> None:
    said = b"".join(stream)
    cuts = data.draw(st.lists(st.integers(0, len(said)), max_size=30).map(sorted))
    read, got = reader(), list[ServerMessage]()
    for begin, end in zip([0, *cuts], [*cuts, len(said)], strict=True):
        got += read.receive(said[begin:end])
    assert [message.data for message in got] == stream
    assert [message.kind for message in got] == [Kind(message[0]) for message in stream]


def stream(pixels: bytes, number: int = 0, deflate: Any = None, resets: int = 0) -> bytes:
    """An update of 32 pixels that is compressed with this stream, or in a new one."""
    deflate = deflate or zlib.compressobj()
    data = deflate.compress(pixels) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return update(tight(number << 4 | resets, counted(data)))


def noise(seed: int) -> bytes:
    return random.Random(seed).randbytes(96)


def test_compressed_data_goes_on_over_connections() -> None:
    canvas, begun, pictures = Canvas(8, 4), set[int](), [noise(i) for i in range(6)]
    for connection in range(3):
        read, deflate = ServerMessages(BROWSERS.pixel_format), zlib.compressobj()
        for picture in pictures[2 * connection :][:2]:
            (message,) = read.receive(stream(picture, 1, deflate))
            canvas.receive(message.continuing(begun))
            assert canvas.pixels.tobytes() == picture
    assert begun == {1}
    assert canvas.resets == 0


def test_a_stream_that_the_machine_resets_goes_on_as_well() -> None:
    read, canvas, begun = reader(), Canvas(8, 4), set[int]()
    for i in range(3):
        (message,) = read.receive(stream(noise(i), 2, resets=0x0F))
        canvas.receive(message.continuing(begun))
        assert canvas.pixels.tobytes() == noise(i)
    assert canvas.resets == 0


def test_who_comes_first_to_a_stream_gets_it_with_its_head() -> None:
    (message,) = reader().receive(stream(noise(1)))
    assert message.continuing(set()) == message.data
    assert len(message.continuing({0})) == len(message.data) - 2
    assert message.continuing({1, 2, 3}) == message.data


def test_a_stream_without_a_head_is_not_read() -> None:
    with pytest.raises(Unreadable):
        reader().receive(update(tight(0, counted(b"x"))))


@pytest.mark.parametrize("length", [0, 127, 128, 16383, 16384, (1 << 22) - 1])
def test_lengths_are_written_as_they_are_read(length: int) -> None:
    assert updates._counted(count(length) + b"x", 0) == (length, len(count(length)))


def test_pixels_are_as_long_as_their_format_says() -> None:
    read = ServerMessages(RGB565)
    said = [update(rectangle(0, bytes(64))), update(tight(0x80, b"rg")), update(tight(0x00, b"rg" * 3, 3, 1))]
    assert [message.data for message in read.receive(b"".join(said))] == said


@pytest.mark.parametrize(
    "said",
    [
        b"\x96",
        b"\xf8",
        update(rectangle(16, bytes(100))),
        update(rectangle(-308, bytes(20))),
        update(tight(0xA0)),
        update(tight(0x40, b"\3")),
        update(rectangle(-223, width=0)),
        update(rectangle(-223, width=9000)),
        update(rectangle(0, width=65535, height=65535)),
        update(rectangle(0x574D5664, b"\0\0", width=65535, height=65535)),
    ],
)
def test_what_was_not_asked_for_is_not_read(said: bytes) -> None:
    with pytest.raises(Unreadable):
        reader().receive(said + bytes(64))


@given(st.binary(max_size=400))
def test_noise_is_read_or_refused_and_nothing_else(said: bytes) -> None:
    read = reader()
    try:
        for byte in said:
            for message in read.receive(bytes([byte])):
                assert message.data
    except Unreadable:
        pass


def test_a_clipboard_text_that_is_too_long_is_left_out_and_never_kept() -> None:
    read = reader()
    assert read.receive(struct.pack(">BxxxI", 3, MAX_CUT_TEXT + 1)) == []
    for _ in range(MAX_CUT_TEXT // 65536):
        assert read.receive(bytes(65536)) == []
        assert len(read._buffer) <= 65536
    assert [message.data for message in read.receive(b"x\2")] == [b"\2"]


def test_the_news_of_a_size_reads_as_one() -> None:
    (message,) = reader().receive(desktop_size(800, 600))
    assert (message.size, message.data) == ((800, 600), desktop_size(800, 600))


def test_a_wish_is_what_the_viewer_said_of_what_can_be_shared() -> None:
    wish = Wish(RGB565).said(pixel_format())
    assert wish == Wish(TRUE_COLOUR)
    assert wish.said(encodings(16, 5, 0, 1, -308, -1063131698)).encodings == (1, 0)
    assert set(wish.said(encodings(7, -24, -254, -223)).encodings) == {
        7,
        0,
        -223,
        updates._COMPRESSION,
        updates._QUALITY,
    }
    assert wish.orders().startswith(pixel_format())


def test_viewers_who_like_different_qualities_share() -> None:
    assert Wish(RGB565).said(encodings(7, -23, -247)) == Wish(RGB565).said(encodings(7, -32, -256))


@pytest.mark.parametrize("bits", [0, 1, 24, 64, 255])
def test_pixels_of_an_unheard_of_size_are_refused(bits: int) -> None:
    said = bytearray(pixel_format())
    said[4] = bits
    with pytest.raises(ProtocolError):
        Wish(RGB565).said(bytes(said))


async def test_a_real_screen_is_read_to_the_last_pixel() -> None:
    with xvnc(640, 480) as server:
        pencil = Pencil(server)
        pencil.photo(350, 50, 200, 200)
        for i in range(60):
            pencil.fill(i * 0x040506, 10 + i * 9, 300, 5, 60)
        pencil.finish()
        canvas = Canvas(640, 480)
        await _look(server.port, canvas)
        width, height, pixels = await snapshot("127.0.0.1", server.port, "", 5)
        pencil.close()
    real = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    # The snapshot has 16 bits a pixel; what was lossy becomes exact within a second or two.
    assert np.abs(real.astype(int) - canvas.pixels).max() <= 8
    assert canvas.kinds >= {"fill", "palette", "jpeg"}


async def _look(port: int, canvas: Canvas) -> None:
    """Until nothing more comes."""
    screen = await open_screen("127.0.0.1", port, "", 5)
    screen.writer.write(BROWSERS.orders() + struct.pack(">BB4H", 3, 0, 0, 0, 640, 480))
    read = ServerMessages(BROWSERS.pixel_format)
    try:
        while True:
            data = await asyncio.wait_for(screen.reader.read(65536), 3)
            for message in read.receive(data):
                canvas.receive(message.data)
                screen.writer.write(struct.pack(">BB4H", 3, 1, 0, 0, 640, 480))
    except TimeoutError:
        screen.abort()
