"""The tests' own hosts: libvirt's test driver, and a real libvirtd with QEMU inside `tests/cell/enter`."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from instances.drivers import open_host
from instances.drivers.base import BaseImage, HostSpec, Virtualisation

QEMU_URI = "qemu:///system"
PIDFILE = Path("/run/libvirtd.pid")
IMAGES = Path(__file__).parents[2] / "var" / "images"


@dataclass
class Libvirtd:
    """The cell's libvirtd; machines outlive it, as on any host."""

    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = Path(os.environ["VISA_CELL"], "libvirtd.log").open("ab")  # noqa: SIM115 - the child keeps it
        # Pinned to one CPU because libvirt forgets what it found out about QEMU when it sees another CPU next time.
        command = ["taskset", "-c", "0", "libvirtd", "--pid-file", str(PIDFILE)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        log.close()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()
        wait_until(answers, 60)


def answers() -> bool:
    """Whether libvirt's QEMU driver opens and tells what the host can run."""
    question = ["virsh", "-q", "-c", QEMU_URI, "domcapabilities", "--virttype", "qemu"]
    return subprocess.run(question, capture_output=True, check=False).returncode == 0


def wait_until(condition: Callable[[], object], seconds: float, every: float = 0.1) -> None:
    """Raises TimeoutError when the condition is not true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{getattr(condition, '__name__', condition)} is not true after {seconds} s")
        time.sleep(every)


@contextmanager
def running_libvirtd() -> Iterator[Libvirtd]:
    libvirtd = Libvirtd()
    libvirtd.start()
    try:
        wait_until(answers, 120)
        yield libvirtd
    finally:
        libvirtd.kill()


@pytest.fixture(scope="session")
def libvirtd() -> Iterator[Libvirtd]:
    """Started by the first test that needs it."""
    if "VISA_CELL" not in os.environ:
        pytest.skip("needs a libvirtd of its own: run through tests/cell/enter, as `make test` does")
    with running_libvirtd() as running:
        yield running


@pytest.fixture(scope="session")
def qemu_host(libvirtd: Libvirtd) -> HostSpec:
    """Real QEMU, emulated: the same on every computer."""
    spec = HostSpec(uri=QEMU_URI, deployment=uuid4(), virtualisation=Virtualisation.EMULATION)
    driver = open_host(spec)
    driver.prepare()
    driver.close()
    return spec


@pytest.fixture(scope="session")
def test_host() -> HostSpec:
    """libvirt's test driver: a host in this process's memory, without disks' bytes, filters or screens."""
    spec = HostSpec(uri="test:///default", deployment=uuid4())
    driver = open_host(spec)
    driver.prepare()
    driver.close()
    return spec


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


