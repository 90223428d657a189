"""Support in the administration: every access and every call stays to be read, and nobody changes it."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from desktops import support
from desktops.models import AccessRequest, HelpRequest
from experiments.models import User
from tests.desktops.rooms import granted
from tests.people import Facility, facility, machine, person

pytestmark = pytest.mark.django_db

ACCESSES, CALLS = "/admin/desktops/accessrequest/", "/admin/desktops/helprequest/"


@pytest.fixture
def people() -> Facility:
    made = facility()
    User.objects.filter(pk=made.sam.pk).update(is_staff=True)
    support.enter(made.machine, made.sam, "The host will restart.", 60)
    support.call(made.machine, made.alice, "My data is gone.")
    return made


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=user.pk))
    return client


@pytest.mark.parametrize("who", ["sam", "admin"])
def test_who_was_where_and_why_is_listed(people: Facility, who: str) -> None:
    client = client_of(getattr(people, who))
    accesses, calls = (client.get(path).content.decode() for path in (ACCESSES, CALLS))
    for words in ("Sam Example", "Alice Example", "The owner was away", "The host will restart."):
        assert words in accesses
    assert "My data is gone." in calls


@pytest.mark.parametrize("who", ["sam", "admin"])
def test_nobody_changes_what_was(people: Facility, who: str) -> None:
    client = client_of(getattr(people, who))
    for path, row in ((ACCESSES, AccessRequest.objects.get()), (CALLS, HelpRequest.objects.get())):
        assert client.get(f"{path}add/").status_code == 403
        assert client.post(f"{path}{row.pk}/change/", {"reason": "x"}).status_code == 403
        assert client.post(f"{path}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.get(f"{path}{row.pk}/change/").status_code == 200
    assert AccessRequest.objects.count() == HelpRequest.objects.count() == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [("q=restart", 1), ("q=sam", 1), ("q=nothing", 0), ("state__exact=granted", 1), ("kind__exact=help", 0)],
)
def test_accesses_are_found(people: Facility, query: str, found: int) -> None:
    answer = client_of(people.admin).get(f"{ACCESSES}?{query}")
    assert len(answer.context["cl"].result_list) == found


@pytest.mark.parametrize(("query", "found"), [("call=waits", 1), ("call=taken", 0), ("call=done", 0), ("q=gone", 1)])
def test_calls_are_found_by_what_became_of_them(people: Facility, query: str, found: int) -> None:
    answer = client_of(people.admin).get(f"{CALLS}?{query}")
    assert len(answer.context["cl"].result_list) == found


def test_the_lists_cost_the_same_however_long(people: Facility) -> None:
    def queries(path: str) -> int:
        client = client_of(people.admin)
        client.get(path)
        with CaptureQueriesContext(connection) as captured:
            client.get(path)
        return len(captured)

    few = [queries(path) for path in (ACCESSES, CALLS)]
    for number in range(20):
        owner = person(f"owner{number}")
        made = machine(owner, people.plan)
        granted(people.sam, made)
        support.call(made, owner)
    assert [queries(path) for path in (ACCESSES, CALLS)] == few
