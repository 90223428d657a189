"""VISA_HOME: secrets, the claim, the port, and where machines' disks go."""

import os
import socket
import stat
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from deploy import home
from deploy.home import Home, free_network, mark_of, pool_path, qemu_user, require_free
from deploy.steps import Failed


@pytest.fixture
def place(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    return made


def test_secrets_are_for_the_owner_alone(place: Home) -> None:
    place.write_secrets()
    assert stat.S_IMODE(place.environment_file.stat().st_mode) == 0o600


def test_every_home_gets_its_own_long_secrets(place: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    other.make()
    for one in (place, other):
        one.write_secrets()
    for name in ("VISA_SECRET_KEY", "VISA_ENCRYPTION_KEYS", "VISA_DEPLOYMENT", "VISA_POOL_NAME", "VISA_NETWORK_NAME"):
        assert place.environment()[name] != other.environment()[name]
    keys = [place.environment()[name] for name in ("VISA_SECRET_KEY", "VISA_ENCRYPTION_KEYS")]
    assert len(set(keys)) == 2
    assert min(map(len, keys)) > 50


def test_secrets_once_made_stay(place: Home) -> None:
    place.write_secrets()
    before = place.environment()
    place.write_secrets()
    assert place.environment() == before


def test_what_the_owner_wrote_into_the_environment_file_stays(place: Home) -> None:
    place.environment_file.write_text("# mine\nVISA_DEFAULT_QUOTA=5\nVISA_SECRET_KEY=mine\n")
    place.write_secrets()
    assert place.environment_file.read_text().startswith("# mine\nVISA_DEFAULT_QUOTA=5\n")
    assert place.environment()["VISA_SECRET_KEY"] == "mine"
    assert "VISA_ENCRYPTION_KEYS" in place.environment()


def test_a_home_is_claimed_by_one_run_at_a_time(place: Home) -> None:
    with place.claim(), pytest.raises(Failed, match="VISA already runs with VISA_HOME="):
        place.claim()
    place.claim().close()


def test_a_home_too_deep_for_sockets_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="too long for unix sockets"):
        Home(tmp_path / ("x" * 100)).make()


def test_a_home_with_a_percent_sign_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="percent sign"):
        Home(tmp_path / "50%").make()


def test_a_home_that_cannot_be_written_is_refused_in_words() -> None:
    with pytest.raises(Failed, match="VISA_HOME cannot be written: /proc/nowhere"):
        Home(Path("/proc/nowhere")).make()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_refused_with_another_to_try(address: str) -> None:
    with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Failed, match=f"VISA_PORT={port + 1} make run"):
            require_free(address, port)
    require_free(address, port)


def test_disks_stay_in_the_home_where_qemu_may_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "qemu_user", lambda: "libvirt-qemu")
    inner = tmp_path / "shut" / "home"
    inner.mkdir(parents=True)
    for parent in (inner, *inner.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    assert pool_path(inner) == inner / "pool"
    inner.parent.chmod(0o700)
    assert pool_path(inner) == Path("/var/lib/libvirt/images") / f"visa-{mark_of(inner)}"
    monkeypatch.setattr(home, "qemu_user", lambda: "root")
    assert pool_path(inner) == inner / "pool"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "libvirt-qemu"),
        ('#user = "root"\n', "libvirt-qemu"),
        ('user = "root"\n', "root"),
        ('user = "+0"\n', "root"),
        ('  user="tss"\n', "tss"),
    ],
)
def test_the_user_of_qemu_is_read_as_libvirt_reads_it(
    text: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home, "QEMU_CONF", tmp_path / "qemu.conf")
    assert qemu_user() == "libvirt-qemu"
    (tmp_path / "qemu.conf").write_text(text)
    assert qemu_user() == name


def test_machines_get_a_network_that_the_host_is_not_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home, "routes", lambda: [(IPv4Network("10.213.0.0/24"), "virbr0")])
    assert free_network() == IPv4Network("10.213.16.0/20")
    monkeypatch.setattr(home, "routes", lambda: [])
    assert free_network() == IPv4Network("10.213.0.0/20")


def test_routes_are_read_from_the_kernel_as_networks() -> None:
    assert home._network("0000D50A", "00F0FFFF") == IPv4Network("10.213.0.0/20")
