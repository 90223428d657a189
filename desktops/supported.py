"""Machines as the facility's support sees them: who calls for help, how the machine is, and what may be done now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import and_
from typing import NamedTuple

from django import forms
from django.db.models import Count, Exists, F, OuterRef, Q, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from desktops import access
from desktops.models import AccessRequest, Connection, HelpRequest, Policy, Which
from experiments.models import Instrument, User
from instances.cards import LOOKS, Look, look_of
from instances.models import Instance
from instances.models.instance import InstanceQuerySet
from instances.sentences import told
from instances.states import HOLDS_CPU, WORKING, State

QUIET = timedelta(minutes=2)
"""A running machine that the observer did not see for so long is told as old news."""

STATES: dict[str, tuple[Promise, frozenset[State]]] = {
    "running": (gettext_lazy("Running"), frozenset({State.ACTIVE})),
    "hand": (gettext_lazy("Needs a hand"), frozenset({State.ERROR, State.UNREACHABLE})),
    "working": (gettext_lazy("Being made or changed"), WORKING),
    "resting": (gettext_lazy("Stopped or asleep"), frozenset({State.STOPPED, State.HIBERNATED})),
}


class Filter(forms.Form):
    """What a supporter looks for. A field that makes no sense is left out."""

    q = forms.CharField(label=gettext_lazy("Search"), required=False, max_length=100)
    state = forms.ChoiceField(
        label=gettext_lazy("State"),
        required=False,
        choices=[("", gettext_lazy("Any state")), *((name, word) for name, (word, _states) in STATES.items())],
    )
    instrument = forms.ModelChoiceField(
        Instrument.objects.none(),
        label=gettext_lazy("Instrument"),
        required=False,
        to_field_name="code",
        empty_label=gettext_lazy("Any instrument"),
    )
    help = forms.BooleanField(label=gettext_lazy("Only calls for help"), required=False)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["instrument"].queryset = Instrument.objects.all()  # type: ignore[attr-defined]

    def apply(self, machines: InstanceQuerySet) -> InstanceQuerySet:
        self.is_valid()
        wanted = self.cleaned_data
        if wanted.get("q"):
            machines = machines.filter(reduce(and_, map(_mentions, wanted["q"].split())))
        if wanted.get("state"):
            machines = machines.filter(state__in=STATES[wanted["state"]][1])
        if wanted.get("instrument"):
            used = Instance.experiments.through.objects.filter(experiment__instrument=wanted["instrument"])
            machines = machines.filter(pk__in=used.values("instance"))
        if wanted.get("help"):
            machines = machines.filter(pk__in=HelpRequest.objects.filter(closed_at=None).values("instance"))
        return machines


def _mentions(word: str) -> Q:
    """Owner, name, proposal or instrument contain the word."""
    owner = Q(owner__first_name__icontains=word) | Q(owner__last_name__icontains=word)
    proposal = Q(experiment__proposal__identifier__icontains=word)
    instrument = Q(experiment__instrument__name__icontains=word) | Q(experiment__instrument__code__icontains=word)
    used = Instance.experiments.through.objects.filter(proposal | instrument)
    return owner | Q(owner__username__icontains=word) | Q(name__icontains=word) | Q(pk__in=used.values("instance"))


def machines_for(user: User) -> InstanceQuerySet:
    """The live machines that the person supports: those whose call waits first, then the most recently used."""
    calls = HelpRequest.objects.filter(instance=OuterRef("pk"), closed_at=None)
    machines = Instance.objects.live().supported_by(user)
    recent = Coalesce("last_used_at", "created_at").desc()
    marked = machines.annotate(
        waits=Exists(calls.filter(taken_by=None)), called=Exists(calls), pictured_at=F("thumbnail__taken_at")
    )
    shown = marked.select_related("owner__affiliation", "host").prefetch_related(
        "experiments__proposal", "experiments__instrument"
    )
    return shown.order_by("-waits", "-called", recent, "-pk")


class Sign(NamedTuple):
    """One line of a machine's health; `tone` is good, busy, warn, bad or rest."""

    name: str
    value: str
    tone: str = "rest"


@dataclass(frozen=True)
class Case:
    """One machine as `user` of support sees it."""

    user: User
    instance: Instance
    call: HelpRequest | None
    mine: AccessRequest | None
    owner_here: bool
    people: int
    sees: bool
    unattended: bool

    @property
    def look(self) -> Look:
        return look_of(self.instance)

    @property
    def others(self) -> int:
        """People at the screen besides the owner."""
        return max(0, self.people - self.owner_here)

    @property
    def running(self) -> bool:
        return self.instance.state in HOLDS_CPU

    @property
    def waiting(self) -> AccessRequest | None:
        """The own request that the owner has not answered yet."""
        return self.mine if self.mine and self.mine.state == AccessRequest.State.PENDING else None

    @property
    def granted(self) -> AccessRequest | None:
        return self.mine if self.mine and self.mine.state == AccessRequest.State.GRANTED else None

    @property
    def may_ask(self) -> bool:
        """Who takes a call that waits need not ask."""
        waits = self.call is not None and self.call.taken_by is None
        return self.running and self.mine is None and not waits

    @property
    def may_enter(self) -> bool:
        return self.may_ask and self.unattended and not self.owner_here

    @property
    def may_open(self) -> bool:
        return self.sees and self.instance.ready

    @property
    def mine_to_close(self) -> bool:
        return self.call is not None and self.call.taken_by_id == self.user.pk

    @property
    def signs(self) -> list[Sign]:
        return signs_of(self.instance, timezone.now())


def signs_of(instance: Instance, now: datetime) -> list[Sign]:
    """The machine's health as a supporter needs it before going in."""
    look = LOOKS[State(instance.state)]
    signs = [Sign(_("State"), str(look.word), look.tone), _power(instance, now), _desktop(instance), _host(instance)]
    size = _("%(cpus)d CPU · %(gib).0f GB memory · %(disk)d GB disk")
    held = {"cpus": instance.vcpus, "gib": instance.memory_mib / 1024, "disk": instance.disk_gib}
    signs.append(Sign(_("Size"), size % held))
    if instance.problem:
        signs.append(Sign(_("Problem"), told(instance.problem), "bad"))
    return signs


def _power(instance: Instance, now: datetime) -> Sign:
    words = {"running": _("on"), "paused": _("paused"), "off": _("off"), "": _("not known")}
    power = words.get(instance.power, instance.power)
    if instance.observed_at is None:
        return Sign(_("Power"), power, "rest")
    seconds = max(0, round((now - instance.observed_at).total_seconds()))
    old = instance.state in HOLDS_CPU and seconds > QUIET.total_seconds()
    seen = _("seen %(n)d s ago") if seconds < 600 else _("seen %(n)d min ago")
    text = f"{power}, {seen % {'n': seconds if seconds < 600 else seconds // 60}}"
    return Sign(_("Power"), text, "warn" if old else "good" if instance.power == "running" else "rest")


def _desktop(instance: Instance) -> Sign:
    if instance.state != State.ACTIVE:
        return Sign(_("Desktop"), _("not there"))
    if instance.desktop_ready_at is None:
        return Sign(_("Desktop"), _("does not answer yet"), "warn")
    return Sign(_("Desktop"), _("answers"), "good")


def _host(instance: Instance) -> Sign:
    host = instance.host
    if host is None:
        return Sign(_("Host"), _("none"), "bad")
    if host.reachable:
        return Sign(_("Host"), host.name, "good")
    return Sign(_("Host"), _("%(host)s does not answer") % {"host": host.name}, "bad")


def cases_for(user: User, machines: Sequence[Instance]) -> list[Case]:
    """In a number of queries that does not depend on how many machines there are."""
    policy, now = Policy.current(), timezone.now()
    prefetch_related_objects(machines, "owner__role_grants")
    here = access.owners_here(machines, policy, now)
    seen = access.may_see(user, machines)
    calls = {one.instance_id: one for one in _open_calls(machines)}
    mine = {one.instance_id: one for one in _in_question(user, machines, now)}
    people = _people_at(machines, now)
    return [
        Case(
            user=user,
            instance=one,
            call=calls.get(one.pk),
            mine=mine.get(one.pk),
            owner_here=one.pk in here,
            people=people.get(one.pk, 0),
            sees=one.pk in seen,
            unattended=access.unattended_allowed(one, policy),
        )
        for one in machines
    ]


def _open_calls(machines: Sequence[Instance]) -> list[HelpRequest]:
    calls = HelpRequest.objects.filter(instance__in=machines, closed_at=None)
    return list(calls.select_related("by__affiliation", "taken_by__affiliation"))


def _in_question(user: User, machines: Sequence[Instance], now: datetime) -> list[AccessRequest]:
    """What the person was granted; where they asked again, that."""
    requests = AccessRequest.objects.filter(instance__in=machines, asker=user).select_related("asker__affiliation")
    return [*requests.granted_at(now), *requests.pending_at(now)]


def _people_at(machines: Sequence[Instance], now: datetime) -> dict[int, int]:
    looks = Connection.objects.open_at(now).filter(instance__in=machines, which=Which.SCREEN)
    return dict(looks.order_by().values_list("instance").annotate(n=Count("user", distinct=True)))
