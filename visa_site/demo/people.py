"""People, instruments and experiments of the demo facility, from facility.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from django.utils import timezone

from experiments.models import Affiliation, Cycle, Experiment, Instrument, Proposal, RoleGrant, User

Facts = dict[str, Any]


def facility() -> Facts:
    """What facility.toml says."""
    return tomllib.loads((Path(__file__).parent / "facility.toml").read_text(encoding="utf-8"))


def seed_people(facts: Facts) -> set[str]:
    """Make who and what is missing; what is there stays as people have changed it. Names the accounts that are new."""
    for row in facts["instrument"]:
        Instrument.objects.get_or_create(code=row["code"], defaults=_without(row, "code"))
    places = {row["key"]: _affiliation(row) for row in facts["affiliation"]}
    return {row["username"] for row in facts["person"] if _person(row, places)}


def _affiliation(row: Facts) -> Affiliation:
    return Affiliation.objects.get_or_create(name=row["name"], town=row["town"], country=row["country"])[0]


def _person(row: Facts, places: dict[str, Affiliation]) -> bool:
    """Whether the account is new; it has no password yet."""
    plain = _without(row, "username", "affiliation", "roles", "roles_end_in_days", "instruments", "signs_in")
    mail = f"{row['username']}@example.org"
    defaults = plain | {"affiliation": places[row["affiliation"]], "email": mail, "password": "!"}
    user, new = User.objects.get_or_create(username=row["username"], defaults=defaults)
    if new:
        days = row.get("roles_end_in_days")
        end = timezone.now() + timedelta(days=days) if days else None
        RoleGrant.objects.bulk_create(RoleGrant(user=user, role=role, expires_at=end) for role in row.get("roles", []))
        user.instruments.set(Instrument.objects.filter(code__in=row.get("instruments", [])))
    return new


def seed_experiments(facts: Facts) -> None:
    """Make the experiments that are missing, around today."""
    today = timezone.localdate()
    cycles = {row["key"]: row for row in facts["cycle"]}
    for row in facts["proposal"]:
        Proposal.objects.get_or_create(identifier=row["identifier"], defaults=_without(row, "identifier"))
    for row in facts["experiment"]:
        _experiment(row, cycles[row["cycle"]], today)


def _experiment(row: Facts, cycle: Facts, today: date) -> None:
    proposal = Proposal.objects.get(identifier=row["proposal"])
    instrument = Instrument.objects.get(code=row["instrument"])
    same = {"proposal": proposal, "instrument": instrument, "title": row.get("title", "")}
    if Experiment.objects.filter(**same).exists():
        return
    begins = today + timedelta(days=row["begins"])
    made = Experiment.objects.create(
        **same,
        cycle=_cycle(cycle, today),
        starts_at=_at(begins, 9),
        ends_at=_at(begins + timedelta(days=row["days"]), 8),
        data_path=f"/data/{begins.year}/{row['instrument']}/{row['proposal']}",
    )
    made.team.set(_people(row["team"]))


def _cycle(row: Facts, today: date) -> Cycle:
    first, last = (today + timedelta(days=row[day]) for day in ("first_day", "last_day"))
    dates = {"starts_on": first, "ends_on": last}
    return Cycle.objects.get_or_create(name=f"{today.year}-{row['number']}", defaults=dates)[0]


def _at(day: date, hour: int) -> datetime:
    return timezone.make_aware(datetime.combine(day, time(hour)))


def _people(names: Iterable[str]) -> Iterable[User]:
    return User.objects.filter(username__in=names)


def _without(row: Facts, *names: str) -> Facts:
    return {name: value for name, value in row.items() if name not in names}
