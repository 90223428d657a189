"""Opening screens and looking at them, on RFB servers of our own and on QEMU's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instances.screen import (
    MAX_SIDE,
    PixelFormat,
    ScreenRefused,
    ScreenUnavailable,
    is_drawn,
    open_screen,
    snapshot,
)
from tests.desktops.machines import TRUE_COLOUR, Babbling, Hasty, Machine, Painter, Silent, listening
from tests.servers import wait_until

HERE = "127.0.0.1"
SECRET = "s3cretpw"
RED, GREEN, BLUE = 0xF800, 0x07E0, 0x001F


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HERE, 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("version", [3, 7, 8])
@pytest.mark.parametrize("password", ["", SECRET])
async def test_every_version_opens_with_and_without_a_password(version: int, password: str) -> None:
    async with listening(Machine(version=version, password=password)) as machine:
        screen = await open_screen(HERE, machine.port, password, 5)
        assert (screen.width, screen.height, screen.name) == (64, 48, "machine")
        assert screen.pixel_format == TRUE_COLOUR
        screen.abort()


@pytest.mark.parametrize("version", [3, 7, 8])
async def test_a_wrong_password_is_refused(version: int) -> None:
    async with listening(Machine(version=version, password=SECRET)) as machine:
        with pytest.raises(ScreenRefused):
            await open_screen(HERE, machine.port, "another", 5)


async def test_a_machine_that_lets_anybody_in_is_not_the_one_whose_password_we_hold() -> None:
    async with listening(Machine(offers=b"\x01")) as machine:
        with pytest.raises(ScreenRefused):
            await open_screen(HERE, machine.port, SECRET, 5)


async def test_an_unknown_security_type_is_refused() -> None:
    async with listening(Machine(offers=b"\x13\x12")) as machine:
        with pytest.raises(ScreenRefused):
            await open_screen(HERE, machine.port, SECRET, 5)


async def test_a_password_longer_than_eight_characters_counts_by_its_first_eight() -> None:
    async with listening(Machine(password=SECRET)) as machine:
        (await open_screen(HERE, machine.port, SECRET + "-and-more", 5)).abort()


@pytest.mark.parametrize("kind", [Silent, Babbling, Hasty])
async def test_what_does_not_speak_rfb_is_unavailable(kind: type[Machine]) -> None:
    async with listening(kind()) as machine:
        with pytest.raises(ScreenUnavailable):
            await open_screen(HERE, machine.port, SECRET, 0.3)


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(ScreenUnavailable):
        await open_screen(HERE, free_port(), SECRET, 5)


@pytest.mark.parametrize("size", [(0, 48), (64, 0), (MAX_SIDE + 1, 10), (65535, 65535), (MAX_SIDE, MAX_SIDE)])
async def test_an_absurd_size_is_refused(size: tuple[int, int]) -> None:
    async with listening(Machine(size=size)) as machine:
        with pytest.raises(ScreenUnavailable):
            await open_screen(HERE, machine.port, "", 5)


async def test_an_endless_name_is_refused() -> None:
    async with listening(Machine(name=b"x" * 5000)) as machine:
        with pytest.raises(ScreenUnavailable):
            await open_screen(HERE, machine.port, "", 5)


@pytest.mark.parametrize("colour", [0, 0xFFFF, RED])
async def test_one_flat_colour_is_not_drawn(colour: int) -> None:
    async with listening(Painter(paint=lambda x, y: colour)) as machine:
        assert not await is_drawn(HERE, machine.port, "", 5)


@pytest.mark.parametrize(
    "paint",
    [
        lambda x, y: RED if y > 45 else 0,  # a panel at the bottom
        lambda x, y: RED if y < 2 else 0,  # a panel at the top
        lambda x, y: (x * 7 + y * 13) & 0xFFFF,  # a picture
    ],
)
async def test_a_panel_or_a_picture_is_drawn(paint: object) -> None:
    async with listening(Painter(password=SECRET, paint=paint)) as machine:  # type: ignore[arg-type]
        assert await is_drawn(HERE, machine.port, SECRET, 5)


async def test_a_pointer_alone_is_not_drawn() -> None:
    w, h = 16, 16
    shape = struct.pack(">4Hi", 0, 0, w, h, -239) + b"\xff\x00" * (w * h) + b"\xff" * (2 * h)
    async with listening(Painter(before_updates=struct.pack(">BxH", 0, 1) + shape)) as machine:
        assert not await is_drawn(HERE, machine.port, "", 5)


async def test_a_snapshot_has_every_pixel_in_its_place() -> None:
    corners = {(0, 0): RED, (63, 0): GREEN, (0, 47): BLUE}
    async with listening(Painter(paint=lambda x, y: corners.get((x, y), 0), bands=5)) as machine:
        width, height, pixels = await snapshot(HERE, machine.port, "", 5)
    assert (width, height, len(pixels)) == (64, 48, 64 * 48 * 3)
    assert pixels[:3] == b"\xff\0\0"
    assert pixels[63 * 3 : 64 * 3] == b"\0\xff\0"
    assert pixels[47 * 64 * 3 : 47 * 64 * 3 + 3] == b"\0\0\xff"
    assert pixels.count(0) == len(pixels) - 3


async def test_other_messages_between_updates_are_passed_over() -> None:
    bell, text = b"\x02", b"\x03\0\0\0" + struct.pack(">i", 200_000) + bytes(200_000)
    colours = struct.pack(">BxHH", 1, 0, 2) + bytes(12)
    extended = b"\x03\0\0\0" + struct.pack(">i", -4) + bytes(4)
    async with listening(Painter(before_updates=bell + text + colours + extended)) as machine:
        assert (await snapshot(HERE, machine.port, "", 5))[:2] == (64, 48)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x99",
        struct.pack(">BxH4Hi", 0, 1, 60, 0, 10, 10, 0),  # beyond the edge
        struct.pack(">BxH4Hi", 0, 1, 0, 0, 10, 10, 7),  # an encoding that was not asked for
        b"\x03\0\0\0" + struct.pack(">i", -(2**31)),
    ],
)
async def test_nonsense_ends_the_look(nonsense: bytes) -> None:
    async with listening(Painter(before_updates=nonsense)) as machine:
        with pytest.raises(ScreenUnavailable):
            await snapshot(HERE, machine.port, "", 5)


async def test_a_screen_that_never_updates_does_not_hold_anybody() -> None:
    async with listening(Machine()) as machine:
        with pytest.raises(ScreenUnavailable):
            await is_drawn(HERE, machine.port, "", 0.3)
        await machine.until(lambda: not machine.writers)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_a_server_says_ends_in_an_answer_or_one_of_two_errors(said: bytes) -> None:
    async def meet() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"RFB 003.008\n" + said)
            writer.write_eof()
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, HERE, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with contextlib.suppress(ScreenUnavailable, ScreenRefused):
                (await open_screen(HERE, port, "", 5)).abort()

    asyncio.run(meet())


@given(
    st.tuples(
        *[st.integers(0, 255)] * 2, *[st.booleans()] * 2, *[st.integers(0, 65535)] * 3, *[st.integers(0, 255)] * 3
    )
)
def test_a_pixel_format_survives_its_packing(fields: tuple[int, ...]) -> None:
    packed = PixelFormat(*fields)  # type: ignore[arg-type]
    assert PixelFormat.unpack(packed.pack()) == packed


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HERE, port)) == 0


@pytest.fixture(scope="module")
def qemu_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """QEMU's own VNC server with a password, of a machine that is not running."""
    port = free_port()
    secret: Path = tmp_path_factory.mktemp("qemu") / "password"
    secret.write_text(SECRET)
    command = ["qemu-system-x86_64", "-S", "-m", "16", "-nodefaults", "-vga", "std", "-display", "none"]
    command += ["-object", f"secret,id=vnc,file={secret}", "-vnc", f"{HERE}:{port - 5900},password-secret=vnc"]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: _listens(port), "QEMU's VNC server")
        yield port
    finally:
        process.kill()
        process.wait()


async def test_qemus_own_screen_opens_and_gives_a_picture(qemu_port: int) -> None:
    screen = await open_screen(HERE, qemu_port, SECRET, 5)
    screen.abort()
    width, height, pixels = await snapshot(HERE, qemu_port, SECRET, 5)
    assert (width, height) == (screen.width, screen.height)
    assert len(pixels) == width * height * 3


async def test_qemu_refuses_a_wrong_password(qemu_port: int) -> None:
    with pytest.raises(ScreenRefused):
        await open_screen(HERE, qemu_port, "wrong", 5)
