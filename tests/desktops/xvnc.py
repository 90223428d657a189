"""A real screen without a machine: Debian's Xvnc, and a pencil that draws on it over the X protocol, version 11."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import answers_on

PATIENCE = 30.0
_DISPLAYS = range(70, 170)


@dataclass(frozen=True)
class XServer:
    """A running Xvnc: its process, its RFB port on loopback, and where X clients come in."""

    pid: int
    port: int
    socket: Path


@contextmanager
def xvnc(width: int, height: int) -> Iterator[XServer]:
    """As a machine runs it (guest/files/usr/lib/visa/screen), but without a password."""
    display = next(n for n in _DISPLAYS if not Path(f"/tmp/.X11-unix/X{n}").exists())  # noqa: S108 - X's own place
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = int(s.getsockname()[1])
    process = subprocess.Popen(
        ["Xvnc", f":{display}", "-geometry", f"{width}x{height}", "-depth", "24", "-rfbport", str(port), "-interface",
         "127.0.0.1", "-SecurityTypes", "None", "-UseBlacklist=0", "-AlwaysShared", "-AcceptSetDesktopSize",
         "-FrameRate", "60", "-nolisten", "tcp", "-br"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        answers_on(port, process)
        yield XServer(process.pid, port, Path(f"/tmp/.X11-unix/X{display}"))  # noqa: S108
    finally:
        process.terminate()
        process.wait()


class Pencil:
    """Draws on the root window. Colours are 0xRRGGBB."""

    def __init__(self, server: XServer) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket))
        self._socket.sendall(struct.pack("<BxHHHHxx", ord("l"), 11, 0, 0, 0))
        head = self._read(8)
        assert head[0] == 1, "Xvnc did not let us draw"
        body = self._read(4 * struct.unpack_from("<H", head, 6)[0])
        self._context = struct.unpack_from("<I", body, 4)[0] | 1
        vendor, formats = struct.unpack_from("<H", body, 16)[0], body[21]
        self._root = struct.unpack_from("<I", body, 32 + (vendor + 3) // 4 * 4 + 8 * formats)[0]
        self._say(55, 0, struct.pack("<III", self._context, self._root, 0))

    def fill(self, colour: int, x: int, y: int, width: int, height: int) -> None:
        self._say(56, 0, struct.pack("<III", self._context, 4, colour))
        self._say(70, 0, struct.pack("<II2h2H", self._root, self._context, x, y, width, height))

    def scroll(self, x: int, y: int, width: int, height: int) -> None:
        """Everything in this area goes up by 16 pixels."""
        place = struct.pack("<4h2H", x, y + 16, x, y, width, height - 16)
        self._say(62, 0, struct.pack("<III", self._root, self._root, self._context) + place)

    def photo(self, x: int, y: int, width: int, height: int, pixels: bytes | None = None) -> None:
        """Four bytes a pixel, blue first; noise where none are given. At most 256 KiB."""
        data = pixels or os.urandom(width * height * 4)
        place = struct.pack("<HHhhBBxx", width, height, x, y, 0, 24)
        self._say(72, 2, struct.pack("<II", self._root, self._context) + place + data)

    def finish(self) -> None:
        """Return when everything has been drawn."""
        self._say(43, 0, b"")
        self._read(32)

    def close(self) -> None:
        self._socket.close()

    def _say(self, opcode: int, detail: int, body: bytes) -> None:
        self._socket.sendall(struct.pack("<BBH", opcode, detail, 1 + len(body) // 4) + body)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self._socket.recv(size - len(data))
        return data
