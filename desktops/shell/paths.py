"""Pure: names and paths of a guest. They are bytes there, and may be any but NUL and the slash.

Our pages and addresses carry a path as its *key*: percent-encoded (RFC 3986, 2.1), so that every byte comes back. What
people read of a name is made for them: it never passes for another name's letters or directions.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from urllib.parse import quote_from_bytes, unquote_to_bytes

LONGEST_NAME = 255
"""Bytes (NAME_MAX of Linux)."""

LONGEST_PATH = 4096
"""Bytes (PATH_MAX of Linux)."""


class Unfit(ValueError):
    """No path or name of a file."""


def key_of(path: bytes) -> str:
    return quote_from_bytes(path, safe="/")


def path_of(key: str) -> bytes:
    """The absolute path that a key stands for. Raises Unfit."""
    path = _bytes(key)
    if not path.startswith(b"/") or len(path) >= LONGEST_PATH:
        raise Unfit("an absolute path was expected")
    return path


def name_of(key: str) -> bytes:
    """The name of one file or folder that a key stands for. Raises Unfit."""
    name = _bytes(key)
    if not name or name in (b".", b"..") or b"/" in name or len(name) > LONGEST_NAME:
        raise Unfit("a name was expected")
    return name


def _bytes(key: str) -> bytes:
    try:
        found = unquote_to_bytes(key)
    except UnicodeEncodeError as wrong:  # half of a surrogate pair
        raise Unfit("a key was expected") from wrong
    if b"\0" in found:
        raise Unfit("no name has a NUL")
    return found


def shown(name: bytes) -> str:
    """A name for people: U+FFFD stands for what is no UTF-8, has no shape, or would turn the line around (U+202E)."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name.decode(errors="replace"))


def within(path: bytes, roots: Iterable[bytes]) -> bool:
    """Whether a path without links and dots is one of these folders or lies in one."""
    return any(path == root or path.startswith(root.rstrip(b"/") + b"/") for root in roots)


def split(path: bytes) -> tuple[bytes, bytes]:
    """The folder in which it lies, and its name there. Raises Unfit for what has no name."""
    folder, name = posixpath.split(path.rstrip(b"/"))
    if not name or name in (b".", b".."):
        raise Unfit("a file or folder was expected")
    return folder, name
