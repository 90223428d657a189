"""What somebody who only watches may ask of JupyterLab: what shows something, and changes and runs nothing. Pure.

A list of what is allowed, by the path as it was sent: Jupyter compares paths before it decodes them, and so do we.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

SAFE = frozenset({"GET", "HEAD"})

_EXACT = frozenset(
    b"/ /lab /lab/ /tree /doc /api /favicon.ico /api/contents /api/sessions /api/kernels /api/kernelspecs "
    b"/api/terminals /api/status /api/me /api/nbconvert".split()
)
_UNDER = tuple(
    b"/lab/tree/ /lab/workspaces/ /lab/doc/ /lab/extensions/ /lab/api/ /doc/tree/ /static/ /files/ /kernelspecs/ "
    b"/api/contents/ /api/config/ /h5grove/".split()
)
_ROOM = re.compile(rb"/api/collaboration/room/([a-z0-9]+:[A-Za-z0-9_-]+:[0-9a-f-]{36}|JupyterLab:globalAwareness)")
_NAMES_ROOM = b"/api/collaboration/session/"
_KERNEL = re.compile(rb"/api/kernels/[0-9a-f-]{36}")
_SESSION = re.compile(rb"/api/sessions/[0-9a-f-]{36}")
_CHANNELS = re.compile(rb"/api/kernels/[0-9a-f-]{36}/channels")
_EVENTS = b"/api/events/subscribe"


def may_read(method: str, path: bytes) -> bool:
    """Whether this request only shows something, as does the one that asks for the name of a document's room."""
    if b".." in unquote_to_bytes(path):
        return False
    if method not in SAFE:
        return method == "PUT" and path.startswith(_NAMES_ROOM)
    return path in _EXACT or path.startswith(_UNDER) or bool(_SESSION.fullmatch(path)) or is_kernel(path)


def is_kernel(path: bytes) -> bool:
    """Whether this asks how a kernel is."""
    return bool(_KERNEL.fullmatch(path))


def is_kernel_channel(path: bytes) -> bool:
    """Whether this WebSocket leads to a kernel: `for_watcher` says what may be sent there."""
    return bool(_CHANNELS.fullmatch(path))


def is_room(path: bytes) -> bool:
    """Whether this WebSocket leads to a document that several people edit: `yjs` says what a watcher may send there."""
    return bool(_ROOM.fullmatch(path))


def may_listen(path: bytes) -> bool:
    """Whether a watcher may open this WebSocket: to a kernel, to a document, or to the events that go down only."""
    return is_kernel_channel(path) or is_room(path) or path == _EVENTS
