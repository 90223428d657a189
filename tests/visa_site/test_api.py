"""Who one is, tokens, and how the API describes itself."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from experiments.models import RoleGrant, User
from tests import people
from tests.people import PASSWORD, Facility
from visa_site.models import PersonalToken
from visa_site.tokens import MAX_TOKENS, issue

pytestmark = pytest.mark.django_db

ME = "/api/v1/me/"
TOKENS = "/api/v1/tokens/"


@pytest.fixture
def facility() -> Facility:
    return people.facility()


def program(text: str) -> APIClient:
    """A program that holds this token."""
    client = APIClient(enforce_csrf_checks=True)
    client.credentials(HTTP_AUTHORIZATION=f"Token {text}")
    return client


def browser(user: User) -> APIClient:
    """A browser in which this person signed in."""
    client = APIClient(enforce_csrf_checks=True)
    assert client.login(username=user.username, password=PASSWORD)
    return client


def body(response: Any, status: int = 200) -> Any:
    assert response.status_code == status, response.content
    return json.loads(response.content)


def test_one_is_told_who_one_is(facility: Facility) -> None:
    shown = body(program(issue(facility.alice)[1]).get(ME))
    assert (shown["username"], shown["name"], shown["roles"]) == ("alice", "Alice Example", [])
    assert shown["quota"] == {"machines": 1, "at_most": 2}
    assert shown["affiliation"] == "Institute of Examples, Grenoble, FR"


def test_roles_that_ended_are_not_told(facility: Facility) -> None:
    token = issue(facility.sam)[1]
    assert {role["role"] for role in body(program(token).get(ME))["roles"]} == {"it_support", "staff"}
    RoleGrant.objects.filter(user=facility.sam, role="staff").update(expires_at=timezone.now())
    assert {role["role"] for role in body(program(token).get(ME))["roles"]} == {"it_support"}


def test_only_the_language_is_ones_own_to_change(facility: Facility) -> None:
    """Mass assignment (SEC-32)."""
    before = User.objects.values().get(pk=facility.alice.pk)
    greedy = {"is_superuser": True, "is_staff": True, "username": "admin2", "quota": 99, "email": "x@example.org"}
    greedy |= {"roles": [{"role": "admin"}], "posix_uid": 0, "uuid": str(facility.admin.uuid), "language": "fr"}
    assert body(program(issue(facility.alice)[1]).patch(ME, greedy, format="json"))["language"] == "fr"
    assert User.objects.values().get(pk=facility.alice.pk) == before | {"language": "fr"}
    assert not RoleGrant.objects.filter(user=facility.alice).exists()


def test_json_that_is_nested_without_end_is_refused(facility: Facility) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    refused = program(issue(facility.alice)[1]).patch(ME, deep, content_type="application/json")
    assert refused.status_code == 400


def test_a_language_that_is_not_offered_is_refused(facility: Facility) -> None:
    assert list(body(program(issue(facility.alice)[1]).patch(ME, {"language": "tlh"}, format="json"), 400)) == [
        "language"
    ]


# Tokens


def test_a_token_is_shown_once_and_kept_as_a_hash(facility: Facility) -> None:
    mine = browser(facility.alice)
    mine.handler.enforce_csrf_checks = False
    made = body(mine.post(TOKENS, {"name": "analysis script", "days": 30}, format="json"), 201)
    assert body(program(made["token"]).get(ME))["username"] == "alice"
    listed = mine.get(TOKENS)
    assert [row["name"] for row in body(listed)["results"]] == ["analysis script"]
    assert made["token"] not in listed.content.decode()
    row: dict[str, Any] = dict(PersonalToken.objects.values().get())
    assert row["expiry"] - timezone.now() < timedelta(days=30)
    assert made["token"][20:] not in json.dumps(row, default=str)
    assert row["digest"] not in listed.content.decode()


@pytest.mark.parametrize("asked", [{"days": 0}, {"days": 366}, {"days": "long"}, {"name": "x" * 61}, {"days": None}])
def test_tokens_without_end_are_refused(facility: Facility, asked: dict[str, Any]) -> None:
    client = program(issue(facility.alice, days=365)[1])
    assert list(body(client.post(TOKENS, asked, format="json"), 400)) == list(asked)


def test_a_revoked_token_is_refused_at_once(facility: Facility) -> None:
    token, text = issue(facility.alice)
    assert program(text).get(ME).status_code == 200
    assert program(text).delete(f"{TOKENS}{token.uuid}/").status_code == 204
    assert program(text).get(ME).status_code == 401


def test_an_expired_token_is_refused(facility: Facility) -> None:
    token, text = issue(facility.alice)
    PersonalToken.objects.filter(pk=token.pk).update(expiry=timezone.now() - timedelta(seconds=1))
    assert program(text).get(ME).status_code == 401


def test_the_token_of_a_closed_account_is_refused(facility: Facility) -> None:
    text = issue(facility.alice)[1]
    User.objects.filter(pk=facility.alice.pk).update(is_active=False)
    assert program(text).get(ME).status_code == 401


def test_anothers_token_is_not_found(facility: Facility) -> None:
    token, text = issue(facility.alice)
    charlie = program(issue(facility.charlie)[1])
    assert charlie.delete(f"{TOKENS}{token.uuid}/").status_code == 404
    assert len(body(charlie.get(TOKENS))["results"]) == 1
    assert program(text).get(ME).status_code == 200


def test_a_token_cannot_make_one_that_outlives_it(facility: Facility) -> None:
    """One may grant at most what one has (SEC-34)."""
    short = program(issue(facility.alice, days=7)[1])
    assert "outlives" in body(short.post(TOKENS, {"days": 8}, format="json"), 403)["detail"]
    assert body(short.post(TOKENS, {"days": 6}, format="json"), 201)["token"]


def test_the_number_of_tokens_is_limited(facility: Facility) -> None:
    client = program(issue(facility.alice)[1])
    for _ in range(MAX_TOKENS - 1):
        issue(facility.alice)
    assert "Revoke one" in body(client.post(TOKENS, {"days": 1}, format="json"), 409)["detail"]


@pytest.mark.parametrize("header", ["Token visa_wrong", "Token", "Token a b", "Token \x00", "Bearer visa_x", "Token é"])
def test_wrong_tokens_are_refused_in_json(facility: Facility, header: str) -> None:
    answer = APIClient().get(ME, HTTP_AUTHORIZATION=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Token"
    assert "detail" in json.loads(answer.content)


# Sessions


def test_a_session_reads_but_changes_nothing_without_a_csrf_token(facility: Facility) -> None:
    client = browser(facility.alice)
    assert client.get(ME).status_code == 200
    refused = body(client.post(f"/api/v1/instances/{facility.machine.uuid}/stop/"), 403)
    assert "CSRF" in refused["detail"]
    facility.machine.refresh_from_db()
    assert facility.machine.state == "active"


def test_a_form_of_another_site_is_not_understood(facility: Facility) -> None:
    client = Client()
    client.force_login(facility.alice)
    assert client.post("/api/v1/instances/", {"name": "x"}).status_code == 415


ROUTES = ["me/", "experiments/", "images/", "flavours/", "plans/", "instances/", "tokens/", ""]


@pytest.mark.parametrize("route", ROUTES)
def test_nothing_is_told_to_strangers(facility: Facility, route: str) -> None:
    assert APIClient().get(f"/api/v1/{route}").status_code == 401


def test_an_address_where_nothing_is_answers_in_json(facility: Facility) -> None:
    assert body(APIClient().get("/api/v1/nothing/here/"), 404) == {"detail": "Not found."}


# The description


def test_the_schema_is_valid_without_a_warning(tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
    assert "/api/v1/instances/{uuid}/start/" in (tmp_path / "schema.yml").read_text()


def test_the_schema_and_its_page_are_served_from_here_alone(client: Client) -> None:
    schema = client.get("/api/v1/schema/", HTTP_ACCEPT="application/json")
    assert json.loads(schema.content)["info"]["title"] == "VISA"
    page = client.get("/api/v1/docs/")
    assert page.status_code == 200
    assert "//" not in page.content.decode().replace("</", "").replace("<!", "")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self';" in f"{policy};"
    assert "http" not in policy


def test_every_address_says_in_a_line_what_it_does(client: Client) -> None:
    schema = json.loads(client.get("/api/v1/schema/", HTTP_ACCEPT="application/json").content)
    silent = [
        f"{verb} {path}"
        for path, verbs in schema["paths"].items()
        for verb, said in verbs.items()
        if verb != "parameters" and not said.get("summary")
    ]
    assert silent == []
