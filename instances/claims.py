"""What machines claim of their hosts, counted from rows, and who gets the room that is left.

`place` and `claim_again` hold the hosts' rows: call them in the transaction that writes the claim.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.utils.translation import gettext as _

from instances.models import Flavour, Host, Image, Instance, PlacementPolicy, Relocation
from instances.models.fields import labels_of
from instances.placement import Need, Room, Strategy, choose
from instances.states import HOLDS_CPU, ON_HOST


class NoRoom(Exception):
    """No host can carry it now. The message is for the person; `field` names the form field it belongs to."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


def need_of(image: Image, flavour: Flavour) -> Need:
    """What a new machine of this image and size asks of its host."""
    disk = max(flavour.disk_gib, image.virtual_size_gib)
    labels = labels_of(image.requires) | labels_of(flavour.requires)
    return Need(flavour.vcpus, flavour.memory_mib, disk, labels)


def rooms(hosts: Iterable[Host], apart_from: int | None = None) -> list[Room]:
    """What each host may still promise, in two queries: its size times the overcommit, less what its machines claim.

    A machine that runs on the host claims, whatever its row says; `apart_from` leaves one out, by its row number.
    """
    hosts = list(hosts)
    others = Q() if apart_from is None else ~Q(pk=apart_from)
    claiming = Q(state__in=HOLDS_CPU) | Q(power__in=["running", "paused"])
    there = Instance.objects.filter(others, host__in=hosts, state__in=ON_HOST).order_by()
    claims = there.values("host").annotate(
        cpus=Sum("vcpus", filter=claiming), memory=Sum("memory_mib", filter=claiming), disk=Sum("disk_gib")
    )
    arriving = Relocation.objects.filter(target__in=hosts, outcome=Relocation.Outcome.COPYING).order_by()
    coming = dict(arriving.values("target").annotate(disk=Sum("instance__disk_gib")).values_list("target", "disk"))
    of_host: dict[int, Any] = {claim["host"]: claim for claim in claims}
    return [_room(host, of_host.get(host.pk, {}), coming.get(host.pk, 0)) for host in hosts]


def _room(host: Host, claimed: Any, coming_gib: int) -> Room:
    disk = host.disk_gib * host.disk_overcommit - (claimed.get("disk") or 0) - coming_gib
    return Room(
        host=host.pk,
        vcpus=host.cpus * host.cpu_overcommit - (claimed.get("cpus") or 0),
        memory_mib=host.memory_mib - host.memory_reserved_mib - (claimed.get("memory") or 0),
        disk_gib=disk if host.disk_free_gib >= host.disk_reserved_gib else min(disk, 0),
        labels=labels_of(host.labels),
    )


def place(need: Need, elsewhere_than: int | None = None) -> Host:
    """The host for a machine, its row locked; `elsewhere_than` is the host that it leaves. Raises NoRoom."""
    others = Host.objects.filter(enabled=True) if elsewhere_than is None else _others(elsewhere_than)
    hosts = {host.pk: host for host in others.select_for_update(no_key=True).order_by("pk")}
    if not hosts:
        raise NoRoom(_("No host takes new machines at the moment. Please try later or tell your local contact."))
    if not any(need.labels <= labels_of(host.labels) for host in hosts.values()):
        raise NoRoom(_("No host has what this image and size need. Choose another, or tell your local contact."))
    there = rooms(host for host in hosts.values() if host.reachable)
    room = choose(there, need, Strategy(PlacementPolicy.current().strategy))
    if room is None:
        raise NoRoom(_("No host has room for this size now. Choose a smaller size, or try later."), "flavour")
    return hosts[room.host]


def _others(pk: int) -> QuerySet[Host]:
    return Host.objects.filter(enabled=True).exclude(pk=pk)


def claim_again(instance: Instance) -> None:
    """A machine at rest gave back its CPUs and memory; starting it needs them on the same host. Raises NoRoom."""
    host = Host.objects.select_for_update(no_key=True, of=("self",)).get(instances=instance)
    if host.lost:
        raise NoRoom(_("The host of this machine does not answer. Its files are kept: start it when the host is back."))
    if host.closed_at:
        why = {"reason": host.closed_reason}
        raise NoRoom(_("Its host is closed for now: “%(reason)s”. It can be started when the host is back.") % why)
    (room,) = rooms([host], apart_from=instance.pk)
    if not room.fits(Need(instance.vcpus, instance.memory_mib, 0)):
        raise NoRoom(_("The host of this machine is full at the moment. Try again when another machine has stopped."))
