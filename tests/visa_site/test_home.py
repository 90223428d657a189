"""Home answers “where is my work?”; the profile says who one is; the language follows the person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.models import Role, RoleGrant, User
from instances.models import Instance
from instances.states import State
from tests.people import PASSWORD, Facility, client_of, facility, machine, person
from visa_site.models import PersonalToken
from visa_site.tokens import issue

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(db: None) -> Facility:
    return facility()


def test_an_empty_home_is_an_invitation(people: Facility) -> None:
    page = client_of(people.charlie).get("/").content.decode()
    assert page.count('href="/machines/new/"') == 1
    assert "New instance" in page
    assert people.machine.name not in page


def test_own_and_shared_machines_stand_apart_with_the_owners_name(people: Facility) -> None:
    own = machine(people.bob, people.plan, name="Bob's own")
    page = client_of(people.bob).get("/")
    assert [card.instance for card in page.context["mine"]] == [own]
    assert [card.instance for card in page.context["shared"]] == [people.machine]
    assert "Shared with me" in page.content.decode()
    assert "Alice Example" in page.content.decode()


def test_support_sees_at_home_only_what_is_theirs(people: Facility) -> None:
    assert not client_of(people.sam).get("/").context["shared"]


def test_the_most_recently_used_comes_first(people: Facility) -> None:
    now = timezone.now()
    for days in (3, 1, 2):
        machine(people.charlie, people.plan, name=str(days), last_used_at=now - timedelta(days=days))
    cards = client_of(people.charlie).get("/").context["mine"]
    assert [card.instance.name for card in cards] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("state", "act", "word"),
    [
        (State.BUILDING, "Watch it start", "Being made"),
        (State.STARTING, "Watch it start", "Starting"),
        (State.ACTIVE, "Open desktop", "Ready"),
        (State.STOPPING, None, "Stopping"),
        (State.STOPPED, "Start", "Stopped"),
        (State.REBOOTING, "Watch it start", "Restarting"),
        (State.HIBERNATING, None, "Falling asleep"),
        (State.HIBERNATED, "Resume", "Asleep"),
        (State.UNREACHABLE, None, "Out of reach"),
        (State.ERROR, "Try again", "Needs a hand"),
        (State.DELETING, None, "Being deleted"),
    ],
)
def test_each_state_has_its_words_and_one_next_act(people: Facility, state: State, act: str | None, word: str) -> None:
    machine(people.charlie, people.plan, people.host, state=state)
    page = client_of(people.charlie).get("/")
    (card,) = page.context["mine"]
    assert str(card.look.word) == word
    assert (str(card.primary.label) if card.primary else None) == act
    assert page.content.decode().count("button primary") == (2 if act else 1) + 1  # New instance, and the dialog's


def test_a_running_machine_without_a_desktop_is_waited_for(people: Facility) -> None:
    machine(people.charlie, people.plan, state=State.ACTIVE, desktop_ready_at=None)
    (card,) = client_of(people.charlie).get("/").context["mine"]
    assert str(card.look.word) == "Waiting for the desktop"
    assert card.primary.name == "watch"


def test_a_member_of_a_stopped_machine_reads_who_can_start_it(people: Facility) -> None:
    Instance.objects.update(state=State.STOPPED)
    assert "Only Alice Example can start it." in client_of(people.bob).get("/").content.decode()


def test_home_costs_the_same_with_one_machine_and_with_sixty(people: Facility) -> None:
    def queries(user: User) -> int:
        client = client_of(user)
        client.get("/")
        with CaptureQueriesContext(connection) as captured:
            client.get("/")
        return len(captured)

    many = person("many")
    for number in range(60):
        state = list(State)[number % len(State)]
        machine(many, people.plan, people.host, state=state, members=[people.charlie], experiments=[people.experiment])
    assert queries(people.alice) == queries(many) <= 16
    assert queries(people.bob) == queries(people.charlie) <= 20


def test_names_are_shown_as_text(people: Facility) -> None:
    machine(people.charlie, people.plan, name="<script>alert(1)</script>", comments="<img src=x>")
    page = client_of(people.charlie).get("/").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_the_time_left_is_told_with_its_day(people: Facility) -> None:
    end = timezone.now() + timedelta(days=13)
    machine(people.charlie, people.plan, expires_at=end)
    client = client_of(people.charlie)
    client.cookies["visa-zone"] = "UTC"
    assert f"ends in 13 days, {end:%a} {end.day} {end:%b}" in client.get("/").content.decode()


def test_times_are_told_in_the_readers_zone(people: Facility) -> None:
    Instance.objects.update(created_at="2026-06-01T23:30:00Z")
    client = client_of(people.alice)
    for zone, told in (("Asia/Tokyo", "08:30"), ("America/Lima", "18:30"), ("No/Where", "01:30"), ("../etc", "01:30")):
        client.cookies["visa-zone"] = zone
        assert told in client.get(f"/machines/{people.machine.uuid}/").content.decode()


def test_the_language_follows_the_person_to_another_browser(people: Facility) -> None:
    client_of(people.alice).post("/language/", {"language": "fr", "next": "/"})
    page = client_of(people.alice).get("/", headers={"accept-language": "en"})
    assert '<html lang="fr">' in page.content.decode()


def test_a_language_that_is_not_on_offer_changes_nothing(people: Facility) -> None:
    client_of(people.alice).post("/language/", {"language": "xx", "next": "https://elsewhere.example/"})
    people.alice.refresh_from_db()
    assert people.alice.language == ""


def test_changing_the_language_leads_nowhere_else(people: Facility) -> None:
    for place in ("https://elsewhere.example/", "//elsewhere.example/", "/\\elsewhere.example"):
        answer = client_of(people.alice).post("/language/", {"language": "fr", "next": place})
        assert "elsewhere" not in answer.headers["Location"]


def test_signing_in_leads_nowhere_else(people: Facility) -> None:
    for place in ("https://elsewhere.example/", "//elsewhere.example/"):
        answer = Client().post(
            f"/accounts/login/?next={place}", {"login": "alice", "password": PASSWORD, "next": place}
        )
        assert answer.headers["Location"] == "/"


def test_a_wrong_password_is_said_and_the_name_stays(people: Facility) -> None:
    answer = Client().post("/accounts/login/", {"login": "alice", "password": "wrong"})
    assert 'value="alice"' in answer.content.decode()
    assert "not correct" in answer.content.decode()


def test_the_profile_tells_roles_with_their_end_and_the_quota(people: Facility) -> None:
    RoleGrant.objects.create(user=people.alice, role=Role.GUEST, expires_at=timezone.now() + timedelta(days=5))
    page = client_of(people.alice).get("/profile/").content.decode()
    assert "Guest" in page
    assert "ends in 5 days" in page
    assert "1 of 2 in use" in page


def test_a_token_is_shown_once_and_works(people: Facility) -> None:
    client = client_of(people.alice)
    text = client.post("/profile/tokens/", {"name": "notebook", "days": "7"}).context["new_token"]
    assert Client().get("/api/v1/me/", headers={"authorization": f"Token {text}"}).status_code == 200
    assert text not in client.get("/profile/").content.decode()
    assert "notebook" in client.get("/profile/").content.decode()


@pytest.mark.parametrize(("name", "days"), [("", "7"), ("x", "0"), ("x", "366"), ("x", "many"), ("n" * 61, "7")])
def test_a_token_is_not_made_from_bad_input(people: Facility, name: str, days: str) -> None:
    answer = client_of(people.alice).post("/profile/tokens/", {"name": name, "days": days})
    assert answer.status_code == 422
    assert not any("This field" in told for faults in answer.context["form"].errors.values() for told in faults)
    assert not PersonalToken.objects.exists()


def test_only_ones_own_token_is_revoked(people: Facility) -> None:
    token, _text = issue(people.alice, "hers")
    assert client_of(people.bob).post(f"/profile/tokens/{token.uuid}/revoke/").status_code == 404
    client_of(people.alice).post(f"/profile/tokens/{token.uuid}/revoke/")
    assert not PersonalToken.objects.exists()


def test_the_pages_obey_a_strict_policy(people: Facility) -> None:
    client = client_of(people.alice)
    for path in ("/", "/machines/new/", f"/machines/{people.machine.uuid}/desktop/", "/profile/"):
        answer = client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        content = answer.content.decode()
        assert " style=" not in content
        assert "<style" not in content
        assert " onclick=" not in content
