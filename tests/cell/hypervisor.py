"""The tests' own hosts: libvirt's test driver, and a real libvirtd with QEMU inside `tests/cell/enter`."""

import json
import os
import signal
import subprocess
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
    """The cell's libvirtd: the one that runs already (an installation under test starts its own), or one of ours."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        if not answers():
            log = Path(os.environ["VISA_CELL"], "libvirtd.log")
            # Pinned to one CPU: libvirt forgets what it found out about QEMU when it is on another CPU next time.
            command = ["taskset", "-c", "0", "libvirtd", "--pid-file", str(PIDFILE)]
            with log.open("ab") as out:
                self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        wait_until(answers, "libvirtd", 120)

    def kill(self) -> None:
        """As a crash would; the machines live on."""
        os.kill(int(PIDFILE.read_text()), signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill()
        self.start()


def answers() -> bool:
    """Whether libvirt's QEMU driver opens and tells what the host can run."""
    question = ["virsh", "-q", "-c", QEMU_URI, "domcapabilities", "--virttype", "qemu"]
    return subprocess.run(question, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def libvirtd() -> Libvirtd:
    """Started by the first test that needs it; it ends with the cell."""
    if "VISA_CELL" not in os.environ:
        pytest.skip("needs a libvirtd of its own: run through tests/cell/enter, as `make test` does")
    return Libvirtd()


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
