"""Pure: what is said to the guest's agent (QEMU guest agent protocol, JSON), and what its answers mean."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from instances.drivers.base import Activity

LIST = "/usr/lib/visa/busy"
LONGEST_JOB, LONGEST_NAME = 200, 40
LOOKS = 40

Ask = Callable[[str], str | None]
"""Sends one command and gives the answer; None where the guest refused or has no agent."""


def activity(ask: Ask, wait: Callable[[], object]) -> Activity:
    """What the guest's list says: a job on its first line, the busiest program on its second.

    `wait` lies between looks at the list. A guest without it costs one question.
    """
    begun = _ask(ask, "guest-exec", path=LIST, **{"capture-output": True})
    pid = begun.get("pid") if isinstance(begun, dict) else None
    for _look in range(LOOKS if isinstance(pid, int) else 0):
        status = _ask(ask, "guest-exec-status", pid=pid)
        if not isinstance(status, dict) or status.get("exited"):
            job, busiest, *_rest = [*_lines(status.get("out-data") if isinstance(status, dict) else None), "", ""]
            return Activity(job[:LONGEST_JOB].strip(), busiest[:LONGEST_NAME].strip())
        wait()
    return Activity()


def _ask(ask: Ask, command: str, **arguments: Any) -> Any:
    answer = ask(json.dumps({"execute": command, "arguments": arguments}))
    try:
        return json.loads(answer).get("return") if answer else None
    except (ValueError, AttributeError):
        return None


def _lines(encoded: object) -> list[str]:
    """What a guest says is never trusted: lines of printable letters."""
    if not isinstance(encoded, str):
        return []
    try:
        text = base64.b64decode(encoded, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return []
    return ["".join(letter for letter in line if letter.isprintable()) for line in text.split("\n", 2)[:2]]
