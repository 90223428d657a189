"""The notebooks that run in machines, as their JupyterLabs say."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.utils.translation import gettext_lazy as _

from instances.models.instance import Instance

FRESH = timedelta(minutes=10)
"""What was not heard of for longer is not shown: a few rounds of asking were missed."""


class KernelQuerySet(models.QuerySet["Kernel"]):
    def fresh(self, now: datetime) -> KernelQuerySet:
        """Those that were heard of lately, busy ones first."""
        return self.filter(heard_at__gt=now - FRESH)


class Kernel(models.Model):
    """One kernel of a machine. All but the times is in the machine's own words and may be a lie.

    Times are ours, as a guest's clock may be wrong: `since` is when it was first seen busy (or idle), `moved_at` when
    it last showed that it lives: by becoming busy or idle, or by another `activity`, Jupyter's word for its output.
    """

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="kernels")
    ident = models.CharField(max_length=64)
    notebook = models.CharField(_("notebook"), max_length=200, blank=True)
    language = models.CharField(_("kernel"), max_length=60, blank=True)
    busy = models.BooleanField(_("busy"))
    since = models.DateTimeField(_("since"))
    activity = models.CharField(max_length=40, blank=True)
    moved_at = models.DateTimeField(_("last output"))
    heard_at = models.DateTimeField(_("heard of"))

    objects = KernelQuerySet.as_manager()

    class Meta:
        verbose_name = _("notebook")
        verbose_name_plural = _("notebooks")
        ordering = ["-busy", "notebook", "pk"]
        constraints = [models.UniqueConstraint(fields=["instance", "ident"], name="kernel_once_per_machine")]

    def __str__(self) -> str:
        return self.notebook or self.language or self.ident

    @property
    def title(self) -> str:
        """Without its folder."""
        return str(self).rsplit("/", 1)[-1]
