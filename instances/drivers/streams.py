"""Bytes to and from volumes, through libvirt's streams. Takes libvirt's own objects and imports nothing of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

PIECE = 1 << 18


@contextmanager
def _stream(host: Any) -> Iterator[Any]:
    """Finished when all went well, and aborted when not, so that nothing waits for the rest of it."""
    stream = host.newStream(0)
    try:
        yield stream
    except BaseException:
        stream.abort()
        raise
    stream.finish()


def download(host: Any, volume: Any, offset: int = 0) -> Iterator[bytes]:
    """A volume's bytes from `offset` to its end, piece by piece."""
    with _stream(host) as stream:
        volume.download(stream, offset, 0, 0)
        while piece := stream.recv(PIECE):
            yield piece


def upload(host: Any, volume: Any, offset: int, length: int, pieces: Iterable[bytes]) -> None:
    """Fill `length` bytes of a volume from `offset`."""
    with _stream(host) as stream:
        volume.upload(stream, offset, length, 0)
        for piece in pieces:
            left = piece
            while left:
                left = left[stream.send(left) :]
