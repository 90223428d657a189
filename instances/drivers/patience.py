"""A deadline for calls that know none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class Patient(Generic[Answer]):
    """A call that may hang, made in a thread of its own. What comes too late is kept for whoever asks the same next.

    So a daemon that hangs for days keeps as many threads as there were callers at once, and not one for each try.
    """

    def __init__(self, call: Callable[[str], Answer]) -> None:
        self._call = call
        self._lock = Lock()
        self._late: dict[str, list[Future[Answer]]] = defaultdict(list)

    def __call__(self, what: str, seconds: float) -> Answer:
        """The call's answer. Raises what the call raises, and TimeoutError where it takes longer than `seconds`."""
        answer = self._late_or_new(what)
        try:
            return answer.result(seconds)
        except TimeoutError:
            if answer.done():
                return answer.result()
            with self._lock:
                self._late[what].append(answer)
            raise

    def _late_or_new(self, what: str) -> Future[Answer]:
        with self._lock:
            if self._late[what]:
                return self._late[what].pop()
        answer: Future[Answer] = Future()
        Thread(target=self._ask, args=(what, answer), daemon=True).start()
        return answer

    def _ask(self, what: str, answer: Future[Answer]) -> None:
        try:
            answer.set_result(self._call(what))
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is waited for
            answer.set_exception(error)
