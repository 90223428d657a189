"""Who is who, and who measured what. The facility's user office is the source; VISA only reads these rows."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from django.contrib.auth.models import AbstractUser, UserManager
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

FIRST_POSIX_ID = 20_000
"""Accounts without an id from the facility's directory are numbered from here, above Debian's own users."""


class Affiliation(models.Model):
    name = models.CharField(_("name"), max_length=200)
    town = models.CharField(_("town"), max_length=100, blank=True)
    country = models.CharField(
        _("country"),
        max_length=2,
        validators=[RegexValidator(r"^[A-Z]{2}$", _("Two capital letters (ISO 3166-1), for example FR."))],
    )

    class Meta:
        verbose_name = _("affiliation")
        verbose_name_plural = _("affiliations")
        ordering = ["name", "town"]
        constraints = [models.UniqueConstraint(fields=["name", "town", "country"], name="affiliation_once")]

    def __str__(self) -> str:
        return ", ".join(part for part in (self.name, self.town, self.country) if part)


class Role(models.TextChoices):
    ADMIN = "admin", _("Administrator")
    STAFF = "staff", _("Facility staff")
    GUEST = "guest", _("Guest")
    IT_SUPPORT = "it_support", _("IT support")
    INSTRUMENT_CONTROL = "instrument_control", _("Instrument control")
    INSTRUMENT_SCIENTIST = "instrument_scientist", _("Instrument scientist")
    SCIENTIFIC_COMPUTING = "scientific_computing", _("Scientific computing")


SUPPORTING = frozenset({Role.ADMIN, Role.IT_SUPPORT, Role.INSTRUMENT_CONTROL, Role.INSTRUMENT_SCIENTIST})
"""Roles that let their people help with others' machines; with which, `instances` says."""


class User(AbstractUser):
    """A person with an account. The public address is `uuid`; `username` is also the account name in machines."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    affiliation = models.ForeignKey(
        Affiliation, on_delete=models.SET_NULL, null=True, blank=True, verbose_name=_("affiliation")
    )
    posix_uid = models.PositiveIntegerField(
        _("uid in machines"), null=True, blank=True, unique=True, validators=[MinValueValidator(1000)]
    )
    posix_gid = models.PositiveIntegerField(
        _("gid in machines"), null=True, blank=True, validators=[MinValueValidator(1000)]
    )
    quota = models.PositiveIntegerField(
        _("machines at most"), null=True, blank=True, help_text=_("Empty: the facility's default.")
    )
    language = models.CharField(
        _("language"), max_length=5, blank=True, choices=[("en", "English"), ("fr", "Français")]
    )

    objects = UserManager["User"]()  # type: ignore[misc] # the stubs declare it on the class

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        ordering = ["last_name", "first_name", "username"]

    def __str__(self) -> str:
        return self.get_full_name() or self.username

    @property
    def uid(self) -> int:
        return self.posix_uid if self.posix_uid is not None else FIRST_POSIX_ID + self.pk

    @property
    def gid(self) -> int:
        return self.posix_gid if self.posix_gid is not None else self.uid

    def roles(self, now: datetime | None = None) -> set[Role]:
        """The roles in force at `now`; a superuser is an administrator too."""
        granted = {Role(grant.role) for grant in self.role_grants.all() if grant.in_force(now or timezone.now())}
        return granted | ({Role.ADMIN} if self.is_superuser else set())

    @property
    def supports(self) -> bool:
        """Whether the facility has them help others."""
        return self.has_role(*SUPPORTING)

    def has_role(self, *wanted: Role) -> bool:
        return bool(self.roles() & set(wanted))


class RoleGrant(models.Model):
    """A role that a person has, until `expires_at` where that is set."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_grants", verbose_name=_("person"))
    role = models.CharField(_("role"), max_length=30, choices=Role.choices)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)

    class Meta:
        verbose_name = _("role")
        verbose_name_plural = _("roles")
        constraints = [models.UniqueConstraint(fields=["user", "role"], name="role_once_per_person")]

    def __str__(self) -> str:
        return self.get_role_display()

    def in_force(self, now: datetime) -> bool:
        return self.expires_at is None or self.expires_at > now


class Instrument(models.Model):
    code = models.SlugField(_("code"), max_length=30, unique=True)
    name = models.CharField(_("name"), max_length=100)
    description = models.CharField(_("description"), max_length=300, blank=True)
    scientists = models.ManyToManyField(
        User, blank=True, related_name="instruments", verbose_name=_("instrument scientists")
    )

    class Meta:
        verbose_name = _("instrument")
        verbose_name_plural = _("instruments")
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Cycle(models.Model):
    """A period in which the facility delivers beam."""

    name = models.CharField(_("name"), max_length=50, unique=True)
    starts_on = models.DateField(_("first day"))
    ends_on = models.DateField(_("last day"))

    class Meta:
        verbose_name = _("cycle")
        verbose_name_plural = _("cycles")
        ordering = ["-starts_on"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_on__gte=models.F("starts_on")), name="cycle_ends_after_start")
        ]

    def __str__(self) -> str:
        return self.name


class Proposal(models.Model):
    identifier = models.CharField(_("identifier"), max_length=50, unique=True)
    title = models.CharField(_("title"), max_length=300)
    summary = models.TextField(_("summary"), blank=True)
    doi = models.CharField(_("DOI"), max_length=100, blank=True)
    url = models.URLField(_("address"), blank=True)

    class Meta:
        verbose_name = _("proposal")
        verbose_name_plural = _("proposals")
        ordering = ["-identifier"]

    def __str__(self) -> str:
        return f"{self.identifier} · {self.title}"


class ExperimentQuerySet(models.QuerySet["Experiment"]):
    def measured_by(self, user: User) -> ExperimentQuerySet:
        """The experiments whose team the person belongs to."""
        return self.filter(team=user)


class Experiment(models.Model):
    """Beam time of one proposal at one instrument, by a team."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, verbose_name=_("proposal"))
    instrument = models.ForeignKey(Instrument, on_delete=models.PROTECT, verbose_name=_("instrument"))
    cycle = models.ForeignKey(Cycle, on_delete=models.PROTECT, null=True, blank=True, verbose_name=_("cycle"))
    title = models.CharField(_("title"), max_length=300, blank=True, help_text=_("Empty: the proposal's title."))
    starts_at = models.DateTimeField(_("starts"))
    ends_at = models.DateTimeField(_("ends"))
    data_path = models.CharField(_("data folder"), max_length=300, blank=True)
    team = models.ManyToManyField(User, blank=True, related_name="experiments", verbose_name=_("team"))

    objects = ExperimentQuerySet.as_manager()

    class Meta:
        verbose_name = _("experiment")
        verbose_name_plural = _("experiments")
        ordering = ["-starts_at"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gte=models.F("starts_at")), name="experiment_ends_after_start")
        ]

    def __str__(self) -> str:
        return f"{self.proposal.identifier} · {self.headline} · {self.instrument.name}"

    @property
    def headline(self) -> str:
        return self.title or self.proposal.title

    def clean(self) -> None:
        if self.starts_at and self.ends_at and self.ends_at < self.starts_at:
            raise ValidationError({"ends_at": _("An experiment cannot end before it starts.")})
