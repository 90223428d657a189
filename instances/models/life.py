"""How long machines live, as data that staff edit; requests for more time; and the history beside the moves."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import Role, User
from instances import limits
from instances.models.catalogue import Flavour
from instances.models.instance import Instance


def first_quota() -> int:
    """What an installation begins with, until staff save a number of their own."""
    return int(settings.VISA_DEFAULT_QUOTA)


class LifePolicy(models.Model):
    """The facility's rules that are the same for every machine: one row; without it the defaults hold."""

    quota = models.PositiveIntegerField(
        _("machines a person may have"), default=first_quota, help_text=_("Who has a number of their own has that.")
    )
    idle_notice_hours = models.PositiveIntegerField(
        _("hours of warning before an idle machine sleeps"),
        default=24,
        help_text=_("At most; where the limit is short, a quarter of it."),
    )
    end_notice_hours = models.PositiveIntegerField(
        _("hours of warning before a machine's end"),
        default=48,
        help_text=_("At most; where the life is short, a quarter of it."),
    )
    grace_days = models.PositiveIntegerField(
        _("days asleep after its end, before it is deleted"), default=3, validators=[MaxValueValidator(365)]
    )
    bin_days = models.PositiveIntegerField(
        _("days in the recycle bin"),
        default=14,
        validators=[MaxValueValidator(365)],
        help_text=_("Deleted machines keep their disk this long and can be brought back. 0: deleted for good at once."),
    )
    awake_days = models.PositiveIntegerField(
        _("days a person may keep a machine awake"), default=7, validators=[MaxValueValidator(365)]
    )
    busy_percent = models.PositiveIntegerField(
        _("percent of one CPU that count as work"),
        default=25,
        validators=[MinValueValidator(1)],
        help_text=_("Averaged over five minutes. A desktop where nothing happens needs a few."),
    )

    sweeps_allowed_until = models.DateTimeField(_("large sweeps allowed until"), null=True, editable=False)

    class Meta:
        verbose_name = _("rules of machines' lives")
        verbose_name_plural = _("rules of machines' lives")

    def __str__(self) -> str:
        return str(_("Rules of machines' lives"))

    @classmethod
    def current(cls) -> LifePolicy:
        """The one row; the defaults, unsaved, where there is none."""
        return cls.objects.first() or cls()

    @property
    def notice(self) -> limits.Notice:
        return limits.Notice(
            timedelta(hours=self.idle_notice_hours),
            timedelta(hours=self.end_notice_hours),
            timedelta(days=self.grace_days),
        )


class TimeLimit(models.Model):
    """How long machines live and may be idle; `instances.limits.limits_for` says which of the rows counts."""

    role = models.CharField(_("role"), max_length=30, choices=Role.choices, blank=True, help_text=_("Empty: everyone."))
    flavour = models.ForeignKey(
        Flavour,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="time_limits",
        verbose_name=_("size"),
        help_text=_("Empty: all sizes. A row with a size puts the general rows aside for it."),
    )
    lifetime_days = models.DecimalField(
        _("days of life"),
        max_digits=7,
        decimal_places=3,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text=_("For example 14; 0.5 is twelve hours. Empty: without end."),
    )
    idle_days = models.DecimalField(
        _("days idle"),
        max_digits=7,
        decimal_places=3,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text=_("After so long without input and work a machine sleeps. Empty: never."),
    )

    class Meta:
        verbose_name = _("time limit")
        verbose_name_plural = _("time limits")
        ordering = ["flavour__name", "role"]
        constraints = [
            models.UniqueConstraint(fields=["role", "flavour"], name="time_limit_once"),
            models.UniqueConstraint(
                fields=["role"],
                condition=Q(flavour=None),
                name="general_time_limit_once",
                violation_error_message=_("There is a row for this role and all sizes already."),
            ),
        ]

    def __str__(self) -> str:
        who = Role(self.role).label if self.role else _("Everyone")
        return f"{who} · {self.flavour or _('all sizes')}"

    @property
    def rule(self) -> limits.Rule:
        return limits.Rule(self.role, self.flavour_id, _days(self.lifetime_days), _days(self.idle_days))


def _days(number: Decimal | None) -> timedelta | None:
    return None if number is None else timedelta(days=float(number))


def limits_of(owner: User, flavour_id: int, rules: list[limits.Rule] | None = None) -> limits.Limits:
    """What the person's roles allow for a machine of this size now; `rules` where the caller has read them already.

    Administrators are staff here.
    """
    roles = owner.roles()
    if Role.ADMIN in roles:
        roles.add(Role.STAFF)
    if rules is None:
        rules = [row.rule for row in TimeLimit.objects.all()]
    return limits.limits_for(rules, roles, flavour_id)


def staff() -> models.QuerySet[User]:
    """Who answers for the machines: administrators whose role is in force."""
    granted = Q(role_grants__expires_at=None) | Q(role_grants__expires_at__gt=timezone.now())
    admins = Q(is_superuser=True) | Q(granted, role_grants__role=Role.ADMIN)
    return User.objects.filter(admins, is_active=True).distinct()


class Entry(models.Model):
    """Something that happened to a machine and was no move from state to state: who, what, when and why.

    `kind` names the sentence in `instances.history`, `facts` fill it; `reason` is what a person wrote.
    """

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="entries")
    kind = models.CharField(_("what"), max_length=30)
    facts = models.JSONField(default=dict)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, verbose_name=_("by")
    )
    reason = models.TextField(_("why"), blank=True)
    at = models.DateTimeField(_("when"), default=timezone.now)

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["instance", "at"], name="entries_of_machine")]

    def __str__(self) -> str:
        return self.kind


def enter(instance: Instance, kind: str, by: User | None = None, reason: str = "", **facts: str) -> None:
    """Write into the machine's history; `kind` has its words in `instances.evidence`."""
    Entry.objects.create(instance=instance, kind=kind, by=by, reason=reason, facts=facts)


class Extension(models.Model):
    """A request for more time. `until` is the new end where it was accepted, `words` what staff said to it."""

    class Answer(models.TextChoices):
        PENDING = "pending", _("Waits for an answer")
        ACCEPTED = "accepted", _("Accepted")
        REFUSED = "refused", _("Refused")

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    instance = models.ForeignKey(
        Instance, on_delete=models.CASCADE, related_name="extensions", verbose_name=_("machine")
    )
    by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", verbose_name=_("asked by"))
    reason = models.TextField(_("reason"), max_length=2000)
    asked_at = models.DateTimeField(_("asked"), default=timezone.now)
    ended_at = models.DateTimeField(_("end when asked"))
    answer = models.CharField(_("answer"), max_length=10, choices=Answer.choices, default=Answer.PENDING)
    answered_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("answered by")
    )
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True)
    until = models.DateTimeField(_("new end"), null=True, blank=True)
    words = models.TextField(_("words to the owner"), blank=True, max_length=2000)

    class Meta:
        verbose_name = _("request for more time")
        verbose_name_plural = _("requests for more time")
        ordering = ["-asked_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["instance"], condition=Q(answer="pending"), name="one_pending_request_for_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.instance} · {self.get_answer_display()}"
