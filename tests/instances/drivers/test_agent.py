"""What is said to the guest's agent, and that nothing it answers is believed blindly."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from instances.drivers.agent import LIST, LONGEST_JOB, LONGEST_NAME, activity
from instances.drivers.base import Activity


class Agent:
    """Answers as QEMU's agent does; keeps what it was asked."""

    def __init__(self, out: object = b"", *, able: bool = True, pending: int = 0) -> None:
        self.out, self.able, self.pending = out, able, pending
        self.asked: list[dict[str, Any]] = []

    def __call__(self, command: str) -> str | None:
        asked = json.loads(command)
        self.asked.append(asked)
        if asked["execute"] == "guest-exec":
            return json.dumps({"return": {"pid": 7}}) if self.able else None
        self.pending -= 1
        return json.dumps({"return": self._status()})

    def _status(self) -> dict[str, object]:
        if self.pending >= 0:
            return {"exited": False}
        out = base64.b64encode(self.out).decode() if isinstance(self.out, bytes) else self.out
        return {"exited": True, "exitcode": 0, "out-data": out}


def heard(agent: Any) -> Activity:
    return activity(agent, lambda: None)


def test_a_guest_without_the_list_is_asked_one_question() -> None:
    agent = Agent(able=False)
    assert heard(agent) == Activity()
    assert agent.asked == [{"execute": "guest-exec", "arguments": {"path": LIST, "capture-output": True}}]


def test_a_job_and_the_busiest_program_are_told() -> None:
    assert heard(Agent(b"python fit.py\npython3\n")) == Activity("python fit.py", "python3")


def test_either_may_be_missing() -> None:
    assert heard(Agent(b"\npython3\n")) == Activity("", "python3")
    assert heard(Agent(b"python fit.py\n")) == Activity("python fit.py", "")


def test_a_list_that_takes_its_time_is_waited_for() -> None:
    assert heard(Agent(b"fit\n", pending=3)).job == "fit"


def test_a_list_that_never_ends_is_given_up() -> None:
    agent = Agent(b"fit\n", pending=1000)
    assert heard(agent) == Activity()
    assert len(agent.asked) < 50


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        (b"a\x1b[31mb\x00c\n p\x07\xe2\x80\xaey \nthird", Activity("a[31mbc", "py")),
        (b"x" * 5000 + b"\n" + b"y" * 5000, Activity("x" * LONGEST_JOB, "y" * LONGEST_NAME)),
        (b"\xff\xfe", Activity("\ufffd\ufffd")),
        ("not base64!", Activity()),
        (None, Activity()),
        ({"a": 1}, Activity()),
    ],
)
def test_what_a_guest_says_becomes_printable_lines(out: object, expected: Activity) -> None:
    assert heard(Agent(out)) == expected


@pytest.mark.parametrize("answer", ["", "{", "[]", '{"return": null}', '{"return": "x"}', '{"return": {"pid": "7"}}'])
def test_nonsense_from_the_guest_is_no_job(answer: str) -> None:
    assert heard(lambda _command: answer) == Activity()
