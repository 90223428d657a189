"""The administration's first page: what needs a hand comes first, and it costs the same in a large facility."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from experiments.models import Role, User
from instances.models import Carriage, Host, Plan, Stray
from instances.states import State
from tests import people
from tests.people import Facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def facility() -> Facility:
    return people.facility()


def overview(user: User) -> Any:
    client = Client()
    client.force_login(user)
    page = client.get("/admin/")
    assert page.status_code == 200
    return page


def troubles(user: User) -> list[str]:
    return [f"{trouble.what}: {trouble.why}" for trouble in overview(user).context["troubles"]]


def test_a_quiet_facility_says_that_nothing_needs_a_hand(facility: Facility) -> None:
    page = overview(facility.admin)
    assert page.context["troubles"] == []
    assert "no machine is stuck" in page.content.decode()


def test_what_needs_a_hand_is_listed_with_its_reason(facility: Facility) -> None:
    late = timezone.now() - timedelta(minutes=1)
    broken = people.machine(
        facility.bob, facility.plan, facility.host, name="Broken", state=State.ERROR, problem="Full."
    )
    people.machine(facility.bob, facility.plan, facility.host, name="Late", state=State.BUILDING, deadline_at=late)
    people.host("gone", seen_at=timezone.now() - timedelta(hours=1))
    people.host("faulty", problem="Wrong certificate.")
    stray = Stray.objects.create(host=facility.host, domain=uuid4())
    Host.objects.filter(pk=facility.host.pk).update(leftovers=[{"name": "lost.qcow2", "bytes": 2**30}])
    said = troubles(facility.admin)
    assert len(said) == 6
    for expected in (
        "Host gone: not seen: The observer has not seen it within two minutes.",
        "Host faulty: has a problem: Wrong certificate.",
        "Broken · Bob Example · Needs a hand: Full.",
        "Late · Bob Example · Being made: It takes longer than it may.",
        f"Unknown machine on host-1: It carries our mark and no row knows it: {stray.domain}",
        "Disks without a machine on host-1: 1: They take 1.0\xa0GB. VISA never removes them; "
        "the page of the host names them.",
    ):
        assert expected in said
    assert f"/admin/instances/instance/{broken.pk}/change/" in overview(facility.admin).content.decode()


def test_an_image_that_could_not_be_copied_needs_a_hand(facility: Facility) -> None:
    why = "The image is not a qcow2 file."
    Carriage.objects.create(host=facility.host, image=facility.image, state=Carriage.State.FAILED, problem=why)
    assert troubles(facility.admin) == [f"Debian desktop 12.1 could not be copied to host-1: {why}"]


def test_a_facility_that_cannot_make_machines_is_told_why(facility: Facility) -> None:
    Host.objects.update(enabled=False)
    Plan.objects.update(enabled=False)
    assert [line.split(":")[0] for line in troubles(facility.admin)] == [
        "No host takes new machines",
        "Nothing is on offer",
    ]


def test_numbers_and_loads_are_true(facility: Facility) -> None:
    people.machine(facility.bob, facility.plan, facility.host, state=State.STOPPED)
    context = overview(facility.admin).context
    values = {number.label: number.value for number in context["numbers"]}
    assert (values["Machines"], values["Running"], values["Stopped or asleep"]) == ("2", "1", "1")
    (load,) = context["loads"]
    assert (load.machines, load.cpus, load.memory) == (2, 0, 0)
    Host.objects.update(cpus=1, cpu_overcommit=2, memory_mib=3072, memory_reserved_mib=1024)
    (load,) = overview(facility.admin).context["loads"]
    assert (load.cpus, load.memory) == (50, 50)


def test_the_number_of_queries_does_not_grow(facility: Facility) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as counted:
            overview(facility.admin)
        return len(counted)

    people.machine(facility.bob, facility.plan, facility.host, state=State.ERROR)
    Stray.objects.create(host=facility.host, domain=uuid4())
    count()
    few = count()
    for number in range(20):
        another = people.host(f"more-{number}", problem="Broken.")
        person = people.person(f"person{number}")
        people.machine(person, facility.plan, another, state=State.ERROR, problem="Broken.")
        Stray.objects.create(host=another, domain=uuid4())
    assert count() == few <= 32
    page = overview(facility.admin)
    assert "and 9 more machines" in page.content.decode()


def test_support_sees_it_and_others_see_that_they_may_not(facility: Facility) -> None:
    User.objects.filter(pk=facility.sam.pk).update(is_staff=True)
    assert "What needs a hand" in overview(facility.sam).content.decode()
    plain = people.person("plain", Role.STAFF, is_staff=True)
    told = overview(plain).content.decode()
    assert "What needs a hand" not in told
    assert "Your roles do not open anything here." in told


def test_names_are_shown_as_text(facility: Facility) -> None:
    """SEC-25."""
    evil = "<img src=x onerror=alert(1)>"
    people.machine(facility.bob, facility.plan, facility.host, name=evil, state=State.ERROR, problem=evil)
    assert evil not in overview(facility.admin).content.decode()


@pytest.mark.parametrize(
    ("path", "evals", "inline_scripts"), [("/admin/", True, True), ("/api/v1/docs/", False, False), ("/", False, False)]
)
def test_only_the_administration_has_a_laxer_policy(
    facility: Facility, path: str, evals: bool, inline_scripts: bool
) -> None:
    client = Client()
    client.force_login(facility.admin)
    policy = client.get(path).headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert ("'unsafe-eval'" in directives["script-src"]) == evals
    assert ("'unsafe-inline'" in directives["script-src"]) == inline_scripts
    assert directives["default-src"] == directives["frame-ancestors"] == directives["object-src"] == "'none'"
    assert directives["connect-src"] == directives["form-action"] == "'self'"
