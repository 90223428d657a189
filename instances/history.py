"""What happened to a machine, in plain words: its moves, its time, and who came and went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import F, QuerySet, Value
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from experiments.models import User
from instances.evidence import entry_words
from instances.models import Entry, Instance, MemberChange, Transition
from instances.states import State

Words = str | Promise

HISTORY: dict[str, Words] = {
    State.BUILDING: gettext_lazy("Machine ordered"),
    State.STARTING: gettext_lazy("Disk made, switching on"),
    State.ACTIVE: gettext_lazy("Ready for work"),
    State.STOPPING: gettext_lazy("Stop asked for"),
    State.STOPPED: gettext_lazy("Stopped"),
    State.REBOOTING: gettext_lazy("Restart asked for"),
    State.HIBERNATING: gettext_lazy("Falling asleep"),
    State.HIBERNATED: gettext_lazy("Asleep"),
    State.UNREACHABLE: gettext_lazy("The host stopped answering"),
    State.ERROR: gettext_lazy("Something failed"),
    State.DELETING: gettext_lazy("Deletion asked for"),
    State.BINNED: gettext_lazy("Put into the recycle bin"),
    State.DELETED: gettext_lazy("Deleted for good"),
}

MEMBERS: dict[str, Words] = {
    MemberChange.Act.ADDED: gettext_lazy("%(who)s was added: %(role)s"),
    MemberChange.Act.JOINED: gettext_lazy("%(who)s came by a link: %(role)s"),
    MemberChange.Act.ROLE: gettext_lazy("%(who)s from now on: %(role)s"),
    MemberChange.Act.REMOVED: gettext_lazy("%(who)s was removed"),
    MemberChange.Act.LEFT: gettext_lazy("%(who)s left"),
    MemberChange.Act.OWNER: gettext_lazy("Handed over to %(who)s"),
}


class Event(NamedTuple):
    """A line of the machine's history. `kind` is "state", "time" or "people"; moves alone have `origin` and `to`."""

    kind: str
    said: Words
    by: User | None
    at: datetime
    reason: str = ""
    origin: str = ""
    to: str = ""


def timeline(instance: Instance) -> QuerySet[Any, dict[str, Any]]:
    """Part, row number and time of all that happened, newest first: a page of it is what `told_of` makes lines of."""
    rows = [_numbered(instance.transitions, "state"), _numbered(instance.entries, "time")]
    return rows[0].union(rows[1], _numbered(instance.member_changes, "people"), all=True).order_by("-at", "-number")


def _numbered(rows: Any, kind: str) -> QuerySet[Any, dict[str, Any]]:
    found: QuerySet[Any, dict[str, Any]] = rows.order_by().values("at", number=F("pk"), part=Value(kind))
    return found


def told_of(page: Iterable[dict[str, Any]]) -> list[Event]:
    """The lines of some rows of a `timeline`, in their order; one query for each kind."""
    page = list(page)
    wanted: dict[str, list[int]] = defaultdict(list)
    for row in page:
        wanted[row["part"]].append(row["number"])
    lines = {(kind, pk): line for kind, numbers in wanted.items() for pk, line in READ[kind](numbers)}
    return [lines[row["part"], row["number"]] for row in page]


def happened(instance: Instance, most: int) -> list[Event]:
    """What happened to the machine and who came and went, newest first, `most` lines of it."""
    return told_of(timeline(instance)[:most])


def _moves(numbers: list[int]) -> list[tuple[int, Event]]:
    rows = Transition.objects.filter(pk__in=numbers).select_related("by")
    return [(row.pk, Event("state", said(row), row.by, row.at, row.reason, row.origin, row.to)) for row in rows]


def _entries(numbers: list[int]) -> list[tuple[int, Event]]:
    rows = Entry.objects.filter(pk__in=numbers).select_related("by")
    return [(row.pk, Event("time", entry_words(row.kind, row.facts), row.by, row.at, row.reason)) for row in rows]


def _changes(numbers: list[int]) -> list[tuple[int, Event]]:
    rows = MemberChange.objects.filter(pk__in=numbers).select_related("by", "user")
    return [(row.pk, Event("people", _changed(row), row.by if row.by != row.user else None, row.at)) for row in rows]


READ: dict[str, Callable[[list[int]], list[tuple[int, Event]]]] = {
    "state": _moves,
    "time": _entries,
    "people": _changes,
}


def said(transition: Transition) -> Words:
    """A row of the history in plain words."""
    if transition.origin == State.BINNED and transition.to == State.STOPPED:
        return _("Brought back")
    asked = transition.to == State.STARTING and transition.origin != State.BUILDING
    return _("Start asked for") if asked else HISTORY.get(transition.to, transition.to)


def _changed(change: MemberChange) -> Words:
    facts = {"who": change.user or _("somebody"), "role": change.get_role_display()}
    return str(MEMBERS[change.act]) % facts
