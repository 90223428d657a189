"""What only a real libvirtd can show: bytes that arrive, copies that break off, a daemon that dies."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event, Thread

import pytest

from instances.drivers import open_host
from instances.drivers.base import BaseImage, DomainEvent, DriverError, HostSpec, HostUnreachable, Power, Virtualisation
from instances.drivers.libvirt import LibvirtDriver
from instances.drivers.storage import base_name, disk_name, seed_name
from tests.cell.hypervisor import Libvirtd
from tests.instances.drivers.machines import Eyes, a_spec, sha256_of
from tests.servers import wait_until

pytestmark = pytest.mark.qemu
LARGE_MIB = 256
ROOT = Path(__file__).parents[3]


@pytest.fixture
def host(qemu_host: HostSpec) -> HostSpec:
    return qemu_host


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> BaseImage:
    """Large enough to be caught in the middle of its way."""
    folder = tmp_path_factory.mktemp("large")
    raw, path = folder / "large.raw", folder / "large.qcow2"
    with raw.open("wb") as file:
        for _ in range(LARGE_MIB):
            file.write(os.urandom(1 << 20))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)], check=True)
    raw.unlink()
    return BaseImage(str(path), sha256_of(path), 1)


@pytest.fixture
def forget(eyes: Eyes, large: BaseImage) -> Iterator[None]:
    yield
    if base_name(large) in eyes.volumes():
        eyes.volume(base_name(large)).delete()


def provide_elsewhere(host: HostSpec, base: BaseImage) -> subprocess.Popen[str]:
    """Another process that copies the image and prints how far it is."""
    program = (
        "import sys; from uuid import UUID; from instances.drivers import open_host;"
        "from instances.drivers.base import BaseImage, HostSpec\n"
        "uri, pool, path, deployment, image, digest = sys.argv[1:]\n"
        "driver = open_host(HostSpec(uri, UUID(deployment), pool_name=pool, pool_path=path))\n"
        "driver.provide(BaseImage(image, digest, 1), lambda done, whole: print(done, flush=True))\n"
    )
    words = [host.uri, host.pool_name, host.pool_path, str(host.deployment), base.path, base.sha256]
    return subprocess.Popen([sys.executable, "-c", program, *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def kill_midway(process: subprocess.Popen[str], after_bytes: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) > after_bytes:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def is_qcow2(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"QFI\xfb"


@pytest.mark.usefixtures("forget")
def test_a_copy_that_was_killed_midway_is_never_taken_for_whole(
    driver: LibvirtDriver, host: HostSpec, eyes: Eyes, large: BaseImage
) -> None:
    kill_midway(provide_elsewhere(host, large), after_bytes=LARGE_MIB // 3 << 20)
    path = eyes.volume_path(base_name(large))
    assert path.stat().st_blocks * 512 < LARGE_MIB << 20, "it was killed too late to show anything"
    assert not is_qcow2(path)

    def provided() -> bool:
        try:
            driver.provide(large)
        except DriverError as error:  # until libvirtd has noticed that the first sender is gone
            if error.permanent:
                raise
            return False
        return True

    wait_until(provided, "the second copy", 60)
    assert sha256_of(path) == large.sha256
    assert path.stat().st_mode & 0o777 == 0o444


@pytest.mark.usefixtures("forget")
def test_two_workers_may_provide_at_once(driver: LibvirtDriver, host: HostSpec, eyes: Eyes, large: BaseImage) -> None:
    other = provide_elsewhere(host, large)
    try:
        driver.provide(large)
    except DriverError as error:
        if error.permanent:
            raise
    other.communicate()
    driver.provide(large)
    assert sha256_of(eyes.volume_path(base_name(large))) == large.sha256


def test_the_disk_is_a_new_overlay_and_the_seed_arrives_whole(
    driver: LibvirtDriver, eyes: Eyes, blank: BaseImage
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    described = subprocess.run(
        ["qemu-img", "info", "-U", str(eyes.volume_path(disk_name(spec.uuid)))],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "compat: 1.1" in described
    assert "virtual size: 2 GiB" in described
    assert f"backing file: {eyes.volume_path(base_name(blank))}" in described
    assert "backing file format: qcow2" in described
    seed = eyes.volume_path(seed_name(spec.uuid))
    assert b"cidata" in seed.read_bytes()[32768:32864]
    assert b"Alice Martin" in seed.read_bytes()
    assert seed.stat().st_mode & 0o077 == 0


def test_a_full_disk_is_named_and_nothing_half_copied_stays(host: HostSpec, large: BaseImage, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(tmp_path)], check=True)
    small = dataclasses.replace(host, pool_name="small", pool_path=str(tmp_path / "pool"))
    try:
        with closing(open_host(small)) as driver:
            driver.prepare()
            with pytest.raises(DriverError, match="The host's disk is full"):
                driver.provide(large)
            assert list((tmp_path / "pool").iterdir()) == []
    finally:
        subprocess.run(["virsh", "-q", "-c", host.uri, "pool-destroy", "small"], check=False)
        subprocess.run(["virsh", "-q", "-c", host.uri, "pool-undefine", "small"], check=False)
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_no_secret_is_in_a_process_list(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert any(str(spec.uuid).encode() in line for line in lines), "QEMU does not run"
    secrets = (spec.console_password, spec.persona.vnc_password, spec.persona.jupyter_token)
    assert not [line for line in lines for secret in secrets if secret.encode() in line]


def test_the_definition_without_the_right_to_secrets_hides_the_password(
    driver: LibvirtDriver, eyes: Eyes, blank: BaseImage
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    assert spec.console_password in eyes.xml(spec.uuid)
    assert spec.console_password not in eyes.connection.lookupByUUIDString(str(spec.uuid)).XMLDesc()


def test_the_console_answers_on_the_hosts_own_address_only(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    (status,) = driver.observe()
    assert status.console is not None
    assert status.console.host == "127.0.0.1"
    assert status.console.port >= 5900


def test_a_machine_that_does_not_fit_is_refused_with_a_reason(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank, memory_mib=1 << 30)
    driver.create(spec)
    with pytest.raises(DriverError, match="could not be started"):
        driver.start(spec.uuid)
    (status,) = driver.observe()
    assert status.power is not Power.RUNNING


def test_a_daemon_that_dies_is_found_again_and_the_machines_live_on(
    driver: LibvirtDriver, libvirtd: Libvirtd, blank: BaseImage
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    heard: list[DomainEvent | None] = []
    stop = Event()
    watching = Thread(target=driver.watch, args=(heard.append, stop))
    watching.start()
    try:
        wait_until(lambda: heard.count(None) == 1, "the first full look", 20)
        libvirtd.kill()
        with pytest.raises(HostUnreachable):
            driver.observe()
        libvirtd.start()
        wait_until(lambda: heard.count(None) == 2, "the full look after the reconnection", 60)
        assert [status.power for status in driver.observe()] == [Power.RUNNING]
        driver.stop(spec.uuid, force=True)
        # libvirtd sometimes loses "stopped" when it has just come back, but never all of a stop's events.
        wait_until(lambda: [event for event in heard if event], "an event after all that", 20)
    finally:
        stop.set()
        watching.join(30)
    assert not watching.is_alive()


def test_verbs_may_be_repeated_across_a_restart_until_they_succeed(
    driver: LibvirtDriver, libvirtd: Libvirtd, blank: BaseImage
) -> None:
    specs = [a_spec(blank) for _ in range(4)]

    def make_all() -> None:
        for spec in specs:
            wait_until(partial(succeeds, partial(driver.create, spec)), f"machine {spec.uuid}", 120)

    making = Thread(target=make_all)
    making.start()
    wait_until(lambda: not making.is_alive() or seen_by(driver) >= 1, "the first machine", 60)
    libvirtd.restart()
    making.join(240)
    assert {status.uuid for status in driver.observe()} == {spec.uuid for spec in specs}
    assert driver.leftovers() == []


def succeeds(verb: Callable[[], None]) -> bool:
    try:
        verb()
    except DriverError as error:
        if error.permanent:
            raise
        return False
    return True


def seen_by(driver: LibvirtDriver) -> int:
    try:
        return len(driver.observe())
    except HostUnreachable:
        return 0


def test_kvm_is_never_chosen_by_itself_where_only_a_stand_in_for_it_is_loaded(host: HostSpec) -> None:
    automatic = HostSpec(uri=host.uri, deployment=host.deployment, pool_name=host.pool_name, pool_path=host.pool_path)
    real = any(Path("/sys/module", module).exists() for module in ("kvm_intel", "kvm_amd"))
    with closing(open_host(automatic)) as driver:
        assert driver.capacity().virtualisation is Virtualisation.EMULATION or real
