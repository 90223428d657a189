"""A facility whose one host is libvirt's own test driver: quick, and without guests."""

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from instances.drivers import open_host
from instances.drivers.base import Driver
from instances.models import Carriage, Host
from instances.specs import host_spec
from tests.people import Facility, facility


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid, empty qcow2 file of one GiB inside."""
    path = tmp_path_factory.mktemp("images") / "tiny.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=1.1", str(path), "1G"], check=True)
    return path


@pytest.fixture
def house(db: None, tiny_image: Path) -> Iterator[Facility]:
    """Alice, Bob, Charlie and a host that can really build: libvirt's test driver."""
    made = facility()
    digest = hashlib.sha256(tiny_image.read_bytes()).hexdigest()
    made.image.path, made.image.sha256, made.image.virtual_size_gib = str(tiny_image), digest, 1
    made.image.save()
    Host.objects.update(uri="test:///default", virtualisation="qemu", pool_path="/tmp/visa-test-pool")  # noqa: S108 - the test driver makes no folder
    made.host.refresh_from_db()
    Carriage.objects.create(host=made.host, image=made.image, sha256=digest, state=Carriage.State.THERE)
    made.machine.delete()
    with closing(open_host(host_spec(made.host))) as opened:  # the test driver forgets all when the last one closes
        opened.prepare()
        yield made
        for status in opened.observe():
            opened.destroy(status.uuid)


@pytest.fixture
def driver(house: Facility) -> Iterator[Driver]:
    with closing(open_host(host_spec(house.host))) as opened:
        yield opened
