"""A facility after years: 10,000 people and 100,000 machines of the past, written in bulk. Run by bench/home.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from django.db import connection, models, transaction
from django.utils import timezone

from experiments.models import Affiliation, Cycle, Experiment, Instrument, Proposal, User
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
from instances.states import State

BATCH = 2_000
STEPS = ["place", "disk", "start", "boot", "desktop"]


@transaction.atomic
def seed(people: int = 10_000, past: int = 100_000, live_each: dict[str, int] | None = None) -> None:
    """Write the facility. `live_each` names people by user name and says how many live machines each has.

    Every fifth person has a live machine of their own as well, and everyone has an equal share of the past.
    """
    plan, host = _catalogue()
    users = _people(people, list(live_each or {}))
    experiments = _experiments(users, people // 5)
    busy = [user for user in users if user.username in (live_each or {})]
    live = [user for user in busy for _ in range((live_each or {})[user.username])] + users[::5]
    _machines(users, past, plan, None, State.DELETED)
    _attach(_machines(live, len(live), plan, host, State.ACTIVE), experiments)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _bulk(model: type[models.Model], many: int, make: Callable[[int], Any]) -> Iterator[Any]:
    for start in range(0, many, BATCH):
        yield from model._default_manager.bulk_create([make(n) for n in range(start, min(start + BATCH, many))])


def _catalogue() -> tuple[Plan, Host]:
    image = Image.objects.create(name="Desktop", version="1", path="/nowhere", sha256="0" * 64)
    ImageProtocol.objects.create(image=image, kind=Protocol.VNC, port=5901)
    flavour = Flavour.objects.create(name="Small", vcpus=1, memory_mib=1024, disk_gib=10)
    host = Host.objects.create(
        name="host", cpus=10_000, memory_mib=10_000_000, disk_gib=1_000_000, disk_free_gib=1_000_000
    )
    return Plan.objects.create(image=image, flavour=flavour, preset=True), host


def _people(many: int, names: list[str]) -> list[User]:
    homes = list(_bulk(Affiliation, 200, lambda n: Affiliation(name=f"Institute {n}", town="Town", country="FR")))

    def person(n: int) -> User:
        name = names[n] if n < len(names) else f"person{n}"
        return User(username=name, first_name="Name", last_name=f"Family {n}", affiliation=homes[n % 200])

    return list(_bulk(User, many, person))


def _experiments(users: list[User], many: int) -> list[Experiment]:
    now = timezone.now()
    cycle = Cycle.objects.create(name="Cycle", starts_on=now.date(), ends_on=now.date())
    instruments = list(_bulk(Instrument, 40, lambda n: Instrument(code=f"i{n}", name=f"I{n}")))
    proposals = list(_bulk(Proposal, many, lambda n: Proposal(identifier=f"P-{n}", title=f"Study number {n}")))

    def experiment(n: int) -> Experiment:
        began = now - timedelta(days=n % 1500)
        made = {"proposal": proposals[n], "instrument": instruments[n % 40], "cycle": cycle}
        return Experiment(**made, starts_at=began, ends_at=began + timedelta(days=3))

    experiments = list(_bulk(Experiment, many, experiment))
    team = Experiment.team.through
    list(
        _bulk(team, many * 5, lambda n: team(experiment_id=experiments[n % many].pk, user_id=users[n % len(users)].pk))
    )
    return experiments


def _machines(owners: list[User], many: int, plan: Plan, host: Host | None, state: State) -> list[Instance]:
    now = timezone.now()
    gone = state == State.DELETED

    def machine(n: int) -> Instance:
        made = now - timedelta(minutes=20 * n)
        size = {"vcpus": 1, "memory_mib": 1024, "disk_gib": 10}
        times = {"created_at": made, "state_since": made, "deleted_at": made + timedelta(days=9) if gone else None}
        no_secrets = {"vnc_password": "", "console_password": "", "jupyter_token": "", "ssh_secret": ""}
        ready = {"desktop_ready_at": None if gone else made, "expires_at": made + timedelta(days=14)}
        return Instance(
            owner=owners[n % len(owners)], name=f"Machine {n}", plan=plan, host=host, state=state,
            **size, **times, **no_secrets, **ready,
        )  # fmt: skip

    made = list(_bulk(Instance, many, machine))
    list(_bulk(Member, many, lambda n: Member(instance=made[n], user_id=made[n].owner_id, role=MemberRole.OWNER)))
    ends = [("", State.BUILDING), (State.BUILDING, state)]
    list(_bulk(Transition, many * 2, lambda n: Transition(
        instance=made[n // 2], origin=ends[n % 2][0], to=ends[n % 2][1], at=made[n // 2].created_at,
    )))  # fmt: skip
    return made


def _attach(machines: list[Instance], experiments: list[Experiment]) -> None:
    """Steps and experiments, as the cards of live machines show them."""
    list(_bulk(Step, len(machines) * len(STEPS), lambda n: Step(
        instance=machines[n // len(STEPS)], attempt=1, name=STEPS[n % len(STEPS)],
    )))  # fmt: skip
    link = Instance.experiments.through
    list(_bulk(link, len(machines), lambda n: link(
        instance_id=machines[n].pk, experiment_id=experiments[n % len(experiments)].pk,
    )))  # fmt: skip
