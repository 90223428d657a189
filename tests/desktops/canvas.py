"""What a viewer has before its eyes: a decoder of RFB updates in raw, CopyRect and Tight, written apart from ours."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


class Canvas:
    """Pixels of 32 bits, red first, as the page asks for them."""

    def __init__(self, width: int, height: int) -> None:
        self.pixels: Pixels = np.zeros((height, width, 3), np.uint8)
        self.updates = 0
        self.resets = 0
        self.kinds: set[str] = set()
        self._inflate = [zlib.decompressobj() for _ in range(4)]

    def receive(self, data: bytes) -> None:
        """Whole updates and nothing else."""
        stream = io.BytesIO(data)
        while head := stream.read(4):
            kind, count = struct.unpack(">BxH", head)
            assert kind == 0, f"a message of the type {kind}"
            self.updates += 1
            for _ in range(count):
                if self._rectangle(stream):
                    break

    def _rectangle(self, stream: io.BytesIO) -> bool:
        x, y, width, height, encoding = struct.unpack(">4Hi", stream.read(12))
        if encoding == -224:
            return True
        if encoding == -223:
            self.pixels = np.zeros((height, width, 3), np.uint8)
        elif encoding == -239:
            stream.read(width * height * 4 + (width + 7) // 8 * height)
        elif encoding == 0x574D5664:
            stream.read(width * height * (8 if stream.read(2)[0] == 0 else 4))
        elif encoding == 1:
            from_x, from_y = struct.unpack(">HH", stream.read(4))
            copied = self.pixels[from_y : from_y + height, from_x : from_x + width].copy()
            self.pixels[y : y + height, x : x + width] = copied
        else:
            colours = {0: self._raw, 7: self._tight}[encoding](stream, width, height)
            self.pixels[y : y + height, x : x + width] = colours
        return False

    def _raw(self, stream: io.BytesIO, width: int, height: int) -> Pixels:
        return np.frombuffer(stream.read(width * height * 4), np.uint8).reshape(height, width, 4)[:, :, :3]

    def _tight(self, stream: io.BytesIO, width: int, height: int) -> Pixels:
        control = stream.read(1)[0]
        for i in range(4):
            if control >> i & 1:
                self._inflate[i] = zlib.decompressobj()
                self.resets += 1
        way = control >> 4
        if way == 8:
            self.kinds.add("fill")
            return np.broadcast_to(np.frombuffer(stream.read(3), np.uint8), (height, width, 3))
        if way == 9:
            self.kinds.add("jpeg")
            picture = Image.open(io.BytesIO(stream.read(self._length(stream))))
            return np.asarray(picture.convert("RGB"))
        assert way < 8
        kind = stream.read(1)[0] if way & 4 else 0
        self.kinds.add(("copy", "palette", "gradient")[kind])
        return {0: self._copied, 1: self._palette}[kind](stream, way & 3, width, height)

    def _copied(self, stream: io.BytesIO, number: int, width: int, height: int) -> Pixels:
        data = self._inflated(stream, number, width * height * 3)
        return np.frombuffer(data, np.uint8).reshape(height, width, 3)

    def _palette(self, stream: io.BytesIO, number: int, width: int, height: int) -> Pixels:
        size = stream.read(1)[0] + 1
        colours = np.frombuffer(stream.read(3 * size), np.uint8).reshape(size, 3)
        row = (width + 7) // 8 if size <= 2 else width
        indices = np.frombuffer(self._inflated(stream, number, row * height), np.uint8).reshape(height, row)
        if size <= 2:
            indices = np.unpackbits(indices, axis=1)[:, :width]
        picture: Pixels = colours[indices]
        return picture

    def _inflated(self, stream: io.BytesIO, number: int, size: int) -> bytes:
        if size < 12:
            return stream.read(size)
        data = self._inflate[number].decompress(stream.read(self._length(stream)))
        assert len(data) == size
        return data

    def _length(self, stream: io.BytesIO) -> int:
        length = 0
        for shift in (0, 7, 14):
            byte = stream.read(1)[0]
            length |= (byte if shift == 14 else byte & 0x7F) << shift
            if byte < 0x80:
                break
        return length
