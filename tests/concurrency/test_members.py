"""Many change who is on one machine at once, on PostgreSQL with real threads: one owner, and no more than allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from desktops import sharing
from experiments.models import User
from instances import actions, members
from instances.actions import Refused
from instances.models import Instance, Member, MemberRole
from instances.states import State
from tests.concurrency.test_races import CROWD, all_at_once
from tests.people import Facility, facility, machine, person

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def house() -> Facility:
    return facility()


@pytest.fixture
def crowd(house: Facility) -> list[User]:
    """Members of Alice's machine who measured with her."""
    people = [person(f"colleague{number}") for number in range(CROWD)]
    house.experiment.team.add(*people)
    Member.objects.bulk_create(Member(instance=house.machine, user=one, role=MemberRole.USER) for one in people)
    return people


def succeeds(work: Callable[[], object]) -> bool:
    try:
        work()
    except Refused:
        return False
    return True


def owners(instance: Instance) -> list[User]:
    return [one.user for one in Member.objects.filter(instance=instance, role=MemberRole.OWNER).select_related("user")]


def test_of_many_handovers_at_once_one_happens(house: Facility, crowd: list[User]) -> None:
    done = all_at_once(lambda n: succeeds(lambda: members.hand_over(house.machine, house.alice, crowd[n])))
    assert sum(done) == 1
    house.machine.refresh_from_db()
    assert owners(house.machine) == [house.machine.owner] == [crowd[done.index(True)]]


def test_a_machine_is_handed_over_or_deleted_and_never_both(house: Facility, crowd: list[User]) -> None:
    def either(number: int) -> bool:
        seen = Instance.objects.get(pk=house.machine.pk)
        if number % 2:
            return succeeds(lambda: actions.delete(seen, house.alice))
        return succeeds(lambda: members.hand_over(seen, house.alice, crowd[number]))

    done = all_at_once(either)
    house.machine.refresh_from_db()
    handed = any(done[::2])
    assert handed != any(done[1::2])
    assert (house.machine.state == State.DELETING) != handed
    assert owners(house.machine) == [house.machine.owner]
    assert (house.machine.owner == house.alice) != handed


def test_handovers_to_one_person_do_not_exceed_their_quota(house: Facility) -> None:
    ours, bob = [house.experiment], [house.bob]
    mine = [machine(house.alice, house.plan, house.host, members=bob, experiments=ours) for _ in range(CROWD)]
    done = all_at_once(lambda n: succeeds(lambda: members.hand_over(mine[n], house.alice, house.bob)))
    assert sum(done) == 2
    assert house.bob.machines.count() == 2


def test_people_are_added_while_the_machine_is_handed_to_one_of_them(house: Facility, crowd: list[User]) -> None:
    """A handover holds the new owner's row, an addition the machine's: neither waits for the other for ever."""

    def either(number: int) -> bool:
        if number == 0:
            return succeeds(lambda: members.hand_over(house.machine, house.alice, crowd[0]))
        if number % 2:
            return succeeds(lambda: members.change_role(house.machine, house.admin, crowd[0], MemberRole.GUEST))
        return succeeds(lambda: members.add(house.machine, house.admin, house.charlie, MemberRole.USER))

    done = all_at_once(either)
    assert done[0]
    assert all(done[2::2])
    assert owners(house.machine) == [crowd[0]]


def test_the_last_place_goes_to_one(house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "AT_MOST", 3)
    people = [person(f"stranger{number}") for number in range(CROWD)]
    done = all_at_once(lambda n: succeeds(lambda: members.add(house.machine, house.alice, people[n], MemberRole.USER)))
    assert sum(done) == 1
    assert house.machine.members.count() == 3


def test_the_last_use_of_a_link_is_one_persons(house: Facility) -> None:
    made, address = sharing.invite(house.machine, house.alice, name="Beamline", role=MemberRole.GUEST, days=1, uses=1)
    people = [person(f"stranger{number}") for number in range(CROWD)]
    secret = address.split("#")[1]
    done = all_at_once(lambda n: succeeds(lambda: sharing.join(made.uuid, secret, people[n])))
    assert sum(done) == 1
    made.refresh_from_db()
    assert made.uses == 1
    assert house.machine.members.filter(role=MemberRole.GUEST).count() == 1


def test_one_person_who_presses_often_uses_a_link_once(house: Facility) -> None:
    made, address = sharing.invite(
        house.machine, house.alice, name="Beamline", role=MemberRole.GUEST, days=1, uses=CROWD
    )
    secret = address.split("#")[1]
    assert all(all_at_once(lambda _n: succeeds(lambda: sharing.join(made.uuid, secret, house.charlie))))
    made.refresh_from_db()
    assert made.uses == 1
