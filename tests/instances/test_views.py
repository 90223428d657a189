"""The pages of machines: what they show to whom, and what they do when asked."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django.fixtures import DjangoAssertNumQueries

from experiments.models import User
from instances.cards import STEPS, steps_of
from instances.models import Host, Instance, Step, Thumbnail
from instances.states import State
from tests.instances.test_forms import typed
from tests.people import Facility, client_of, facility, machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(db: None) -> Facility:
    return facility()


def address(instance: Instance, rest: str = "") -> str:
    return f"/machines/{instance.uuid}/{rest}"


# Asking for a machine


def test_creating_leads_to_the_machines_page(people: Facility) -> None:
    answer = client_of(people.bob).post("/machines/new/", typed(people))
    made = Instance.objects.get(owner=people.bob)
    assert answer.headers["Location"] == address(made)
    assert (made.state, made.name, made.keyboard) == (State.BUILDING, "Mine", "fr")


def test_a_second_press_leads_to_the_machine_of_the_first(people: Facility) -> None:
    wish, client = typed(people), client_of(people.bob)
    first, second = client.post("/machines/new/", wish), client.post("/machines/new/", wish)
    assert first.headers["Location"] == second.headers["Location"]
    assert Instance.objects.filter(owner=people.bob).count() == 1


def test_bad_input_is_said_at_its_field_and_nothing_typed_is_lost(people: Facility) -> None:
    data = typed(people, name="My <b>name</b>", keyboard="xx", comments="Some notes")
    answer = client_of(people.bob).post("/machines/new/", data)
    assert answer.status_code == 422
    assert "My &lt;b&gt;name" in answer.content.decode()
    assert "Some notes" in answer.content.decode()
    assert str(data["request_key"]) in answer.content.decode()
    assert set(answer.context["form"].errors) == {"keyboard"}


def test_a_full_quota_is_said_at_the_top(people: Facility) -> None:
    User.objects.filter(pk=people.bob.pk).update(quota=0)
    answer = client_of(people.bob).post("/machines/new/", typed(people))
    assert answer.status_code == 422
    assert "You have 0 of 0 machines." in answer.context["form"].non_field_errors()[0]


def test_a_full_host_is_said_at_the_size(people: Facility) -> None:
    Host.objects.update(memory_mib=1500)
    answer = client_of(people.bob).post("/machines/new/", typed(people))
    assert "No host has room for this size now." in answer.context["form"].errors["flavour"][0]


def test_no_host_is_said(people: Facility) -> None:
    Host.objects.update(enabled=False)
    answer = client_of(people.bob).post("/machines/new/", typed(people))
    assert "No host takes new machines" in answer.context["form"].non_field_errors()[0]


def test_the_last_choices_are_remembered(people: Facility) -> None:
    machine(people.bob, people.large_plan, experiments=[people.experiment], keyboard="de")
    page = client_of(people.bob).get("/machines/new/")
    initial = page.context["form"].initial
    assert initial["flavour"] == str(people.large.uuid)
    assert initial["keyboard"] == "de"
    assert initial["experiments"] == [str(people.experiment.uuid)]


def test_the_first_time_the_preset_is_chosen(people: Facility) -> None:
    page = client_of(people.charlie).get("/machines/new/")
    assert page.context["form"].initial["flavour"] == str(people.small.uuid)
    assert "EX-1" not in page.content.decode()


def test_a_size_without_room_says_why(people: Facility) -> None:
    Host.objects.update(memory_mib=4096)
    page = client_of(people.bob).get("/machines/new/sizes/", {"image": str(people.image.uuid)})
    tiles = {tile.item.name: tile.why_not for tile in page.context["size_tiles"]}
    assert tiles == {"Small": "", "Large": "No host has room for it now."}


# Looking


def test_charlie_sees_neither_machine_nor_that_it_exists(people: Facility) -> None:
    client = client_of(people.charlie)
    for rest in ("", "card/", "progress/", "status/", "thumbnail/"):
        mine, nobodys = client.get(address(people.machine, rest)), client.get(f"/machines/{uuid4()}/{rest}")
        assert (mine.status_code, nobodys.status_code) == (404, 404)


def test_a_member_sees_details_and_no_way_to_end_the_machine(people: Facility) -> None:
    page = client_of(people.bob).get(address(people.machine)).content.decode()
    assert "Open desktop" in page
    assert "delete/" not in page
    assert "rename/" not in page


def test_no_page_gives_a_secret_away(people: Facility) -> None:
    client = client_of(people.alice)
    secrets = (people.machine.vnc_password, people.machine.console_password, people.machine.jupyter_token)
    for rest in ("", "card/", "progress/", "status/", "desktop/"):
        content = client.get(address(people.machine, rest)).content.decode()
        assert not [secret for secret in secrets if secret in content]


def test_a_picture_is_not_sent_twice(people: Facility) -> None:
    Thumbnail.objects.create(instance=people.machine, webp=b"RIFFpicture")
    client = client_of(people.alice)
    first = client.get(address(people.machine, "thumbnail/"))
    assert (first.content, first.headers["Content-Type"]) == (b"RIFFpicture", "image/webp")
    again = client.get(address(people.machine, "thumbnail/"), headers={"if-none-match": first.headers["ETag"]})
    assert again.status_code == 304
    charlie = client_of(people.charlie)
    tag = {"if-none-match": first.headers["ETag"]}
    assert charlie.get(address(people.machine, "thumbnail/"), headers=tag).status_code == 404


def test_a_deleted_machine_leaves_no_card(people: Facility) -> None:
    gone = machine(people.alice, people.plan, state=State.DELETED)
    assert client_of(people.alice).get(address(gone, "card/")).content == b""


def test_a_deleted_machine_keeps_its_history_and_has_no_desktop(people: Facility) -> None:
    gone = machine(people.alice, people.plan, state=State.DELETED)
    client = client_of(people.alice)
    page = client.get(address(gone)).content.decode()
    assert "History" in page
    assert "rename/" not in page
    assert client.get(address(gone, "desktop/")).status_code == 404


def test_the_history_is_told_in_words_with_who_and_when(people: Facility) -> None:
    people.machine.transition(State.STOPPING, by=people.alice)
    page = client_of(people.bob).get(address(people.machine)).content.decode()
    assert "Stop asked for" in page
    assert "by Alice Example" in page


# Doing


@pytest.mark.parametrize(
    ("act", "origin", "outcome"),
    [
        ("start", State.STOPPED, State.STARTING),
        ("start", State.ERROR, State.STARTING),
        ("stop", State.ACTIVE, State.STOPPING),
        ("reboot", State.ACTIVE, State.REBOOTING),
        ("delete", State.ACTIVE, State.DELETING),
        ("delete", State.BUILDING, State.DELETING),
    ],
)
def test_the_owner_does_it(people: Facility, act: str, origin: State, outcome: State) -> None:
    own = machine(people.alice, people.plan, people.host, state=origin)
    client_of(people.alice).post(address(own, f"{act}/"), {"confirmed": "yes"})
    own.refresh_from_db()
    assert own.state == outcome


@pytest.mark.parametrize("act", ["stop", "reboot", "delete"])
def test_what_loses_something_asks_first(people: Facility, act: str) -> None:
    page = client_of(people.alice).post(address(people.machine, f"{act}/"))
    people.machine.refresh_from_db()
    assert people.machine.state == State.ACTIVE
    assert "lost" in page.content.decode()
    assert 'name="confirmed"' in page.content.decode()


@pytest.mark.parametrize("act", ["start", "stop", "reboot", "delete"])
def test_a_member_is_told_that_only_the_owner_may(people: Facility, act: str) -> None:
    for data in ({}, {"confirmed": "yes"}):
        answer = client_of(people.bob).post(address(people.machine, f"{act}/"), data)
        assert answer.status_code == 403
        assert "Only the owner of this machine may do that." in answer.content.decode()
    people.machine.refresh_from_db()
    assert people.machine.state == State.ACTIVE


def test_what_cannot_be_done_now_is_said_on_the_card(people: Facility) -> None:
    busy = machine(people.alice, people.plan, people.host, state=State.DELETING)
    answer = client_of(people.alice).post(
        address(busy, "reboot/"), {"confirmed": "yes"}, headers={"hx-request": "true"}
    )
    assert "The machine is busy with something else." in answer.content.decode()


def test_what_cannot_be_done_now_is_said_on_the_page(people: Facility) -> None:
    busy = machine(people.alice, people.plan, people.host, state=State.DELETING)
    answer = client_of(people.alice).post(address(busy, "start/"), follow=True)
    assert "The machine is busy with something else." in answer.content.decode()


def test_there_are_no_other_acts(people: Facility) -> None:
    assert client_of(people.alice).post(address(people.machine, "explode/")).status_code == 404


def test_the_owner_renames_and_a_bad_name_is_not_lost(people: Facility) -> None:
    client = client_of(people.alice)
    client.post(address(people.machine, "rename/"), {"name": "New name", "comments": "Notes"})
    people.machine.refresh_from_db()
    assert (people.machine.name, people.machine.comments) == ("New name", "Notes")
    answer = client.post(address(people.machine, "rename/"), {"name": "n" * 61, "comments": "Kept"})
    assert answer.status_code == 422
    assert "Kept" in answer.content.decode()


# Steps


def began(instance: Instance, *names: str) -> None:
    for number, name in enumerate(names):
        at = timezone.now() - timedelta(seconds=60 - number)
        Step.objects.update_or_create(instance=instance, attempt=instance.attempt, name=name, defaults={"at": at})


def test_the_steps_of_a_first_start_are_done_now_and_to_come(people: Facility) -> None:
    making = machine(people.alice, people.plan, state=State.BUILDING)
    began(making, "place", "disk")
    assert [line.status for line in steps_of(making)] == ["done", "now", "waiting", "waiting", "waiting"]
    assert steps_of(making)[0].seconds == pytest.approx(1, abs=0.1)


def test_a_second_start_has_no_disk_to_make(people: Facility) -> None:
    again = machine(people.alice, people.plan, state=State.STARTING, attempt=2, built_at=timezone.now())
    Step.objects.filter(instance=again).delete()
    began(again, "start")
    assert [line.label for line in steps_of(again)] == [STEPS[name] for name in ("start", "boot", "desktop")]


def test_a_failed_step_is_marked(people: Facility) -> None:
    broken = machine(people.alice, people.plan, state=State.ERROR)
    began(broken, "place", "disk")
    assert [line.status for line in steps_of(broken)][:2] == ["done", "failed"]


def test_a_ready_machine_has_nothing_to_come(people: Facility) -> None:
    assert {line.status for line in steps_of(people.machine)} == {"done"}


def test_past_machines_come_in_pages(people: Facility, django_assert_max_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(30):
        machine(people.alice, people.plan, state=State.DELETED, name=f"Old {number}")
    client = client_of(people.alice)
    with django_assert_max_num_queries(7):
        page = client.get("/machines/past/")
    assert page.content.decode().count("Old ") == 25
    assert client.get("/machines/past/?page=2").content.decode().count("Old ") == 5
    assert "Old " not in client_of(people.bob).get("/machines/past/").content.decode()
