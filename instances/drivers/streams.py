"""Bytes to and from volumes, through libvirt's streams. Takes libvirt's own objects and imports nothing of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from instances.drivers.base import DriverError
from instances.drivers.base import gettext_noop as _
from instances.drivers.storage import MAGIC

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


def store(host: Any, volume: Any, size: int, body: Iterable[bytes], progress: Callable[[int], None]) -> None:
    """Fill a volume with a qcow2 file of `size` bytes, of which `body` is all but the magic. `progress(done_bytes)`.

    The magic is sent last, once all else was read back and found as it was sent; else raises DriverError.
    """
    begin, sent, found = len(MAGIC), hashlib.sha256(), hashlib.sha256()

    def pieces() -> Iterator[bytes]:
        done = begin
        for piece in body:
            sent.update(piece)
            yield piece
            done += len(piece)
            progress(done)

    upload(host, volume, begin, size - begin, pieces())
    for piece in download(host, volume, begin):
        found.update(piece)
    if found.digest() != sent.digest():
        raise DriverError(_("The copy of the machine's disk is not what was sent. It is tried again."))
    upload(host, volume, 0, begin, [MAGIC])
