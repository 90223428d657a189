"""What goes up to a kernel through JupyterLab's WebSocket, and what of it somebody may send who only watches.

Both protocols of Jupyter Server: v1.kernel.websocket.jupyter.org, and the older one of JSON. A watcher's message is
written anew from what was understood of it; nothing of the original bytes goes on. Pure.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

V1 = "v1.kernel.websocket.jupyter.org"

READS = frozenset({"kernel_info_request", "comm_info_request"})
"""Requests that run nothing. Completion and inspection call into live objects, so they are not among them."""

CHANNELS = frozenset({"shell", "control"})
MOST_PARTS = 64
MOST_BYTES = 64 * 1024
HEADER_FIELDS = ("msg_id", "msg_type", "session", "username", "date", "version")


class Unreadable(Exception):
    """Not a message of the protocol."""


@dataclass(frozen=True)
class Asked:
    """The kind of a message, where it goes, and its header and content."""

    channel: str
    header: dict[str, Any]
    content: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.header.get("msg_type", ""))


def reads_only(said: bytes | str, protocol: str | None) -> bool:
    """Whether the message runs nothing in the kernel: such messages are no sign that somebody works."""
    try:
        return _understood(said, protocol).kind in READS
    except Unreadable:
        return False


def for_watcher(said: bytes | str, protocol: str | None) -> bytes | str | None:
    """The message as a watcher may send it; None where they may not. Raises Unreadable."""
    if len(said) > MOST_BYTES:
        return None
    asked = _understood(said, protocol)
    if asked.kind not in READS or asked.channel not in CHANNELS:
        return None
    header = {name: str(asked.header.get(name, "")) for name in HEADER_FIELDS}
    target = asked.content.get("target_name")
    content = {"target_name": target} if isinstance(target, str) and asked.kind == "comm_info_request" else {}
    parts = [header, {}, {}, content]
    return _v1(asked.channel, parts) if protocol == V1 else _plain(asked.channel, parts)


def _understood(said: bytes | str, protocol: str | None) -> Asked:
    try:
        if protocol == V1:
            return _of_v1(said)
        return _of_plain(said)
    except (ValueError, KeyError, TypeError, IndexError, struct.error, RecursionError) as error:
        raise Unreadable(repr(error)) from error


def _of_v1(said: bytes | str) -> Asked:
    """Offsets of 8 bytes, little-endian: channel, header, parent header, metadata, content, buffers."""
    if isinstance(said, str):
        raise TypeError("text")
    count = int.from_bytes(said[:8], "little")
    if not 6 <= count <= MOST_PARTS:
        raise ValueError("parts")
    offsets = struct.unpack_from(f"<{count}Q", said, 8)
    if list(offsets) != sorted(offsets) or offsets[-1] > len(said):
        raise ValueError("offsets")
    parts = [said[begin:end] for begin, end in pairwise(offsets)]
    return Asked(parts[0].decode(), _mapping(json.loads(parts[1])), _mapping(json.loads(parts[4])))


def _of_plain(said: bytes | str) -> Asked:
    """One JSON object; with buffers, bytes that begin with offsets of 4 bytes, big-endian, of which the first is it."""
    if isinstance(said, bytes):
        count = struct.unpack_from("!i", said)[0]
        if not 1 <= count <= MOST_PARTS:
            raise ValueError("parts")
        offsets = [*struct.unpack_from(f"!{count}I", said, 4), len(said)]
        said = said[offsets[0] : offsets[1]].decode()
    message = _mapping(json.loads(said))
    return Asked(str(message.get("channel") or "shell"), _mapping(message["header"]), _mapping(message["content"]))


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _v1(channel: str, parts: list[dict[str, Any]]) -> bytes:
    blobs = [channel.encode(), *(json.dumps(part).encode() for part in parts)]
    offsets = [8 * (len(blobs) + 2)]
    for blob in blobs:
        offsets.append(offsets[-1] + len(blob))
    return struct.pack(f"<{len(offsets) + 1}Q", len(offsets), *offsets) + b"".join(blobs)


def _plain(channel: str, parts: list[dict[str, Any]]) -> str:
    names = ("header", "parent_header", "metadata", "content")
    return json.dumps({"channel": channel, "buffers": [], **dict(zip(names, parts, strict=True))})
