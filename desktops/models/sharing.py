"""Links that let people in."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances.models import Instance, MemberRole

MAX_USES = 100
ROLES = [(role.value, role.label) for role in (MemberRole.USER, MemberRole.GUEST)]
"""What a link, or the owner, may make of somebody; facility support comes by its own way."""


class InvitationQuerySet(models.QuerySet["Invitation"]):
    def valid_at(self, now: datetime) -> InvitationQuerySet:
        """Not revoked, not expired, not used up."""
        unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
        unspent = Q(max_uses=None) | Q(uses__lt=F("max_uses"))
        return self.filter(unexpired, unspent, revoked_at=None)


class Invitation(models.Model):
    """A link that makes whoever has it a member, or with `public` lets them watch while the owner is there.

    The link's secret is shown once; only its SHA-256 is kept.
    """

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="invitations")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    name = models.CharField(_("name"), max_length=80)
    role = models.CharField(_("role"), max_length=10, choices=ROLES)
    public = models.BooleanField(_("public view link"), default=False)
    secret_hash = models.CharField(max_length=64, editable=False)
    created_at = models.DateTimeField(_("made"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    max_uses = models.PositiveIntegerField(
        _("uses at most"), null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(MAX_USES)]
    )
    uses = models.PositiveIntegerField(_("used"), default=0)
    revoked_at = models.DateTimeField(_("withdrawn"), null=True, blank=True)

    objects = InvitationQuerySet.as_manager()

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(condition=Q(public=False) | Q(role="guest"), name="public_links_only_watch"),
            models.UniqueConstraint(
                fields=["instance"], condition=Q(public=True, revoked_at=None), name="one_public_link"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Pass(models.Model):
    """Somebody came in by a link: what a public link goes on allowing, and for others the record of it."""

    invitation = models.ForeignKey(Invitation, on_delete=models.CASCADE, related_name="passes")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="passes")
    at = models.DateTimeField(_("when"), default=timezone.now)
    withdrawn_at = models.DateTimeField(_("withdrawn"), null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["invitation", "user"], name="pass_once")]

    def __str__(self) -> str:
        return f"{self.user} · {self.invitation}"
