"""Browsers, reduced to what costs nearly nothing: what they say was written once, and answers are only counted."""

import asyncio
import re
import struct
import time
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Self, cast

V1 = "v1.kernel.websocket.jupyter.org"
KERNEL = "/api/kernels/0a1b2c3d-0000-4000-8000-000000000000/channels"
USUAL = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
    "Accept": "*/*",
    "Accept-Language": "en-GB,en;q=0.9,fr;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cache-Control": "no-cache",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
}
"""What a browser says with each request, whoever answers."""

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass
class Times:
    """Seconds that each took, and all together."""

    each: list[float] = field(default_factory=list)
    whole: float = 0.0

    def of(self, share: float) -> float:
        """The time that this share of them did not exceed, in milliseconds."""
        return sorted(self.each)[min(len(self.each) - 1, int(len(self.each) * share))] * 1e3

    @property
    def rate(self) -> float:
        return len(self.each) / self.whole


class Line(asyncio.Protocol):
    """One connection on which one thing is asked after the other; `ask` returns once the whole answer is there."""

    def __init__(self) -> None:
        self._got = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._size: int | None = None

    @classmethod
    async def open(cls, port: int) -> Self:
        _, line = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError())

    def data_received(self, data: bytes) -> None:
        self._got += data
        size = self._size or self._whole()
        if size and len(self._got) >= size and self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def _whole(self) -> int | None:
        """The bytes of an answer with a length, or of one without a body, once its head is there."""
        end = self._got.find(b"\r\n\r\n")
        found = _LENGTH.search(self._got, 0, end + 2) if end >= 0 else None
        return None if end < 0 else end + 4 + (int(found[1]) if found else 0)

    async def ask(self, said: bytes, size: int | None = None) -> bytes:
        """The answer of so many bytes, or of as many as its head says."""
        self._got.clear()
        self._size, self._waiting = size, asyncio.get_running_loop().create_future()
        self.transport.write(said)
        await self._waiting
        return bytes(self._got)


def request(path: str, headers: dict[str, str]) -> bytes:
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def kernel_message(size: int) -> bytes:
    """A request to execute, as JupyterLab sends it: `kernels` knows the form."""
    header = b'{"msg_id":"1","msg_type":"execute_request","session":"1","username":"","date":"","version":"5.3"}'
    parts = [b"shell", header, b"{}", b"{}"]
    offsets = list(accumulate((len(part) for part in parts), initial=8 * (len(parts) + 3)))
    code = b'{"code":"%b"}' % (b"x" * (size - offsets[-1] - len(b'{"code":""}')))
    offsets.append(offsets[-1] + len(code))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(parts) + code


def frame(said: bytes) -> bytes:
    """A browser's binary frame of 126 bytes to 64 KiB; masked with zeros, which leaves the letters as they are."""
    return b"\x82\xfe" + len(said).to_bytes(2, "big") + bytes(4) + said


async def open_socket(port: int, path: str, headers: dict[str, str]) -> Line:
    """A WebSocket to a kernel. Raises ConnectionError where it is refused."""
    more = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    more |= {"Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": V1}
    line = await Line.open(port)
    answer = await line.ask(request(path, headers | more))
    if not answer.startswith(b"HTTP/1.1 101 "):
        raise ConnectionError(answer[:200])
    return line


async def ask_all(lines: list[Line], said: bytes, times: int, size: int | None = None) -> Times:
    """On each line one after the other, on all at once; so many in all."""
    taken = Times()

    async def some(line: Line) -> None:
        for _ in range(times // len(lines)):
            began = time.perf_counter()
            await line.ask(said, size)
            taken.each.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(some(line) for line in lines))
    taken.whole = time.perf_counter() - began
    return taken
