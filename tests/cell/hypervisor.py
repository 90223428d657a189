"""The tests' own hosts: libvirt's test driver, and a real libvirtd with QEMU inside `tests/cell/enter`."""

import json
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from instances.drivers import open_host
from instances.drivers.base import BaseImage, HostSpec, Virtualisation
from tests.servers import wait_until

BLOCKED = "10.99.0.0/16"
QEMU_URI = "qemu:///system"
PIDFILE = Path("/run/libvirtd.pid")
IMAGES = Path(__file__).parents[2] / "var" / "images"


class Libvirtd:
    """The cell's libvirtd: the one that runs already (an installation under test starts its own), or one of ours.

    `inside` is put before the command of one that shall run in other namespaces.
    """

    def __init__(self, uri: str = QEMU_URI, pidfile: Path = PIDFILE, inside: Sequence[str] = ()) -> None:
        self.uri, self.pidfile, self.inside = uri, pidfile, inside
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        if not self.answers():
            log = Path(os.environ["VISA_CELL"], "libvirtd.log")
            # Pinned to one CPU: libvirt forgets what it found out about QEMU when it is on another CPU next time.
            command = [*self.inside, "taskset", "-c", "0", "libvirtd", "--pid-file", str(self.pidfile)]
            with log.open("ab") as out:
                self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        wait_until(self.answers, "libvirtd", 120)

    def answers(self) -> bool:
        """Whether libvirt's QEMU driver opens and tells what the host can run."""
        question = ["virsh", "-q", "-c", self.uri, "domcapabilities", "--virttype", "qemu"]
        return subprocess.run(question, capture_output=True, check=False).returncode == 0

    def kill(self) -> None:
        """As a crash would; the machines live on."""
        os.kill(int(self.pidfile.read_text()), signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()


@pytest.fixture(scope="session")
def libvirtd() -> Libvirtd:
    """Started by the first test that needs it; it ends with the cell."""
    if "VISA_CELL" not in os.environ:
        pytest.skip("needs a libvirtd of its own: run through tests/cell/enter, as `make test` does")
    return Libvirtd()


OTHER_COMPUTER = """
ip link set lo up
umount --recursive --lazy /sys && mount -t sysfs sysfs /sys
mkdir -p "$0"/run "$0"/lib "$0"/log "$0"/etc && cp -a /etc/libvirt/qemu.conf /etc/libvirt/libvirtd.conf "$0"/etc
mount --bind "$0"/run /run/libvirt
mount --bind "$0"/lib /var/lib/libvirt
mount --bind "$0"/log /var/log/libvirt
mount --bind "$0"/etc /etc/libvirt
touch "$0"/ready && exec sleep infinity
"""


@dataclass(frozen=True)
class OtherComputer:
    """A libvirt of its own, with its own disks and network; `files` is where its /var/lib/libvirt can be seen."""

    libvirtd: Libvirtd
    files: Path


@pytest.fixture(scope="session")
def other_computer(libvirtd: Libvirtd) -> OtherComputer:
    """A second host on this computer, in a network and with folders that the first one does not see."""
    room = Path(os.environ["VISA_CELL"], "other")
    room.mkdir()
    shell = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-ec", OTHER_COMPUTER, str(room)]
    there = subprocess.Popen(shell)  # keeps the namespaces; it ends with the cell
    wait_until((room / "ready").exists, "the other computer")
    inside = ["nsenter", "--target", str(there.pid), "--mount", "--net", "--"]
    uri = f"qemu+unix:///system?socket={room}/run/libvirt-sock"
    return OtherComputer(Libvirtd(uri, room / "libvirtd.pid", inside), room / "lib")


@pytest.fixture(scope="session")
def qemu_host(libvirtd: Libvirtd) -> HostSpec:
    """Real QEMU, emulated: the same on every computer. Its pool and network are apart from an installation's."""
    spec = HostSpec(
        uri=QEMU_URI,
        deployment=uuid4(),
        pool_name="tests",
        pool_path="/var/lib/libvirt/images/tests",
        network_name="tests",
        network_cidr="10.214.0.0/20",
        virtualisation=Virtualisation.EMULATION,
        blocked_networks=(BLOCKED,),
    )
    driver = open_host(spec)
    driver.prepare()
    driver.close()
    return spec


@pytest.fixture(scope="session")
def simulated_host() -> HostSpec:
    """libvirt's test driver: a host in this process's memory, for as long as somebody keeps a connection to it open.

    It has no bytes of disks, no filters and no screens.
    """
    return HostSpec(
        uri="test:///default", deployment=uuid4(), pool_name="tests", network_name="tests", pool_path="/nowhere/tests"
    )


@pytest.fixture(scope="session")
def base_image() -> BaseImage:
    """The small variant of the guest image, built beforehand: `guest/build --variant ci --output var/images`."""
    index = Path(os.environ.get("VISA_TEST_IMAGES", IMAGES), "ci.json")
    if not index.exists():
        pytest.fail(f"{index} is missing: build the image with guest/build --variant ci --output {index.parent}")
    described = json.loads(index.read_text())
    return BaseImage(
        path=str(index.parent / described["file"]),
        sha256=described["sha256"],
        virtual_size_gib=described["virtual_size_gib"],
    )
