"""What people may ask about a machine's time, and the recycle bin."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from experiments.models import Role, RoleGrant, User
from instances import life
from instances.actions import NotAllowed, Refused
from instances.claims import rooms
from instances.history import happened
from instances.models import Extending, Extension, Image, Instance, LifePolicy, Notice
from instances.states import State
from tests.people import Facility, facility, machine

pytestmark = pytest.mark.django_db

SOON = timedelta(days=1)


@pytest.fixture
def house(db: None) -> Facility:
    made = facility()
    end = timezone.now() + timedelta(days=10)
    Instance.objects.filter(pk=made.machine.pk).update(expires_at=end, may_end_at=end)
    made.machine.refresh_from_db()
    return made


def page(user: User, name: str, instance: Instance, **data: object) -> tuple[int, str]:
    client = Client()
    client.force_login(user)
    answer = client.post(reverse(name, args=[instance.uuid]), data)
    return answer.status_code, answer.content.decode()


def lines(instance: Instance) -> list[str]:
    return [str(line.said) for line in happened(instance, 100)]


# An earlier end, and staying awake


def test_an_owner_may_end_a_machine_earlier_and_later_again_within_its_right(house: Facility) -> None:
    full = house.machine.expires_at
    assert full
    life.set_end(house.machine, house.alice, full - timedelta(days=8))
    life.set_end(house.machine, house.alice, full)
    house.machine.refresh_from_db()
    assert house.machine.expires_at == full


def test_nobody_gives_a_machine_more_than_its_right(house: Facility) -> None:
    with pytest.raises(Refused, match="may not live so long"):
        life.set_end(house.machine, house.alice, timezone.now() + timedelta(days=11))


def test_an_end_lies_ahead(house: Facility) -> None:
    status, text = page(house.alice, "machine-end", house.machine, end="2020-01-01")
    assert status == 422
    assert "still to come" in text


def test_a_new_end_is_told_anew(house: Facility) -> None:
    Instance.objects.update(end_warned_at=timezone.now())
    life.set_end(house.machine, house.alice, timezone.now() + SOON)
    house.machine.refresh_from_db()
    assert house.machine.end_warned_at is None


def test_a_machine_is_kept_awake_no_longer_than_the_rules_say(house: Facility) -> None:
    LifePolicy.objects.create(awake_days=3)
    with pytest.raises(Refused, match="from 0 to 3"):
        life.keep_awake(house.machine, house.alice, 4)
    life.keep_awake(house.machine, house.alice, 3)
    assert house.machine.awake_until
    life.keep_awake(house.machine, house.alice, 0)
    house.machine.refresh_from_db()
    assert house.machine.awake_until is None


def test_members_and_strangers_change_nothing(house: Facility) -> None:
    for other in (house.bob, house.charlie):
        with pytest.raises(NotAllowed):
            life.keep_awake(house.machine, other, 1)
        with pytest.raises(NotAllowed):
            life.set_end(house.machine, other, timezone.now() + SOON)
        with pytest.raises(NotAllowed):
            life.ask_for_time(house.machine, other, "Please")
        with pytest.raises(NotAllowed):
            life.pin(house.machine, other, True)


def test_an_owner_who_is_no_administrator_pins_nothing(house: Facility) -> None:
    with pytest.raises(NotAllowed):
        life.pin(house.machine, house.alice, True)


# More time


def test_a_request_reaches_staff_and_their_answer_the_owner(house: Facility) -> None:
    asked = life.ask_for_time(house.machine, house.alice, "The fits take longer")
    assert Notice.objects.get(user=house.admin).kind == "time_asked"
    until = timezone.now() + timedelta(days=30)
    life.accept(asked, house.admin, until, "Good luck")
    house.machine.refresh_from_db()
    assert house.machine.expires_at == house.machine.may_end_at == until
    assert Notice.objects.get(user=house.alice).kind == "time_given"
    assert any(line.startswith("More time given") for line in lines(house.machine))


def test_a_refusal_has_words(house: Facility) -> None:
    asked = life.ask_for_time(house.machine, house.alice, "Please")
    with pytest.raises(Refused, match="few words"):
        life.refuse(asked, house.admin, " ")
    life.refuse(asked, house.admin, "The cycle begins")
    assert Notice.objects.get(user=house.alice).facts["words"] == "The cycle begins"
    house.machine.refresh_from_db()
    assert house.machine.expires_at == asked.ended_at


def test_one_waits_at_a_time_and_one_answer_counts(house: Facility) -> None:
    asked = life.ask_for_time(house.machine, house.alice, "Please")
    with pytest.raises(Refused, match="asked already"):
        life.ask_for_time(house.machine, house.alice, "Please!")
    life.refuse(asked, house.admin, "No")
    with pytest.raises(Refused, match="answered already"):
        life.accept(asked, house.admin, timezone.now() + SOON)
    life.ask_for_time(house.machine, house.alice, "Once more")


@pytest.mark.parametrize(
    ("policy", "staff", "at_once"),
    [
        (Extending.NOBODY, True, False),
        (Extending.STAFF, False, False),
        (Extending.STAFF, True, True),
        (Extending.ALL, False, True),
    ],
)
def test_the_image_says_who_gets_time_at_once(house: Facility, policy: str, staff: bool, at_once: bool) -> None:
    Image.objects.update(extending=policy)
    if staff:
        RoleGrant.objects.create(user=house.alice, role=Role.STAFF)
    before = house.machine.expires_at
    assert before
    asked = life.ask_for_time(Instance.objects.get(pk=house.machine.pk), house.alice, "Please")
    asked.refresh_from_db()
    assert (asked.answer == Extension.Answer.ACCEPTED) is at_once
    if at_once:
        assert asked.until == before + timedelta(days=60 if staff else 14)


def test_what_was_typed_stays_where_it_is_wrong(house: Facility) -> None:
    life.ask_for_time(house.machine, house.alice, "First")
    status, text = page(house.alice, "machine-more-time", house.machine, reason="Second")
    assert status == 422
    assert "asked already" in text


def test_staff_answer_in_the_administration(house: Facility) -> None:
    asked = life.ask_for_time(house.machine, house.alice, "Please")
    client = Client()
    client.force_login(house.admin)
    address = reverse("admin:instances_extension_change", args=[asked.pk])
    assert "Please" in client.get(address).content.decode()
    wordless = client.post(address, {"words": "", "instances_extension_refuse": "1"})
    assert "Tell the owner why" in wordless.content.decode()
    client.post(address, {"until_0": "2099-01-01", "until_1": "12:00", "words": "", "instances_extension_accept": "1"})
    asked.refresh_from_db()
    assert asked.answer == Extension.Answer.ACCEPTED
    assert asked.answered_by == house.admin


# The recycle bin


def in_the_bin(house: Facility, **facts: Any) -> Instance:
    facts = {"bin_until": timezone.now() + timedelta(days=3), "expires_at": timezone.now() - SOON} | facts
    return machine(house.alice, house.plan, house.host, state=State.BINNED, name="Binned", **facts)


def test_its_owner_brings_it_back_with_time_to_use_it(house: Facility) -> None:
    binned = in_the_bin(house)
    status, _text = page(house.alice, "machine-back", binned)
    assert status == 302
    binned.refresh_from_db()
    assert binned.state == State.STOPPED
    assert binned.expires_at
    assert binned.expires_at > timezone.now() + timedelta(days=2)
    assert binned.deleted_at is None
    assert lines(binned)[0] in {"Brought back", "End set to"}


def test_staff_bring_it_back_and_its_owner_hears_of_it(house: Facility) -> None:
    life.bring_back(in_the_bin(house), house.admin)
    assert Notice.objects.get(user=house.alice).kind == "life_back"


def test_a_full_quota_keeps_it_in_the_bin(house: Facility) -> None:
    User.objects.filter(pk=house.alice.pk).update(quota=1)
    with pytest.raises(Refused, match="Delete one first"):
        life.bring_back(in_the_bin(house), User.objects.get(pk=house.alice.pk))


def test_what_lies_in_the_bin_is_no_machine_of_the_quota_and_holds_its_disk(house: Facility) -> None:
    (before,) = rooms([house.host])
    in_the_bin(house)
    assert Instance.objects.live().filter(owner=house.alice).count() == 1
    (after,) = rooms([house.host])
    assert after.disk_gib == before.disk_gib - house.small.disk_gib
    assert after.memory_mib == before.memory_mib


def test_members_neither_bring_it_back_nor_delete_it(house: Facility) -> None:
    binned = in_the_bin(house, members=[house.bob])
    assert page(house.bob, "machine-back", binned)[0] == 403
    assert page(house.bob, "machine-empty", binned)[0] == 403
    assert page(house.charlie, "machine-back", binned)[0] == 404


def test_its_owner_may_delete_it_for_good(house: Facility) -> None:
    binned = in_the_bin(house)
    page(house.alice, "machine-empty", binned)
    binned.refresh_from_db()
    assert (binned.state, binned.bin_until) == (State.DELETING, None)


def test_a_machine_that_works_is_not_in_the_bin(house: Facility) -> None:
    with pytest.raises(Refused, match="not in the recycle bin"):
        life.delete_for_good(house.machine, house.alice)


def test_the_page_of_past_machines_shows_what_can_be_brought_back(house: Facility) -> None:
    binned = in_the_bin(house)
    client = Client()
    client.force_login(house.alice)
    text = client.get(reverse("machines-past")).content.decode()
    assert reverse("machine-back", args=[binned.uuid]) in text
