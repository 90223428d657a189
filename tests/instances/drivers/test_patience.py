"""A deadline for calls that know none."""

from threading import Event

import pytest

from instances.drivers.patience import Patient

AT_ONCE, LONG = 0.01, 10.0


class Slow:
    """Answers when it is allowed to, and counts how often it was called."""

    def __init__(self) -> None:
        self.may = Event()
        self.calls = 0

    def __call__(self, what: str) -> str:
        self.calls += 1
        self.may.wait(LONG)
        return f"{what}, at last"


def test_a_call_in_time_gives_its_answer() -> None:
    assert Patient(str.upper)("host", LONG) == "HOST"


def test_what_the_call_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Patient(int)("host", LONG)


def test_a_call_that_hangs_is_given_up_and_taken_up_again() -> None:
    slow = Slow()
    patient = Patient(slow)
    for _try in range(5):
        with pytest.raises(TimeoutError):
            patient("host", AT_ONCE)
    assert slow.calls == 1
    slow.may.set()
    assert patient("host", LONG) == "host, at last"


def test_a_late_answer_is_given_once() -> None:
    slow = Slow()
    patient = Patient(slow)
    with pytest.raises(TimeoutError):
        patient("host", AT_ONCE)
    slow.may.set()
    assert [patient("host", LONG), patient("host", LONG)] == ["host, at last"] * 2
    assert slow.calls == 2


def test_one_host_that_hangs_keeps_nobody_from_another() -> None:
    slow = Slow()
    patient = Patient(lambda what: slow(what) if what == "hangs" else what)
    with pytest.raises(TimeoutError):
        patient("hangs", AT_ONCE)
    assert patient("well", LONG) == "well"
    slow.may.set()
