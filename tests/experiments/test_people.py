"""Finding people by the beginnings of their names, and not more than that."""

from __future__ import annotations

import pytest
from django.db import connection

from experiments.models import Affiliation, User
from experiments.people import beginning_with
from tests.people import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def marie() -> User:
    lab = Affiliation.objects.create(name="Radium Institute", town="Paris", country="FR")
    return person("msk", first_name="Marie", last_name="de la Cour", affiliation=lab)


@pytest.mark.parametrize(
    "text", ["Marie", "mar", "MARIE", "msk", "de la c", "marie de", "  marie  ", "msk@", "msk@example.org"]
)
def test_somebody_is_found_by_the_beginning_of_a_name(marie: User, text: str) -> None:
    assert list(beginning_with(text)) == [marie]


@pytest.mark.parametrize("text", ["", "ma", "m a", "arie", "marie curie", "msk@example.com", "%%%", "ms_", "@exa"])
def test_nobody_is_found_by_less_or_by_something_else(marie: User, text: str) -> None:
    assert list(beginning_with(text)) == []


def test_a_closed_account_is_not_found(marie: User) -> None:
    User.objects.update(is_active=False)
    assert not beginning_with("de la cour")
    assert not beginning_with("marie")


def test_an_address_is_not_guessed_letter_by_letter() -> None:
    User.objects.create(username="jo", email="secret.name@example.org")
    assert not beginning_with("secret")
    assert beginning_with("secret.name@")


def test_ten_thousand_people_are_searched_by_an_index(marie: User) -> None:
    User.objects.bulk_create(
        User(username=f"u{n}", first_name=f"First{n}", last_name=f"Last{n}", email=f"u{n}@example.org")
        for n in range(10_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plan = beginning_with("marie cou").explain().lower()
    assert "people_by_last_name" in plan
    assert "seq scan on experiments_user" not in plan
    assert "scan experiments_user" not in plan
