"""Links that let people in: what they give, to whom, how often, and what they never tell."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from desktops import access, sharing
from desktops.access import Relation
from desktops.models import Invitation, Pass, Policy
from experiments.models import User
from instances import actions, members
from instances.actions import NotAllowed, Refused
from instances.models import Member, MemberRole
from tests.people import Facility, facility, machine, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    cache.clear()
    return facility()


def link(house: Facility, role: MemberRole = MemberRole.GUEST, uses: int = 1, days: int = 7) -> tuple[Invitation, str]:
    """A link of Alice's, and its secret."""
    made, address = sharing.invite(house.machine, house.alice, name="Colleagues", role=role, days=days, uses=uses)
    return made, address.split("#")[1]


def public(house: Facility) -> tuple[Invitation, str]:
    made, address = sharing.open_to_all(house.machine, house.alice)
    return made, address.split("#")[1]


def role_of(user: User, house: Facility) -> str | None:
    return Member.objects.filter(user=user, instance=house.machine).values_list("role", flat=True).first()


def works(made: Invitation, secret: str, user: User) -> bool:
    try:
        sharing.join(made.uuid, secret, user)
    except NotAllowed:
        return False
    return True


def test_a_link_makes_a_member(house: Facility) -> None:
    made, secret = link(house)
    assert sharing.look(made.uuid, secret, house.charlie) == made
    assert role_of(house.charlie, house) is None
    assert works(made, secret, house.charlie)
    assert role_of(house.charlie, house) == MemberRole.GUEST


def test_the_secret_is_kept_nowhere(house: Facility) -> None:
    made, secret = link(house)
    row = Invitation.objects.filter(pk=made.pk).values().get()
    assert secret not in json.dumps(row, default=str)
    assert len(made.secret_hash) == 64


def test_a_link_for_one_is_used_up_by_one(house: Facility) -> None:
    made, secret = link(house)
    assert works(made, secret, house.charlie)
    assert not works(made, secret, house.ines)
    assert role_of(house.ines, house) is None


def test_following_ones_own_link_again_is_harmless(house: Facility) -> None:
    made, secret = link(house)
    assert works(made, secret, house.charlie)
    assert works(made, secret, house.charlie)
    made.refresh_from_db()
    assert made.uses == 1


def test_a_link_for_several_serves_so_many(house: Facility) -> None:
    made, secret = link(house, uses=2)
    assert [works(made, secret, user) for user in (house.charlie, house.ines, house.sam)] == [True, True, False]


def test_who_has_more_already_uses_nothing_up(house: Facility) -> None:
    made, secret = link(house)
    assert works(made, secret, house.bob)
    assert works(made, secret, house.alice)
    assert role_of(house.bob, house) == MemberRole.USER
    assert role_of(house.alice, house) == MemberRole.OWNER
    assert works(made, secret, house.charlie)


def test_who_was_removed_does_not_come_back_by_the_same_link(house: Facility) -> None:
    made, secret = link(house, uses=5)
    assert works(made, secret, house.charlie)
    members.remove(house.machine, house.alice, house.charlie)
    assert not works(made, secret, house.charlie)
    assert works(*link(house), house.charlie)


def test_who_was_made_a_watcher_does_not_rise_by_the_same_link(house: Facility) -> None:
    made, secret = link(house, MemberRole.USER, uses=5)
    assert works(made, secret, house.charlie)
    members.change_role(house.machine, house.alice, house.charlie, MemberRole.GUEST)
    assert works(made, secret, house.charlie)
    assert role_of(house.charlie, house) == MemberRole.GUEST


def test_every_link_that_does_not_work_says_the_same(house: Facility) -> None:
    """SEC-16. Unknown, wrong, expired, withdrawn, used up, of a machine that is gone: nobody can tell which."""
    expired, withdrawn, spent = link(house), link(house), link(house)
    Invitation.objects.filter(pk=expired[0].pk).update(expires_at=timezone.now())
    sharing.revoke(withdrawn[0], house.alice)
    assert works(*spent, house.sam)
    wrong = [(link(house)[0].uuid, secret) for secret in ("", "x", "é" * 200, "\x00", spent[1])]
    wrong += [(uuid4(), "x"), *((made.uuid, secret) for made, secret in (expired, withdrawn, spent))]
    said = set()
    for uuid, secret in wrong:
        with pytest.raises(NotAllowed) as refused:
            sharing.look(uuid, secret, house.charlie)
        said.add(str(refused.value))
    assert len(said) == 1


def test_no_link_opens_a_machine_that_is_being_deleted(house: Facility) -> None:
    made, secret = link(house)
    actions.delete(house.machine, house.alice)
    assert not works(made, secret, house.charlie)


def test_one_who_tries_many_links_has_to_wait(house: Facility) -> None:
    """SEC-16"""
    made, secret = link(house)
    for _ in range(sharing.TRIES):
        with pytest.raises(NotAllowed):
            sharing.look(made.uuid, "guessed", house.charlie)
    with pytest.raises(Refused, match="many links"):
        sharing.look(made.uuid, secret, house.charlie)
    assert works(made, secret, house.ines)


@pytest.mark.parametrize("who", ["bob", "charlie", "ines", "sam"])
def test_only_who_manages_the_machine_makes_and_withdraws_links(house: Facility, who: str) -> None:
    """SEC-34"""
    by, (made, _secret) = getattr(house, who), link(house)
    for attempt in (
        lambda: sharing.invite(house.machine, by, name="x", role=MemberRole.GUEST, days=1, uses=1),
        lambda: sharing.open_to_all(house.machine, by),
        lambda: sharing.close_to_all(house.machine, by),
        lambda: sharing.revoke(made, by),
    ):
        with pytest.raises(NotAllowed):
            attempt()
    assert Invitation.objects.filter(revoked_at=None).count() == 1


def test_a_machine_has_a_bounded_number_of_links(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "AT_MOST", 1)
    made, _secret = link(house)
    with pytest.raises(Refused, match="1 links"):
        link(house)
    sharing.revoke(made, house.alice)
    link(house)


def test_withdrawing_a_link_removes_no_member(house: Facility) -> None:
    made, secret = link(house, uses=5)
    assert works(made, secret, house.charlie)
    sharing.revoke(made, house.alice)
    sharing.revoke(made, house.alice)
    assert role_of(house.charlie, house) == MemberRole.GUEST


def test_a_public_link_lets_watch_and_makes_nobody_a_member(house: Facility) -> None:
    made, secret = public(house)
    assert works(made, secret, house.charlie)
    assert access.relation_of(house.charlie, house.machine) is Relation.PUBLIC
    assert role_of(house.charlie, house) is None
    sharing.close_to_all(house.machine, house.alice)
    assert access.relation_of(house.charlie, house.machine) is None
    assert not works(made, secret, house.charlie)


def test_a_new_public_link_ends_the_old_one(house: Facility) -> None:
    old, secret = public(house)
    assert works(old, secret, house.charlie)
    new, _secret = public(house)
    assert access.relation_of(house.charlie, house.machine) is None
    assert sharing.public_link(house.machine) == new


def test_members_need_no_pass(house: Facility) -> None:
    made, secret = public(house)
    assert works(made, secret, house.bob)
    assert not Pass.objects.exists()


def test_who_was_shown_out_does_not_come_back_by_the_public_link(house: Facility) -> None:
    made, secret = public(house)
    assert works(made, secret, house.charlie)
    Pass.objects.update(withdrawn_at=timezone.now())
    assert not works(made, secret, house.charlie)


def test_who_is_taken_off_the_machine_does_not_stay_by_a_public_link(house: Facility) -> None:
    made, secret = public(house)
    sharing.join(made.uuid, secret, house.charlie)
    members.add(house.machine, house.alice, house.charlie, MemberRole.GUEST)
    members.remove(house.machine, house.alice, house.charlie)
    assert access.relation_of(house.charlie, house.machine) is None


def test_the_facility_may_forbid_public_links(house: Facility) -> None:
    made, secret = public(house)
    Policy.objects.create(public_links=False)
    assert not works(made, secret, house.charlie)
    assert sharing.public_link(house.machine) is None
    with pytest.raises(NotAllowed, match="does not allow"):
        sharing.open_to_all(house.machine, house.alice)


# The pages


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return client


def post(house: Facility, who: User, path: str, **data: Any) -> tuple[int, dict[str, Any]]:
    answer = signed_in(who).post(f"/machines/{house.machine.uuid}/{path}", data)
    return answer.status_code, answer.json()


def test_a_link_is_told_once_with_its_secret_behind_the_hash(house: Facility) -> None:
    asked = {"name": "Colleagues", "role": "user", "days": 7, "uses": 2}
    code, told = post(house, house.alice, "invitations/", **asked)
    assert code == 200
    address, secret = told["link"].split("#")
    made = Invitation.objects.get()
    assert address.endswith(f"/join/{made.uuid}/")
    assert made.expires_at is not None
    assert timedelta(days=6) < made.expires_at - timezone.now() < timedelta(days=8)
    assert works(made, secret, house.charlie)
    panel = signed_in(house.alice).get(f"/machines/{house.machine.uuid}/members/").content.decode()
    assert "Colleagues" in panel
    assert secret not in panel
    assert made.secret_hash not in panel


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"name": ""}, "name"), ({"name": "x" * 81}, "name"), ({"name": "a\x07b"}, "name"), ({"role": "owner"}, "role"),
     ({"role": "support"}, "role"), ({"days": 400}, "days"), ({"uses": 0}, "uses"), ({"uses": 101}, "uses")],
)  # fmt: skip
def test_what_is_wrong_with_a_link_is_said_at_its_field(house: Facility, wrong: dict[str, Any], field: str) -> None:
    asked = {"name": "Colleagues", "role": "user", "days": 7, "uses": 2} | wrong
    code, told = post(house, house.alice, "invitations/", **asked)
    assert (code, told["field"]) == (400, field)
    assert told["error"]
    assert not Invitation.objects.exists()


def test_the_owner_makes_and_withdraws_the_public_link(house: Facility) -> None:
    code, told = post(house, house.alice, "public-link/", act="make")
    assert (code, "#" in told["link"]) == (200, True)
    assert post(house, house.alice, "public-link/", act="revoke") == (200, {"ok": True})
    assert sharing.public_link(house.machine) is None


def test_members_are_added_changed_and_removed_by_their_public_id(house: Facility) -> None:
    charlie = house.charlie.uuid
    assert post(house, house.alice, "members/add/", user=charlie, role="guest")[0] == 200
    assert post(house, house.alice, "members/role/", user=charlie, role="user")[0] == 200
    assert role_of(house.charlie, house) == MemberRole.USER
    assert post(house, house.charlie, "members/remove/", user=charlie)[0] == 200
    assert role_of(house.charlie, house) is None


def test_who_can_no_longer_sign_in_is_removed_but_not_added(house: Facility) -> None:
    User.objects.filter(pk=house.bob.pk).update(is_active=False)
    assert post(house, house.alice, "members/remove/", user=house.bob.uuid)[0] == 200
    assert role_of(house.bob, house) is None
    assert post(house, house.alice, "members/add/", user=house.bob.uuid, role="guest")[0] == 400
    assert role_of(house.bob, house) is None


@pytest.mark.parametrize("user", ["", "nonsense", str(uuid4()), "1"])
def test_nobody_is_added_by_a_wrong_id(house: Facility, user: str) -> None:
    code, told = post(house, house.alice, "members/add/", user=user, role="guest")
    assert (code, told["field"]) == (400, "user")


@pytest.mark.parametrize("role", ["", "owner", "support", "root"])
def test_nobody_is_added_with_more_than_full_control(house: Facility, role: str) -> None:
    """SEC-34"""
    code, told = post(house, house.alice, "members/add/", user=house.charlie.uuid, role=role)
    assert (code, told["field"]) == (400, "role")


def test_a_link_of_another_machine_is_not_found(house: Facility) -> None:
    other = machine(house.charlie, house.plan, house.host)
    made, _address = sharing.invite(other, house.charlie, name="x", role=MemberRole.GUEST, days=1, uses=1)
    answer = signed_in(house.alice).post(f"/machines/{house.machine.uuid}/invitations/{made.uuid}/revoke/")
    assert answer.status_code == 404


def test_who_came_by_a_public_link_does_not_see_who_the_members_are(house: Facility) -> None:
    assert works(*public(house), house.charlie)
    client = signed_in(house.charlie)
    assert client.get(f"/machines/{house.machine.uuid}/desktop/").status_code == 200
    assert client.get(f"/machines/{house.machine.uuid}/members/").status_code == 404


def test_a_search_tells_names_and_affiliations_and_no_address(house: Facility) -> None:
    search = f"/machines/{house.machine.uuid}/members/search/"
    found = signed_in(house.alice).get(search, {"q": "charlie"}).content.decode()
    assert "Charlie Example" in found
    assert "example.org" not in found
    assert signed_in(house.bob).get(search, {"q": "charlie"}).status_code == 403


def test_a_script_that_searches_is_slowed_down(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("desktops.views.sharing.SEARCHES", 2)
    client, search = signed_in(house.alice), f"/machines/{house.machine.uuid}/members/search/"
    assert [client.get(search, {"q": "charlie"}).status_code for _ in range(3)] == [200, 200, 429]
    assert client.get(search).status_code == 200


def test_the_panel_costs_the_same_for_many_people(house: Facility, django_assert_max_num_queries: Any) -> None:
    for number in range(20):
        members.add(house.machine, house.alice, person(f"colleague{number}"), MemberRole.USER)
    for _ in range(5):
        link(house)
    client = signed_in(house.alice)
    with django_assert_max_num_queries(20):
        assert client.get(f"/machines/{house.machine.uuid}/members/").status_code == 200


def test_a_guessed_link_is_answered_as_one_that_never_was(house: Facility) -> None:
    """SEC-16: status, headers and body; what is kept of the secret is compared also where there is no link."""
    made, _secret = link(house)
    client = signed_in(house.charlie)
    guessed, unknown = (client.post(f"/join/{uuid}/", {"act": "join", "secret": "x"}) for uuid in (made.uuid, uuid4()))
    assert (guessed.status_code, guessed.content) == (unknown.status_code, unknown.content)
    assert guessed.headers == unknown.headers
    made.refresh_from_db()
    assert made.uses == 0


def test_the_page_of_a_link_tells_nothing_before_the_secret_is_known(house: Facility) -> None:
    made, secret = link(house)
    client = signed_in(house.charlie)
    known, unknown = (client.get(f"/join/{uuid}/") for uuid in (made.uuid, uuid4()))
    assert "Alice" not in known.content.decode()
    assert known.status_code == unknown.status_code == 200
    told = client.post(f"/join/{made.uuid}/", {"act": "look", "secret": secret}).json()
    assert told["title"] == "Alice Example invites you to “alice's machine”"
    assert role_of(house.charlie, house) is None
    assert client.post(f"/join/{made.uuid}/", {"act": "join", "secret": secret}).json()["ok"]
    assert role_of(house.charlie, house) == MemberRole.GUEST


def test_a_link_is_used_only_by_who_is_signed_in(house: Facility) -> None:
    made, secret = link(house)
    assert Client().post(f"/join/{made.uuid}/", {"act": "join", "secret": secret}).status_code == 403
    made.refresh_from_db()
    assert made.uses == 0
