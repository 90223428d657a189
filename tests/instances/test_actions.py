"""What people may ask of machines, and what they are told when they may not."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from experiments.models import Role, RoleGrant, User
from instances import actions
from instances.actions import NotAllowed, Refused, Wish
from instances.models import FlavourLimit, Host, Image, Instance, MemberRole, Plan, Visibility
from instances.states import State
from instances.times import end_of_day
from tests.people import Facility, facility, host, machine, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    return facility()


def wish(house: Facility, **changes: Any) -> Wish:
    usual = Wish(
        name="Peaks",
        plan=house.plan,
        experiments=(house.experiment,),
        screen_width=1440,
        screen_height=900,
        keyboard="fr",
        request_key=uuid4(),
    )
    return replace(usual, **changes)


def test_a_wish_becomes_a_machine_that_a_worker_shall_build(house: Facility) -> None:
    made = actions.create(house.alice, wish(house))
    assert made.state == State.BUILDING
    assert made.host == house.host
    assert list(made.experiments.all()) == [house.experiment]
    assert made.members.get().role == MemberRole.OWNER
    assert (made.vcpus, made.memory_mib, made.disk_gib) == (1, 1024, 10)
    assert made.deadline_at is not None
    assert list(made.steps.values_list("name", flat=True)) == ["place"]
    assert made.transitions.get().by == house.alice


def test_a_machine_may_be_given_a_shorter_life_when_it_is_made(house: Facility) -> None:
    soon = timezone.now() + timedelta(days=2)
    made = actions.create(house.alice, wish(house, end=soon))
    assert made.expires_at == soon
    assert made.may_end_at is not None
    assert made.may_end_at > soon + timedelta(days=10)


@pytest.mark.parametrize("days", [-1, 400])
def test_an_end_in_the_past_or_beyond_the_limit_is_refused_at_its_field(house: Facility, days: int) -> None:
    with pytest.raises(Refused) as refusal:
        actions.create(house.alice, wish(house, end=timezone.now() + timedelta(days=days)))
    assert refusal.value.field == "end"
    assert house.alice.machines.count() == 1


def test_the_last_possible_day_is_the_full_time(house: Facility) -> None:
    full = actions.create(house.bob, wish(house)).expires_at
    assert full is not None
    made = actions.create(house.bob, wish(house, end=end_of_day(timezone.localtime(full).date())))
    assert made.expires_at == made.may_end_at


def test_a_second_press_finds_the_first_ones_machine(house: Facility) -> None:
    same = wish(house)
    assert actions.create(house.alice, same) == actions.create(house.alice, same)
    assert house.alice.machines.count() == 2  # the facility's own and this one


def test_the_same_key_of_another_person_is_another_machine(house: Facility) -> None:
    same = wish(house)
    assert actions.create(house.alice, same) != actions.create(house.bob, same)


def test_the_quota_is_respected_and_the_sentence_says_how_much_it_is(house: Facility) -> None:
    actions.create(house.alice, wish(house))
    with pytest.raises(Refused, match="2 of 2"):
        actions.create(house.alice, wish(house))


def test_deleted_machines_do_not_count(house: Facility) -> None:
    machine(house.alice, house.plan, house.host, state=State.DELETED)
    assert actions.create(house.alice, wish(house)).state == State.BUILDING


def test_a_persons_own_quota_goes_before_the_facilitys(house: Facility) -> None:
    house.alice.quota = 0
    house.alice.save()
    with pytest.raises(Refused):
        actions.create(house.alice, wish(house))


def test_another_teams_experiment_cannot_be_chosen(house: Facility) -> None:
    with pytest.raises(Refused) as refusal:
        actions.create(house.alice, wish(house, experiments=(house.charlies_experiment,)))
    assert refusal.value.field == "experiments"


def test_a_visitor_needs_an_experiment(house: Facility) -> None:
    with pytest.raises(Refused) as refusal:
        actions.create(house.alice, wish(house, experiments=()))
    assert refusal.value.field == "experiments"


def test_staff_need_no_experiment(house: Facility) -> None:
    assert actions.create(house.sam, wish(house, experiments=())).owner == house.sam


@pytest.mark.parametrize("visibility", [Visibility.STAFF, Visibility.NOBODY])
def test_an_image_that_is_not_offered_cannot_be_used(house: Facility, visibility: str) -> None:
    Image.objects.update(visibility=visibility)
    with pytest.raises(Refused):
        actions.create(house.alice, wish(house))


def test_a_size_limited_to_a_role_is_for_those_who_have_it_now(house: Facility) -> None:
    FlavourLimit.objects.create(flavour=house.small, role=Role.STAFF)
    with pytest.raises(Refused):
        actions.create(house.alice, wish(house))
    grant = RoleGrant.objects.create(user=house.alice, role=Role.STAFF)
    again = User.objects.get(pk=house.alice.pk)
    assert actions.create(again, wish(house))
    grant.expires_at = timezone.now() - timedelta(seconds=1)
    grant.save()
    Instance.objects.all().delete()
    with pytest.raises(Refused):
        actions.create(User.objects.get(pk=house.alice.pk), wish(house))


def test_a_size_limited_to_an_instrument_is_for_its_experiments(house: Facility) -> None:
    FlavourLimit.objects.create(flavour=house.small, instrument=house.experiment.instrument)
    assert actions.create(house.alice, wish(house))
    with pytest.raises(Refused):
        actions.create(house.charlie, wish(house, experiments=(house.charlies_experiment,)))


def test_a_disabled_plan_is_not_offered(house: Facility) -> None:
    Plan.objects.update(enabled=False)
    with pytest.raises(Refused):
        actions.create(house.alice, wish(house))


def test_a_full_host_takes_no_machine(house: Facility) -> None:
    Host.objects.update(memory_mib=2048, memory_reserved_mib=1024)
    with pytest.raises(Refused, match="room"):
        actions.create(house.charlie, wish(house, experiments=(house.charlies_experiment,)))


def test_a_machine_in_error_that_still_runs_keeps_its_claim(house: Facility) -> None:
    Host.objects.update(memory_mib=1024 + 2048, memory_reserved_mib=1024)
    Instance.objects.update(state=State.ERROR, power="running")
    machine(house.bob, house.plan, house.host, state=State.ERROR, power="running")
    with pytest.raises(Refused, match="room"):
        actions.create(house.charlie, wish(house, experiments=(house.charlies_experiment,)))


def test_without_a_host_the_sentence_says_so(house: Facility) -> None:
    Host.objects.update(enabled=False)
    with pytest.raises(Refused, match="No host"):
        actions.create(house.alice, wish(house))


def test_a_host_that_was_not_seen_lately_takes_no_machine(house: Facility) -> None:
    Host.objects.update(seen_at=timezone.now() - timedelta(minutes=5))
    with pytest.raises(Refused):
        actions.create(house.alice, wish(house))


def test_a_refused_wish_leaves_nothing(house: Facility) -> None:
    Host.objects.update(enabled=False)
    with pytest.raises(Refused):
        actions.create(house.alice, wish(house))
    assert Instance.objects.count() == 1


@pytest.mark.parametrize(
    ("action", "origin", "outcome"),
    [
        (actions.start, State.STOPPED, State.STARTING),
        (actions.start, State.HIBERNATED, State.STARTING),
        (actions.retry, State.ERROR, State.STARTING),
        (actions.stop, State.ACTIVE, State.STOPPING),
        (actions.reboot, State.ACTIVE, State.REBOOTING),
        (actions.delete, State.ACTIVE, State.DELETING),
        (actions.delete, State.BUILDING, State.DELETING),
        (actions.delete, State.ERROR, State.DELETING),
    ],
)
def test_the_owner_moves_the_machine(house: Facility, action: Any, origin: State, outcome: State) -> None:
    one = machine(house.alice, house.plan, house.host, state=origin)
    action(one, house.alice)
    assert Instance.objects.get(pk=one.pk).state == outcome


@pytest.mark.parametrize("action", [actions.start, actions.stop, actions.reboot, actions.delete, actions.retry])
def test_a_member_may_not_move_the_machine(house: Facility, action: Any) -> None:
    with pytest.raises(NotAllowed):
        action(house.machine, house.bob)
    assert Instance.objects.get(pk=house.machine.pk).state == State.ACTIVE


@pytest.mark.parametrize(
    ("action", "state"),
    [
        (actions.start, State.ACTIVE),
        (actions.stop, State.STOPPED),
        (actions.reboot, State.REBOOTING),
        (actions.delete, State.DELETING),
    ],
)
def test_asking_for_what_is_already_so_is_harmless(house: Facility, action: Any, state: State) -> None:
    one = machine(house.alice, house.plan, house.host, state=state)
    before = one.transitions.count()
    action(one, house.alice)
    assert one.transitions.count() == before


def test_asking_for_the_impossible_is_refused_in_words(house: Facility) -> None:
    one = machine(house.alice, house.plan, house.host, state=State.BUILDING)
    with pytest.raises(Refused, match="busy"):
        actions.reboot(one, house.alice)


def test_a_stale_page_is_told_to_reload(house: Facility) -> None:
    stale = Instance.objects.get(pk=house.machine.pk)
    house.machine.transition(State.STOPPING)
    house.machine.transition(State.STOPPED)
    with pytest.raises(Refused, match="Reload"):
        actions.reboot(stale, house.alice)


def test_a_stopped_machine_waits_when_its_host_has_filled_up(house: Facility) -> None:
    one = machine(house.alice, house.plan, house.host, state=State.STOPPED)
    Host.objects.update(memory_mib=2048, memory_reserved_mib=1024)
    with pytest.raises(Refused, match="full"):
        actions.start(one, house.alice)
    assert Instance.objects.get(pk=one.pk).state == State.STOPPED


def test_only_the_owner_renames(house: Facility) -> None:
    actions.rename(house.machine, house.alice, "New name", "notes")
    assert Instance.objects.get(pk=house.machine.pk).name == "New name"
    with pytest.raises(NotAllowed):
        actions.rename(house.machine, house.bob, "Mine", "")


def test_a_large_facility_is_served_from_the_host_that_has_room(house: Facility) -> None:
    Host.objects.update(memory_mib=1024)
    roomy = host("roomy", cpus=8, memory_mib=65_536, disk_gib=500)
    zoe = person("zoe", Role.GUEST)
    assert actions.create(zoe, wish(house, experiments=())).host == roomy
