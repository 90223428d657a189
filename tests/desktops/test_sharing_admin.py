"""Sharing as staff see it."""

from __future__ import annotations

import pytest
from django.test import Client

from desktops import sharing
from desktops.models import Invitation, Policy
from experiments.models import User
from instances.models import MemberRole
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    made = facility()
    sharing.invite(made.machine, made.alice, name="Beamline", role=MemberRole.GUEST, days=1, uses=1)
    return made


def signed_in(user: User) -> Client:
    user.is_staff = True
    user.save()
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def test_an_administrator_switches_public_links_off(house: Facility) -> None:
    client = signed_in(house.admin)
    page = client.get("/admin/desktops/policy/", follow=True)
    form = page.context["adminform"].form
    values = {name: form[name].value() for name in form.fields} | {"public_links": ""}
    client.post(page.redirect_chain[-1][0], {name: value for name, value in values.items() if value})
    assert not Policy.objects.get().public_links
    client.get("/admin/desktops/policy/")
    assert Policy.objects.count() == 1


def test_an_administrator_withdraws_a_link_and_reads_no_secret(house: Facility) -> None:
    client, link = signed_in(house.admin), Invitation.objects.get()
    for page in ("", f"{link.pk}/change/"):
        shown = client.get(f"/admin/desktops/invitation/{page}").content.decode()
        assert "Beamline" in shown
        assert link.secret_hash not in shown
    client.post("/admin/desktops/invitation/", {"action": "withdraw", "_selected_action": [link.pk]})
    assert Invitation.objects.get().revoked_at is not None


def test_it_support_looks_and_changes_nothing(house: Facility) -> None:
    client, link = signed_in(house.sam), Invitation.objects.get()
    assert client.get("/admin/desktops/invitation/").status_code == 200
    client.post("/admin/desktops/invitation/", {"action": "withdraw", "_selected_action": [link.pk]})
    assert Invitation.objects.get().revoked_at is None
    rules = Policy.objects.create()
    assert client.post(f"/admin/desktops/policy/{rules.pk}/change/", {"public_links": ""}).status_code == 403
