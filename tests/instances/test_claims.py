"""What hosts have promised, and which of them gets the next machine."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from instances import actions, claims
from instances.actions import Refused, Wish
from instances.models import Flavour, Host, Image, Instance, PlacementPolicy, Plan
from instances.states import State
from tests.people import Facility, client_of, facility, host, machine

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Facility:
    return facility()


def create(house: Facility) -> Instance:
    plan = Plan.objects.get(pk=house.plan.pk)
    return actions.create(house.bob, Wish("Peaks", plan, (house.experiment,), 1440, 900, "fr", uuid4()))


@pytest.mark.parametrize(
    ("size", "fits"),
    [
        ({"cpus": 1, "cpu_overcommit": 2.0}, True),
        ({"cpus": 1, "cpu_overcommit": 1.0}, False),
        ({"memory_mib": 3072, "memory_reserved_mib": 1024}, True),
        ({"memory_mib": 3072, "memory_reserved_mib": 1025}, False),
        ({"disk_gib": 10, "disk_overcommit": 2.0}, True),
        ({"disk_gib": 10, "disk_overcommit": 1.9}, False),
        ({"disk_free_gib": 7, "disk_reserved_gib": 7}, True),
        ({"disk_free_gib": 7, "disk_reserved_gib": 8}, False),
    ],
)
def test_each_hosts_overcommit_and_reserve_decide_what_it_may_promise(
    house: Facility, size: dict[str, Any], fits: bool
) -> None:
    Host.objects.update(**size)  # Alice's machine has its share already
    refused = nullcontext() if fits else pytest.raises(Refused, match="has room")
    with refused:
        create(house)
    assert house.bob.machines.count() == int(fits)


def test_the_disk_of_a_large_image_is_asked_for(house: Facility) -> None:
    Image.objects.update(virtual_size_gib=50)
    Host.objects.update(disk_gib=40, disk_overcommit=1)
    with pytest.raises(Refused, match="room"):
        create(house)


@pytest.mark.parametrize("state", [State.STOPPED, State.HIBERNATED])
def test_a_machine_at_rest_gives_back_its_room_and_is_told_when_there_is_none_to_wake_in(
    house: Facility, state: State
) -> None:
    Host.objects.update(memory_mib=2048, memory_reserved_mib=1024)
    Instance.objects.filter(pk=house.machine.pk).update(state=state, power="off")
    create(house)
    with pytest.raises(Refused, match="full at the moment"):
        actions.start(Instance.objects.get(pk=house.machine.pk), house.alice)
    assert Instance.objects.get(pk=house.machine.pk).state == state


def test_a_host_that_promised_too_much_disk_still_wakes_its_machines(house: Facility) -> None:
    asleep = machine(house.alice, house.plan, house.host, state=State.HIBERNATED)
    Host.objects.update(disk_gib=1)
    actions.start(asleep, house.alice)
    assert Instance.objects.get(pk=asleep.pk).state == State.STARTING


def test_staff_choose_whether_machines_spread_or_are_packed(house: Facility) -> None:
    empty, admin = host("empty"), client_of(house.admin)
    assert create(house).host == empty
    assert admin.get("/admin/instances/placementpolicy/", follow=True).status_code == 200
    admin.post("/admin/instances/placementpolicy/add/", {"strategy": "pack"})
    assert PlacementPolicy.objects.get().strategy == "pack"
    host("emptier", memory_mib=10**6)
    assert create(house).host != Host.objects.get(name="emptier")
    assert admin.get("/admin/instances/placementpolicy/add/").status_code == 403


def test_what_requires_a_label_goes_to_the_host_that_has_it(house: Facility) -> None:
    Image.objects.update(requires="gpu")
    Flavour.objects.update(requires="ssd")
    with pytest.raises(Refused, match="No host has what this image and size need"):
        create(house)
    fast = host("fast", memory_mib=16_384, labels="gpu near ssd")
    assert create(house).host == fast


def page_of(admin: Client, flavour: Flavour, **changes: str) -> Any:
    size = {"name": "Small", "vcpus": "1", "memory_mib": "1024", "disk_gib": "10", "requires": ""}
    inline = {"limits-TOTAL_FORMS": "0", "limits-INITIAL_FORMS": "0"}
    return admin.post(f"/admin/instances/flavour/{flavour.pk}/change/", size | inline | changes)


def test_labels_are_tidied_and_one_that_no_host_has_is_refused_at_its_field(house: Facility) -> None:
    admin = client_of(house.admin)
    Host.objects.update(labels="gpu ssd")
    refused = page_of(admin, house.small, requires="gpu, huge")
    assert list(refused.context["adminform"].form.errors) == ["requires"]
    assert "No host has the labels" in refused.content.decode()
    assert "is not a label" in page_of(admin, house.small, requires="g/pu").content.decode()
    assert page_of(admin, house.small, requires=" SSD,gpu ssd").status_code == 302
    house.small.refresh_from_db()
    assert house.small.requires == "gpu ssd"


def test_rooms_cost_two_queries_however_many_hosts_and_machines_there_are(house: Facility) -> None:
    for number in range(5):
        machine(house.alice, house.plan, host(f"more-{number}"))
    hosts = list(Host.objects.all())
    with CaptureQueriesContext(connection) as counted:
        assert len(claims.rooms(hosts)) == 6
    assert len(counted) == 2
