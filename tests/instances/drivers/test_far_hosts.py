"""Hosts on other computers: a real libvirtd behind TLS with certificates of both sides, and one behind a real sshd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from instances.drivers import open_host
from instances.drivers.base import HostSpec, HostUnreachable
from instances.models.hosts import validate_uri
from tests.cell.hypervisor import OTHER_COMPUTER, Libvirtd
from tests.desktops.webapps.jupyter import free_port
from tests.servers import wait_until

pytestmark = pytest.mark.qemu

OWN_NETWORK = "ip link set lo up\numount --recursive --lazy /sys && mount -t sysfs sysfs /sys\n"
SAME_NETWORK = OTHER_COMPUTER.replace(OWN_NETWORK, "")
CONFIGURED = """
listen_tls = 1
listen_tcp = 0
tls_port = "{port}"
listen_addr = "127.0.0.1"
ca_file = "{pki}/cacert.pem"
cert_file = "{pki}/servercert.pem"
key_file = "{pki}/serverkey.pem"
"""


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True, capture_output=True)


NEW_KEY = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


def sign(folder: Path, name: str, common_name: str) -> None:
    """`<name>cert.pem` and `<name>key.pem`, signed by the authority in this folder."""
    run(
        *NEW_KEY,
        *("-CA", folder / "cacert.pem", "-CAkey", folder / "cakey.pem", "-subj", f"/CN={common_name}"),
        *("-addext", f"subjectAltName=DNS:{common_name}", "-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", folder / f"{name}key.pem", "-out", folder / f"{name}cert.pem"),
    )


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The right authority with server and client, and beside it one that nobody knows."""
    folders = [tmp_path_factory.mktemp(name) for name in ("right", "wrong")]
    for folder in folders:
        run(
            *NEW_KEY,
            *("-subj", f"/CN=Authority {folder.name}", "-addext", "keyUsage=critical,keyCertSign"),
            *("-keyout", folder / "cakey.pem", "-out", folder / "cacert.pem"),
        )
        sign(folder, "server", "localhost")
        sign(folder, "client", "visa")
    return folders[0]


@pytest.fixture(scope="module")
def tls_port(libvirtd: Libvirtd, pki: Path) -> Iterator[int]:
    """A second libvirtd with folders of its own, which takes TLS alone."""
    room, port = Path(os.environ["VISA_CELL"], "far"), free_port()
    room.mkdir()
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", SAME_NETWORK, str(room)]
    there = subprocess.Popen(shell)
    wait_until((room / "ready").exists, "the far computer")
    config = room / "etc" / "far.conf"
    config.write_text((room / "etc" / "libvirtd.conf").read_text() + CONFIGURED.format(port=port, pki=pki))
    inside = ["nsenter", "--target", str(there.pid), "--mount", "--"]
    words = ["libvirtd", "--listen", "--config", str(config), "--pid-file", str(room / "libvirtd.pid")]
    daemon = subprocess.Popen([*inside, *words], start_new_session=True)
    local = ["virsh", "-q", "-c", f"qemu+unix:///system?socket={room}/run/libvirt-sock", "version"]
    wait_until(lambda: subprocess.run(local, capture_output=True, check=False).returncode == 0, "far libvirtd", 60)
    yield port
    daemon.terminate()
    daemon.wait(30)
    there.kill()
    there.wait()


@pytest.fixture(scope="module")
def ssh_key(libvirtd: Libvirtd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """An sshd on loopback, whose host key root knows and who takes one key; the cell's own /root/.ssh."""
    folder, port = tmp_path_factory.mktemp("ssh"), free_port()
    for name in ("host", "client"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    Path("/root/.ssh").mkdir(mode=0o700, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", "/root/.ssh")
    Path("/root/.ssh/known_hosts").write_text(f"[localhost]:{port} {(folder / 'host.pub').read_text()}")
    Path("/run/sshd").mkdir(exist_ok=True)
    options = {
        "Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PermitRootLogin": "yes",
        "AuthorizedKeysFile": folder / "client.pub", "StrictModes": "no", "UsePAM": "no",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", *words], stderr=subprocess.DEVNULL)
    scan = ["ssh-keyscan", "-p", str(port), "localhost"]
    wait_until(lambda: subprocess.run(scan, capture_output=True, check=False).stdout, "sshd")
    yield port, folder / "client"
    daemon.terminate()
    daemon.wait(30)
    run("umount", "/root/.ssh")


def far(spec: HostSpec, uri: str) -> HostSpec:
    """The same host by an address that staff may enter."""
    validate_uri(uri)
    return replace(spec, uri=uri)


def test_a_host_behind_tls_is_measured_and_looked_at(qemu_host: HostSpec, tls_port: int, pki: Path) -> None:
    spec = far(qemu_host, f"qemu+tls://localhost:{tls_port}/system?pkipath={pki}")
    with closing(open_host(replace(spec, network_name="far", network_cidr="10.216.0.0/24"))) as driver:
        assert driver.capacity().cpus > 0
        assert driver.observe() == []


def test_a_host_with_an_unknown_certificate_is_not_spoken_to(qemu_host: HostSpec, tls_port: int, pki: Path) -> None:
    wrong = pki.with_name(pki.name.replace("right", "wrong"))
    with pytest.raises(HostUnreachable):
        open_host(far(qemu_host, f"qemu+tls://localhost:{tls_port}/system?pkipath={wrong}"))


def test_a_certificate_for_another_name_is_refused(qemu_host: HostSpec, tls_port: int, pki: Path) -> None:
    with pytest.raises(HostUnreachable):
        open_host(far(qemu_host, f"qemu+tls://127.0.0.1:{tls_port}/system?pkipath={pki}"))


def test_a_host_behind_ssh_is_measured(qemu_host: HostSpec, ssh_key: tuple[int, Path]) -> None:
    port, key = ssh_key
    with closing(open_host(far(qemu_host, f"qemu+ssh://root@localhost:{port}/system?keyfile={key}"))) as driver:
        assert driver.capacity().cpus > 0


def test_a_host_that_shows_another_key_is_not_spoken_to(qemu_host: HostSpec, ssh_key: tuple[int, Path]) -> None:
    port, key = ssh_key
    known = Path("/root/.ssh/known_hosts")
    right = known.read_text()
    known.write_text(f"[localhost]:{port} {key.with_suffix('.pub').read_text()}")
    try:
        with pytest.raises(HostUnreachable):
            open_host(far(qemu_host, f"qemu+ssh://root@localhost:{port}/system?keyfile={key}"))
    finally:
        known.write_text(right)
