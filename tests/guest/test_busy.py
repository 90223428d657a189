"""visa-busy: the job that a person declares in the machine, and the list that the guest agent is given."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import wait_until
from visa_site.settings import BASE_DIR

BUSY = BASE_DIR / "guest" / "files" / "usr" / "bin" / "visa-busy"
LIST = BASE_DIR / "guest" / "files" / "usr" / "lib" / "visa" / "busy"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def job(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A declared job that ends when it is told a line."""
    command = [str(BUSY), "--", "sh", "-c", "read line; exit 7"]
    with subprocess.Popen(command, env=env(folder), stdin=subprocess.PIPE, text=True) as process:
        wait_until((folder / "any").exists, "the declared job")
        yield process
        process.kill()


def env(folder: Path) -> dict[str, str]:
    return os.environ | {"VISA_BUSY": str(folder)}


def listed(folder: Path) -> str:
    return subprocess.run([str(LIST)], env=env(folder), capture_output=True, text=True, check=True).stdout


def test_a_job_is_listed_while_it_runs(folder: Path, job: subprocess.Popen[str]) -> None:
    assert listed(folder) == "sh -c read line; exit 7\n"
    assert listed(folder) == "sh -c read line; exit 7\n"
    assert (folder / "any").exists()


def test_it_is_gone_when_it_ended_and_its_answer_is_the_commands(folder: Path, job: subprocess.Popen[str]) -> None:
    job.communicate("go\n")
    assert job.returncode == 7
    assert listed(folder) == ""
    assert not list(folder.iterdir())


def test_a_job_that_was_killed_is_gone_too(folder: Path, job: subprocess.Popen[str]) -> None:
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert listed(folder) == ""


def test_one_job_of_two_that_ended_leaves_the_other(folder: Path, job: subprocess.Popen[str]) -> None:
    subprocess.run([str(BUSY), "true"], env=env(folder), check=True)
    assert listed(folder).startswith("sh -c read")


def test_where_no_job_can_be_declared_the_command_runs_all_the_same(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(BUSY), "echo", "ran"], env=env(tmp_path / "no"), capture_output=True, text=True, check=True
    )
    assert done.stdout == "ran\n"
    assert "runs all the same" in done.stderr


def test_without_a_command_it_says_how_it_is_called(folder: Path) -> None:
    done = subprocess.run([str(BUSY), "--"], env=env(folder), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: visa-busy")


def test_links_that_somebody_lays_are_not_followed(folder: Path) -> None:
    (folder / "job.evil").symlink_to("/etc/passwd")
    (folder / "any").touch()
    assert listed(folder) == ""
