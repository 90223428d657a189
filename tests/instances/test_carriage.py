"""Images on their way to hosts, on libvirt's own test driver, which reads them and keeps no bytes."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from instances import actions, carriage, tasks
from instances.cards import steps_of
from instances.drivers.base import Driver
from instances.leases import lease
from instances.models import Carriage, Host, Image, Instance
from instances.states import State
from tests import people
from tests.instances.test_tasks import new_machine, power, state
from tests.people import Facility, client_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def carried(house: Facility) -> Carriage:
    """The image is not on the host yet."""
    Carriage.objects.all().delete()
    return Carriage.of(house.host, house.image)


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The carriages for which a worker was rung."""
    rows: list[int] = []
    monkeypatch.setattr(tasks.carry, "delay", rows.append)
    return rows


def waits(house: Facility) -> Instance:
    """A machine whose worker found no image on the host."""
    made = new_machine(house)
    tasks.advance(made.pk)
    return Instance.objects.get(pk=made.pk)


def words(made: Instance) -> list[str]:
    return [str(line.label) for line in steps_of(Instance.objects.get(pk=made.pk)) if line.status == "now"]


def test_a_machine_waits_for_its_image_and_is_made_when_it_is_there(
    house: Facility, driver: Driver, carried: Carriage, rung: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    advanced: list[int] = []
    monkeypatch.setattr(tasks.advance, "delay", advanced.append)
    made = waits(house)
    assert (made.state, made.built_at, rung) == (State.BUILDING, None, [carried.pk])
    tasks.carry(carried.pk)
    carried.refresh_from_db()
    assert (carried.state, carried.percent, carried.problem) == ("there", 100, "")
    assert advanced[-1] == made.pk
    tasks.advance(made.pk)
    assert state(made) == State.STARTING
    assert list(made.steps.values_list("name", flat=True)) == ["place", "image", "disk", "start", "boot"]


def test_its_owner_reads_how_far_the_copy_is_and_nobody_calls_it_late(
    house: Facility, carried: Carriage, rung: list[int]
) -> None:
    made = waits(house)
    Instance.objects.update(deadline_at=timezone.now())
    carriage.Progress(carried).note(40, 100)
    assert words(made) == ["The image is being copied to the host: 40%"]
    assert "40%" in client_of(house.alice).get(f"/machines/{made.uuid}/progress/").content.decode()
    late = Instance.objects.get(pk=made.pk).deadline_at
    assert late is not None
    assert late > timezone.now() + timedelta(minutes=5)


def test_a_fast_copy_is_no_flood_of_writes(
    house: Facility, carried: Carriage, rung: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gigabyte in three seconds: five thousand pieces, and a write at the begin, after 1.5 s and at the end."""
    waits(house)
    progress = carriage.Progress(carried)
    with CaptureQueriesContext(connection) as counted:
        for done in range(5001):
            monkeypatch.setattr(carriage, "monotonic", lambda done=done: 100 + done * 3 / 5000)
            progress.note(done, 5000)
    written = [query["sql"] for query in counted if 'UPDATE "instances_carriage"' in query["sql"]]
    assert len(written) == 3


def test_a_machine_can_be_deleted_while_it_waits(house: Facility, carried: Carriage, rung: list[int]) -> None:
    made = waits(house)
    actions.delete(made, house.alice)
    tasks.advance(made.pk)
    assert state(made) == State.DELETED


def test_a_broken_image_is_an_error_in_words_and_trying_again_carries_it_again(
    house: Facility, driver: Driver, carried: Carriage, rung: list[int], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.qcow2"
    broken.write_bytes(b"this is no disk")
    Image.objects.update(path=str(broken))
    made = waits(house)
    tasks.carry(carried.pk)
    tasks.advance(made.pk)
    made.refresh_from_db()
    assert (made.state, made.problem) == (State.ERROR, "The image is not a qcow2 file.\nbroken.qcow2")
    assert power(driver, made) is None
    Image.objects.update(path=house.image.path)
    actions.retry(made, house.alice)
    tasks.advance(made.pk)
    assert rung == [carried.pk, carried.pk]
    tasks.carry(carried.pk)
    tasks.advance(made.pk)
    assert state(made) == State.STARTING


def test_what_fails_for_the_moment_is_said_and_tried_again_after_a_pause(
    house: Facility, carried: Carriage, rung: list[int]
) -> None:
    made = waits(house)
    Host.objects.update(uri="qemu+unix:///system?socket=/nowhere/libvirt-sock")
    tasks.carry(carried.pk)
    carried.refresh_from_db()
    assert carried.state == "waiting"
    assert "does not answer" in carried.problem
    rung.clear()
    tasks.sweep()
    assert rung == []
    Carriage.objects.update(since=timezone.now() - timedelta(minutes=1))
    tasks.sweep()
    assert rung == [carried.pk]
    assert state(made) == State.BUILDING


def test_an_unknown_fault_ends_the_copy_in_words(
    house: Facility, carried: Carriage, rung: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carriage, "base_image", lambda _image: 1 / 0)
    tasks.carry(carried.pk)
    carried.refresh_from_db()
    assert (carried.state, carried.problem[:20]) == ("failed", "Something unexpected")


def test_the_copy_of_a_killed_worker_is_taken_up_when_its_lease_ends(
    house: Facility, carried: Carriage, rung: list[int]
) -> None:
    Carriage.objects.update(state=Carriage.State.COPYING)
    with lease(carried.pk, Carriage):
        tasks.sweep()
        assert tasks.carry(carried.pk) is None
        assert Carriage.objects.get().state == "copying"
    assert rung == []
    tasks.sweep()
    assert rung == [carried.pk]
    tasks.carry(carried.pk)
    assert Carriage.objects.get().state == "there"


def test_an_image_in_other_bytes_is_carried_anew(house: Facility, carried: Carriage, rung: list[int]) -> None:
    Carriage.objects.update(state=Carriage.State.THERE, sha256="1" * 64)
    waits(house)
    assert rung == [carried.pk]


def press(house: Facility, button: str) -> Any:
    image = house.image
    sent = {"name": image.name, "version": image.version, "icon": "monitor", "visibility": "everyone", button: ""}
    sent |= {"path": image.path, "sha256": image.sha256, "extending": "nobody"}
    sent |= {f"{rows}-{name}_FORMS": "0" for rows in ("protocols", "apps") for name in ("TOTAL", "INITIAL")}
    return client_of(house.admin).post(f"/admin/instances/image/{image.pk}/change/", sent, follow=True)


def test_staff_carry_an_image_beforehand_to_all_hosts_where_it_may_be_needed(house: Facility, rung: list[int]) -> None:
    other, closed = people.host("other"), people.host("closed", enabled=False)
    page = press(house, "instances_image_carry").content.decode()
    assert set(rung) == set(Carriage.objects.values_list("pk", flat=True))
    assert {row.host for row in Carriage.objects.all()} == {house.host, other}
    assert "waits for a worker" in page
    assert "data-moving" in page
    Image.objects.update(requires="gpu")
    Host.objects.filter(pk=closed.pk).update(enabled=True, labels="gpu")
    Carriage.objects.all().delete()
    assert tasks.carry_everywhere(Image.objects.get()) == 1
    assert Carriage.objects.get().host == closed


def test_both_pages_say_how_far_a_copy_is_and_what_went_wrong(house: Facility) -> None:
    Carriage.objects.update(state="copying", done_bytes=3 * 2**20, all_bytes=10 * 2**20)
    Carriage.objects.create(
        host=people.host("other"), image=house.image, state="failed", problem="The image is not a qcow2 file."
    )
    admin = client_of(house.admin)
    of_image = admin.get(f"/admin/instances/image/{house.image.pk}/change/").content.decode()
    assert "3.0\xa0MB / 10.0\xa0MB" in of_image
    assert "The image is not a qcow2 file." in of_image
    of_host = admin.get(f"/admin/instances/host/{house.host.pk}/change/").content.decode()
    assert '<meter min="0" max="100" value="30">' in of_host
    assert "not a qcow2 file" not in of_host


def test_the_hosts_are_prepared_from_a_terminal(house: Facility, carried: Carriage) -> None:
    said = io.StringIO()
    call_command("prepare_hosts", stdout=said)
    assert Carriage.objects.get().state == "there"
    assert "100 %" in said.getvalue()
    assert "ready" in said.getvalue()
