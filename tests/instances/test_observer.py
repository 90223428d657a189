"""What the hosts say, written into the rows: on libvirt's own test driver, and against a small screen of ours."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from instances import observer, tasks
from instances.drivers.base import Console, DomainStatus, Driver, Power
from instances.models import Instance, LifePolicy, Notice, Stray
from instances.specs import instance_spec
from instances.states import State
from tests.people import Facility, machine

pytestmark = pytest.mark.django_db(transaction=True)

NOW = timezone.now() + timedelta(hours=1)  # after whatever rows say of when they were written
"""Later than the rows that the tests make."""


def on_host(house: Facility, state: State, **fields: Any) -> Instance:
    fields.setdefault("built_at", NOW)
    fields.setdefault("state_since", NOW - timedelta(hours=1))
    return machine(house.alice, house.plan, house.host, state=state, **fields)


def status(instance: Instance, power: Power, **facts: object) -> DomainStatus:
    return DomainStatus(uuid=instance.uuid, generation=1, power=power, **facts)  # type: ignore[arg-type]


def look(house: Facility, *statuses: DomainStatus, later: timedelta = timedelta()) -> None:
    observer.settle(house.host, statuses, NOW + later)


def removals(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machines that a worker is asked to take off their host."""
    rung: list[str] = []
    monkeypatch.setattr(tasks.remove_deleted, "delay", lambda _host, uuid: rung.append(uuid))
    return rung


def row(instance: Instance) -> Instance:
    return Instance.objects.get(pk=instance.pk)


def test_what_the_host_says_is_written_beside_the_state(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    look(house, status(one, Power.RUNNING, addresses=("10.0.0.7",), console=Console("127.0.0.1", 5903)))
    seen = row(one)
    assert (seen.power, seen.address, seen.console_port) == ("running", "10.0.0.7", 5903)
    assert seen.observed_at == NOW


def test_an_unchanged_look_costs_no_write(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    look(house, status(one, Power.RUNNING))
    look(house, status(one, Power.RUNNING), later=timedelta(seconds=3))
    assert row(one).observed_at == NOW


@pytest.mark.parametrize(
    ("state", "power", "outcome"),
    [
        (State.HIBERNATED, Power.OFF, State.STOPPED),
        (State.ACTIVE, Power.OFF, State.STOPPED),
        (State.ACTIVE, Power.CRASHED, State.ERROR),
        (State.STOPPING, Power.OFF, State.STOPPED),
        (State.STOPPED, Power.RUNNING, State.STARTING),
        (State.HIBERNATED, Power.RUNNING, State.STARTING),
        (State.UNREACHABLE, Power.RUNNING, State.ACTIVE),
        (State.UNREACHABLE, Power.OFF, State.STOPPED),
        (State.ACTIVE, Power.RUNNING, State.ACTIVE),
        (State.STOPPED, Power.OFF, State.STOPPED),
        (State.BUILDING, Power.OFF, State.BUILDING),
    ],
)
def test_the_row_follows_the_host(house: Facility, state: State, power: Power, outcome: State) -> None:
    one = on_host(house, state)
    look(house, status(one, power))
    assert row(one).state == outcome


def test_a_look_that_is_older_than_the_state_says_nothing_about_it(house: Facility) -> None:
    one = on_host(house, State.STOPPED)
    Instance.objects.filter(pk=one.pk).update(state_since=NOW + timedelta(seconds=1))
    look(house, status(one, Power.RUNNING))
    assert row(one).state == State.STOPPED


def test_a_machine_missing_once_is_left_as_it_is(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    look(house)
    assert row(one).state == State.ACTIVE


def test_a_machine_missing_twice_is_an_error_in_words(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    look(house)
    look(house, later=observer.SECOND_LOOK)
    assert row(one).state == State.ERROR
    assert "no longer knows" in row(one).problem


def test_a_machine_that_came_back_between_two_looks_is_well(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    look(house)
    look(house, status(one, Power.RUNNING), later=timedelta(seconds=3))
    look(house, later=timedelta(seconds=6))
    assert row(one).state == State.ACTIVE


def test_a_machine_that_is_not_built_yet_is_not_missed(house: Facility) -> None:
    one = on_host(house, State.BUILDING, built_at=None)
    look(house)
    look(house, later=timedelta(minutes=1))
    assert row(one).state == State.BUILDING
    assert row(one).missing_since is None


def test_a_domain_of_ours_without_a_row_is_shown_to_staff_and_left_alone(house: Facility, driver: Driver) -> None:
    unknown = uuid4()
    look(house, DomainStatus(uuid=unknown, generation=1, power=Power.RUNNING))
    look(house, DomainStatus(uuid=unknown, generation=1, power=Power.RUNNING), later=timedelta(minutes=1))
    assert Stray.objects.get().domain == unknown


def test_a_stray_that_is_gone_is_no_longer_shown(house: Facility) -> None:
    look(house, DomainStatus(uuid=uuid4(), generation=1, power=Power.RUNNING))
    look(house)
    assert not Stray.objects.exists()


def test_a_deleted_machine_still_on_its_host_is_removed_at_the_second_look(
    house: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = removals(monkeypatch)
    gone = on_host(house, State.DELETED, state_since=NOW - timedelta(minutes=3))
    look(house, status(gone, Power.RUNNING))
    assert rung == []
    look(house, status(gone, Power.RUNNING), later=observer.SECOND_LOOK)
    assert rung == [str(gone.uuid)]


def test_what_was_deleted_long_ago_and_is_there_again_is_left_to_staff(
    house: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = removals(monkeypatch)
    gone = on_host(house, State.DELETED, state_since=NOW - timedelta(hours=2))
    for minute in range(3):
        look(house, status(gone, Power.RUNNING), later=timedelta(minutes=minute))
    assert rung == []
    assert Stray.objects.get().domain == gone.uuid


def test_more_than_ten_at_once_are_not_removed_before_staff_allow_it(
    house: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    rung = removals(monkeypatch)
    gone = [on_host(house, State.DELETED, state_since=NOW - timedelta(minutes=3)) for _number in range(11)]
    for minute in range(3):
        look(house, *(status(one, Power.OFF) for one in gone), later=timedelta(minutes=minute))
    assert rung == []
    assert Notice.objects.filter(user=house.admin, kind="sweep_held").count() == 1
    LifePolicy.objects.create(sweeps_allowed_until=NOW + timedelta(days=1))
    look(house, *(status(one, Power.OFF) for one in gone), later=timedelta(minutes=4))
    assert len(rung) == 11


def test_what_staff_want_away_is_removed_and_rung_for_until_it_is(
    house: Facility, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = on_host(house, State.STOPPED)
    driver.create(instance_spec(made))
    unknown = made.uuid
    Instance.objects.all().delete()
    look(house, *driver.observe())
    tasks.remove_stray(Stray.objects.get().pk)
    assert [one.uuid for one in driver.observe()] == [unknown]
    rung: list[int] = []
    monkeypatch.setattr(tasks.remove_stray, "delay", rung.append)
    Stray.objects.update(removal_asked_at=NOW)
    look(house, *driver.observe(), later=timedelta(minutes=1))
    assert rung == [Stray.objects.get().pk]
    tasks.remove_stray(rung[0])
    assert driver.observe() == []
    look(house, *driver.observe(), later=timedelta(minutes=2))
    assert not Stray.objects.exists()


def test_what_staff_want_away_stays_where_a_machine_in_use_goes_by_its_number(house: Facility, driver: Driver) -> None:
    made = on_host(house, State.STOPPED)
    driver.create(instance_spec(made))
    asked = Stray.objects.create(host=house.host, domain=made.uuid, removal_asked_at=NOW)
    tasks.remove_stray(asked.pk)
    assert [one.uuid for one in driver.observe()] == [made.uuid]


@pytest.mark.parametrize("state", [State.ACTIVE, State.STOPPED, State.UNREACHABLE])
def test_a_machine_whose_memory_was_saved_behind_our_back_is_asleep(house: Facility, state: State) -> None:
    one = on_host(house, state)
    look(house, status(one, Power.OFF, hibernated=True))
    assert row(one).state == State.HIBERNATED
    look(house, status(one, Power.OFF, hibernated=True), later=timedelta(minutes=1))
    assert row(one).state == State.HIBERNATED


def test_a_machine_that_its_host_found_again_is_as_it_is_there(house: Facility) -> None:
    one, other = on_host(house, State.STOPPED), on_host(house, State.ACTIVE)
    look(house)
    look(house, later=observer.SECOND_LOOK)
    assert (row(one).state, row(other).state) == (State.ERROR, State.ERROR)
    Instance.objects.update(state_since=NOW)
    look(house, status(one, Power.OFF), status(other, Power.RUNNING), later=timedelta(minutes=9))
    assert (row(one).state, row(other).state) == (State.STOPPED, State.STARTING)


@pytest.mark.parametrize(("state", "outcome"), [(State.ERROR, State.STARTING), (State.BINNED, State.STOPPED)])
def test_what_runs_though_it_should_not_is_taken_up_at_the_second_look(
    house: Facility, state: State, outcome: State
) -> None:
    one = on_host(house, state, power="off")
    look(house, status(one, Power.RUNNING))
    assert row(one).state == state
    look(house, status(one, Power.RUNNING), later=timedelta(minutes=1))
    assert row(one).state == outcome


def test_what_runs_after_an_error_is_left_to_the_worker_that_is_at_it(house: Facility) -> None:
    one = on_host(house, State.ERROR, power="off", lease_until=NOW + timedelta(hours=1))
    for minute in range(3):
        look(house, status(one, Power.RUNNING), later=timedelta(minutes=minute))
    assert row(one).state == State.ERROR


def test_a_machine_that_is_paused_on_its_host_says_so_while_it_is(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    look(house, status(one, Power.PAUSED))
    assert "paused" in row(one).problem
    look(house, status(one, Power.RUNNING), later=timedelta(seconds=1))
    assert (row(one).state, row(one).problem) == (State.ACTIVE, "")


def test_a_guest_that_powers_off_while_restarting_is_started_again(
    house: Facility, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = on_host(house, State.REBOOTING)
    rung: list[int] = []
    monkeypatch.setattr(tasks.advance, "delay", rung.append)
    look(house, status(one, Power.OFF))
    assert rung == [one.pk]


def test_a_restarted_guest_must_show_its_desktop_again(house: Facility) -> None:
    one = on_host(house, State.ACTIVE, desktop_ready_at=NOW, jupyter_ready_at=NOW)
    observer.rebooted(one.uuid, NOW)
    assert row(one).desktop_ready_at is None
    assert row(one).booted_at == NOW


@pytest.mark.parametrize(("state", "asked"), [(State.STARTING, True), (State.STOPPED, False), (State.DELETING, False)])
def test_only_machines_that_owe_an_answer_are_asked(house: Facility, state: State, asked: bool) -> None:
    one = on_host(house, state, address="127.0.0.1", power="running")
    assert (one in observer.candidates()) is asked


def test_a_restarting_machine_is_asked_only_after_it_went_down(house: Facility) -> None:
    one = on_host(house, State.REBOOTING, address="127.0.0.1", power="running", booted_at=NOW - timedelta(hours=1))
    Instance.objects.filter(pk=one.pk).update(state_since=NOW)
    assert one not in observer.candidates()
    observer.rebooted(one.uuid, NOW + timedelta(seconds=1))
    assert one in observer.candidates()


def test_a_drawn_desktop_makes_the_machine_active(house: Facility) -> None:
    one = on_host(house, State.STARTING, desktop_ready_at=None)
    observer._write(one, observer.Found(desktop=True, drawn=True), NOW)
    assert row(one).state == State.ACTIVE
    assert row(one).ready


def test_a_desktop_that_answers_but_shows_nothing_waits_a_little(house: Facility) -> None:
    one = on_host(house, State.STARTING, desktop_ready_at=None)
    observer._write(one, observer.Found(desktop=True), timezone.now())
    assert row(one).state == State.STARTING
    observer._write(row(one), observer.Found(desktop=True), timezone.now() + observer.UNDRAWN_PATIENCE)
    assert row(one).state == State.ACTIVE


def test_a_machine_that_answers_nothing_goes_on_starting(house: Facility) -> None:
    one = on_host(house, State.STARTING, desktop_ready_at=None, address="127.0.0.1", power="running")
    observer.probe(observer.candidates())
    assert row(one).state == State.STARTING


def test_jupyter_is_ready_for_itself_after_the_desktop(house: Facility) -> None:
    one = on_host(house, State.ACTIVE, jupyter_ready_at=None)
    observer._write(one, observer.Found(jupyter=True, desktop=True, drawn=True), NOW)
    assert row(one).jupyter_ready_at == NOW


# Work, told from the host's CPU counter


def works(house: Facility, one: Instance, *percents: float) -> Instance:
    """A look a minute, with so much use of one CPU in each minute."""
    used = 0.0
    for minute, percent in enumerate([0.0, *percents]):
        used += 0.6 * percent
        look(house, status(one, Power.RUNNING, cpu_seconds=used), later=timedelta(minutes=minute))
    return row(one)


def test_load_above_the_threshold_is_work(house: Facility) -> None:
    seen = works(house, on_host(house, State.ACTIVE), 180, 180, 180)
    assert seen.worked_at == NOW + timedelta(minutes=3)


def test_an_open_desktop_where_nothing_happens_does_no_work(house: Facility) -> None:
    assert works(house, on_host(house, State.ACTIVE), 5, 6, 5, 4).worked_at is None


def test_staff_decide_what_counts_as_work(house: Facility) -> None:
    LifePolicy.objects.create(busy_percent=4)
    assert works(house, on_host(house, State.ACTIVE), 5, 6, 5).worked_at is not None


def test_looks_within_a_minute_are_one_reading(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    for seconds in (0, 1, 2, 59):
        look(house, status(one, Power.RUNNING, cpu_seconds=float(seconds)), later=timedelta(seconds=seconds))
    assert len(row(one).cpu_readings) == 1


def test_a_time_in_which_nobody_looked_counts_as_work(house: Facility) -> None:
    one = on_host(house, State.ACTIVE)
    look(house, status(one, Power.RUNNING, cpu_seconds=10.0))
    look(house, status(one, Power.RUNNING, cpu_seconds=11.0), later=timedelta(hours=9))
    assert row(one).worked_at == NOW + timedelta(hours=9)


def test_what_lies_in_the_bin_is_known_to_its_host_and_stays(house: Facility) -> None:
    one = on_host(house, State.BINNED)
    look(house, status(one, Power.OFF))
    look(house, later=timedelta(hours=1))
    assert row(one).state == State.BINNED
    assert not Stray.objects.exists()
