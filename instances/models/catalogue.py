"""What a facility offers: images, sizes, and which go together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from experiments.models import Experiment, Instrument, Role, User
from instances.models.fields import LabelsField

if TYPE_CHECKING:
    from collections.abc import Iterable

JUPYTER = "jupyter"
"""What JupyterLab is called in addresses, beside the applications that images declare."""


class Protocol(models.TextChoices):
    VNC = "vnc", _("Desktop (VNC)")
    JUPYTER = "jupyter", _("JupyterLab")
    SSH = "ssh", _("Terminal (SSH)")


class Visibility(models.TextChoices):
    EVERYONE = "everyone", _("Everyone")
    STAFF = "staff", _("Facility staff, to try it")
    NOBODY = "nobody", _("Nobody: no new machines")


class Extending(models.TextChoices):
    """Whose requests for more time are accepted without staff looking at them."""

    NOBODY = "nobody", _("Nobody: staff answer each")
    STAFF = "staff", _("Facility staff")
    ALL = "all", _("Everyone")


class Image(models.Model):
    """A bootable disk. `path` is a qcow2 file where the workers run; `sha256` names its bytes on every host."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=100)
    version = models.CharField(_("version"), max_length=30)
    description = models.CharField(_("description"), max_length=300, blank=True)
    icon = models.CharField(
        _("icon"), max_length=40, default="monitor", help_text=_("Name of a Lucide icon, for example atom.")
    )
    path = models.CharField(_("file"), max_length=500, help_text=_("A qcow2 file on the machine of the workers."))
    sha256 = models.CharField(_("SHA-256"), max_length=64, blank=True, help_text=_("Empty: computed when saved."))
    virtual_size_gib = models.PositiveIntegerField(_("disk inside, GiB"), default=0, editable=False)
    visibility = models.CharField(
        _("offered to"), max_length=10, choices=Visibility.choices, default=Visibility.EVERYONE
    )
    boot_commands = models.TextField(
        _("boot commands"), blank=True, help_text=_("A shell script, run once as root in each new machine.")
    )
    extending = models.CharField(
        _("more time without asking staff"), max_length=10, choices=Extending.choices, default=Extending.NOBODY
    )
    requires = LabelsField(_("labels a host must have"), help_text=_("For example: gpu. Empty: any host will do."))
    created_at = models.DateTimeField(_("added"), auto_now_add=True)

    class Meta:
        verbose_name = _("image")
        verbose_name_plural = _("images")
        ordering = ["name", "-created_at"]
        constraints = [models.UniqueConstraint(fields=["name", "version"], name="image_version_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def port(self, kind: Protocol) -> int | None:
        """The TCP port on which this image serves `kind`, or None."""
        return next((spoken.port for spoken in self.protocols.all() if spoken.kind == kind), None)

    def web_apps(self) -> list[WebApp]:
        """What its machines serve to browsers: JupyterLab first, then what the image declares, by name."""
        jupyter = self.port(Protocol.JUPYTER)
        lab = [WebApp(JUPYTER, str(Protocol.JUPYTER.label), jupyter, "/lab", "notebook-pen")] if jupyter else []
        return lab + [WebApp(app.slug, app.name, app.port, app.path, "app-window") for app in self.apps.all()]


class ImageProtocol(models.Model):
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="protocols")
    kind = models.CharField(_("protocol"), max_length=10, choices=Protocol.choices)
    port = models.PositiveIntegerField(_("port"), validators=[MinValueValidator(1), MaxValueValidator(65535)])

    class Meta:
        verbose_name = _("protocol")
        verbose_name_plural = _("protocols")
        constraints = [models.UniqueConstraint(fields=["image", "kind"], name="protocol_once_per_image")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.port}"


class WebApp(NamedTuple):
    """An application for browsers: its name in addresses and for people, where it is, and its icon."""

    slug: str
    name: str
    port: int
    path: str
    icon: str


def validate_slug(slug: str) -> None:
    """A part of a host's name (RFC 1035, 2.3.1), which is not JupyterLab's."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", slug):
        raise ValidationError(_("Write small letters, digits and hyphens, with a letter first: it names a host."))
    if slug == JUPYTER:
        raise ValidationError(_("JupyterLab has this name. It is one of the protocols above."))


class ImageApp(models.Model):
    """A web application of the image's machines, beside JupyterLab: on the same terms, at an origin of its own."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="apps")
    name = models.CharField(_("name"), max_length=40, help_text=_("On its button, for example Grafana."))
    slug = models.CharField(
        _("name in addresses"), max_length=25, validators=[validate_slug], help_text=_("For example grafana.")
    )
    port = models.PositiveIntegerField(_("port"), validators=[MinValueValidator(1), MaxValueValidator(65535)])
    path = models.CharField(
        _("first page"),
        max_length=200,
        default="/",
        validators=[
            RegexValidator(r"^/(?!/)[\w./~%@:+,=-]*\Z", _("Write a path, such as /app/: it begins with one /."))
        ],
    )

    class Meta:
        verbose_name = _("web application")
        verbose_name_plural = _("web applications")
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["image", "slug"], name="app_once_per_image")]

    def __str__(self) -> str:
        return self.name


class Flavour(models.Model):
    """A size. Without limits it is for everyone; with limits, for those whom one of them names."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    name = models.CharField(_("name"), max_length=60, unique=True)
    description = models.CharField(_("description"), max_length=200, blank=True)
    vcpus = models.PositiveSmallIntegerField(
        _("CPUs"), validators=[MinValueValidator(1), MaxValueValidator(256)], default=1
    )
    memory_mib = models.PositiveIntegerField(
        _("memory, MiB"), validators=[MinValueValidator(256), MaxValueValidator(8_388_608)], default=1024
    )
    disk_gib = models.PositiveIntegerField(
        _("disk, GiB"), validators=[MinValueValidator(1), MaxValueValidator(65_536)], default=10
    )

    requires = LabelsField(_("labels a host must have"), help_text=_("For example: gpu. Empty: any host will do."))

    class Meta:
        verbose_name = _("size")
        verbose_name_plural = _("sizes")
        ordering = ["vcpus", "memory_mib", "disk_gib"]

    def __str__(self) -> str:
        return self.name


class FlavourLimit(models.Model):
    """Names who may use a flavour: people with a role, or those with an experiment at an instrument."""

    flavour = models.ForeignKey(Flavour, on_delete=models.CASCADE, related_name="limits")
    role = models.CharField(_("role"), max_length=30, choices=Role.choices, blank=True)
    instrument = models.ForeignKey(
        Instrument, on_delete=models.CASCADE, null=True, blank=True, verbose_name=_("instrument")
    )

    class Meta:
        verbose_name = _("limit")
        verbose_name_plural = _("limits")
        constraints = [
            models.CheckConstraint(
                condition=(Q(instrument__isnull=True) & ~Q(role="")) | (Q(instrument__isnull=False) & Q(role="")),
                name="limit_names_role_or_instrument",
                violation_error_message=_("Name either a role or an instrument."),
            )
        ]

    def __str__(self) -> str:
        return str(self.instrument or Role(self.role).label)


class PlanQuerySet(models.QuerySet["Plan"]):
    def offered_to(self, user: User, experiments: Iterable[Experiment] = ()) -> PlanQuerySet:
        """The plans from which a person may make a machine for these experiments. Expired roles open nothing."""
        roles = user.roles()
        if Role.ADMIN in roles:
            return self.filter(enabled=True).exclude(image__visibility=Visibility.NOBODY)
        visible = [Visibility.EVERYONE] + ([Visibility.STAFF] if Role.STAFF in roles else [])
        instruments = {experiment.instrument_id for experiment in experiments}
        instruments |= set(user.instruments.values_list("pk", flat=True))
        allowed = FlavourLimit.objects.filter(Q(role__in=roles) | Q(instrument__in=instruments)).values("flavour")
        unlimited = ~Q(flavour__in=FlavourLimit.objects.values("flavour"))
        return self.filter(unlimited | Q(flavour__in=allowed), enabled=True, image__visibility__in=visible)


class Plan(models.Model):
    """An image with a size. The preset is chosen beforehand in the form."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="plans", verbose_name=_("image"))
    flavour = models.ForeignKey(Flavour, on_delete=models.PROTECT, related_name="plans", verbose_name=_("size"))
    preset = models.BooleanField(_("preset"), default=False)
    enabled = models.BooleanField(_("enabled"), default=True)

    objects = PlanQuerySet.as_manager()

    class Meta:
        verbose_name = _("plan")
        verbose_name_plural = _("plans")
        ordering = ["image__name", "flavour__vcpus", "flavour__memory_mib"]
        constraints = [
            models.UniqueConstraint(fields=["image", "flavour"], name="plan_once"),
            models.UniqueConstraint(
                fields=["preset"],
                condition=Q(preset=True),
                name="one_preset",
                violation_error_message=_("Another plan is the preset already."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.image} · {self.flavour}"


def plans_for(user: User, experiments: Iterable[Experiment] = ()) -> PlanQuerySet:
    """As `PlanQuerySet.offered_to`, with image and flavour fetched along."""
    return Plan.objects.select_related("image", "flavour").offered_to(user, experiments)
