"""The support page: whose machines it lists, in which order, and what it lets be done."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from desktops import support
from desktops.models import Policy
from desktops.rfb import Role
from desktops.supported import Case, cases_for, machines_for, signs_of
from experiments.models import Role as FacilityRole
from experiments.models import RoleGrant, User
from instances.models import Host, Instance, Thumbnail
from instances.states import State
from tests.desktops.rooms import granted, looks
from tests.people import Facility, client_of, experiment, facility, machine, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> Facility:
    return facility()


def listed(user: User, **wanted: str) -> list[str]:
    answer = client_of(user).get("/support/list/", wanted)
    assert answer.status_code == 200
    return [case.instance.name for case in answer.context["cases"]]


def case_of(user: User, people: Facility) -> Case:
    reader = User.objects.get(pk=user.pk)
    return cases_for(reader, list(machines_for(reader).filter(pk=people.machine.pk)))[0]


# Who sees what


@pytest.mark.parametrize("who", ["alice", "bob", "charlie"])
def test_for_others_there_is_no_support_page(people: Facility, who: str) -> None:
    client = client_of(getattr(people, who))
    for path in ("/support/", "/support/list/", f"/support/{people.machine.uuid}/"):
        assert client.get(path).status_code == 404
    assert 'href="/support/"' not in client.get("/").content.decode()


@pytest.mark.parametrize("who", ["sam", "admin", "ines"])
def test_support_finds_its_page_in_the_header(people: Facility, who: str) -> None:
    assert 'href="/support/"' in client_of(getattr(people, who)).get("/").content.decode()


def test_a_scientist_sees_the_machines_of_their_instruments_alone(people: Facility) -> None:
    machine(people.charlie, people.plan, name="Elsewhere", experiments=[people.charlies_experiment])
    assert listed(people.ines) == []
    people.experiment.instrument.scientists.add(people.ines)
    assert listed(people.ines) == ["alice's machine"]
    other = Instance.objects.get(name="Elsewhere")
    assert client_of(people.ines).get(f"/support/{other.uuid}/").content == b""
    assert set(listed(people.sam)) == {"alice's machine", "Elsewhere"}


def test_a_machine_at_two_experiments_of_an_instrument_is_listed_once(people: Facility) -> None:
    people.experiment.instrument.scientists.add(people.ines)
    people.machine.experiments.add(experiment("EX-3", people.alice))
    assert listed(people.ines, q="EX") == ["alice's machine"]


def test_ones_own_and_deleted_machines_are_not_to_be_supported(people: Facility) -> None:
    machine(people.sam, people.plan, name="Mine")
    machine(people.bob, people.plan, name="Gone", state=State.DELETED)
    assert listed(people.sam) == ["alice's machine"]


def test_the_page_ends_with_the_role(people: Facility) -> None:
    client = client_of(people.sam)
    assert client.get("/support/").status_code == 200
    RoleGrant.objects.filter(user=people.sam).update(expires_at=timezone.now())
    assert client.get("/support/").status_code == 404


# Order and filters


@pytest.fixture
def many(people: Facility) -> Facility:
    machine(people.bob, people.plan, name="Peaks", state=State.ERROR, experiments=[people.experiment])
    machine(people.charlie, people.plan, name="Waves", state=State.STOPPED, experiments=[people.charlies_experiment])
    machine(people.charlie, people.plan, name="Tubes", state=State.STARTING)
    return people


def test_who_calls_for_help_comes_first(many: Facility) -> None:
    waves, peaks = Instance.objects.get(name="Waves"), Instance.objects.get(name="Peaks")
    support.call(waves, many.charlie, "Please")
    support.call(peaks, many.bob)
    support.take(waves, many.sam)
    assert listed(many.sam)[:2] == ["Peaks", "Waves"]
    assert set(listed(many.sam, help="on")) == {"Peaks", "Waves"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"q": "wav"}, {"Waves"}),
        ({"q": "charlie"}, {"Waves", "Tubes"}),
        ({"q": "charlie wav"}, {"Waves"}),
        ({"q": "ex-1"}, {"alice's machine", "Peaks"}),
        ({"q": "IN5"}, {"Waves"}),
        ({"q": "nothing like it"}, set()),
        ({"state": "running"}, {"alice's machine"}),
        ({"state": "hand"}, {"Peaks"}),
        ({"state": "working"}, {"Tubes"}),
        ({"state": "resting"}, {"Waves"}),
        ({"instrument": "d20"}, {"alice's machine", "Peaks"}),
        ({"instrument": "d20", "state": "hand"}, {"Peaks"}),
        ({"help": "on"}, set()),
    ],
)
def test_filters_leave_what_is_looked_for(many: Facility, wanted: dict[str, str], found: set[str]) -> None:
    assert set(listed(many.sam, **wanted)) == found


@pytest.mark.parametrize(
    "nonsense",
    [
        {"state": "x"},
        {"instrument": "nowhere"},
        {"page": "x"},
        {"q": "\x00"},
        {"q": "x" * 5000},
        {"instrument": "\x00"},
    ],
)
def test_nonsense_in_the_address_leaves_everything(many: Facility, nonsense: dict[str, str]) -> None:
    assert len(listed(many.sam, **nonsense)) == 4


def test_the_list_keeps_its_address_for_a_reload(many: Facility) -> None:
    answer = client_of(many.sam).get("/support/list/", {"q": "wav"})
    assert answer["HX-Replace-Url"] == "/support/?q=wav"


# What a row knows


def test_a_picture_is_shown_only_to_who_may_see_the_screen(people: Facility) -> None:
    Thumbnail.objects.create(instance=people.machine, webp=b"RIFF")
    address = f"/machines/{people.machine.uuid}/thumbnail/"
    sam = client_of(people.sam)
    assert address not in sam.get("/support/").content.decode()
    looks(people.alice, people.machine)
    granted(people.sam, people.machine, Role.WATCH)
    assert address in sam.get("/support/").content.decode()


def test_a_row_says_whether_the_owner_is_there_and_how_many_look(people: Facility) -> None:
    assert (case_of(people.sam, people).owner_here, case_of(people.sam, people).people) == (False, 0)
    for user in (people.alice, people.bob, people.bob):
        looks(user, people.machine)
    assert (case_of(people.sam, people).owner_here, case_of(people.sam, people).people) == (True, 2)


def test_support_asks_who_is_there_and_may_enter_where_nobody_is(people: Facility) -> None:
    away = case_of(people.sam, people)
    assert (away.may_ask, away.may_enter, away.may_open) == (True, True, False)
    looks(people.alice, people.machine)
    there = case_of(people.sam, people)
    assert (there.may_ask, there.may_enter) == (True, False)


def test_nobody_enters_a_machine_of_staff_or_against_the_facilitys_rule(people: Facility) -> None:
    RoleGrant.objects.create(user=people.alice, role=FacilityRole.STAFF)
    assert not case_of(people.sam, people).may_enter
    RoleGrant.objects.filter(user=people.alice).delete()
    Policy.objects.create(unattended_support=False)
    assert not case_of(people.sam, people).may_enter


def test_who_asked_waits_and_who_was_let_in_opens(people: Facility) -> None:
    looks(people.alice, people.machine)
    asked = support.ask(people.machine, people.sam, "Why", 30, control=True)
    waiting = case_of(people.sam, people)
    assert waiting.waiting == asked
    assert not waiting.may_ask
    support.answer(asked, people.alice, support.Answer.WATCH)
    inside = case_of(people.sam, people)
    assert (inside.granted, inside.may_open, inside.may_ask) == (asked, True, False)


def test_a_machine_that_does_not_run_is_neither_asked_for_nor_entered(people: Facility) -> None:
    people.machine.transition(State.STOPPED)
    still = case_of(people.sam, people)
    assert [still.may_ask, still.may_enter, still.may_open] == [False, False, False]


def test_a_call_shows_its_message_and_the_health_of_the_machine(people: Facility) -> None:
    support.call(people.machine, people.alice, "My data is <gone>.")
    page = client_of(people.sam).get("/support/").content.decode()
    assert "Alice Example calls for help" in page
    assert "My data is &lt;gone&gt;." in page
    assert "Take the call" in page
    assert "host-1" in page


# Health


def tones(instance: Instance) -> dict[str, str]:
    return {sign.name: sign.tone for sign in signs_of(instance, timezone.now())}


def values(instance: Instance) -> dict[str, str]:
    return {sign.name: sign.value for sign in signs_of(instance, timezone.now())}


def test_a_machine_that_runs_well_looks_well(people: Facility) -> None:
    people.machine.observed_at = timezone.now() - timedelta(seconds=7)
    assert tones(people.machine) | {"Size": ""} == {
        "State": "good", "Power": "good", "Desktop": "good", "Host": "good", "Size": "",
    }  # fmt: skip
    assert values(people.machine)["Power"] == "on, seen 7 s ago"
    assert values(people.machine)["Size"] == "1 CPU · 1 GB memory · 10 GB disk"


def test_what_was_not_seen_lately_is_told_as_such(people: Facility) -> None:
    people.machine.observed_at = timezone.now() - timedelta(minutes=20)
    assert tones(people.machine)["Power"] == "warn"
    assert values(people.machine)["Power"] == "on, seen 20 min ago"


def test_a_desktop_that_does_not_answer_and_a_dead_host_are_told(people: Facility) -> None:
    people.machine.desktop_ready_at = None
    Host.objects.update(seen_at=timezone.now() - timedelta(hours=1))
    people.machine.refresh_from_db(fields=["host"])
    assert tones(people.machine)["Desktop"] == "warn"
    assert tones(people.machine)["Host"] == "bad"


def test_the_last_problem_is_told(people: Facility) -> None:
    people.machine.transition(State.ERROR, reason="The disk is full.")
    assert values(people.machine)["Problem"] == "The disk is full."
    assert tones(people.machine)["State"] == "bad"


# Cost


def test_the_page_costs_the_same_with_one_machine_and_with_many(people: Facility) -> None:
    def queries() -> int:
        client = client_of(people.sam)
        client.get("/support/")
        with CaptureQueriesContext(connection) as captured:
            assert client.get("/support/?q=example").status_code == 200
        return len(captured)

    looks(people.alice, people.machine)
    granted(people.sam, people.machine)
    few = queries()
    for number in range(40):
        owner = person(f"owner{number}")
        made = machine(owner, people.plan, people.host, experiments=[people.experiment, people.charlies_experiment])
        looks(owner, made)
        if number % 2:
            granted(people.sam, made)
        else:
            support.call(made, owner)
    assert queries() == few <= 29


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL reads so small a table as a whole")
def test_past_machines_are_passed_over_by_an_index(people: Facility) -> None:
    assert "machines_by_state" in machines_for(people.sam).explain()
