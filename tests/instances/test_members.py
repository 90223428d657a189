"""Who may change who is on a machine, and what each change leaves behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from experiments.models import Role, User
from instances import actions, members
from instances.actions import NotAllowed, Refused
from instances.history import happened
from instances.models import Instance, Member, MemberRole, Notice
from instances.states import State
from tests.people import Facility, facility, machine, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    made = facility()
    Member.objects.create(instance=made.machine, user=person("gwen"), role=MemberRole.GUEST)
    return made


def gwen() -> User:
    return User.objects.get(username="gwen")


def role_of(user: User, instance: Instance) -> str | None:
    return Member.objects.filter(user=user, instance=instance).values_list("role", flat=True).first()


def told(user: User) -> list[str]:
    return list(Notice.objects.filter(user=user).values_list("kind", flat=True))


def lines(instance: Instance) -> list[str]:
    return [f"{line.said}; {line.by}" for line in happened(instance, 10)]


def test_the_owner_adds_somebody_who_is_told(house: Facility) -> None:
    members.add(house.machine, house.alice, house.charlie, MemberRole.GUEST)
    assert role_of(house.charlie, house.machine) == MemberRole.GUEST
    assert told(house.charlie) == ["member_added"]
    assert lines(house.machine)[0] == "Charlie Example was added: View only; Alice Example"


def test_adding_twice_is_harmless_and_changes_no_role(house: Facility) -> None:
    members.add(house.machine, house.alice, house.bob, MemberRole.USER)
    with pytest.raises(Refused, match="already") as refused:
        members.add(house.machine, house.alice, house.bob, MemberRole.GUEST)
    assert refused.value.field == "user"
    assert role_of(house.bob, house.machine) == MemberRole.USER
    assert house.machine.member_changes.count() == 0


def test_a_closed_account_is_not_added(house: Facility) -> None:
    house.charlie.is_active = False
    with pytest.raises(Refused, match="no longer sign in"):
        members.add(house.machine, house.alice, house.charlie, MemberRole.USER)


def test_an_administrator_changes_members_as_the_owner_does(house: Facility) -> None:
    members.add(house.machine, house.admin, house.charlie, MemberRole.USER)
    members.change_role(house.machine, house.admin, house.charlie, MemberRole.GUEST)
    assert role_of(house.charlie, house.machine) == MemberRole.GUEST
    assert lines(house.machine)[0] == "Charlie Example from now on: View only; Admin Example"


CHANGES: dict[str, Callable[[Facility, User], object]] = {
    "add": lambda house, by: members.add(house.machine, by, house.charlie, MemberRole.GUEST),
    "change role": lambda house, by: members.change_role(house.machine, by, house.bob, MemberRole.GUEST),
    "remove": lambda house, by: members.remove(house.machine, by, gwen()),
    "hand over": lambda house, by: members.hand_over(house.machine, by, house.bob),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("who", ["bob", "charlie", "ines", "sam"])
def test_nobody_but_owner_and_administrators_changes_members(house: Facility, who: str, change: str) -> None:
    with pytest.raises(NotAllowed):
        CHANGES[change](house, getattr(house, who))
    assert role_of(house.bob, house.machine) == MemberRole.USER
    assert role_of(house.charlie, house.machine) is None
    assert role_of(gwen(), house.machine) == MemberRole.GUEST


@pytest.mark.parametrize("change", CHANGES)
def test_a_machine_that_is_being_deleted_keeps_its_people(house: Facility, change: str) -> None:
    actions.delete(house.machine, house.alice)
    with pytest.raises(Refused, match="being deleted"):
        CHANGES[change](house, house.alice)


def test_a_removed_member_is_told_and_written_down(house: Facility) -> None:
    members.remove(house.machine, house.alice, house.bob)
    assert role_of(house.bob, house.machine) is None
    assert told(house.bob) == ["member_removed"]
    assert lines(house.machine)[0] == "Bob Example was removed; Alice Example"


def test_a_member_leaves_by_themselves(house: Facility) -> None:
    members.remove(house.machine, house.bob, house.bob)
    assert role_of(house.bob, house.machine) is None
    assert lines(house.machine)[0] == "Bob Example left; None"


def test_the_owner_neither_leaves_nor_is_removed_nor_made_a_guest(house: Facility) -> None:
    changes: list[Callable[[], object]] = [
        lambda: members.remove(house.machine, house.alice, house.alice),
        lambda: members.change_role(house.machine, house.alice, house.alice, MemberRole.GUEST),
        lambda: members.hand_over(house.machine, house.alice, house.alice),
    ]
    for change in changes:
        with pytest.raises(Refused, match="handed over"):
            change()
    assert role_of(house.alice, house.machine) == MemberRole.OWNER


def test_a_stranger_cannot_leave(house: Facility) -> None:
    with pytest.raises(Refused):
        members.remove(house.machine, house.charlie, house.charlie)


def test_the_machine_changes_hands(house: Facility) -> None:
    members.hand_over(house.machine, house.alice, house.bob)
    house.machine.refresh_from_db()
    assert house.machine.owner == house.bob
    assert role_of(house.bob, house.machine) == MemberRole.OWNER
    assert role_of(house.alice, house.machine) == MemberRole.USER
    assert told(house.bob) == ["handed_over"]
    assert told(house.alice) == []
    assert lines(house.machine)[0] == "Handed over to Bob Example; Alice Example"


def test_an_owner_hears_of_an_administrator_who_gave_the_machine_away(house: Facility) -> None:
    members.hand_over(house.machine, house.admin, house.bob)
    assert told(house.alice) == ["owner_changed"]


def test_who_handed_the_machine_over_can_no_longer_delete_it(house: Facility) -> None:
    """Also when the page was opened while it was still theirs."""
    seen = Instance.objects.get(pk=house.machine.pk)
    members.hand_over(house.machine, house.alice, house.bob)
    with pytest.raises(NotAllowed):
        actions.delete(seen, house.alice)
    seen.refresh_from_db()
    assert seen.state == State.ACTIVE


def test_a_second_handover_comes_too_late(house: Facility) -> None:
    members.add(house.machine, house.alice, house.charlie, MemberRole.USER)
    members.hand_over(house.machine, house.alice, house.bob)
    with pytest.raises(NotAllowed):
        members.hand_over(house.machine, house.alice, house.charlie)


def test_the_new_owner_needs_room_in_their_quota(house: Facility) -> None:
    for _ in range(2):
        machine(house.bob, house.plan, house.host)
    with pytest.raises(Refused, match="as many machines") as refused:
        members.hand_over(house.machine, house.alice, house.bob)
    assert refused.value.field == "user"
    assert role_of(house.alice, house.machine) == MemberRole.OWNER


def test_the_new_owner_was_on_the_experiments_team(house: Facility) -> None:
    members.add(house.machine, house.alice, house.charlie, MemberRole.USER)
    with pytest.raises(Refused, match="not on the team"):
        members.hand_over(house.machine, house.alice, house.charlie)


def test_a_machine_without_an_experiment_goes_to_who_may_have_one(house: Facility) -> None:
    house.machine.experiments.clear()
    with pytest.raises(Refused, match="not on the team"):
        members.hand_over(house.machine, house.alice, house.bob)
    dora = person("dora", Role.STAFF)
    members.add(house.machine, house.alice, dora, MemberRole.USER)
    members.hand_over(house.machine, house.alice, dora)
    assert role_of(dora, house.machine) == MemberRole.OWNER


def test_only_a_member_can_become_the_owner(house: Facility) -> None:
    with pytest.raises(Refused, match="one of the members"):
        members.hand_over(house.machine, house.alice, house.charlie)


def test_a_machine_on_its_way_is_not_handed_over(house: Facility) -> None:
    Instance.objects.update(state=State.STARTING)
    with pytest.raises(Refused, match="busy"):
        members.hand_over(house.machine, house.alice, house.bob)


def test_a_machine_has_a_bounded_number_of_people(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "AT_MOST", 2)
    with pytest.raises(Refused, match="at most 2"):
        members.add(house.machine, house.alice, house.charlie, MemberRole.USER)


def test_a_link_raises_a_role_and_never_lowers_one(house: Facility) -> None:
    members.join(house.machine, house.bob, MemberRole.GUEST)
    assert role_of(house.bob, house.machine) == MemberRole.USER
    members.change_role(house.machine, house.alice, house.bob, MemberRole.GUEST)
    members.join(house.machine, house.bob, MemberRole.USER)
    assert role_of(house.bob, house.machine) == MemberRole.USER
    members.join(house.machine, house.alice, MemberRole.USER)
    assert role_of(house.alice, house.machine) == MemberRole.OWNER


def test_the_owner_is_told_who_came_by_a_link(house: Facility) -> None:
    members.join(house.machine, house.charlie, MemberRole.GUEST)
    assert told(house.alice) == ["member_joined"]
    assert lines(house.machine)[0] == "Charlie Example came by a link: View only; None"


def test_the_experiments_team_is_offered_first(house: Facility) -> None:
    dora = person("dora")
    house.experiment.team.add(dora, house.charlie)
    User.objects.filter(pk=house.charlie.pk).update(is_active=False)
    assert list(members.candidates(house.machine)) == [dora]


def test_a_search_leaves_out_who_is_there_and_stops_at_ten(house: Facility) -> None:
    for number in range(15):
        person(f"bobby{number}")
    found = list(members.candidates(house.machine, "bob"))
    assert len(found) == 10
    assert house.bob not in found
