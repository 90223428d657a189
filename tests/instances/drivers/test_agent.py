"""What is said to the guest's agent, and that nothing it answers is believed blindly."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from instances.drivers.agent import LIST, LONGEST, MARK, declared_job


class Agent:
    """Answers as QEMU's agent does; keeps what it was asked."""

    def __init__(self, out: object = b"", *, mark: bool = True, pending: int = 0) -> None:
        self.out, self.mark, self.pending = out, mark, pending
        self.asked: list[dict[str, Any]] = []

    def __call__(self, command: str) -> str | None:
        asked = json.loads(command)
        self.asked.append(asked)
        answers = {"guest-file-open": 1000, "guest-file-close": {}, "guest-exec": {"pid": 7}}
        if asked["execute"] == "guest-file-open" and not self.mark:
            return None
        if asked["execute"] in answers:
            return json.dumps({"return": answers[asked["execute"]]})
        self.pending -= 1
        return json.dumps({"return": self._status()})

    def _status(self) -> dict[str, object]:
        if self.pending >= 0:
            return {"exited": False}
        out = base64.b64encode(self.out).decode() if isinstance(self.out, bytes) else self.out
        return {"exited": True, "exitcode": 0, "out-data": out}


def job_of(agent: Any) -> str:
    return declared_job(agent, lambda: None)


def test_a_guest_without_jobs_is_asked_one_question() -> None:
    agent = Agent(mark=False)
    assert job_of(agent) == ""
    assert [asked["execute"] for asked in agent.asked] == ["guest-file-open"]
    assert agent.asked[0]["arguments"] == {"path": MARK, "mode": "r"}


def test_a_declared_job_is_told() -> None:
    agent = Agent(b"python fit.py\n")
    assert job_of(agent) == "python fit.py"
    assert agent.asked[2]["arguments"] == {"path": LIST, "capture-output": True}
    assert agent.asked[1]["arguments"] == {"handle": 1000}


def test_a_list_that_takes_its_time_is_waited_for() -> None:
    assert job_of(Agent(b"fit\n", pending=3)) == "fit"


def test_a_list_that_never_ends_is_given_up() -> None:
    agent = Agent(b"fit\n", pending=1000)
    assert job_of(agent) == ""
    assert len(agent.asked) < 20


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        (b"a\x1b[31mb\x00c\nsecond line", "a[31mbc"),
        (b"x" * 5000, "x" * LONGEST),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("not base64!", ""),
        (None, ""),
        ({"a": 1}, ""),
    ],
)
def test_what_a_guest_says_becomes_one_printable_line(out: object, expected: str) -> None:
    assert job_of(Agent(out)) == expected


@pytest.mark.parametrize("answer", ["", "{", "[]", '{"return": null}', '{"return": "x"}', '{"return": {"pid": "7"}}'])
def test_nonsense_from_the_guest_is_no_job(answer: str) -> None:
    assert job_of(lambda _command: answer) == ""
