"""The wish for a machine: what is refused, at which field, and what is suggested."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.http import QueryDict

from experiments.models import Role
from instances.forms import MachineForm, NameForm, suggested_name
from instances.models import FlavourLimit
from tests.people import Facility, facility, flavour, image, machine, person, plan

pytestmark = pytest.mark.django_db


@pytest.fixture
def people(db: None) -> Facility:
    return facility()


def typed(people: Facility, **changes: Any) -> QueryDict:
    """What the browser sends when Alice presses Create, with changes; None leaves a field out."""
    values: dict[str, Any] = {
        "experiments": [str(people.experiment.uuid)],
        "image": str(people.image.uuid),
        "flavour": str(people.small.uuid),
        "screen": "1440x900",
        "keyboard": "fr",
        "name": "Mine",
        "comments": "",
        "request_key": str(uuid4()),
    } | changes
    data = QueryDict(mutable=True)
    for name, value in values.items():
        if value is not None:
            data.setlist(name, value if isinstance(value, list) else [value])
    return data


def test_a_good_form_becomes_a_wish(people: Facility) -> None:
    form = MachineForm(people.alice, typed(people))
    assert form.is_valid(), form.errors
    wish = form.wish()
    assert (wish.plan, wish.experiments, wish.keyboard) == (people.plan, (people.experiment,), "fr")
    assert (wish.screen_width, wish.screen_height) == (1440, 900)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no experiment", {"experiments": []}, "experiments"),
    ("no such experiment", {"experiments": [str(uuid4())]}, "experiments"),
    ("an experiment that is no id", {"experiments": ["1 OR 1=1"]}, "experiments"),
    ("no image", {"image": None}, "image"),
    ("an image that is no id", {"image": "debian"}, "image"),
    ("no such image", {"image": str(uuid4())}, "image"),
    ("no size", {"flavour": None}, "flavour"),
    ("a size that is no id", {"flavour": "<script>"}, "flavour"),
    ("no such size", {"flavour": str(uuid4())}, "flavour"),
    ("no screen", {"screen": None}, "screen"),
    ("an unknown screen", {"screen": "1x1"}, "screen"),
    ("an own screen too wide", {"screen": "own", "screen_width": "8193", "screen_height": "900"}, "screen_width"),
    ("an own screen too low", {"screen": "own", "screen_width": "900", "screen_height": "319"}, "screen_height"),
    ("an own screen in words", {"screen": "own", "screen_width": "wide", "screen_height": "900"}, "screen_width"),
    ("an own screen without height", {"screen": "own", "screen_width": "900"}, "screen_height"),
    ("an unknown keyboard", {"keyboard": "xx; rm -rf /"}, "keyboard"),
    ("a name too long", {"name": "n" * 61}, "name"),
    ("a name of two lines", {"name": "one\ntwo"}, "name"),
    ("a name with an escape", {"name": "\x1b[31mred"}, "name"),
    ("notes too long", {"comments": "n" * 2501}, "comments"),
    ("a damaged key", {"request_key": "again"}, "request_key"),
    ("no key", {"request_key": None}, "request_key"),
]


@pytest.mark.parametrize(("what", "changes", "field"), BAD, ids=[row[0] for row in BAD])
def test_bad_input_is_refused_at_its_field(people: Facility, what: str, changes: dict[str, Any], field: str) -> None:
    form = MachineForm(people.alice, typed(people, **changes))
    assert not form.is_valid()
    assert set(form.errors) == {field}
    if not form[field].is_hidden:
        assert not any(vague in form.errors[field][0] for vague in ("This field", "Select a valid", "Enter a"))


def test_anothers_experiment_is_no_choice(people: Facility) -> None:
    form = MachineForm(people.alice, typed(people, experiments=[str(people.charlies_experiment.uuid)]))
    assert form.errors["experiments"] == ["Choose among your own experiments."]


def test_a_size_that_does_not_go_with_the_image_is_refused_at_the_size(people: Facility) -> None:
    other = image("Other", "1")
    plan(other, people.large)
    form = MachineForm(people.alice, typed(people, image=str(other.uuid)))
    assert set(form.errors) == {"flavour"}


def test_a_reserved_size_is_refused_unless_the_role_is_in_force(people: Facility) -> None:
    rare = flavour("Rare", 2, 2048, 20)
    plan(people.image, rare)
    FlavourLimit.objects.create(flavour=rare, role=Role.STAFF)
    assert set(MachineForm(people.alice, typed(people, flavour=str(rare.uuid))).errors) == {"flavour"}
    worker = person("worker", Role.STAFF)
    form = MachineForm(worker, typed(people, flavour=str(rare.uuid), experiments=[]))
    assert form.is_valid(), form.errors


@pytest.mark.parametrize(
    ("told", "screen"),
    [
        ({"window_width": "1733", "window_height": "977"}, (1733, 977)),
        ({"window_width": "99999", "window_height": "1"}, (8192, 320)),
        ({"window_width": "wide", "window_height": ""}, (1440, 900)),
        ({}, (1440, 900)),
        ({"window_width": "1733", "window_height": "977", "screen_width": "junk"}, (1733, 977)),
    ],
)
def test_this_window_is_what_the_browser_told_within_limits(
    people: Facility, told: dict[str, str], screen: tuple[int, int]
) -> None:
    form = MachineForm(people.alice, typed(people, screen="window", **told))
    assert form.is_valid(), form.errors
    assert form.cleaned_data["screen"] == screen


def test_an_empty_name_becomes_the_experiments(people: Facility) -> None:
    form = MachineForm(people.alice, typed(people, name="  "))
    assert form.is_valid()
    assert form.wish().name == "EX-1 · D20"


def test_a_suggested_name_is_not_one_that_is_taken(people: Facility) -> None:
    machine(people.alice, people.plan, name="EX-1 · D20")
    assert suggested_name(people.alice, (people.experiment,), None) == "EX-1 · D20 2"
    machine(people.alice, people.plan, name="EX-1 · D20 2")
    assert suggested_name(people.alice, (people.experiment,), None) == "EX-1 · D20 3"


def test_facility_staff_may_go_without_an_experiment(people: Facility) -> None:
    form = MachineForm(people.sam, typed(people, experiments=[], name=""))
    assert form.is_valid(), form.errors
    assert form.wish().name == "Debian desktop"


@pytest.mark.parametrize("name", ["", "   ", "n" * 61, "a\x00b"])
def test_a_machine_is_not_renamed_to_that(name: str) -> None:
    assert "name" in NameForm({"name": name, "comments": ""}).errors
