"""The administration's first page: what needs a hand, then numbers, then lists."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models import Count, Q, Sum
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from desktops.models import Connection
from experiments.models import Experiment
from instances.admin.hosts import condition
from instances.admin.machines import needs_a_hand
from instances.cards import look_of
from instances.models import Carriage, Host, Image, Instance, Plan, Stray, Visibility
from instances.sentences import told
from instances.states import HOLDS_CPU, LIVE, WORKING, State

SHOWN = 12
"""How many of each kind are listed; the rest is a number and a link."""


class Trouble(NamedTuple):
    """One thing that needs a hand: what, why, since when, and where to mend it."""

    tone: str
    what: str
    why: str
    since: str
    url: str


class Number(NamedTuple):
    label: str
    value: str
    detail: str
    url: str


class Load(NamedTuple):
    """How much of a host is promised, in percent of what it may promise."""

    host: Host
    words: str
    tone: str
    machines: int
    cpus: int
    memory: int
    url: str


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What unfold calls to fill admin/index.html. A constant number of queries, however large the facility."""
    if not request.user.has_perm("instances.view_instance"):
        return context
    machines = Instance.objects.filter(needs_a_hand())
    hosts = list(_hosts())
    troubles = [*_hosts_in_trouble(hosts), *_machines_in_trouble(machines), *_strays(), *_orphans(hosts)]
    troubles += [*_uncarried(), *_gaps(hosts)]
    more = max(0, machines.count() - SHOWN)
    return context | {
        "troubles": troubles,
        "more_machines": more,
        "more_url": reverse("admin:instances_instance_changelist") + "?show=hand",
        "numbers": _numbers(),
        "loads": [_load(host) for host in hosts],
    }


def _hosts() -> Any:
    claims = Q(instances__state__in=HOLDS_CPU)
    return Host.objects.annotate(
        carried=Count("instances", filter=Q(instances__state__in=LIVE)),
        claimed_cpus=Sum("instances__vcpus", filter=claims),
        claimed_memory=Sum("instances__memory_mib", filter=claims),
    )[:100]


def _hosts_in_trouble(hosts: list[Host]) -> list[Trouble]:
    found = []
    for host in hosts:
        key, words = condition(host)
        if key in {"problem", "unseen"}:
            since = timesince(host.seen_at) if host.seen_at else ""
            why = told(host.problem) or _("The observer has not seen it within two minutes.")
            found.append(Trouble("bad", _("Host %(name)s: %(words)s") % {"name": host, "words": words.lower()}, why,
                                 since, reverse("admin:instances_host_change", args=[host.pk])))  # fmt: skip
    return found


def _machines_in_trouble(machines: Any) -> list[Trouble]:
    newest = machines.select_related("owner", "host").order_by("state_since")[:SHOWN]
    return [
        Trouble(
            "bad" if machine.state == State.ERROR else "warn",
            f"{machine} · {machine.owner} · {look_of(machine).word}",
            told(machine.problem) or _("It takes longer than it may."),
            timesince(machine.state_since),
            reverse("admin:instances_instance_change", args=[machine.pk]),
        )
        for machine in newest
    ]


def _strays() -> list[Trouble]:
    return [
        Trouble(
            "warn",
            _("Unknown machine on %(host)s") % {"host": stray.host},
            _("It carries our mark and no row knows it: %(domain)s") % {"domain": stray.domain},
            timesince(stray.first_seen_at),
            reverse("admin:instances_stray_change", args=[stray.pk]),
        )
        for stray in Stray.objects.select_related("host").order_by("first_seen_at")[:SHOWN]
    ]


def _orphans(hosts: list[Host]) -> list[Trouble]:
    return [
        Trouble(
            "warn",
            _("Disks without a machine on %(host)s: %(count)d") % {"host": host, "count": len(host.leftovers)},
            _("They take %(size)s. VISA never removes them; the page of the host names them.")
            % {"size": filesizeformat(sum(volume["bytes"] for volume in host.leftovers))},
            "",
            reverse("admin:instances_host_change", args=[host.pk]),
        )
        for host in hosts
        if host.leftovers
    ]


def _uncarried() -> list[Trouble]:
    failed = Carriage.objects.filter(state=Carriage.State.FAILED).select_related("image", "host").order_by("since")
    return [
        Trouble(
            "bad",
            _("%(image)s could not be copied to %(host)s") % {"image": carried.image, "host": carried.host},
            told(carried.problem),
            timesince(carried.since),
            reverse("admin:instances_image_change", args=[carried.image_id]),
        )
        for carried in failed[:SHOWN]
    ]


def _gaps(hosts: list[Host]) -> list[Trouble]:
    """What a facility lacks before anybody can have a machine."""
    found = []
    if not any(host.enabled for host in hosts):
        found.append(Trouble("warn", _("No host takes new machines"), _("Add one, or let one take machines again."), "",
                             reverse("admin:instances_host_changelist")))  # fmt: skip
    if not Plan.objects.filter(enabled=True, image__visibility=Visibility.EVERYONE).exists():
        found.append(Trouble("warn", _("Nothing is on offer"), _("Add an image and a plan that is for everyone."), "",
                             reverse("admin:instances_plan_changelist")))  # fmt: skip
    return found


def _numbers() -> list[Number]:
    now = timezone.now()
    count = Instance.objects.live().aggregate(
        live=Count("pk"),
        active=Count("pk", filter=Q(state=State.ACTIVE)),
        working=Count("pk", filter=Q(state__in=WORKING)),
        resting=Count("pk", filter=Q(state__in=[State.STOPPED, State.HIBERNATED])),
        owners=Count("owner", distinct=True),
    )
    measuring = Experiment.objects.filter(starts_at__lte=now, ends_at__gte=now).count()
    watching = Connection.objects.open_at(now).aggregate(open=Count("pk"), people=Count("user", distinct=True))
    machines = reverse("admin:instances_instance_changelist")
    return [
        Number(_("Machines"), str(count["live"]), _people(count["owners"]), machines),
        Number(_("Running"), str(count["active"]), _("%(n)d on their way") % {"n": count["working"]},
               f"{machines}?show=running"),
        Number(_("Stopped or asleep"), str(count["resting"]), _("they hold disk alone"), f"{machines}?show=resting"),
        Number(_("Screens open now"), str(watching["open"]), _people(watching["people"]),
               reverse("admin:desktops_connection_changelist")),
        Number(_("Experiments measuring now"), str(measuring), _images(),
               reverse("admin:experiments_experiment_changelist") + "?when=now"),
    ]  # fmt: skip


def _people(count: int) -> str:
    return ngettext("of one person", "of %(n)d people", count) % {"n": count}


def _images() -> str:
    count = Image.objects.exclude(visibility=Visibility.NOBODY).count()
    return ngettext("one image on offer", "%(n)d images on offer", count) % {"n": count}


def _load(host: Any) -> Load:
    cpus = host.cpus * host.cpu_overcommit
    memory = host.memory_mib - host.memory_reserved_mib
    key, words = condition(host)
    tone = {"problem": "bad", "unseen": "warn", "closed": "warn", "drained": "rest", "well": "good"}[key]
    url = reverse("admin:instances_host_change", args=[host.pk])
    return Load(
        host, words, tone, host.carried, _share(host.claimed_cpus, cpus), _share(host.claimed_memory, memory), url
    )


def _share(claimed: float | None, of: float) -> int:
    return min(100, round(100 * (claimed or 0) / of)) if of > 0 else 0
