"""A machine's screen that costs next to nothing: an RFB server which sends frames of 8 KiB, for measuring relays.

Every FramebufferUpdateRequest gets one frame. EnableContinuousUpdates starts a stream of frames: as fast as they are
taken, or, where its `x` is not 0, `x` frames a second, each on its own. Run: python bench/_machine.py PORT
"""

import asyncio
import struct
import sys

import uvloop

FRAME = 8192
"""Bytes of a whole FramebufferUpdate with one raw rectangle, message head included."""

_HEAD = struct.pack(">BxH4Hi", 0, 1, 0, 0, 1, (FRAME - 16) // 4, 0)
UPDATE = _HEAD + bytes(FRAME - len(_HEAD))
SERVER_INIT = struct.pack(">HH", 1024, 768) + struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
NAME = b"bench"
_SIZES = {0: 20, 3: 10, 4: 8, 5: 6, 150: 10}


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    stream: asyncio.Task[None] | None = None
    try:
        await _shake_hands(reader, writer)
        while True:
            kind = (await reader.readexactly(1))[0]
            body = await reader.readexactly(await _rest(kind, reader))
            if kind == 3:
                writer.write(UPDATE)
            elif kind == 150:
                if stream:
                    stream.cancel()
                rate = int.from_bytes(body[1:3], "big")
                stream = asyncio.create_task(_stream(writer, rate)) if body[0] else None
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        if stream:
            stream.cancel()
        writer.transport.abort()


async def _shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"RFB 003.008\n")
    await reader.readexactly(12)
    writer.write(b"\x01\x01")
    await reader.readexactly(1)
    writer.write(b"\0\0\0\0")
    await reader.readexactly(1)
    writer.write(SERVER_INIT + struct.pack(">I", len(NAME)) + NAME)


async def _rest(kind: int, reader: asyncio.StreamReader) -> int:
    if kind == 2:
        return int.from_bytes((await reader.readexactly(3))[1:], "big") * 4
    return _SIZES[kind] - 1


async def _stream(writer: asyncio.StreamWriter, rate: int) -> None:
    clock = asyncio.get_running_loop().time
    due = clock()
    try:
        while True:
            writer.write(UPDATE)
            await writer.drain()
            if rate:
                due += 1 / rate
                await asyncio.sleep(max(0, due - clock()))
    except OSError:
        pass


async def main(port: int) -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=1000)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
