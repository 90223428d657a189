"""Help from the facility: by consent, for a time, and never without a trace."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from desktops.rfb import Role
from experiments.models import User
from instances.models import Instance


class AccessRequestQuerySet(models.QuerySet["AccessRequest"]):
    def granted_at(self, now: datetime) -> AccessRequestQuerySet:
        """Those that let their asker in at `now`."""
        return self.filter(state=AccessRequest.State.GRANTED, until__gt=now)

    def pending_at(self, now: datetime) -> AccessRequestQuerySet:
        """Those that wait for an answer and still may."""
        return self.filter(state=AccessRequest.State.PENDING, expires_at__gt=now)


class AccessRequest(models.Model):
    """A supporter asks to join; the owner answers. GRANTED lets the supporter in with `role` until `until`.

    `kind` says by what right: the owner was asked, the owner called for help, or nobody was there to be asked.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("Waiting")
        GRANTED = "granted", _("Let in")
        REFUSED = "refused", _("Refused")
        CANCELLED = "cancelled", _("Taken back")
        UNANSWERED = "unanswered", _("Not answered")
        ENDED = "ended", _("Ended")

    class Kind(models.TextChoices):
        ASKED = "asked", _("The owner was asked")
        HELP = "help", _("The owner called for help")
        UNATTENDED = "unattended", _("The owner was away")

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="access_requests")
    asker = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", verbose_name=_("supporter"))
    kind = models.CharField(_("by what right"), max_length=12, choices=Kind.choices, default=Kind.ASKED)
    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.PENDING)
    reason = models.CharField(_("why"), max_length=300)
    minutes = models.PositiveIntegerField(_("for how long, minutes"))
    wants_control = models.BooleanField(_("wants to control"), default=True)
    created_at = models.DateTimeField(_("asked"), default=timezone.now)
    expires_at = models.DateTimeField(_("waits until"))
    answered_at = models.DateTimeField(_("answered"), null=True, blank=True)
    role = models.CharField(_("may"), max_length=10, choices=[(r.value, r.value) for r in Role], blank=True)
    until = models.DateTimeField(_("until"), null=True, blank=True)

    objects = AccessRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("support access")
        verbose_name_plural = _("support accesses")
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["instance", "asker", "state"], name="access_of_supporter"),
            models.Index(fields=["expires_at"], name="access_waiting", condition=Q(state="pending")),
            models.Index(fields=["until"], name="access_in_force", condition=Q(state="granted")),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["instance", "asker"], condition=Q(state="pending"), name="ask_one_at_a_time"
            )
        ]

    def __str__(self) -> str:
        return f"{self.asker} → {self.instance}"


class HelpRequest(models.Model):
    """The owner calls for help: local contacts first, then IT. Whoever takes it may come in at once."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="help_requests")
    by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+", verbose_name=_("asked by"))
    message = models.CharField(_("message"), max_length=500, blank=True)
    created_at = models.DateTimeField(_("asked"), default=timezone.now)
    escalated_at = models.DateTimeField(_("IT was told"), null=True, blank=True)
    taken_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", verbose_name=_("taken by")
    )
    taken_at = models.DateTimeField(_("taken"), null=True, blank=True)
    closed_at = models.DateTimeField(_("done"), null=True, blank=True)

    class Meta:
        verbose_name = _("call for help")
        verbose_name_plural = _("calls for help")
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["instance"], condition=Q(closed_at=None), name="one_open_call_for_help")
        ]

    def __str__(self) -> str:
        return f"{self.instance} {self.created_at:%Y-%m-%d %H:%M}"
