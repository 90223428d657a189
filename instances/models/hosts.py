"""The hosts that carry machines."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from instances.models.fields import LabelsField
from instances.placement import Strategy

SEEN_RECENTLY = timedelta(minutes=2)

BLIP = timedelta(seconds=20)
"""A silence shorter than this is a libvirtd that restarts: its machines run on, and nobody's desktop is closed."""


_HERE = {"qemu": set[str](), "qemu+unix": {"socket"}, "test": set[str]()}
_FAR = {"qemu+tls": {"pkipath"}, "qemu+ssh": {"keyfile", "known_hosts", "no_tty"}}
"""Ways to a libvirt, and what may be said of them: other options would skip checks or start programs here."""


def validate_uri(value: str) -> None:
    """An address of libvirt (https://libvirt.org/uri.html) that is encrypted where it leads over a network."""
    found = urlsplit(value)
    if found.scheme not in _HERE | _FAR or value.split() != [value] or found.password:
        raise ValidationError(_("An address such as qemu:///system or qemu+tls://host.example.org/system."))
    if bool(found.hostname) != (found.scheme in _FAR):
        raise ValidationError(
            _("Name the host for qemu+tls and qemu+ssh, and none for the others: qemu+tls://host.example.org/system.")
        )
    options = {name for name, _value in parse_qsl(found.query, keep_blank_values=True)}
    for unknown in options - (_HERE | _FAR)[found.scheme]:
        raise ValidationError(
            _("“%(option)s” is not an option that VISA lets through here."), params={"option": unknown}
        )


def validate_networks(value: str) -> None:
    """Each word must be a network in CIDR notation, for example 10.0.0.0/8."""
    for word in value.split():
        try:
            ipaddress.ip_network(word)
        except ValueError as error:
            raise ValidationError(
                _("“%(word)s” is not a network such as 10.0.0.0/8."), params={"word": word}
            ) from error


def validate_guest_network(value: str) -> None:
    validate_networks(value)
    networks = [ipaddress.ip_network(word) for word in value.split()]
    if len(networks) != 1 or networks[0].version != 4 or networks[0].num_addresses < 8:
        raise ValidationError(_("Name one IPv4 network with at least eight addresses, for example 10.213.0.0/20."))


class Host(models.Model):
    """A libvirt host. What staff decide is above, what the observer saw last is below."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=60, unique=True)
    uri = models.CharField(
        _("libvirt address"),
        max_length=300,
        default="qemu:///system",
        validators=[validate_uri],
        help_text=_("qemu:///system here; qemu+tls://host.example.org/system or qemu+ssh://visa@host/system far away."),
    )
    enabled = models.BooleanField(_("takes new machines"), default=True)
    closed_at = models.DateTimeField(_("closed"), null=True, editable=False)
    closed_reason = models.CharField(_("why it is closed"), max_length=300, blank=True, editable=False)
    labels = LabelsField(
        _("labels"),
        help_text=_("What it has that others lack, for example: gpu ssd. Images and sizes may require labels."),
    )
    virtualisation = models.CharField(
        _("virtualisation"),
        max_length=10,
        default="auto",
        choices=[
            ("auto", _("KVM where it works, else emulation")),
            ("kvm", _("KVM only")),
            ("qemu", _("Emulation only")),
        ],
    )
    pool_name = models.CharField(_("storage pool"), max_length=60, default="visa")
    pool_path = models.CharField(_("folder of the pool"), max_length=300, default="/var/lib/libvirt/images/visa")
    network_name = models.CharField(_("network"), max_length=60, default="visa")
    network_cidr = models.CharField(
        _("addresses of the machines"), max_length=43, default="10.213.0.0/20", validators=[validate_guest_network]
    )
    blocked_networks = models.TextField(
        _("networks machines may not reach"), blank=True, validators=[validate_networks]
    )
    console_address = models.GenericIPAddressField(
        _("address of consoles"),
        null=True,
        blank=True,
        help_text=_(
            "Of a far host: where its QEMU listens for the relays, with TLS. Holds for machines made from then on."
            " Empty: no consoles."
        ),
    )
    cpu_overcommit = models.FloatField(
        _("machine CPUs per host CPU"), default=4.0, validators=[MinValueValidator(0.1), MaxValueValidator(64)]
    )
    memory_reserved_mib = models.PositiveIntegerField(_("memory kept for the host, MiB"), default=1024)
    disk_overcommit = models.FloatField(
        _("promised disk per real disk"), default=2.0, validators=[MinValueValidator(0.1), MaxValueValidator(64)]
    )
    disk_reserved_gib = models.PositiveIntegerField(
        _("disk kept free, GiB"), default=2, help_text=_("With less than this really free it gets no new machines.")
    )

    cpus = models.PositiveIntegerField(_("CPUs"), default=0, editable=False)
    memory_mib = models.PositiveIntegerField(_("memory, MiB"), default=0, editable=False)
    disk_gib = models.PositiveIntegerField(_("disk, GiB"), default=0, editable=False)
    disk_free_gib = models.PositiveIntegerField(_("disk free, GiB"), default=0, editable=False)
    found = models.CharField(_("found"), max_length=100, blank=True, editable=False)
    seen_at = models.DateTimeField(_("last seen"), null=True, editable=False)
    problem = models.TextField(_("problem"), blank=True, editable=False)
    # An outage: since when it is silent or answers again, and when people were last told of each.
    lost_since = models.DateTimeField(_("silent since"), null=True, editable=False)
    back_since = models.DateTimeField(_("answers again since"), null=True, editable=False)
    told_lost_at = models.DateTimeField(_("told that it is silent"), null=True, editable=False)
    told_back_at = models.DateTimeField(_("told that it answers"), null=True, editable=False)
    # [{"name": of a volume, "bytes": what it takes of the disk}]
    leftovers = models.JSONField(_("disks without a machine"), default=list, editable=False)

    class Meta:
        verbose_name = _("host")
        verbose_name_plural = _("hosts")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """What libvirt would refuse later is refused at its field."""
        faults: dict[str, object] = {}
        if not self.pool_path.startswith("/"):
            faults["pool_path"] = _("Give the whole path of the folder, beginning with “/”.")
        for field in ("pool_name", "network_name"):
            if not re.fullmatch(r"[\w.-]+", getattr(self, field), re.ASCII):
                faults[field] = _("Use letters, digits, “.”, “-” and “_” only, without spaces.")
        if self.console_address and not self.far_name:
            faults["console_address"] = _(
                "Only hosts across a network need one; consoles of this computer are at hand."
            )
        if faults:
            raise ValidationError(faults)

    @property
    def far_name(self) -> str:
        """The name by which a host across a network is known, and which its certificates must show; else ""."""
        return urlsplit(self.uri).hostname or ""

    @property
    def reachable(self) -> bool:
        """The observer saw it within two minutes, and nothing was wrong."""
        well = not self.problem and self.lost_since is None
        return bool(well and self.seen_at and timezone.now() - self.seen_at < SEEN_RECENTLY)

    @property
    def lost(self) -> bool:
        """It has not answered for longer than a restart of its libvirtd takes."""
        return self.lost_since is not None and timezone.now() - self.lost_since >= BLIP


class PlacementPolicy(models.Model):
    """How hosts are chosen for new machines: one row; without it the default holds."""

    strategy = models.CharField(
        _("new machines go to"),
        max_length=10,
        default=Strategy.SPREAD.value,
        choices=[
            (Strategy.SPREAD.value, _("the host with the most room, so that they spread")),
            (Strategy.PACK.value, _("the fullest host that has room, so that others stay empty")),
        ],
    )

    class Meta:
        verbose_name = _("rules of placement")
        verbose_name_plural = _("rules of placement")

    def __str__(self) -> str:
        return str(_("Rules of placement"))

    @classmethod
    def current(cls) -> PlacementPolicy:
        """The one row; the defaults, unsaved, where there is none."""
        return cls.objects.first() or cls()


class Stray(models.Model):
    """A domain that carries our metadata and no live row knows: kept apart, shown to staff, removed at their word."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, verbose_name=_("host"))
    domain = models.UUIDField(_("domain"))
    power = models.CharField(_("power"), max_length=10, blank=True)
    first_seen_at = models.DateTimeField(_("first seen"), auto_now_add=True)
    removal_asked_at = models.DateTimeField(_("removal asked for"), null=True, editable=False)

    class Meta:
        verbose_name = _("unknown machine")
        verbose_name_plural = _("unknown machines")
        constraints = [models.UniqueConstraint(fields=["host", "domain"], name="stray_once")]

    def __str__(self) -> str:
        return str(self.domain)
