"""Pure: what is said to the guest's agent (QEMU guest agent protocol, JSON), and what its answers mean."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

MARK = "/run/visa-busy/any"
"""There while somebody may have declared a job: `visa-busy` makes it, and the list takes it away with the last job."""

LIST = "/usr/lib/visa/busy"
LONGEST = 200
LOOKS = 10

Ask = Callable[[str], str | None]
"""Sends one command and gives the answer; None where the guest refused or has no agent."""


def declared_job(ask: Ask, wait: Callable[[], object]) -> str:
    """The command line of a job that somebody declared in the guest, or "". `wait` lies between looks at the list.

    A guest without any job costs one question.
    """
    mark = _ask(ask, "guest-file-open", path=MARK, mode="r")
    if not isinstance(mark, int):
        return ""
    _ask(ask, "guest-file-close", handle=mark)
    begun = _ask(ask, "guest-exec", path=LIST, **{"capture-output": True})
    pid = begun.get("pid") if isinstance(begun, dict) else None
    for _look in range(LOOKS if isinstance(pid, int) else 0):
        status = _ask(ask, "guest-exec-status", pid=pid)
        if not isinstance(status, dict) or status.get("exited"):
            return _first_line(status.get("out-data", "") if isinstance(status, dict) else "")
        wait()
    return ""


def _ask(ask: Ask, command: str, **arguments: Any) -> Any:
    answer = ask(json.dumps({"execute": command, "arguments": arguments}))
    try:
        return json.loads(answer).get("return") if answer else None
    except (ValueError, AttributeError):
        return None


def _first_line(encoded: object) -> str:
    """What a guest says is never trusted: one line of printable letters."""
    if not isinstance(encoded, str):
        return ""
    try:
        text = base64.b64decode(encoded, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return ""
    line = next(iter(text.splitlines()), "")
    return "".join(letter for letter in line if letter.isprintable())[:LONGEST].strip()
