"""Notebooks that run by themselves in a real machine of the full image: `make test-full`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.desktops.shell.test_runs import notebook
from tests.flows.installation import VARIANT, Installation, Person, virsh
from tests.flows.machine import inside, written
from tests.servers import wait_until

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(VARIANT != "full", reason="needs a machine of the full image: make test-full"),
]

PATIENCE = 900.0
SLEEPS = "import time\nfor second in range(60): time.sleep(1)"


@dataclass
class Runs:
    """Alice's program, and her machine."""

    alice: Person
    machine: str

    def start(self) -> str:
        answer = self.alice.post(f"{self.machine}runs/", {"notebook": "fit.ipynb", "parameters": {"n": 6}})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["uuid"])

    def of(self, run: str) -> Any:
        return self.alice.get(f"{self.machine}runs/{run}/")

    def sleeping_in_its_cell(self) -> str:
        """A new run, once all that comes before the long cell is done."""
        run = self.start()
        wait_until(lambda: (self.of(run)["cells_done"] or 0) >= 3, "three cells", PATIENCE, every=1)
        return run

    def ended(self, run: str) -> tuple[str, str]:
        wait_until(lambda: self.of(run)["ended_at"], "the run's end", PATIENCE, every=1)
        said = self.of(run)
        return said["state"], said["problem"]

    def becomes(self, state: str) -> None:
        wait_until(lambda: self.alice.get(self.machine)["state"] == state, state, PATIENCE, every=1)


@pytest.fixture(scope="module")
def runs(visa: Installation) -> Iterator[Runs]:
    alice = Person(visa, "alice")
    experiment = alice.get("experiments/")["results"][0]["uuid"]
    uuid = alice.post("instances/", {"experiments": [experiment]}).json()["uuid"]
    wait_until(lambda: inside(uuid, "test -S /run/visa/user/terminal && echo yes"), "the terminal", PATIENCE, every=1)
    written(uuid, "fit.ipynb", notebook("print('gives', n * 7)", SLEEPS, "print('slept')", tagged="n = 0"))
    yield Runs(alice, f"instances/{uuid}/")
    alice.delete(f"instances/{uuid}/")


def test_a_run_outlives_the_worker_and_the_machines_sleep(visa: Installation, runs: Runs) -> None:
    run = runs.sleeping_in_its_cell()
    os.kill(visa.pid("worker"), signal.SIGKILL)
    assert runs.alice.post(f"{runs.machine}hibernate/").status_code == 202
    runs.becomes("hibernated")
    assert runs.of(run)["state"] == "running"
    assert runs.alice.post(f"{runs.machine}start/").status_code == 202
    assert runs.ended(run) == ("done", "")
    result = runs.alice.session.get(f"{visa.url}/api/v1/{runs.machine}runs/{run}/result/", timeout=60).text
    assert "gives 42" in result
    assert "slept" in result


def test_a_run_is_stopped_with_its_kernel(runs: Runs) -> None:
    run = runs.sleeping_in_its_cell()
    assert runs.alice.post(f"{runs.machine}runs/{run}/stop/").status_code == 202
    assert runs.ended(run) == ("stopped", "")
    assert not inside(runs.machine.split("/")[1], "pgrep -f 'run-[n]otebook|ipykernel_[l]auncher'")


def test_a_power_cut_in_the_middle_is_said(runs: Runs) -> None:
    run = runs.sleeping_in_its_cell()
    virsh("destroy", f"visa-{runs.machine.split('/')[1]}")
    runs.becomes("stopped")
    assert runs.alice.post(f"{runs.machine}start/").status_code == 202
    state, problem = runs.ended(run)
    assert state == "interrupted"
    assert "switched off" in problem
