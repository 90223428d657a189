"""The administration of people and experiments."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.models import Experiment, Role, RoleGrant, User
from tests import people
from tests.people import Facility

pytestmark = pytest.mark.django_db

LISTS = [f"/admin/experiments/{name}/" for name in (
    "user", "affiliation", "instrument", "cycle", "proposal", "experiment",
)]  # fmt: skip
PEOPLE = "/admin/experiments/user/"


@pytest.fixture
def facility() -> Facility:
    return people.facility()


@pytest.fixture
def admin(facility: Facility) -> Client:
    return client(facility.admin)


@pytest.fixture
def by_role(facility: Facility) -> Client:
    """An administrator by role alone, no superuser."""
    return client(people.person("deputy", Role.ADMIN, is_staff=True))


def client(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


def form(user: User, **changes: Any) -> dict[str, Any]:
    """A person's form as the page would send it."""
    inline = {"role_grants-TOTAL_FORMS": "0", "role_grants-INITIAL_FORMS": "0"}
    fields = {"username": user.username, "first_name": user.first_name, "last_name": user.last_name}
    return inline | fields | {"email": user.email, "is_active": "on"} | changes


@pytest.mark.parametrize("page", LISTS)
def test_lists_and_forms_open_at_a_constant_cost(admin: Client, facility: Facility, page: str) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as counted:
            assert admin.get(page).status_code == 200
        return len(counted)

    count()
    few = count()
    for number in range(6):
        person = people.person(f"new{number}", Role.STAFF)
        people.experiment(f"NEW-{number}", person, instrument=f"new{number}")
    assert count() == few <= 20
    assert admin.get(f"{page}add/").status_code == 200


def test_a_person_gets_a_role_with_an_end(admin: Client, facility: Facility) -> None:
    rows = {"role_grants-TOTAL_FORMS": "1", "role_grants-0-role": "guest"}
    rows |= {"role_grants-0-expires_at_0": "2099-01-31", "role_grants-0-expires_at_1": "12:00"}
    page = f"{PEOPLE}{facility.alice.pk}/change/"
    assert admin.post(page, form(facility.alice) | rows).status_code == 302
    grant = RoleGrant.objects.get(user=facility.alice)
    assert (grant.role, grant.expires_at.year if grant.expires_at else 0) == ("guest", 2099)


def test_expired_roles_are_told_apart_and_can_be_looked_for(admin: Client, facility: Facility) -> None:
    past = timezone.now() - timedelta(days=1)
    former = people.person("former", Role.STAFF, expires_at=past)
    listed = admin.get(f"{PEOPLE}?role=expired")
    assert [user.pk for user in listed.context["cl"].queryset] == [former.pk]
    assert "Facility staff (expired)" in listed.content.decode()
    assert former not in admin.get(f"{PEOPLE}?role=staff").context["cl"].queryset


def test_a_person_is_added_with_a_password(admin: Client, facility: Facility) -> None:
    word = "a-good-long-passphrase-9"
    sent = {"username": "dora", "usable_password": "true", "password1": word, "password2": word}
    assert admin.post(f"{PEOPLE}add/", form(User(username="dora"), **sent)).status_code == 302
    assert User.objects.get(username="dora").check_password(word)


def test_an_administrator_by_role_keeps_people(by_role: Client, facility: Facility) -> None:
    assert by_role.post(f"{PEOPLE}{facility.alice.pk}/change/", form(facility.alice, quota="7")).status_code == 302
    assert User.objects.get(pk=facility.alice.pk).quota == 7


def test_an_administrator_by_role_cannot_make_superusers(by_role: Client, facility: Facility) -> None:
    page = f"{PEOPLE}{facility.alice.pk}/change/"
    by_role.post(page, form(facility.alice, is_superuser="on", is_staff="on"))
    assert not User.objects.get(pk=facility.alice.pk).is_superuser


@pytest.mark.parametrize("page", ["change/", "password/", "delete/"])
def test_an_administrator_by_role_cannot_touch_a_superuser(by_role: Client, facility: Facility, page: str) -> None:
    before = User.objects.values().get(pk=facility.admin.pk)
    word = "taken-over-by-the-deputy-1"
    sent = form(facility.admin, password1=word, password2=word, usable_password="true", post="yes", username="mine")
    assert by_role.post(f"{PEOPLE}{facility.admin.pk}/{page}", sent).status_code == 403
    assert User.objects.values().get(pk=facility.admin.pk) == before


def test_an_experiment_is_added_with_its_team(admin: Client, facility: Facility) -> None:
    existing = facility.experiment
    sent = {"proposal": existing.proposal_id, "instrument": existing.instrument_id, "team": [facility.charlie.pk]}
    sent |= {"starts_at_0": "2026-05-01", "starts_at_1": "09:00", "ends_at_0": "2026-05-03", "ends_at_1": "09:00"}
    assert admin.post("/admin/experiments/experiment/add/", sent).status_code == 302
    assert list(Experiment.objects.latest("pk").team.all()) == [facility.charlie]


def test_an_experiment_that_ends_before_it_starts_is_refused_at_the_end(admin: Client, facility: Facility) -> None:
    existing = facility.experiment
    sent: dict[str, Any] = {"proposal": existing.proposal_id, "instrument": existing.instrument_id}
    sent |= {"starts_at_0": "2026-05-03", "starts_at_1": "09:00", "ends_at_0": "2026-05-01", "ends_at_1": "09:00"}
    refused = admin.post("/admin/experiments/experiment/add/", sent)
    assert list(refused.context["adminform"].form.errors) == ["ends_at"]


def test_proposals_and_instruments_with_experiments_are_not_deleted(admin: Client, facility: Facility) -> None:
    admin.post(f"/admin/experiments/instrument/{facility.experiment.instrument_id}/delete/", {"post": "yes"})
    admin.post(f"/admin/experiments/proposal/{facility.experiment.proposal_id}/delete/", {"post": "yes"})
    assert Experiment.objects.filter(pk=facility.experiment.pk).exists()
