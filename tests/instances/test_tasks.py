"""What workers do, on libvirt's own test driver."""

from contextlib import closing
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from instances import actions, tasks
from instances.actions import Refused, Wish
from instances.drivers import open_host
from instances.drivers.base import Driver, Power
from instances.drivers.storage import disk_name, seed_name
from instances.leases import lease
from instances.models import Host, Instance
from instances.specs import host_spec
from instances.states import State
from instances.watching import SLOW, HostWatch
from tests.instances.drivers.machines import Eyes
from tests.people import Facility, machine

pytestmark = pytest.mark.django_db(transaction=True)


def new_machine(house: Facility) -> Instance:
    wish = Wish("Peaks", house.plan, (house.experiment,), 1440, 900, "fr", uuid4())
    return actions.create(house.alice, wish)


def built(house: Facility) -> Instance:
    """A machine that runs on the host and whose desktop has been seen."""
    made = new_machine(house)
    tasks.advance(made.pk)
    made.refresh_from_db()
    made.transition(State.ACTIVE, desktop_ready_at=timezone.now())
    return made


def power(driver: Driver, instance: Instance) -> Power | None:
    return next((status.power for status in driver.observe() if status.uuid == instance.uuid), None)


def state(instance: Instance) -> str:
    return Instance.objects.get(pk=instance.pk).state


def age(instance: Instance, by: timedelta) -> None:
    """Let the machine's present state have begun earlier."""
    Instance.objects.filter(pk=instance.pk).update(state_since=timezone.now() - by)


def test_a_building_machine_is_made_and_started(house: Facility, driver: Driver) -> None:
    made = new_machine(house)
    tasks.advance(made.pk)
    made.refresh_from_db()
    assert made.state == State.STARTING
    assert made.built_at is not None
    assert power(driver, made) == Power.RUNNING
    assert list(made.steps.values_list("name", flat=True)) == ["place", "disk", "start", "boot"]


def test_the_same_ring_twice_does_the_work_once(house: Facility, driver: Driver) -> None:
    made = new_machine(house)
    tasks.advance(made.pk)
    tasks.advance(made.pk)
    assert state(made) == State.STARTING
    assert made.transitions.count() == 2


def test_a_worker_that_died_after_the_disk_is_followed_by_one_that_goes_on(house: Facility, driver: Driver) -> None:
    made = new_machine(house)
    tasks._make(driver, made)
    tasks.advance(made.pk)
    assert state(made) == State.STARTING
    assert len([status for status in driver.observe() if status.uuid == made.uuid]) == 1


def test_a_machine_deleted_while_it_was_built_leaves_nothing(house: Facility, driver: Driver) -> None:
    made = new_machine(house)
    tasks._make(driver, made)
    actions.delete(Instance.objects.get(pk=made.pk), house.alice)
    tasks.advance(made.pk)
    assert state(made) == State.DELETED
    assert power(driver, made) is None


def test_a_deletion_asked_for_during_the_build_is_done_by_the_same_worker(
    house: Facility, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = new_machine(house)
    begin = Instance.begin_step

    def delete_at_start(instance: Instance, name: str) -> None:
        begin(instance, name)
        if name == "start":
            actions.delete(Instance.objects.get(pk=made.pk), house.alice)

    monkeypatch.setattr(Instance, "begin_step", delete_at_start)
    tasks.advance(made.pk)
    assert state(made) == State.DELETED
    assert power(driver, made) is None


def test_a_host_that_does_not_answer_is_waited_for_and_said(house: Facility) -> None:
    made = new_machine(house)
    Host.objects.update(uri="qemu+unix:///system?socket=/nowhere/libvirt-sock")
    tasks.advance(made.pk)
    made.refresh_from_db()
    assert made.state == State.BUILDING
    assert "does not answer" in made.problem


def test_past_the_deadline_the_wait_ends_in_an_error_that_says_why(house: Facility) -> None:
    made = new_machine(house)
    Host.objects.update(uri="qemu+unix:///system?socket=/nowhere/libvirt-sock")
    tasks.advance(made.pk)
    Instance.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    tasks.sweep()
    made.refresh_from_db()
    assert made.state == State.ERROR
    assert "does not answer" in made.problem


def test_a_guest_that_hangs_in_its_start_is_switched_off_so_that_trying_again_starts_it_afresh(
    house: Facility, driver: Driver
) -> None:
    made = new_machine(house)
    tasks.advance(made.pk)
    Instance.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    tasks.sweep()
    made.refresh_from_db()
    assert made.state == State.ERROR
    assert power(driver, made) == Power.OFF
    actions.retry(made, house.alice)
    tasks.advance(made.pk)
    assert power(driver, made) == Power.RUNNING


def test_the_end_of_a_wait_leaves_a_machine_to_the_worker_that_holds_it(house: Facility) -> None:
    made = new_machine(house)
    Instance.objects.update(deadline_at=timezone.now() - timedelta(seconds=1))
    with lease(made.pk):
        tasks.sweep()
        assert state(made) == State.BUILDING
    tasks.sweep()
    assert state(made) == State.ERROR


def test_an_unknown_fault_becomes_an_error_and_not_a_machine_stuck_for_ever(
    house: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setitem(tasks.WORK, State.BUILDING, burst)
    made = new_machine(house)
    tasks.advance(made.pk)
    made.refresh_from_db()
    assert made.state == State.ERROR
    assert "unexpected" in made.problem


def test_a_stopping_guest_is_asked_first_and_its_power_taken_when_patience_ends(
    house: Facility, driver: Driver
) -> None:
    made = built(house)
    actions.stop(made, house.alice)
    age(made, tasks.PATIENCE + timedelta(seconds=1))
    tasks.advance(made.pk)
    assert state(made) == State.STOPPED
    assert power(driver, made) == Power.OFF


def test_a_stopped_machine_starts_with_its_own_disk(house: Facility, driver: Driver) -> None:
    made = built(house)
    actions.stop(made, house.alice)
    age(made, tasks.PATIENCE + timedelta(seconds=1))
    tasks.advance(made.pk)
    made.refresh_from_db()
    actions.start(made, house.alice)
    tasks.advance(made.pk)
    assert state(made) == State.STARTING
    assert power(driver, made) == Power.RUNNING


def test_a_machine_whose_disk_is_lost_is_never_silently_made_anew(house: Facility, driver: Driver) -> None:
    made = built(house)
    driver.destroy(made.uuid)
    made.transition(State.STOPPED)
    actions.start(made, house.alice)
    tasks.advance(made.pk)
    assert state(made) == State.ERROR
    assert power(driver, made) is None


def test_a_guest_that_ignores_the_wish_to_restart_is_reset(house: Facility, driver: Driver) -> None:
    made = built(house)
    actions.reboot(made, house.alice)
    age(made, tasks.PATIENCE + timedelta(seconds=1))
    tasks.advance(made.pk)
    made.refresh_from_db()
    assert made.booted_at is not None
    assert made.booted_at > made.state_since
    assert power(driver, made) == Power.RUNNING


def test_a_deleted_machine_is_shut_down_and_lies_in_the_bin(house: Facility, driver: Driver) -> None:
    made = built(house)
    actions.delete(made, house.alice)
    age(made, tasks.PATIENCE)
    tasks.advance(made.pk)
    assert state(made) == State.BINNED
    assert power(driver, made) == Power.OFF


def test_what_is_deleted_for_good_is_gone_from_the_host(house: Facility, driver: Driver) -> None:
    made = built(house)
    made.transition(State.DELETING)
    tasks.advance(made.pk)
    assert state(made) == State.DELETED
    assert power(driver, made) is None


def test_a_machine_that_its_host_lost_needs_no_bin(house: Facility, driver: Driver) -> None:
    made = built(house)
    driver.destroy(made.uuid)
    actions.delete(made, house.alice)
    tasks.advance(made.pk)
    assert state(made) == State.DELETED


def test_a_machine_that_cannot_fall_asleep_works_on(house: Facility, driver: Driver) -> None:
    made = built(house)
    made.transition(State.HIBERNATING)
    tasks.fail(made, "The host's disk is full.")
    assert state(made) == State.ACTIVE
    assert made.transitions.latest("pk").reason == "The host's disk is full."


def test_a_machine_that_another_worker_holds_is_left_to_it(house: Facility) -> None:
    made = new_machine(house)
    with lease(made.pk) as mine:
        assert mine
        tasks.advance(made.pk)
        assert state(made) == State.BUILDING
    tasks.advance(made.pk)
    assert state(made) == State.STARTING


def test_the_lease_of_a_killed_worker_runs_out(house: Facility) -> None:
    made = new_machine(house)
    Instance.objects.update(lease_until=timezone.now() - timedelta(seconds=1), lease_token=uuid4())
    tasks.advance(made.pk)
    assert state(made) == State.STARTING


def test_the_sweep_rings_for_a_machine_whose_ring_was_lost(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_machine(house)
    age(made, tasks.RING_AGAIN + timedelta(seconds=1))
    rung: list[int] = []
    monkeypatch.setattr(tasks.advance, "delay", rung.append)
    tasks.sweep()
    assert rung == [made.pk]


def test_the_sweep_leaves_a_machine_that_a_worker_holds(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    made = new_machine(house)
    age(made, tasks.RING_AGAIN + timedelta(seconds=1))
    rung: list[int] = []
    monkeypatch.setattr(tasks.advance, "delay", rung.append)
    with lease(made.pk):
        tasks.sweep()
    assert rung == []


def test_a_host_is_checked_and_its_size_written_down(house: Facility) -> None:
    Host.objects.update(cpus=0, problem="old", seen_at=None)
    tasks.check_host(house.host.pk)
    seen = Host.objects.get()
    assert seen.cpus > 0
    assert seen.reachable


def test_a_host_that_cannot_be_opened_says_why(house: Facility) -> None:
    Host.objects.update(uri="qemu+unix:///system?socket=/nowhere/libvirt-sock")
    tasks.check_host(house.host.pk)
    assert "does not answer" in Host.objects.get().problem


def test_a_host_that_could_not_be_prepared_says_so_until_it_is_mended(house: Facility) -> None:
    def look() -> str:
        host = Host.objects.get()
        with closing(open_host(host_spec(host))) as driver:
            HostWatch(host).measure(driver)
        return Host.objects.get().problem

    Host.objects.update(blocked_networks="the inner net")
    tasks.check_host(house.host.pk)
    assert "blocked networks" in look()
    assert not Host.objects.get().reachable
    Host.objects.update(blocked_networks="10.0.0.0/8")
    assert look() == ""
    assert Host.objects.get().reachable


def test_a_host_that_is_slow_twice_takes_no_new_machines_until_it_is_quick(house: Facility, driver: Driver) -> None:
    watch = HostWatch(house.host)
    assert not watch.too_slow(SLOW + 1)
    assert Host.objects.get().reachable
    assert watch.too_slow(SLOW + 1)
    with pytest.raises(Refused, match="host"):
        new_machine(house)
    assert not watch.too_slow(SLOW - 1)
    watch.measure(driver)
    assert Host.objects.get().reachable


def test_slow_looks_with_a_quick_one_between_are_forgiven(house: Facility) -> None:
    watch = HostWatch(house.host)
    assert not any([watch.too_slow(SLOW + 1), watch.too_slow(SLOW - 1), watch.too_slow(SLOW + 1)])
    assert Host.objects.get().reachable


def test_disks_that_no_machine_accounts_for_are_listed_and_kept(house: Facility, driver: Driver) -> None:
    made = built(house)
    with closing(Eyes(host_spec(house.host))) as eyes:
        driver.stop(made.uuid, force=True)
        eyes.undefine(made.uuid)
        tasks.write_capacity(house.host, driver)
        assert Host.objects.get().leftovers == []  # as of a machine that is being built
        Instance.objects.update(state=State.DELETED)
        tasks.write_capacity(house.host, driver)
        listed = Host.objects.get().leftovers
        assert [volume["name"] for volume in listed] == [seed_name(made.uuid), disk_name(made.uuid)]
        assert all(volume["bytes"] == eyes.volume(volume["name"]).info()[2] for volume in listed)
        assert eyes.of(made.uuid) == {volume["name"] for volume in listed}
    driver.destroy(made.uuid)


def test_only_a_domain_whose_row_says_deleted_is_removed(house: Facility, driver: Driver) -> None:
    made = built(house)
    tasks.remove_deleted(house.host.pk, str(made.uuid))
    assert power(driver, made) == Power.RUNNING
    Instance.objects.update(state=State.DELETED)
    tasks.remove_deleted(house.host.pk, str(made.uuid))
    assert power(driver, made) is None


def test_a_machine_without_a_host_is_an_error_in_words(house: Facility) -> None:
    lost = machine(house.alice, house.plan, None, state=State.BUILDING, deadline_at=timezone.now() + timedelta(hours=1))
    tasks.advance(lost.pk)
    assert state(lost) == State.ERROR
