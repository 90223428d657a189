"""The promises of instances.drivers.base, kept by every host: libvirt's test driver, and real QEMU."""

import dataclasses
from contextlib import closing
from threading import Event, Thread
from uuid import uuid4

import pytest

from instances.drivers import open_host
from instances.drivers.base import (
    BaseImage,
    DomainEvent,
    DomainStatus,
    DriverError,
    HostSpec,
    HostUnreachable,
    Power,
    Virtualisation,
)
from instances.drivers.domain import domain_name, mac_address
from instances.drivers.libvirt import LibvirtDriver
from instances.judgement import RUNNING
from tests.instances.drivers.machines import Eyes, a_spec
from tests.servers import wait_until

HOSTILE_TITLES = [
    "<domain type='kvm'/>",
    "]]> & \"quotes\" 'apostrophes'",
    "two\nlines\tand a tab",
    "nul\x00 bell\x07 escape\x1b[31m",
    "right-to-left \u202egnp.exe",
    "лаборатория 実験 🧪",
    "$(reboot); `id`; --help",
    "half a pair \ud83d",
    "",
    "x" * 2000,
]


def only(driver: LibvirtDriver) -> DomainStatus:
    (status,) = driver.observe()
    return status


def test_a_machine_is_made_of_a_domain_a_disk_and_a_seed(driver: LibvirtDriver, eyes: Eyes, blank: BaseImage) -> None:
    spec, steps = a_spec(blank), list[str]()
    driver.create(spec, steps.append)
    assert steps == ["image", "disk", "seed", "domain"]
    name = domain_name(spec.uuid)
    assert eyes.of(spec.uuid) == {name, f"{name}.qcow2", f"{name}-seed.iso"}
    assert only(driver) == DomainStatus(spec.uuid, generation=1, power=Power.OFF)


def test_creating_again_is_harmless(driver: LibvirtDriver, eyes: Eyes, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    before = eyes.xml(spec.uuid)
    driver.create(spec)
    assert eyes.xml(spec.uuid) == before


def test_what_an_interrupted_creation_left_is_used_up_by_the_next(
    driver: LibvirtDriver, eyes: Eyes, blank: BaseImage
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    eyes.undefine(spec.uuid)
    driver.create(spec)
    assert only(driver).uuid == spec.uuid
    assert driver.leftovers() == []


def test_a_new_generation_replaces_the_old(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    driver.create(dataclasses.replace(spec, generation=2, disk_gib=3))
    status = only(driver)
    assert (status.generation, status.power) == (2, Power.OFF)


def test_a_failed_creation_leaves_nothing(driver: LibvirtDriver, eyes: Eyes, blank: BaseImage) -> None:
    spec = a_spec(blank)
    stranger = eyes.define_foreign(domain_name(spec.uuid))  # takes the name, so the last step fails
    try:
        with pytest.raises(DriverError, match="could not be built"):
            driver.create(spec)
        assert eyes.of(spec.uuid) == {domain_name(spec.uuid)}
        assert mac_address(spec.uuid) not in eyes.network()
    finally:
        eyes.undefine(stranger)


def test_a_machine_starts_and_a_second_start_is_harmless(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    driver.start(spec.uuid)
    assert only(driver).power is Power.RUNNING


def test_force_takes_the_power_away_and_twice_is_harmless(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    driver.stop(spec.uuid, force=True)
    driver.stop(spec.uuid, force=True)
    driver.stop(spec.uuid)
    assert only(driver).power is Power.OFF


def test_asking_to_stop_or_restart_returns_at_once(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    driver.reboot(spec.uuid)
    driver.reboot(spec.uuid, force=True)
    assert only(driver).power is Power.RUNNING
    driver.stop(spec.uuid)


def test_a_restart_of_a_machine_that_is_off_starts_it(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.reboot(spec.uuid)
    assert only(driver).power is Power.RUNNING


def test_a_hibernated_machine_resumes(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    driver.hibernate(spec.uuid)
    driver.hibernate(spec.uuid)
    asleep = only(driver)
    assert (asleep.power, asleep.hibernated) == (Power.OFF, True)
    driver.start(spec.uuid)
    awake = only(driver)
    assert (awake.power, awake.hibernated) == (Power.RUNNING, False)


def test_a_machine_that_is_off_has_nothing_to_hibernate(driver: LibvirtDriver, blank: BaseImage) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    with pytest.raises(DriverError, match="switched off"):
        driver.hibernate(spec.uuid)


@pytest.mark.parametrize("hibernated", [False, True], ids=["running", "hibernated"])
def test_destroying_leaves_nothing_and_twice_is_harmless(
    driver: LibvirtDriver, eyes: Eyes, blank: BaseImage, hibernated: bool
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    driver.start(spec.uuid)
    if hibernated:
        driver.hibernate(spec.uuid)
    driver.destroy(spec.uuid)
    driver.destroy(spec.uuid)
    assert eyes.of(spec.uuid) == set()
    assert mac_address(spec.uuid) not in eyes.network()
    assert driver.observe() == []


def test_destroying_takes_the_disks_of_a_domain_that_is_already_gone(
    driver: LibvirtDriver, eyes: Eyes, blank: BaseImage
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    eyes.undefine(spec.uuid)
    name = domain_name(spec.uuid)
    assert [volume.name for volume in driver.leftovers()] == [f"{name}-seed.iso", f"{name}.qcow2"]
    driver.destroy(spec.uuid)
    assert eyes.of(spec.uuid) == set()


def test_a_look_at_some_sees_what_a_look_at_all_sees_of_them(driver: LibvirtDriver, blank: BaseImage) -> None:
    running, asleep, other = a_spec(blank), a_spec(blank), a_spec(blank)
    for spec in (running, asleep, other):
        driver.create(spec)
    for spec in (running, asleep):
        driver.start(spec.uuid)
    driver.hibernate(asleep.uuid)
    wanted = {running.uuid, asleep.uuid}
    seen = {status.uuid: dataclasses.replace(status, cpu_seconds=0.0) for status in driver.observe([*wanted, uuid4()])}
    everything = [dataclasses.replace(status, cpu_seconds=0.0) for status in driver.observe()]
    assert seen == {status.uuid: status for status in everything if status.uuid in wanted}
    assert seen[asleep.uuid].hibernated
    assert seen[running.uuid].power in RUNNING


def test_a_look_at_none_and_at_one_that_is_not_there_sees_nothing(driver: LibvirtDriver, blank: BaseImage) -> None:
    driver.create(a_spec(blank))
    assert driver.observe([]) == []
    assert driver.observe([uuid4()]) == []


@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "hibernate"])
def test_a_machine_that_is_not_there_is_a_clear_error(driver: LibvirtDriver, verb: str) -> None:
    with pytest.raises(DriverError, match="no longer exists") as raised:
        getattr(driver, verb)(uuid4())
    assert raised.value.permanent


@pytest.mark.parametrize("title", HOSTILE_TITLES)
def test_any_title_is_only_a_title(driver: LibvirtDriver, blank: BaseImage, title: str) -> None:
    spec = a_spec(blank, title=title)
    driver.create(spec)
    assert only(driver).uuid == spec.uuid


def test_a_foreign_domain_is_neither_seen_nor_touched(driver: LibvirtDriver, eyes: Eyes) -> None:
    stranger = eyes.define_foreign("somebody-elses")
    try:
        assert driver.observe() == driver.observe([stranger]) == []
        for verb in (driver.start, driver.stop, driver.reboot, driver.hibernate, driver.destroy):
            with pytest.raises(DriverError, match="not VISA's own") as raised:
                verb(stranger)
            assert raised.value.permanent
        assert "somebody-elses" in eyes.domains()
    finally:
        eyes.undefine(stranger)


def test_another_deployments_machine_is_neither_seen_nor_touched(
    driver: LibvirtDriver, host: HostSpec, blank: BaseImage
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    with closing(open_host(dataclasses.replace(host, deployment=uuid4()))) as other:
        assert other.observe() == other.observe([spec.uuid]) == []
        assert other.leftovers() == []
        with pytest.raises(DriverError, match="not VISA's own"):
            other.destroy(spec.uuid)
    assert only(driver).uuid == spec.uuid


def test_an_image_larger_than_the_disk_is_refused(driver: LibvirtDriver, eyes: Eyes, blank: BaseImage) -> None:
    spec = a_spec(dataclasses.replace(blank, virtual_size_gib=2), disk_gib=1)
    with pytest.raises(DriverError, match="needs a larger disk") as raised:
        driver.create(spec)
    assert raised.value.permanent
    assert eyes.of(spec.uuid) == set()


def test_an_image_whose_bytes_are_others_is_refused(driver: LibvirtDriver, eyes: Eyes, blank: BaseImage) -> None:
    swapped = dataclasses.replace(blank, sha256="0" * 64)
    spec = a_spec(swapped)
    with pytest.raises(DriverError, match="checksum differs") as raised:
        driver.create(spec)
    assert raised.value.permanent
    assert eyes.of(spec.uuid) == set()
    assert "base-0000000000000000.qcow2" not in eyes.volumes()


def test_providing_tells_how_far_it_is_and_twice_is_harmless(driver: LibvirtDriver, blank: BaseImage) -> None:
    driver.provide(blank)
    told: list[tuple[int, int]] = []
    driver.provide(blank, lambda done, whole: told.append((done, whole)))
    assert told == []


def test_each_machine_has_an_address_of_its_own_kept_for_it(
    driver: LibvirtDriver, eyes: Eyes, blank: BaseImage
) -> None:
    specs = [a_spec(blank) for _ in range(3)]
    for spec in specs:
        driver.create(spec)
    macs = [mac_address(spec.uuid) for spec in specs]
    assert len(set(macs)) == len(macs)
    assert all(f"<host mac='{mac}'" in eyes.network() for mac in macs)


def test_capacity_is_what_the_host_has(driver: LibvirtDriver) -> None:
    capacity = driver.capacity()
    assert capacity.cpus >= 1
    assert 0 < capacity.memory_free_mib <= capacity.memory_mib
    assert 0 < capacity.disk_free_gib <= capacity.disk_gib
    assert capacity.virtualisation is Virtualisation.EMULATION
    assert "libvirt" in capacity.version


def test_preparing_again_changes_nothing(driver: LibvirtDriver, eyes: Eyes) -> None:
    before = eyes.network()
    driver.prepare()
    assert eyes.network() == before


def test_a_blocked_network_that_is_none_is_refused(host: HostSpec) -> None:
    wrong = dataclasses.replace(host, blocked_networks=("10.0.0.0/8", "the lab"))
    with closing(open_host(wrong)) as driver, pytest.raises(DriverError, match="the lab"):
        driver.prepare()


def test_a_pool_and_a_network_that_were_stopped_are_started_for_the_next_machine(
    driver: LibvirtDriver, host: HostSpec, eyes: Eyes, blank: BaseImage
) -> None:
    spec = a_spec(blank)
    driver.create(spec)
    eyes.connection.storagePoolLookupByName(host.pool_name).destroy()
    eyes.connection.networkLookupByName(host.network_name).destroy()
    driver.start(spec.uuid)
    assert only(driver).power is Power.RUNNING
    driver.destroy(spec.uuid)
    assert eyes.of(spec.uuid) == set()


def test_a_host_that_does_not_answer_is_unreachable() -> None:
    nowhere = HostSpec(uri="qemu+tcp://127.0.0.1:9/system", deployment=uuid4())
    with pytest.raises(HostUnreachable, match="does not answer") as raised:
        open_host(nowhere)
    assert not raised.value.permanent


def test_watching_tells_what_happens_to_our_machines_only(driver: LibvirtDriver, eyes: Eyes, blank: BaseImage) -> None:
    heard: list[DomainEvent | None] = []
    stop = Event()
    watching = Thread(target=driver.watch, args=(heard.append, stop))
    watching.start()
    try:
        wait_until(lambda: heard == [None], "the first full look", 10)
        stranger = eyes.define_foreign("stranger")
        spec = a_spec(blank)
        driver.create(spec)
        driver.start(spec.uuid)
        driver.stop(spec.uuid, force=True)
        driver.destroy(spec.uuid)
        eyes.undefine(stranger)
        wait_until(lambda: "undefined" in [event.what for event in heard if event], "the last event", 10)
    finally:
        stop.set()
        watching.join(30)
    assert {event.uuid for event in heard if event} == {spec.uuid}
    happened = [event.what for event in heard if event]
    expected = ["defined", "started", "stopped", "undefined"]
    assert [what for what in happened if what in expected] == expected
    assert not watching.is_alive()
