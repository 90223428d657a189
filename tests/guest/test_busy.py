"""What works in a machine: jobs declared with visa-busy, programs in terminals, and the list that VISA is given."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
        wait_until(lambda: list(folder.glob("job.*")), "the declared job")
        yield process
        process.kill()


def env(folder: Path) -> dict[str, str]:
    return os.environ | {name: str(folder) for name in ("VISA_BUSY", "VISA_PROC", "VISA_RUN")}


def listed(folder: Path) -> str:
    """The job, and in a second line the busiest program."""
    return subprocess.run([str(LIST)], env=env(folder), capture_output=True, text=True, check=True).stdout


def test_a_job_is_listed_while_it_runs(folder: Path, job: subprocess.Popen[str]) -> None:
    assert listed(folder) == "sh -c read line; exit 7\n\n"
    assert listed(folder) == "sh -c read line; exit 7\n\n"


def test_it_is_gone_when_it_ended_and_its_answer_is_the_commands(folder: Path, job: subprocess.Popen[str]) -> None:
    job.communicate("go\n")
    assert job.returncode == 7
    assert listed(folder) == "\n\n"
    assert not list(folder.glob("job.*"))


def test_a_job_that_was_killed_is_gone_too(folder: Path, job: subprocess.Popen[str]) -> None:
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert listed(folder) == "\n\n"


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
    assert listed(folder) == "\n\n"


# Programs in terminals

PTS, NO_TERMINAL, SERIAL = 136 << 8 | 3, 0, 4 << 8 | 64


def runs(
    proc: Path, name: str, *, pid: int = 77, tty: int = PTS, state: str = "S", ticks: int = 5, maps: str = ""
) -> None:
    """A process as /proc shows it: see proc(5)."""
    folder = proc / str(pid)
    folder.mkdir(exist_ok=True)
    before, after = f"1 77 70 {tty} 77 0 0 0 0 0", "0 0 20 0 1 0 4242 1 1"
    (folder / "stat").write_text(f"{pid} ({name}) {state} {before} {ticks} 0 {after}\n")
    (folder / "maps").write_text(maps)


def up(proc: Path, seconds: float) -> None:
    """The machine has run for so long."""
    (proc / "uptime").write_text(f"{seconds} 1.0\n")


@pytest.fixture
def proc(folder: Path) -> Path:
    up(folder, 1000)
    return folder


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"name": "rsync"}, "rsync"),
        ({"name": "a b) S (c"}, "a b) S (c"),
        ({"name": "rsync", "state": "R"}, "rsync"),
        ({"name": "rsync", "tty": 143 << 8 | 1 << 20}, "rsync"),
        ({"name": "rsync", "tty": NO_TERMINAL}, ""),
        ({"name": "agetty", "tty": SERIAL}, ""),
        ({"name": "rsync", "state": "T"}, ""),
        ({"name": "rsync", "state": "Z"}, ""),
        ({"name": "bash"}, ""),
        ({"name": "vim"}, ""),
        ({"name": "tmux: client"}, ""),
        ({"name": "mantid", "maps": "7f00-7f01 r-xp 0 08:01 1 /usr/lib/libX11.so.6.4.0\n"}, ""),
        ({"name": "fit", "maps": "7f00-7f01 r-xp 0 08:01 1 /usr/lib/libX1.so /home/a/libX11\n"}, "fit"),
    ],
)
def test_what_runs_in_a_terminal_is_work_unless_it_waits_for_a_person(
    proc: Path, facts: dict[str, Any], told: str
) -> None:
    runs(proc, **facts)
    assert listed(proc) == f"{told}\n\n"


def test_a_program_behind_one_with_a_window_is_found(proc: Path) -> None:
    runs(proc, "firefox", pid=77, maps="/usr/lib/libxcb.so.1")
    runs(proc, "rsync", pid=78)
    assert listed(proc) == "rsync\n\n"


def test_a_declared_job_is_told_before_a_program(proc: Path, job: subprocess.Popen[str]) -> None:
    runs(proc, "rsync")
    assert listed(proc).startswith("sh -c read line")


def test_a_program_that_does_nothing_for_a_day_is_no_work_until_it_does_something(proc: Path) -> None:
    runs(proc, "sleep")
    looks = []
    for seconds, ticks in ((1000, 5), (87_000, 5), (87_500, 5), (87_600, 6), (174_100, 6)):
        up(proc, seconds)
        runs(proc, "sleep", ticks=ticks)
        looks.append(listed(proc).splitlines()[0])
    assert looks == ["sleep", "sleep", "", "sleep", ""]


def test_the_busiest_program_since_the_last_look_is_told(proc: Path) -> None:
    runs(proc, "python3", pid=5, tty=NO_TERMINAL, ticks=900_000)
    runs(proc, "Xvnc", pid=6, tty=NO_TERMINAL, ticks=100)
    assert listed(proc) == "\n\n", "the first look has nothing to compare with"
    up(proc, 1100)
    runs(proc, "python3", pid=5, tty=NO_TERMINAL, ticks=900_100)
    runs(proc, "Xvnc", pid=6, tty=NO_TERMINAL, ticks=900)
    assert listed(proc) == "\n\n", "less than a tenth of one CPU"
    up(proc, 1200)
    runs(proc, "python3", pid=5, tty=NO_TERMINAL, ticks=918_000)
    assert listed(proc) == "\npython3\n"


def test_a_real_program_in_a_real_terminal_is_found(proc: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp("sleep", ["sleep", "1000"])  # noqa: S606
    (proc / str(pid)).symlink_to(f"/proc/{pid}")
    wait_until(lambda: listed(proc) == "sleep\n\n", "the program")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)
    assert listed(proc) == "\n\n"
