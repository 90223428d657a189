"""Support by programs: the same rules as by hand."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from desktops import support
from desktops.models import AccessRequest, HelpRequest
from experiments.models import User
from tests.desktops.rooms import granted, looks
from tests.people import Facility, facility, machine, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    return facility()


def call(user: User, people: Facility, path: str, **asked: Any) -> tuple[int, Any]:
    client = Client()
    client.force_login(user)
    address = f"/api/v1/instances/{people.machine.uuid}/{path}"
    answer = client.post(address, json.dumps(asked), content_type="application/json")
    return answer.status_code, json.loads(answer.content) if answer.content else None


def get(user: User, path: str) -> tuple[int, Any]:
    client = Client()
    client.force_login(user)
    answer = client.get(f"/api/v1/{path}")
    return answer.status_code, json.loads(answer.content)


def test_a_program_asks_and_another_answers(people: Facility) -> None:
    status, asked = call(people.sam, people, "support/ask/", reason="Fit", minutes=15, control=False)
    assert (status, asked["state"], asked["control"]) == (201, "pending", False)
    again = call(people.sam, people, "support/ask/", reason="Other", minutes=20)
    assert again[1]["uuid"] == asked["uuid"]
    status, given = call(people.alice, people, f"support/{asked['uuid']}/answer/", answer="watch")
    assert (status, given["state"], given["role"]) == (200, "granted", "watch")
    assert call(people.sam, people, "support/end/") == (204, None)
    assert AccessRequest.objects.get().state == "ended"


def test_what_is_wrong_is_said_at_its_field(people: Facility) -> None:
    status, said = call(people.sam, people, "support/ask/", reason=" ", minutes=0)
    assert status == 400
    assert set(said) == {"reason", "minutes"}
    status, said = call(people.sam, people, "support/ask/", reason="x", minutes=1440)
    assert (status, said) == (400, {"minutes": ["Choose between 1 and 240 minutes."]})
    status, said = call(people.alice, people, f"support/{uuid4()}/answer/", answer="yes")
    assert status == 404


def test_a_request_is_taken_back(people: Facility) -> None:
    call(people.sam, people, "support/ask/", reason="Fit", minutes=15)
    assert call(people.sam, people, "support/cancel/") == (204, None)
    assert AccessRequest.objects.get().state == "cancelled"


def test_a_program_enters_where_a_person_might(people: Facility) -> None:
    status, entered = call(people.sam, people, "support/enter/", reason="Restart", minutes=30)
    assert (status, entered["kind"]) == (201, "unattended")
    looks(people.alice, people.machine)
    assert call(people.admin, people, "support/enter/", reason="Restart", minutes=30)[0] == 409


def test_help_is_called_taken_and_closed(people: Facility) -> None:
    status, called = call(people.alice, people, "help/", message="Where is my data?")
    assert (status, called["message"], called["taken_by"]) == (201, "Where is my data?", None)
    assert call(people.sam, people, "help/take/") == (204, None)
    assert call(people.admin, people, "help/take/")[0] == 409
    assert call(people.sam, people, "help/close/") == (204, None)
    assert HelpRequest.objects.get().closed_at


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("support/ask/", {"reason": "x", "minutes": 5}),
        ("support/enter/", {"reason": "x", "minutes": 5}),
        ("help/take/", {}),
        ("help/close/", {}),
        ("help/", {}),
    ],
)
def test_a_member_may_not_and_a_stranger_finds_nothing(people: Facility, path: str, asked: dict[str, Any]) -> None:
    assert call(people.bob, people, path, **asked)[0] == 403
    assert call(people.charlie, people, path, **asked)[0] == 404


def test_the_owner_reads_all_support_and_others_their_own(people: Facility) -> None:
    support.enter(people.machine, people.sam, "Restart", 30)
    path = f"instances/{people.machine.uuid}/support/"
    assert [row["who"]["name"] for row in get(people.alice, path)[1]] == ["Sam Example"]
    assert len(get(people.sam, path)[1]) == 1
    assert get(people.bob, path)[1] == []
    assert get(people.charlie, path)[0] == 404


def test_what_one_supports_is_listed_with_calls_and_health(people: Facility) -> None:
    support.call(people.machine, people.alice, "Help")
    status, listed = get(people.sam, "supported/?q=alice")
    assert status == 200
    (found,) = listed["results"]
    assert found["uuid"] == str(people.machine.uuid)
    assert found["call"]["message"] == "Help"
    assert {sign["name"] for sign in found["health"]} >= {"State", "Power", "Desktop", "Host"}
    assert "example.org" not in json.dumps(listed)
    assert get(people.sam, "supported/?q=nobody")[1]["results"] == []


@pytest.mark.parametrize("who", ["alice", "bob", "charlie"])
def test_who_supports_nobody_has_no_such_list(people: Facility, who: str) -> None:
    assert get(getattr(people, who), "supported/")[0] == 404


def test_the_list_costs_the_same_with_one_machine_and_with_many(people: Facility) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert get(people.sam, "supported/")[0] == 200
        return len(captured)

    support.call(people.machine, people.alice)
    granted(people.sam, people.machine)
    few = queries()
    for number in range(20):
        owner = person(f"owner{number}")
        made = machine(owner, people.plan, people.host, experiments=[people.experiment])
        support.call(made, owner)
        granted(people.sam, made)
    assert queries() == few
