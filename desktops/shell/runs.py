"""A machine's notebook runs over SSH: what is wanted of them goes in, how they stand comes out. asyncio only.

What answers there is a guest: nothing is believed but the few words that are expected.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from desktops.shell.ssh import Shell, ShellUnavailable

COMMAND = "/usr/lib/visa/run"
"""What a certificate lets run (guest/files-full/usr/lib/visa/run)."""

PROGRAM = COMMAND.encode()
WHO = "visa"
"""Whom the guest's log names: workers look after runs, not the people who asked for them."""

STATES = frozenset({"waiting", "running", "done", "failed", "stopped", "interrupted", "unknown"})
MOST = 256 * 1024
"""Bytes of an answer that are read."""

MOST_CELLS = 1_000_000


@dataclass(frozen=True)
class Wanted:
    """`wanted` is run (begin it if it has not begun), look, or stop. Paths are absolute."""

    id: str
    wanted: Literal["run", "look", "stop"]
    notebook: str = ""
    output: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Told:
    """`state` is one of STATES, `cells` how many are done and how many there are."""

    state: str
    problem: str = ""
    cells: tuple[int, int] | None = None


async def agree(shell: Shell, wanted: Iterable[Wanted]) -> dict[str, Told]:
    """Have the machine do what is wanted; how each run stands there, by its id. Again is harmless.

    Raises ShellUnavailable, also where the machine does not know how.
    """
    asked = json.dumps({"runs": [asdict(one) for one in wanted]}).encode()
    return understood(await shell.ask(WHO, COMMAND, asked, MOST))


def understood(said: bytes) -> dict[str, Told]:
    """What a guest said. Raises ShellUnavailable for what is no answer at all; leaves out what is none of a run."""
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError) as wrong:
        raise ShellUnavailable("The machine did not tell of its notebook runs.") from wrong
    found = answer if isinstance(answer, dict) else {}
    return {key: _told(one) for key, one in found.items() if isinstance(one, dict) and _state_of(one) in STATES}


def _state_of(said: dict[str, Any]) -> str:
    state = said.get("state")
    return state if isinstance(state, str) else ""


def _told(said: dict[str, Any]) -> Told:
    problem = said.get("problem")
    return Told(_state_of(said), _plain(problem) if isinstance(problem, str) else "", _cells(said.get("cells")))


def _plain(words: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in words)


def _cells(said: Any) -> tuple[int, int] | None:
    match said:
        case [int(done), int(whole)] if 0 <= done <= whole <= MOST_CELLS:
            return done, whole
    return None
