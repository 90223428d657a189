"""Alice owns a machine, Bob is a member of it, Charlie must see nothing; and the small facility around them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from experiments.models import Affiliation, Cycle, Experiment, Instrument, Proposal, Role, RoleGrant, User
from instances.models import (
    Flavour,
    Host,
    Image,
    ImageProtocol,
    Instance,
    Member,
    MemberRole,
    Plan,
    Protocol,
    Step,
    Transition,
)
from instances.states import HOLDS_CPU, LIVE, State

PASSWORD = "a-password-for-tests-7"
STEPS = ["place", "disk", "start", "boot", "desktop"]


def person(username: str, *roles: Role, expires_at: datetime | None = None, **fields: Any) -> User:
    """An account that signs in with PASSWORD, with these roles."""
    fields.setdefault("first_name", username.capitalize())
    fields.setdefault("last_name", "Example")
    user = User.objects.create_user(username, email=f"{username}@example.org", password=PASSWORD, **fields)
    RoleGrant.objects.bulk_create(RoleGrant(user=user, role=role, expires_at=expires_at) for role in roles)
    return user


def client_of(user: User) -> Client:
    """A browser in which the person is signed in."""
    client = Client()
    client.force_login(user)
    return client


def experiment(
    identifier: str, *team: User, title: str = "", instrument: str = "d20", days_ago: int = 10
) -> Experiment:
    """An experiment of three days that began `days_ago`; instrument and cycle are made when they are new."""
    begun = timezone.now() - timedelta(days=days_ago)
    proposal = Proposal.objects.create(identifier=identifier, title=title or f"Proposal {identifier}")
    made = Experiment.objects.create(
        proposal=proposal,
        instrument=Instrument.objects.get_or_create(code=instrument, defaults={"name": instrument.upper()})[0],
        cycle=_cycle(),
        starts_at=begun,
        ends_at=begun + timedelta(days=3),
        data_path=f"/data/{identifier}",
    )
    made.team.set(team)
    return made


def _cycle() -> Cycle:
    today = timezone.now().date()
    dates = {"starts_on": today - timedelta(days=60), "ends_on": today + timedelta(days=60)}
    return Cycle.objects.get_or_create(name="Cycle", defaults=dates)[0]


def host(name: str = "host-1", **fields: Any) -> Host:
    """A host that was seen a moment ago and has room for many machines."""
    size = {
        "cpus": 64,
        "memory_mib": 262_144,
        "disk_gib": 4_000,
        "disk_free_gib": 3_500,
        "found": "QEMU 7.2, emulation",
    }
    return Host.objects.create(name=name, **{"seen_at": timezone.now(), **size, **fields})


def image(name: str = "Debian desktop", version: str = "12.1", **fields: Any) -> Image:
    """An image with desktop, terminal and JupyterLab. Its file does not exist; real machines have their own."""
    fields.setdefault("description", "Xfce, Python for science and JupyterLab.")
    fields.setdefault("path", f"/nowhere/{name}-{version}.qcow2")
    fields.setdefault("sha256", "0" * 64)
    made = Image.objects.create(name=name, version=version, **fields)
    for kind, port in ((Protocol.VNC, 5901), (Protocol.JUPYTER, 8888), (Protocol.SSH, 22)):
        ImageProtocol.objects.create(image=made, kind=kind, port=port)
    return made


def flavour(name: str = "Small", vcpus: int = 1, memory_mib: int = 1024, disk_gib: int = 10, **fields: Any) -> Flavour:
    return Flavour.objects.create(name=name, vcpus=vcpus, memory_mib=memory_mib, disk_gib=disk_gib, **fields)


def plan(of: Image, size: Flavour, *, preset: bool = False) -> Plan:
    return Plan.objects.create(image=of, flavour=size, preset=preset)


def machine(
    owner: User,
    of: Plan,
    on: Host | None = None,
    *,
    state: State = State.ACTIVE,
    members: Iterable[User] = (),
    experiments: Iterable[Experiment] = (),
    **fields: Any,
) -> Instance:
    """A machine as it would be in `state`, with its members (full control), history and steps."""
    now = timezone.now()
    made = Instance.objects.create(
        owner=owner,
        plan=of,
        host=on,
        state=state,
        **{"name": f"{owner.username}'s machine", "expires_at": now + timedelta(days=13)}
        | {"vcpus": of.flavour.vcpus, "memory_mib": of.flavour.memory_mib, "disk_gib": of.flavour.disk_gib}
        | {"power": "running" if state in HOLDS_CPU else "off"}
        | {"desktop_ready_at": now if state == State.ACTIVE else None}
        | {"deleted_at": None if state in LIVE else now}
        | fields,
    )
    made.experiments.set(experiments)
    Member.objects.create(instance=made, user=owner, role=MemberRole.OWNER)
    Member.objects.bulk_create(Member(instance=made, user=user, role=MemberRole.USER) for user in members)
    _write_past(made, timezone.now())
    return made


def _write_past(made: Instance, now: datetime) -> None:
    Transition.objects.create(instance=made, to=State.BUILDING, by=made.owner, at=made.created_at)
    if made.state != State.BUILDING:
        Transition.objects.create(instance=made, origin=State.BUILDING, to=made.state, at=now)
    if made.state == State.ACTIVE:
        Step.objects.bulk_create(Step(instance=made, attempt=made.attempt, name=name) for name in STEPS)
    elif made.state in {State.BUILDING, State.STARTING}:
        Step.objects.create(instance=made, attempt=made.attempt, name="place")


@dataclass
class Facility:
    """Everybody and everything that most tests need."""

    alice: User
    bob: User
    charlie: User
    ines: User
    sam: User
    admin: User
    host: Host
    image: Image
    small: Flavour
    large: Flavour
    plan: Plan
    large_plan: Plan
    experiment: Experiment
    charlies_experiment: Experiment
    machine: Instance


def facility() -> Facility:
    """Alice and Bob measured together; Alice's machine is ready and Bob is a member. Charlie measured elsewhere."""
    alice, bob, charlie = person("alice"), person("bob"), person("charlie")
    institute = Affiliation.objects.create(name="Institute of Examples", town="Grenoble", country="FR")
    User.objects.filter(pk=alice.pk).update(affiliation=institute)
    computer, desktop = host(), image()
    small, large = flavour(), flavour("Large", 8, 16_384, 40)
    usual, bigger = plan(desktop, small, preset=True), plan(desktop, large)
    together = experiment("EX-1", alice, bob, title="Magnetic order in a frustrated lattice")
    return Facility(
        alice=alice,
        bob=bob,
        charlie=charlie,
        ines=person("ines", Role.INSTRUMENT_SCIENTIST),
        sam=person("sam", Role.IT_SUPPORT, Role.STAFF),
        admin=person("admin", Role.ADMIN, is_staff=True, is_superuser=True),
        host=computer,
        image=desktop,
        small=small,
        large=large,
        plan=usual,
        large_plan=bigger,
        experiment=together,
        charlies_experiment=experiment("EX-2", charlie, instrument="in5"),
        machine=machine(alice, usual, computer, members=[bob], experiments=[together]),
    )
