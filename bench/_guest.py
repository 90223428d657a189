"""The web server of a machine, as cheap as one can be, so that what stands before it is what is measured.

Run: python -m bench._guest PORT. `/small` answers 1 KiB, `/large/N` N bytes, `/take` says how many bytes it was sent,
and a WebSocket on any other path echoes its messages.
"""

import asyncio
import hashlib
import sys
from base64 import b64encode
from typing import cast

import httptools
import uvloop
from websockets.speedups import apply_mask

PIECE = bytes(256 * 1024)
SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""


class Guest(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._key: bytes | None = None
        self._protocol = b""
        self._taken = self._owed = 0
        self._is_socket = False
        self._held = b""
        self._may_write = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._is_socket:
            self._echo(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._become_socket()
            self._echo(data[upgrade.args[0] :])

    def on_url(self, url: bytes) -> None:
        self._path, self._taken = url, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"sec-websocket-key":
            self._key = value
        elif name.lower() == b"sec-websocket-protocol":
            self._protocol = value.split(b",")[0].strip()

    def on_body(self, piece: bytes) -> None:
        self._taken += len(piece)

    def on_message_complete(self) -> None:
        if self._key:
            return
        if self._path.startswith(b"/large/"):
            self._owed = int(self._path[7:])
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._owed)
            self._pour()
        elif self._path == b"/take":
            said = b"%d" % self._taken
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
        else:
            self._transport.write(SMALL)

    def _pour(self) -> None:
        while self._owed and self._may_write:
            piece = PIECE[: self._owed]
            self._owed -= len(piece)
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self._may_write = False

    def resume_writing(self) -> None:
        self._may_write = True
        self._pour()

    def _become_socket(self) -> None:
        accept = b64encode(hashlib.sha1((self._key or b"") + GUID).digest())  # noqa: S324 - as the protocol wants it
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        chosen = b"Sec-WebSocket-Protocol: " + self._protocol + b"\r\n" if self._protocol else b""
        self._transport.write(head + chosen + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        self._is_socket = True

    def _echo(self, data: bytes) -> None:
        """Whole frames of less than 64 KiB, masked, back without the mask (RFC 6455, 5.2)."""
        self._held += data
        while len(self._held) >= 2:
            length = self._held[1] & 0x7F
            head = 2 if length < 126 else 4
            size = length if length < 126 else int.from_bytes(self._held[2:4], "big")
            end = head + 4 + size
            if len(self._held) < end:
                return
            said = apply_mask(self._held[head + 4 : end], self._held[head : head + 4])
            opcode = self._held[0] & 0x0F
            if opcode == 8:
                self._transport.write(bytes([0x88, size]) + said)
                self._transport.close()
            elif opcode in {1, 2}:
                self._transport.write(self._held[:1] + bytes([length]) + self._held[2:head] + said)
            self._held = self._held[end:]


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Guest, "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
