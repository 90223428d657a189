"""A real machine's life: idle, told, asleep, opened again as it was; at its end asleep, in the bin, and brought back.

Its limits are seconds, by the rows that staff edit; workers, observer and guest are real. Only the clock that rings
`expire` every minute is helped: the test rings, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from celery import Celery

from tests.flows.installation import MACHINE_PATIENCE, Installation, Person, virsh
from tests.flows.machine import inside
from tests.flows.test_ten_creations_survive_kills import wish
from tests.servers import wait_until

pytestmark = pytest.mark.full  # minutes of waiting: not for every change

NAME = "Short life"
EXPIRE, JOBS = "instances.expiry.expire", "instances.jobs.hear_jobs"

# An idle limit of 86 seconds, of which one minute has passed; emulation works hard, and load counts for nothing.
SHORT = f"""
from datetime import timedelta
from django.utils import timezone
from instances.models import Instance, LifePolicy, TimeLimit
now = timezone.now()
quiet = {{"booted_at": now - timedelta(minutes=1), "worked_at": None, "job_at": None, "due_at": now}}
Instance.objects.filter(name="{NAME}").update(**quiet)
policy = LifePolicy.current(); policy.busy_percent, policy.grace_days = 10_000, 0; policy.save()
TimeLimit.objects.filter(role="").update(idle_days="0.001")
"""
USUAL = """
from instances.models import LifePolicy, TimeLimit
LifePolicy.objects.update(busy_percent=25, grace_days=3)
TimeLimit.objects.filter(role="").update(idle_days=4)
"""


@dataclass
class Mortal:
    """Alice's machine, and the bell that has every machine looked at that is due."""

    visa: Installation
    alice: Person
    uuid: str
    bell: Celery = field(init=False)

    def __post_init__(self) -> None:
        self.bell = Celery(broker=f"redis+socket://{self.visa.home}/run/redis.sock?virtual_host=0")

    @property
    def state(self) -> str:
        return str(self.alice.get(f"instances/{self.uuid}/")["state"])

    @property
    def use(self) -> str:
        return str(self.alice.get(f"instances/{self.uuid}/")["use"])

    def rings_until(self, condition: Callable[[], bool], what: str, task: str = EXPIRE, every: float = 2) -> None:
        """Guests under emulation answer slowly: who asks them again before they did gets no answer at all."""

        def reached() -> bool:
            self.bell.send_task(task)
            return condition()

        wait_until(reached, what, MACHINE_PATIENCE, every=every)

    def comes_to(self, state: str) -> None:
        self.rings_until(lambda: self.state == state, f"state {state}")

    def ask(self, act: str, **document: str) -> None:
        answer = self.alice.post(f"instances/{self.uuid}/{act}/", document)
        assert answer.status_code == 202, answer.text

    def boot(self) -> str:
        """Which boot of the system this is, and the program that was begun in it."""
        return inside(self.uuid, "cat /proc/sys/kernel/random/boot_id; pgrep -x tac")

    def is_told(self, words: str) -> bool:
        """At the bell, and by a mail that was sent."""
        notices = self.alice.session.get(f"{self.visa.url}/notices/", timeout=30).text
        mails = "".join(path.read_text() for path in (self.visa.home / "mail").glob("*")).replace("=\n", "")
        return all(NAME in said and words in said for said in (notices, mails))


@pytest.fixture(scope="module")
def mortal(visa: Installation) -> Iterator[Mortal]:
    alice = Person(visa, "alice")
    made = Mortal(visa, alice, alice.post("instances/", wish(alice, 0) | {"name": NAME}).json()["uuid"])
    made.comes_to("active")
    wait_until(lambda: inside(made.uuid, "echo here"), "the guest agent", MACHINE_PATIENCE, every=1)
    yield made
    visa.manage("shell", "-c", USUAL)
    alice.delete(f"instances/{made.uuid}/")
    made.comes_to("binned")
    made.ask("delete-for-good")


def test_a_program_in_a_terminal_is_work(mortal: Mortal) -> None:
    inside(mortal.uuid, "setsid script -qc 'sleep 9999' /dev/null > /dev/null 2>&1 < /dev/null &")
    mortal.rings_until(lambda: mortal.use == "Working: sleep", "the program on the card", JOBS, every=15)
    inside(mortal.uuid, "pkill -x sleep")
    mortal.rings_until(lambda: "sleep" not in mortal.use, "its end", JOBS, every=15)


def test_an_idle_machine_is_told_then_sleeps_and_opens_as_it_was(mortal: Mortal) -> None:
    inside(mortal.uuid, "echo kept > /home/kept; mkfifo /run/quiet; setsid tac /run/quiet > /dev/null 2>&1 &")
    wait_until(lambda: len(mortal.boot().split()) == 2, "the program", 60, every=2)
    before = mortal.boot()
    mortal.visa.manage("shell", "-c", SHORT)
    mortal.comes_to("hibernated")
    wait_until(lambda: mortal.is_told("goes to sleep"), "a notice and a mail", 60)
    assert f"visa-{mortal.uuid}" in virsh("list", "--all", "--name", "--with-managed-save")
    assert f"visa-{mortal.uuid}" not in virsh("list", "--name")
    mortal.ask("start")
    wait_until(lambda: mortal.state == "active", "the desktop after waking", MACHINE_PATIENCE, every=1)
    wait_until(lambda: mortal.boot() == before, "the same boot with the same program", 60, every=1)


def test_at_its_end_it_lies_in_the_bin_and_comes_back_as_it_was(mortal: Mortal) -> None:
    before = mortal.boot()
    mortal.ask("set-end", end=(datetime.now(UTC) + timedelta(seconds=8)).isoformat())
    mortal.comes_to("binned")
    wait_until(lambda: mortal.is_told("comes to its end"), "a notice and a mail", 60)
    assert f"visa-{mortal.uuid}" not in virsh("list", "--name")
    mortal.visa.manage("shell", "-c", USUAL)
    mortal.ask("bring-back")
    mortal.ask("start")
    mortal.comes_to("active")
    wait_until(lambda: inside(mortal.uuid, "cat /home/kept") == "kept\n", "its file", MACHINE_PATIENCE, every=1)
    wait_until(lambda: mortal.boot() == before, "the same boot with the same program", 60, every=1)
