"""The API's experiments: one's own, searched and narrowed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from experiments.models import Experiment, User
from tests import people
from tests.people import Facility

pytestmark = pytest.mark.django_db

API = "/api/v1/experiments/"


@pytest.fixture
def facility() -> Facility:
    made = people.facility()
    people.experiment("EX-3", made.alice, title="Ring polymers in the melt", instrument="lagoon", days_ago=100)
    return made


def ask(user: User, path: str = "") -> Any:
    client = APIClient()
    client.force_authenticate(user)
    answer = client.get(API + path)
    return json.loads(answer.content) if answer.status_code == 200 else answer.status_code


def found(user: User, path: str = "") -> list[str]:
    return [row["proposal"] for row in ask(user, path)["results"]]


def test_people_see_their_own_experiments_most_recent_first(facility: Facility) -> None:
    assert found(facility.alice) == ["EX-1", "EX-3"]
    assert found(facility.charlie) == ["EX-2"]
    assert found(facility.sam) == []


def test_an_administrator_sees_all(facility: Facility) -> None:
    assert set(found(facility.admin)) == {"EX-1", "EX-2", "EX-3"}


def test_anothers_experiment_is_not_found(facility: Facility) -> None:
    assert ask(facility.alice, f"{facility.charlies_experiment.uuid}/") == 404
    assert ask(facility.charlie, f"{facility.charlies_experiment.uuid}/")["proposal"] == "EX-2"
    assert ask(facility.alice, f"{facility.experiment.pk}/") == 404


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("frustrated", ["EX-1"]),
        ("RING melt", ["EX-3"]),
        ("ex-", ["EX-1", "EX-3"]),
        ("lagoon", ["EX-3"]),
        ("ring frustrated", []),
        ("%", []),
        ("' OR 1=1 --", []),
    ],
)
def test_every_word_of_a_search_must_occur(facility: Facility, words: str, expected: list[str]) -> None:
    assert found(facility.alice, f"?search={quote(words)}") == expected


def test_a_search_that_is_no_text_is_refused(facility: Facility) -> None:
    assert ask(facility.alice, "?search=%00") == 400


def test_experiments_are_narrowed_by_instrument_and_dates(facility: Facility) -> None:
    day = (timezone.localdate() - timedelta(days=50)).isoformat()
    assert found(facility.alice, "?instrument=lagoon") == ["EX-3"]
    assert found(facility.alice, f"?ends_after={day}") == ["EX-1"]
    assert found(facility.alice, f"?starts_before={day}") == ["EX-3"]
    assert ask(facility.alice, "?ends_after=tomorrow") == 400


def test_long_lists_come_in_pages(facility: Facility) -> None:
    for number in range(60):
        people.experiment(f"MANY-{number}", facility.alice)
    first = ask(facility.alice)
    assert (first["count"], len(first["results"])) == (62, 50)
    assert len(ask(facility.alice, "?page=2")["results"]) == 12
    assert ask(facility.alice, "?page=3") == 404


def test_an_experiment_tells_what_a_person_needs_to_recognise_it(facility: Facility) -> None:
    shown = ask(facility.alice, f"{facility.experiment.uuid}/")
    assert shown["title"] == "Magnetic order in a frustrated lattice"
    assert shown["instrument"] == {"code": "d20", "name": "D20", "description": ""}
    assert shown["cycle"] == "Cycle"
    Experiment.objects.update(cycle=None, title="Of its own")
    again = ask(facility.alice, f"{facility.experiment.uuid}/")
    assert (again["cycle"], again["title"]) == (None, "Of its own")
