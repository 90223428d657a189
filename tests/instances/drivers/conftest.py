"""Both hosts, one after the other, for every promise of the contract."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from instances.drivers import open_host
from instances.drivers.base import BaseImage, HostSpec
from instances.drivers.libvirt import LibvirtDriver
from tests.instances.drivers.machines import Eyes, blank_image


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> BaseImage:
    return blank_image(tmp_path_factory.mktemp("blank") / "blank.qcow2")


@pytest.fixture(params=["simulated_host", pytest.param("qemu_host", marks=pytest.mark.qemu)])
def host(request: pytest.FixtureRequest) -> HostSpec:
    spec: HostSpec = request.getfixturevalue(request.param)
    return spec


@pytest.fixture
def driver(host: HostSpec) -> Iterator[LibvirtDriver]:
    """Prepared, and left without machines of ours."""
    with closing(open_host(host)) as opened:
        assert isinstance(opened, LibvirtDriver)
        opened.prepare()
        yield opened
        for status in opened.observe():
            opened.destroy(status.uuid)


@pytest.fixture
def eyes(host: HostSpec, driver: LibvirtDriver) -> Iterator[Eyes]:
    with closing(Eyes(host)) as seeing:
        yield seeing
