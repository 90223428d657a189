"""The demo facility: there after the first seeding, unharmed by every other."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client

from experiments.access import experiments_for
from experiments.models import Affiliation, Cycle, Experiment, Instrument, Proposal, Role, User
from instances.models import Flavour, Host, Image, Plan, Protocol, Visibility
from instances.models.catalogue import plans_for
from instances.states import State
from tests import people

pytestmark = pytest.mark.django_db

PEOPLE = {"alice", "bob", "charlie", "ines", "sam", "admin"}


@pytest.fixture
def home(tmp_path: Path, settings: Any) -> Path:
    settings.VISA_HOME = tmp_path
    settings.VISA_IMAGES = tmp_path / "images"
    settings.VISA_IMAGES.mkdir()
    return tmp_path


def build(home: Path, key: str = "full", size: str = "3G", **facts: Any) -> str:
    """What guest/build leaves behind: a disk and its description. Returns the checksum."""
    folder = home / "images"
    disk = folder / f"{key}-{size}.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), size], check=True)
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    described = {"file": disk.name, "sha256": digest, "virtual_size_gib": 3, "recipe": "r", "built_at": "2026-01-01"}
    described |= {"name": f"The {key} desktop", "version": "1", "description": "A desktop."}
    (folder / f"{key}.json").write_text(json.dumps(described | facts))
    return str(facts.get("sha256", digest))


def seed() -> None:
    call_command("seed_demo")


def signins(home: Path) -> dict[str, str]:
    return dict(json.loads((home / "demo-signins.json").read_text()))


def everything() -> dict[str, int]:
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


# The facility


def test_a_believable_facility_is_there(home: Path) -> None:
    build(home)
    seed()
    assert (Instrument.objects.count(), Cycle.objects.count(), Proposal.objects.count()) == (6, 3, 10)
    assert (Experiment.objects.count(), User.objects.count()) == (14, 22)
    assert len(set(Affiliation.objects.values_list("country", flat=True))) >= 6
    assert not Experiment.objects.filter(team=None).exists()
    for name in ("alice", "bob", "charlie"):
        assert experiments_for(User.objects.get(username=name)).count() >= 3


def test_alice_and_charlie_measured_apart(home: Path) -> None:
    seed()
    assert not Experiment.objects.filter(team__username="alice").filter(team__username="charlie").exists()


def test_the_people_have_their_roles(home: Path) -> None:
    seed()
    ines, sam, admin = (User.objects.get(username=name) for name in ("ines", "sam", "admin"))
    assert ines.roles() == {Role.INSTRUMENT_SCIENTIST}
    assert {instrument.code for instrument in ines.instruments.all()} == {"halo", "strata"}
    assert sam.roles() == {Role.IT_SUPPORT, Role.STAFF}
    assert (sam.is_staff, sam.is_superuser, admin.is_superuser) == (True, False, True)


def test_seeding_again_changes_nothing(home: Path) -> None:
    build(home)
    seed()
    before, file = everything(), (home / "demo-signins.json").read_bytes()
    passwords = set(User.objects.values_list("username", "password"))
    seed()
    assert everything() == before
    assert (home / "demo-signins.json").read_bytes() == file
    assert set(User.objects.values_list("username", "password")) == passwords


def test_what_staff_changed_stays_changed(home: Path) -> None:
    build(home)
    seed()
    Flavour.objects.filter(name="Small").update(memory_mib=2048)
    Instrument.objects.filter(code="halo").update(name="HALO-2")
    Host.objects.update(enabled=False)
    Image.objects.update(visibility=Visibility.STAFF)
    seed()
    assert Flavour.objects.get(name="Small").memory_mib == 2048
    assert Instrument.objects.get(code="halo").name == "HALO-2"
    assert not Host.objects.get().enabled
    assert Image.objects.get().visibility == Visibility.STAFF


# Sign-ins


def test_sign_ins_open_the_door_and_are_for_their_owner_alone(home: Path) -> None:
    seed()
    known, file = signins(home), home / "demo-signins.json"
    assert set(known) == PEOPLE
    assert len(set(known.values())) == len(PEOPLE)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert all(Client().login(username=name, password=password) for name, password in known.items())


def test_nobody_else_can_sign_in(home: Path) -> None:
    seed()
    others = User.objects.exclude(username__in=PEOPLE)
    assert others.count() == 16
    assert not [user for user in others if user.has_usable_password()]


def test_lost_sign_ins_are_made_anew(home: Path) -> None:
    seed()
    old = signins(home)
    (home / "demo-signins.json").unlink()
    seed()
    new = signins(home)
    assert not set(old.values()) & set(new.values())
    assert Client().login(username="alice", password=new["alice"])
    assert not Client().login(username="alice", password=old["alice"])


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"alice": '])
def test_a_broken_file_of_sign_ins_is_written_anew(home: Path, broken: str) -> None:
    seed()
    (home / "demo-signins.json").write_text(broken)
    seed()
    assert Client().login(username="bob", password=signins(home)["bob"])


def test_a_new_database_keeps_the_sign_ins(home: Path) -> None:
    seed()
    known = signins(home)
    Experiment.objects.all().delete()
    User.objects.all().delete()
    seed()
    assert signins(home) == known
    assert Client().login(username="charlie", password=known["charlie"])


def test_a_seeding_that_fails_leaves_nothing_behind(home: Path) -> None:
    build(home, sha256="0" * 64)
    with pytest.raises(CommandError, match="cannot be used: The SHA-256 of this file is"):
        seed()
    assert not User.objects.exists()
    assert not (home / "demo-signins.json").exists()
    assert list(home.glob(".demo*")) == []


# Images


def test_images_that_were_built_are_offered(home: Path) -> None:
    digest = build(home)
    build(home, "ci", "2G", name="Light desktop")
    seed()
    full = Image.objects.get(name="The full desktop")
    assert (full.sha256, full.virtual_size_gib) == (digest, 3)
    spoken = {protocol.kind: protocol.port for protocol in full.protocols.all()}
    assert spoken == {"vnc": 5901, "ssh": 22, "jupyter": 8888}
    assert Image.objects.get(name="Light desktop").port(Protocol.JUPYTER) is None
    preset = Plan.objects.get(preset=True)
    assert (preset.image, preset.flavour.name) == (full, "Small")


def test_large_machines_are_for_staff_and_tomography(home: Path) -> None:
    build(home)
    seed()

    def sizes(name: str, experiments: Any = ()) -> set[str]:
        plans = plans_for(User.objects.get(username=name), experiments)
        return {plan.flavour.name for plan in plans}

    assert sizes("alice") == {"Small", "Medium"}
    assert sizes("sam") == {"Small", "Medium", "Large"}
    assert sizes("bob", Experiment.objects.filter(instrument__code="strata")) == {"Small", "Medium", "Large"}


def test_a_new_build_replaces_an_image_that_nobody_uses(home: Path) -> None:
    build(home)
    seed()
    again = build(home, size="4G")
    seed()
    assert [(image.version, image.sha256) for image in Image.objects.all()] == [("1", again)]


def test_a_new_build_leaves_the_disks_of_machines_alone(home: Path) -> None:
    old = build(home)
    seed()
    plan = Plan.objects.get(preset=True)
    machine = people.machine(User.objects.get(username="alice"), plan, Host.objects.get(), state=State.STOPPED)
    new = build(home, size="4G")
    seed()
    machine.refresh_from_db()
    assert machine.plan.image.sha256 == old
    assert machine.plan.image.visibility == Visibility.NOBODY
    latest = Image.objects.get(sha256=new)
    assert latest.version == f"1+{new[:8]}"
    assert Plan.objects.get(preset=True).image == latest
    offered = plans_for(User.objects.get(username="alice"))
    assert {plan.image for plan in offered} == {latest}
    before = everything()
    seed()
    assert everything() == before


def test_an_image_that_moved_is_found_again(home: Path, settings: Any) -> None:
    build(home)
    seed()
    (home / "images").rename(home / "elsewhere")
    settings.VISA_IMAGES = home / "elsewhere"
    seed()
    assert Path(Image.objects.get().path).is_relative_to(home / "elsewhere")


def test_without_images_there_is_still_a_facility(home: Path) -> None:
    seed()
    assert not Image.objects.exists()
    assert Flavour.objects.count() == 3


# The host


def test_the_host_is_as_the_environment_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed()
    assert Host.objects.get().pool_path == "/var/lib/libvirt/images/visa"
    monkeypatch.setenv("VISA_POOL_NAME", "visa-two")
    monkeypatch.setenv("VISA_POOL_PATH", "/srv/pool")
    monkeypatch.setenv("VISA_VIRTUALISATION", "qemu")
    monkeypatch.setenv("VISA_NETWORK_NAME", "visa-two")
    monkeypatch.setenv("VISA_NETWORK_CIDR", "10.214.0.0/20")
    seed()
    host = Host.objects.get()
    assert (host.name, host.uri) == ("this machine", "qemu:///system")
    assert (host.pool_name, host.pool_path, host.virtualisation) == ("visa-two", "/srv/pool", "qemu")
    assert (host.network_name, host.network_cidr) == ("visa-two", "10.214.0.0/20")


def test_an_environment_that_makes_no_sense_is_refused_in_words(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISA_NETWORK_CIDR", "everything")
    with pytest.raises(CommandError, match="is not a network"):
        seed()
