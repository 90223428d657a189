"""Machines on their way from one host to another."""

from __future__ import annotations

from datetime import timedelta

from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances.models.hosts import Host
from instances.models.instance import Instance

PAUSE = timedelta(seconds=20)
"""Between a step that failed for the moment and the next try."""


class Relocation(models.Model):
    """A stopped machine is copied to another host; its row points to the old one until the copy is whole.

    What is left on the host that it does not stay on is removed last; `cleared_at` is when. `begun_at` is when it was
    seen that the target held nothing of the machine: what is there afterwards was put there by this move.
    """

    class Outcome(models.TextChoices):
        COPYING = "copying", _("is being moved")
        MOVED = "moved", _("moved")
        GIVEN_UP = "given_up", _("stays where it was")

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="moves", verbose_name=_("machine"))
    origin = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+", verbose_name=_("from"))
    target = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="arriving", verbose_name=_("to"))
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("by"))
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, default=Outcome.COPYING)
    problem = models.TextField(_("problem"), blank=True)
    asked_at = models.DateTimeField(_("asked"), default=timezone.now)
    begun_at = models.DateTimeField(_("begun"), null=True)
    tried_at = models.DateTimeField(null=True)
    cleared_at = models.DateTimeField(_("done"), null=True)
    lease_until = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)

    class Meta:
        verbose_name = _("move")
        verbose_name_plural = _("moves")
        ordering = ["-asked_at"]
        constraints = [
            models.UniqueConstraint(fields=["instance"], condition=Q(cleared_at=None), name="one_move_at_a_time"),
            models.CheckConstraint(condition=~Q(origin=F("target")), name="a_move_leads_elsewhere"),
        ]

    def __str__(self) -> str:
        return f"{self.instance}: {self.origin} → {self.target}"
