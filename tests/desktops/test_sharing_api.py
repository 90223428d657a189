"""People and links of a machine for programs: the same rules as the pages'."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from desktops import sharing
from desktops.models import Invitation, Policy
from experiments.models import User
from instances.models import Instance, Member, MemberRole
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    cache.clear()
    return facility()


def ask(house: Facility, who: User, method: str, path: str, data: Any = None) -> Any:
    client = APIClient()
    client.force_authenticate(who)
    return getattr(client, method)(f"/api/v1/instances/{house.machine.uuid}/{path}", data, format="json")


def role_of(user: User, house: Facility) -> str | None:
    return Member.objects.filter(user=user, instance=house.machine).values_list("role", flat=True).first()


def test_a_program_adds_changes_and_removes_a_member(house: Facility) -> None:
    charlie = str(house.charlie.uuid)
    made = ask(house, house.alice, "post", "members/", {"user": charlie, "role": "guest"})
    assert (made.status_code, made.json()["person"]["name"]) == (201, "Charlie Example")
    assert ask(house, house.alice, "patch", f"members/{charlie}/", {"role": "user"}).status_code == 204
    assert role_of(house.charlie, house) == MemberRole.USER
    assert ask(house, house.charlie, "delete", f"members/{charlie}/").status_code == 204
    assert role_of(house.charlie, house) is None


def test_a_program_hands_the_machine_over(house: Facility) -> None:
    assert ask(house, house.alice, "post", "handover/", {"user": str(house.bob.uuid)}).status_code == 204
    assert Instance.objects.get().owner == house.bob


def test_a_link_is_in_the_answer_that_makes_it_and_in_no_other(house: Facility) -> None:
    made = ask(house, house.alice, "post", "invitations/", {"name": "Beamline", "role": "guest", "uses": 3})
    assert made.status_code == 201
    assert made["Cache-Control"] == "no-store"
    secret = made.json()["link"].split("#")[1]
    sharing.join(Invitation.objects.get().uuid, secret, house.charlie)
    listed = ask(house, house.alice, "get", "invitations/")
    assert [(row["name"], row["uses"], row["max_uses"]) for row in listed.json()] == [("Beamline", 1, 3)]
    assert secret not in listed.content.decode()
    uuid = listed.json()[0]["uuid"]
    assert ask(house, house.alice, "delete", f"invitations/{uuid}/").status_code == 204
    assert ask(house, house.alice, "get", "invitations/").json() == []


def test_the_public_link_is_made_and_withdrawn(house: Facility) -> None:
    assert "#" in ask(house, house.alice, "post", "public-link/").json()["link"]
    assert ask(house, house.alice, "get", "invitations/").json()[0]["public"] is True
    assert ask(house, house.alice, "delete", "public-link/").status_code == 204
    Policy.objects.create(public_links=False)
    assert ask(house, house.alice, "post", "public-link/").status_code == 403


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("post members/", {"user": "{charlie}", "role": "guest"}),
    ("patch members/{alice}/", {"role": "guest"}),
    ("delete members/{alice}/", {}),
    ("post handover/", {"user": "{bob}"}),
    ("get invitations/", {}),
    ("post invitations/", {"name": "x", "role": "user"}),
    ("post public-link/", {}),
    ("delete public-link/", {}),
]


@pytest.mark.parametrize(("line", "data"), ASKED)
@pytest.mark.parametrize(("who", "code"), [("charlie", 404), ("ines", 404), ("bob", 403), ("sam", 403)])
def test_others_are_refused(house: Facility, who: str, code: int, line: str, data: dict[str, Any]) -> None:
    method, path = line.split()
    named = {name: str(getattr(house, name).uuid) for name in ("alice", "bob", "charlie")}
    filled = {key: value.format(**named) for key, value in data.items()}
    assert ask(house, getattr(house, who), method, path.format(**named), filled).status_code == code
    assert not Invitation.objects.exists()
    assert role_of(house.alice, house) == MemberRole.OWNER


@pytest.mark.parametrize(
    ("path", "wrong", "field"),
    [
        ("members/", {"user": "nonsense", "role": "guest"}, "user"),
        ("members/", {"user": "{charlie}", "role": "owner"}, "role"),
        ("members/", {"user": "{bob}", "role": "guest"}, "user"),
        ("invitations/", {"name": "", "role": "user"}, "name"),
        ("invitations/", {"name": "x", "role": "user", "days": 91}, "days"),
        ("invitations/", {"name": "x", "role": "user", "uses": 0}, "uses"),
    ],
)
def test_bad_input_names_its_field(house: Facility, path: str, wrong: dict[str, Any], field: str) -> None:
    named = {"bob": str(house.bob.uuid), "charlie": str(house.charlie.uuid)}
    data = {key: value.format(**named) if isinstance(value, str) else value for key, value in wrong.items()}
    answer = ask(house, house.alice, "post", path, data)
    assert (answer.status_code, list(answer.json())) == (400, [field])
