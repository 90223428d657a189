"""The API of machines: what it gives, to whom, and what it never gives."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from experiments.models import Experiment, Role, User
from instances import life, members
from instances.models import FlavourLimit, Image, Instance, Member, MemberRole, Plan, Thumbnail, Transition, Visibility
from instances.states import State
from tests import people
from tests.desktops.rooms import looks
from tests.people import Facility

pytestmark = pytest.mark.django_db

API = "/api/v1/instances/"


@pytest.fixture
def facility() -> Facility:
    return people.facility()


def client(user: User) -> APIClient:
    """A program that acts for this person."""
    made = APIClient()
    made.force_authenticate(user)
    return made


def body(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return json.loads(response.content)


def wish(facility: Facility, **changes: Any) -> dict[str, Any]:
    asked = {
        "experiments": [str(facility.experiment.uuid)],
        "image": str(facility.image.uuid),
        "flavour": str(facility.small.uuid),
        "name": "Refinement",
        "screen_width": 1920,
        "screen_height": 1080,
        "keyboard": "fr",
    }
    return {key: value for key, value in {**asked, **changes}.items() if value is not None}


# Creating


def test_a_machine_is_created_as_asked(facility: Facility) -> None:
    made = body(client(facility.alice).post(API, wish(facility), format="json"), 201)
    assert (made["name"], made["state"], made["ready"], made["role"]) == ("Refinement", "building", False, "owner")
    assert (made["screen_width"], made["screen_height"], made["keyboard"]) == (1920, 1080, "fr")
    assert [experiment["proposal"] for experiment in made["experiments"]] == ["EX-1"]
    assert made["steps"][0]["status"] == "now"
    row = Instance.objects.get(uuid=made["uuid"])
    assert (row.owner, row.plan, row.host) == (facility.alice, facility.plan, facility.host)


def test_an_experiment_alone_is_enough(facility: Facility) -> None:
    made = body(client(facility.alice).post(API, {"experiments": [str(facility.experiment.uuid)]}, format="json"), 201)
    assert made["flavour"]["uuid"] == str(facility.plan.flavour.uuid)
    assert (made["name"], made["screen_width"], made["keyboard"]) == ("EX-1 · D20", 1440, "us")


def test_the_same_request_key_returns_the_same_machine(facility: Facility) -> None:
    asked = wish(facility, request_key=str(uuid4()))
    first = body(client(facility.alice).post(API, asked, format="json"), 201)
    second = body(client(facility.alice).post(API, asked, format="json"), 201)
    assert first["uuid"] == second["uuid"]
    assert Instance.objects.filter(owner=facility.alice).count() == 2


def test_the_same_request_key_of_another_person_makes_another_machine(facility: Facility) -> None:
    asked = wish(facility, request_key=str(uuid4()))
    alices = body(client(facility.alice).post(API, asked, format="json"), 201)
    bobs = body(client(facility.bob).post(API, asked, format="json"), 201)
    assert alices["uuid"] != bobs["uuid"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("experiments", "no-list"),
        ("experiments", ["no-id"]),
        ("experiments", [str(uuid4())]),
        ("experiments", []),
        ("image", "no-id"),
        ("image", str(uuid4())),
        ("flavour", str(uuid4())),
        ("flavour", 1),
        ("screen_width", 100),
        ("screen_width", 100_000),
        ("screen_height", "wide"),
        ("keyboard", "klingon"),
        ("name", "x" * 61),
        ("name", "two\nlines"),
        ("name", {"nested": 1}),
        ("comments", "x" * 2501),
        ("comments", "a\0b"),
        ("request_key", "once"),
    ],
)
def test_wrong_values_are_refused_with_the_field_named(facility: Facility, field: str, value: Any) -> None:
    refused = body(client(facility.alice).post(API, wish(facility, **{field: value}), format="json"), 400)
    assert list(refused) == [field]
    assert Instance.objects.filter(owner=facility.alice).count() == 1


@pytest.mark.parametrize("asked", [[], "text", 7, None])
def test_a_body_that_is_no_object_is_refused(facility: Facility, asked: Any) -> None:
    answer = client(facility.alice).post(API, json.dumps(asked), content_type="application/json")
    assert answer.status_code == 400


def test_anothers_experiment_is_refused_as_if_it_did_not_exist(facility: Facility) -> None:
    foreign = wish(facility, experiments=[str(facility.charlies_experiment.uuid)])
    unknown = wish(facility, experiments=[str(uuid4())])
    answers = [body(client(facility.alice).post(API, asked, format="json"), 400) for asked in (foreign, unknown)]
    assert answers[0] == answers[1] == {"experiments": ["Choose among your own experiments."]}


def test_a_size_reserved_for_others_is_refused(facility: Facility) -> None:
    FlavourLimit.objects.create(flavour=facility.large, role=Role.STAFF)
    refused = body(
        client(facility.alice).post(API, wish(facility, flavour=str(facility.large.uuid)), format="json"), 400
    )
    assert list(refused) == ["flavour"]
    sam = {"image": str(facility.image.uuid), "flavour": str(facility.large.uuid)}
    assert body(client(facility.sam).post(API, sam, format="json"), 201)["vcpus"] == 8


def test_an_image_that_is_withdrawn_is_refused(facility: Facility) -> None:
    Image.objects.update(visibility=Visibility.NOBODY)
    assert list(body(client(facility.alice).post(API, wish(facility), format="json"), 400)) == ["image"]


def test_too_many_machines_are_a_conflict_with_a_sentence(facility: Facility) -> None:
    User.objects.filter(pk=facility.alice.pk).update(quota=1)
    refused = body(client(User.objects.get(pk=facility.alice.pk)).post(API, wish(facility), format="json"), 409)
    assert refused == {"detail": "You have 1 of 1 machines. Delete one to make room."}


def test_a_full_facility_says_so_at_the_size(facility: Facility) -> None:
    facility.host.memory_mib = 0
    facility.host.save()
    refused = body(client(facility.alice).post(API, wish(facility), format="json"), 400)
    assert refused == {"flavour": ["No host has room for this size now. Choose a smaller size, or try later."]}


def test_what_only_the_facility_decides_cannot_be_sent_along(facility: Facility) -> None:
    """Mass assignment (SEC-32)."""
    privileged = {
        "owner": str(facility.charlie.uuid),
        "state": "active",
        "host": None,
        "vcpus": 128,
        "memory_mib": 999_999,
        "disk_gib": 999,
        "expires_at": "2099-01-01T00:00:00Z",
        "vnc_password": "chosen",
        "uuid": str(uuid4()),
        "generation": 9,
        "address": "10.0.0.1",
    }
    made = body(client(facility.alice).post(API, wish(facility) | privileged, format="json"), 201)
    row = Instance.objects.get(uuid=made["uuid"])
    assert (row.owner, row.state, row.vcpus, row.generation) == (facility.alice, "building", 1, 1)
    assert (row.expires_at.year if row.expires_at else 0) < 2099
    assert row.vnc_password != "chosen"
    assert row.address is None
    assert str(row.uuid) != privileged["uuid"]


def test_patching_changes_name_and_notes_alone(facility: Facility) -> None:
    before = Instance.objects.values().get(pk=facility.machine.pk)
    sent = {"name": "Mine", "owner": str(facility.bob.uuid), "state": "deleted", "expires_at": None, "vcpus": 64}
    shown = body(client(facility.alice).patch(f"{API}{facility.machine.uuid}/", sent, format="json"))
    assert shown["name"] == "Mine"
    assert Instance.objects.values().get(pk=facility.machine.pk) == before | {"name": "Mine"}


# Looking


def test_the_list_shows_own_and_shared_machines(facility: Facility) -> None:
    bobs = people.machine(facility.bob, facility.plan, facility.host)
    listed = {row["uuid"]: row["role"] for row in body(client(facility.bob).get(API))["results"]}
    assert listed == {str(bobs.uuid): "owner", str(facility.machine.uuid): "user"}
    assert body(client(facility.charlie).get(API))["results"] == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"running", "stopped", "alice's machine"}),
        ("?whose=mine", {"running", "stopped"}),
        ("?whose=shared", {"alice's machine"}),
        ("?whose=all", {"running", "stopped", "alice's machine"}),
        ("?state=stopped", {"stopped"}),
        ("?state=stopped&state=deleted", {"stopped", "gone"}),
    ],
)
def test_the_list_is_filtered(facility: Facility, query: str, expected: set[str]) -> None:
    for name, state in (("running", State.ACTIVE), ("stopped", State.STOPPED), ("gone", State.DELETED)):
        people.machine(facility.bob, facility.plan, facility.host, name=name, state=state)
    assert {row["name"] for row in body(client(facility.bob).get(API + query))["results"]} == expected


def test_the_list_is_filtered_by_experiment(facility: Facility) -> None:
    people.machine(facility.alice, facility.plan, facility.host, name="other")
    listed = body(client(facility.alice).get(f"{API}?experiment={facility.experiment.uuid}"))["results"]
    assert [row["name"] for row in listed] == ["alice's machine"]


def test_support_sees_all_machines_when_it_asks_for_them(facility: Facility) -> None:
    assert body(client(facility.sam).get(API))["results"] == []
    assert len(body(client(facility.sam).get(f"{API}?whose=all"))["results"]) == 1
    assert body(client(facility.sam).get(f"{API}{facility.machine.uuid}/"))["role"] is None


@pytest.mark.parametrize("query", ["?state=flying", "?whose=theirs", "?experiment=1"])
def test_filters_that_make_no_sense_are_refused(facility: Facility, query: str) -> None:
    assert list(body(client(facility.alice).get(API + query), 400)) == [query[1:].split("=", maxsplit=1)[0]]


def test_the_history_is_told_newest_first(facility: Facility) -> None:
    rows = body(client(facility.bob).get(f"{API}{facility.machine.uuid}/history/"))["results"]
    assert [row["to"] for row in rows] == ["active", "building"]
    assert rows[1]["by"] == "Alice Example"
    assert rows[0]["said"] == "Ready for work"


def test_the_history_tells_of_time_and_people_too(facility: Facility) -> None:
    life.pin(facility.machine, facility.admin, True, "Reference measurement")
    members.remove(facility.machine, facility.alice, facility.bob)
    rows = body(client(facility.alice).get(f"{API}{facility.machine.uuid}/history/"))["results"]
    told = [(row["kind"], row["said"], row["by"], row["reason"]) for row in rows[:2]]
    assert told == [
        ("people", "Bob Example was removed", "Alice Example", ""),
        ("time", "Kept by staff: no end, no sleep", "Admin Example", "Reference measurement"),
    ]
    assert [row["to"] for row in rows[2:]] == ["active", "building"]


def test_members_are_named_without_their_addresses(facility: Facility) -> None:
    rows = body(client(facility.bob).get(f"{API}{facility.machine.uuid}/members/"))["results"]
    assert [(row["person"]["name"], row["role"]) for row in rows] == [
        ("Alice Example", "owner"),
        ("Bob Example", "user"),
    ]
    assert "example.org" not in json.dumps(rows)


def test_the_picture_of_the_screen_is_given_to_those_who_may_see_the_screen(facility: Facility) -> None:
    url = f"{API}{facility.machine.uuid}/thumbnail/"
    assert client(facility.alice).get(url).status_code == 404
    Thumbnail.objects.create(instance=facility.machine, webp=b"RIFF-picture")
    assert client(facility.bob).get(url).status_code == 404
    looks(facility.alice, facility.machine)
    shown = client(facility.bob).get(url)
    assert (shown.content, shown["Content-Type"]) == (b"RIFF-picture", "image/webp")
    assert "private" in shown["Cache-Control"]
    assert client(facility.charlie).get(url).status_code == 404


# Asking


@pytest.mark.parametrize(
    ("begin", "verb", "end"),
    [
        (State.ACTIVE, "stop", "stopping"),
        (State.ACTIVE, "reboot", "rebooting"),
        (State.STOPPED, "start", "starting"),
        (State.HIBERNATED, "start", "starting"),
        (State.ERROR, "retry", "starting"),
        (State.STOPPED, "stop", "stopped"),
    ],
)
def test_the_owner_may_ask(facility: Facility, begin: State, verb: str, end: str) -> None:
    mine = people.machine(facility.alice, facility.plan, facility.host, state=begin)
    assert body(client(facility.alice).post(f"{API}{mine.uuid}/{verb}/"), 202)["state"] == end


def test_deleting_moves_towards_deleted_and_may_be_repeated(facility: Facility) -> None:
    for _ in range(2):
        assert body(client(facility.alice).delete(f"{API}{facility.machine.uuid}/"), 202)["state"] == "deleting"


def test_what_the_state_does_not_allow_is_a_conflict_with_a_sentence(facility: Facility) -> None:
    building = people.machine(facility.alice, facility.plan, facility.host, state=State.BUILDING)
    refused = body(client(facility.alice).post(f"{API}{building.uuid}/reboot/"), 409)
    assert refused == {"detail": "The machine is busy with something else. Wait until it is done."}


@pytest.mark.parametrize("verb", ["start", "stop", "reboot", "retry", "delete", "rename"])
def test_a_member_may_not_manage_and_a_stranger_finds_nothing(facility: Facility, verb: str) -> None:
    def ask(user: User) -> Any:
        url = f"{API}{facility.machine.uuid}/"
        if verb == "delete":
            return client(user).delete(url)
        if verb == "rename":
            return client(user).patch(url, {"name": "Theirs"}, format="json")
        return client(user).post(f"{url}{verb}/")

    assert body(ask(facility.bob), 403) == {"detail": "Only the owner of this machine may do that."}
    assert body(ask(facility.sam), 403)["detail"]
    assert ask(facility.charlie).status_code == 404
    assert ask(facility.admin).status_code < 300 or ask(facility.admin).status_code == 409
    facility.machine.refresh_from_db()
    assert facility.machine.owner == facility.alice


@pytest.mark.parametrize("path", ["", "history/", "members/", "thumbnail/"])
def test_a_stranger_finds_nothing(facility: Facility, path: str) -> None:
    assert client(facility.charlie).get(f"{API}{facility.machine.uuid}/{path}").status_code == 404


@pytest.mark.parametrize("identifier", ["1", "abc", "00000000-0000-0000-0000-00000000000"])
def test_row_numbers_open_nothing(facility: Facility, identifier: str) -> None:
    assert client(facility.admin).get(f"{API}{identifier}/").status_code == 404


# What never leaves


def _every_answer(facility: Facility, user: User) -> list[bytes]:
    machine, asking = f"{API}{facility.machine.uuid}/", client(user)
    reads = [API, f"{API}?whose=all", machine, f"{machine}history/", f"{machine}members/", f"{machine}thumbnail/"]
    reads += [f"/api/v1/{name}/" for name in ("me", "experiments", "images", "flavours", "plans", "tokens")]
    answers = [asking.get(url) for url in reads]
    answers += [asking.patch(machine, {"name": "Renamed"}, format="json"), asking.post(f"{machine}stop/")]
    answers += [asking.post(API, wish(facility), format="json"), asking.delete(machine)]
    return [answer.content + str(answer.headers).encode() for answer in answers]


@pytest.mark.parametrize("who", ["alice", "bob", "sam", "admin"])
def test_no_secret_and_no_address_leaves(facility: Facility, who: str) -> None:
    """Canaries (SEC-09, SEC-12): planted where secrets are, looked for in everything that is said."""
    canaries = {
        "vnc_password": "cnry-vnc",
        "console_password": "cnry-con",
        "jupyter_token": "canary-jupyter",
        "ssh_secret": "canary-ssh",
        "address": "203.0.113.77",
        "console_host": "canary-console-host",
        "console_port": 59777,
    }
    Instance.objects.filter(pk=facility.machine.pk).update(**canaries)
    Thumbnail.objects.create(instance=facility.machine, webp=b"RIFF")
    facility.image.path, facility.image.boot_commands = "/canary/image.qcow2", "echo canary-boot"
    facility.image.save()
    facility.host.uri = "qemu+tls://canary-host/system"
    facility.host.save()
    said = b"".join(_every_answer(facility, getattr(facility, who)))
    assert facility.machine.name.encode() in said or b"Renamed" in said
    for canary in [*canaries.values(), "canary", str(facility.image.sha256), facility.alice.password]:
        assert str(canary).encode() not in without_random_names(said)


def without_random_names(said: bytes) -> bytes:
    """Any five digits, such as a port, may be part of a UUID or of the fraction of a second."""
    return re.sub(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\.[0-9]{6}", b"", said)


def test_no_row_number_leaves(facility: Facility) -> None:
    def keys(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {key for inner in value.values() for key in keys(inner)}
        return {key for inner in value for key in keys(inner)} if isinstance(value, list) else set()

    said = [
        json.loads(client(facility.alice).get(url).content) for url in (API, "/api/v1/experiments/", "/api/v1/plans/")
    ]
    assert not keys(said) & {"id", "pk", "user_id", "owner_id", "instance", "host"}
    assert "uuid" in keys(said)


# What is on offer


def test_what_is_offered_depends_on_the_experiments(facility: Facility) -> None:
    FlavourLimit.objects.create(flavour=facility.large, instrument=facility.charlies_experiment.instrument)
    bobs_second = people.experiment("EX-3", facility.bob, instrument="in5")

    def sizes(user: User, query: str = "") -> set[str]:
        return {row["name"] for row in body(client(user).get(f"/api/v1/flavours/{query}"))["results"]}

    assert sizes(facility.alice) == {"Small"}
    assert sizes(facility.bob) == {"Small", "Large"}
    assert sizes(facility.bob, f"?experiments={facility.experiment.uuid}") == {"Small"}
    both = f"?experiments={facility.experiment.uuid}&experiments={bobs_second.uuid}"
    assert sizes(facility.bob, both) == {"Small", "Large"}


def test_plans_name_the_preset_and_the_protocols(facility: Facility) -> None:
    plans = body(client(facility.alice).get("/api/v1/plans/"))["results"]
    assert {(plan["flavour"]["name"], plan["preset"]) for plan in plans} == {("Small", True), ("Large", False)}
    assert set(plans[0]["image"]["protocols"]) == {"vnc", "jupyter", "ssh"}


@pytest.mark.parametrize("resource", ["plans", "images", "flavours"])
@pytest.mark.parametrize("chosen", ["no-id", str(uuid4())])
def test_offers_for_experiments_that_are_not_ones_own_are_refused(
    facility: Facility, resource: str, chosen: str
) -> None:
    assert client(facility.alice).get(f"/api/v1/{resource}/?experiments={chosen}").status_code == 400


def test_a_withdrawn_image_is_not_offered_and_one_on_trial_to_staff_alone(facility: Facility) -> None:
    Image.objects.update(visibility=Visibility.STAFF)
    assert body(client(facility.alice).get("/api/v1/images/"))["results"] == []
    assert len(body(client(facility.sam).get("/api/v1/images/"))["results"]) == 1
    Plan.objects.update(enabled=False)
    assert body(client(facility.sam).get("/api/v1/plans/"))["results"] == []


# Cost


def test_the_number_of_queries_does_not_grow_with_the_machines(facility: Facility) -> None:
    def count(url: str) -> int:
        with CaptureQueriesContext(connection) as counted:
            body(client(facility.alice).get(url))
        return len(counted)

    urls = [API, f"{API}{facility.machine.uuid}/", f"{API}{facility.machine.uuid}/history/", "/api/v1/experiments/"]
    urls += [f"{API}{facility.machine.uuid}/members/", "/api/v1/plans/", "/api/v1/images/", "/api/v1/flavours/"]
    few = [count(url) for url in urls]
    _grow(facility)
    assert [count(url) for url in urls] == few
    assert max(few) <= 14


def _grow(facility: Facility) -> None:
    for number in range(8):
        more: Experiment = people.experiment(f"MORE-{number}", facility.alice, instrument=f"i{number}")
        people.machine(facility.alice, facility.plan, facility.host, experiments=[more, facility.experiment])
        friend = people.person(f"friend{number}")
        Member.objects.create(instance=facility.machine, user=friend, role=MemberRole.GUEST)
        Transition.objects.create(
            instance=facility.machine, origin="active", to="stopped", by=friend, at=timezone.now()
        )
        people.plan(people.image(f"Image {number}"), people.flavour(f"Size {number}", vcpus=1 + number))


# Time


def test_a_machine_tells_its_use_and_its_time(facility: Facility) -> None:
    Instance.objects.update(observed_at=timezone.now())
    shown = body(client(facility.bob).get(f"{API}{facility.machine.uuid}/"), 200)
    assert shown["use"] == "In use"
    assert (shown["pinned"], shown["awake_until"], shown["bin_until"]) == (False, None, None)


@pytest.mark.parametrize(
    ("verb", "sent"),
    [
        ("keep-awake", {"days": 2}),
        ("set-end", {"end": "2099-01-01T12:00:00Z"}),
        ("ask-for-time", {"reason": "The fits take longer"}),
        ("hibernate", {}),
    ],
)
def test_owners_ask_about_time_and_others_do_not(facility: Facility, verb: str, sent: dict[str, object]) -> None:
    url = f"{API}{facility.machine.uuid}/{verb}/"
    assert client(facility.charlie).post(url, sent, format="json").status_code == 404
    assert client(facility.bob).post(url, sent, format="json").status_code == 403
    assert client(facility.alice).post(url, sent, format="json").status_code == 202


def test_what_is_asked_wrongly_is_said_at_the_field(facility: Facility) -> None:
    url = f"{API}{facility.machine.uuid}/"
    assert "days" in body(client(facility.alice).post(f"{url}keep-awake/", {"days": 99}, format="json"), 400)
    assert "reason" in body(client(facility.alice).post(f"{url}ask-for-time/", {"reason": ""}, format="json"), 400)
    assert "end" in body(
        client(facility.alice).post(f"{url}set-end/", {"end": "2020-01-01T12:00Z"}, format="json"), 400
    )


def test_a_machine_comes_back_from_the_bin_or_is_deleted_for_good(facility: Facility) -> None:
    soon = timezone.now() + timedelta(days=3)
    for verb, state in (("bring-back", "stopped"), ("delete-for-good", "deleting")):
        binned = people.machine(facility.alice, facility.plan, facility.host, state=State.BINNED, bin_until=soon)
        assert client(facility.bob).post(f"{API}{binned.uuid}/{verb}/").status_code == 404
        assert body(client(facility.alice).post(f"{API}{binned.uuid}/{verb}/"), 202)["state"] == state
    assert "detail" in body(client(facility.alice).post(f"{API}{facility.machine.uuid}/bring-back/"), 409)


def test_a_program_may_give_a_new_machine_a_shorter_life(facility: Facility) -> None:
    soon = timezone.now() + timedelta(days=2)
    asked = wish(facility, end=soon.isoformat())
    made = client(facility.bob).post(API, asked, format="json")
    assert made.status_code == 201
    assert Instance.objects.get(uuid=made.json()["uuid"]).expires_at == soon
    late = wish(facility, end=(soon + timedelta(days=400)).isoformat())
    assert list(body(client(facility.bob).post(API, late, format="json"), 400)) == ["end"]
