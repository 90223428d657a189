"""What goes up to a notebook that several people edit, and what of it somebody may send who only watches.

The messages are those of Yjs (y-protocols): numbers of variable length, and what they announce. A watcher may ask for
what is there; what they would add, and where their cursor is, goes nowhere. Pure.
"""

from __future__ import annotations

ASK = b"\x00\x00"
"""SYNC, step 1: a state vector, which asks for all that is newer."""

CHANGE = b"\x00\x02"
"""SYNC, update."""

MOST_BYTES = 256 * 1024
"""Bytes of a watcher's state vector: some for each who ever changed the notebook. So much is held for each socket."""


class Unreadable(Exception):
    """Not a message of the protocol."""


def is_change(said: bytes | str) -> bool:
    """Whether somebody changes the notebook: an open page that nobody touches speaks too."""
    return isinstance(said, bytes) and said.startswith(CHANGE)


def for_watcher(said: bytes | str) -> bytes | None:
    """The message as a watcher may send it; None where they may not. Raises Unreadable."""
    if isinstance(said, str):
        raise Unreadable("text")
    if not said.startswith(ASK) or len(said) > MOST_BYTES:
        return None
    size, begin = _number(said, len(ASK))
    if begin + size != len(said):
        raise Unreadable("something follows")
    return said


def _number(said: bytes, at: int) -> tuple[int, int]:
    """The number that begins here, seven bits a byte with the lowest first; and where it ends."""
    value = 0
    for place, byte in enumerate(said[at : at + 5]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise Unreadable("number")
