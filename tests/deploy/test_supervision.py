"""The supervisor's configuration, and real processes under it that are killed."""

import configparser
import os
import signal
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from deploy.home import Home
from deploy.supervision import Supervisor, site_programs, write_configuration
from tests.servers import wait_until


@pytest.fixture
def place(tmp_path: Path) -> Home:
    made = Home(tmp_path / "my home")
    made.make()
    return made


SLEEPERS = {"web": ["sleep", "1001"], "worker": ["sleep", "1002"]}


@pytest.fixture
def supervisor(place: Home) -> Iterator[Supervisor]:
    configuration = write_configuration(place, {"libvirtd": ["sleep", "1003"]}, SLEEPERS)
    with place.claim() as claim:
        started = Supervisor(place, configuration, dict(os.environ), claim.fileno())
        try:
            started.wait_for_redis()
            yield started
        finally:
            started.stop()


def process(supervisor: Supervisor, name: str) -> int:
    """The process id of a program; 0 while it has none."""
    shown = supervisor._control("pid", name).strip()
    return int(shown) if shown.isdigit() else 0


def replaced(supervisor: Supervisor, name: str, before: int) -> bool:
    return process(supervisor, name) not in (0, before)


def gone(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or " Z " in stat.read_text()


def test_redis_listens_on_a_private_socket_alone(place: Home) -> None:
    write_configuration(place, {}, site_programs("127.0.0.1", 8000))
    text = (place.run / "redis.conf").read_text()
    assert "port 0\n" in text
    assert "unixsocketperm 700\n" in text
    assert "appendonly yes\n" in text


def test_the_site_is_what_production_runs(place: Home) -> None:
    path = write_configuration(place, {}, site_programs("127.0.0.1", 8000))
    written = configparser.RawConfigParser()
    written.read(path)
    units = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
    for name in ("web", "worker", "beat", "observer"):
        assert written[f"program:{name}"]["autorestart"] == "true"
        unit = (units / f"visa-{name}.service").read_text()
        for word in ("desktops.server:DirectSocket", "--ws-per-message-deflate", "observe_hosts", "--without-mingle"):
            assert (word in unit) == (word in written[f"program:{name}"]["command"])


def test_what_is_killed_comes_back(supervisor: Supervisor) -> None:
    supervisor.start_site()
    for name in ("site:web", "site:worker", "libvirtd", "redis"):
        before = process(supervisor, name)
        os.kill(before, signal.SIGKILL)
        wait_until(partial(replaced, supervisor, name, before), f"{name} again")


def test_the_site_waits_until_it_is_told(supervisor: Supervisor) -> None:
    assert process(supervisor, "libvirtd")
    assert not process(supervisor, "site:web")
    supervisor.start_site()
    assert process(supervisor, "site:web")


def test_stopping_ends_all(supervisor: Supervisor) -> None:
    supervisor.start_site()
    programs = [process(supervisor, name) for name in ("site:web", "site:worker", "libvirtd", "redis")]
    supervisor.stop()
    assert all(map(gone, programs))
    assert not supervisor.lives()


def test_nothing_outlives_a_supervisor_that_is_killed(supervisor: Supervisor) -> None:
    supervisor.start_site()
    programs = [process(supervisor, name) for name in ("site:web", "site:worker", "libvirtd", "redis")]
    os.kill(supervisor.process.pid, signal.SIGKILL)
    wait_until(lambda: all(map(gone, programs)), "the end of all programs")


def test_what_redis_was_told_survives_its_death(supervisor: Supervisor) -> None:
    def redis(*words: str) -> str:
        command = ["redis-cli", "-s", str(supervisor.home.run / "redis.sock"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    assert redis("set", "queued", "work") == "OK"
    wait_until(lambda: "aof_pending_bio_fsync:0" in redis("info", "persistence"), "the write to disk")
    os.kill(process(supervisor, "redis"), signal.SIGKILL)
    wait_until(lambda: redis("get", "queued") == "work", "the queue after the restart")
