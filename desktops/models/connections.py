"""Who looked at which machine, from when to when."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from desktops.rfb import Role
from experiments.models import User
from instances.models import Instance

SEEN_EVERY = timedelta(seconds=10)
"""How often an open connection says that it still is."""

FRESH = 3 * SEEN_EVERY
"""A connection that said nothing for so long ended with the process that carried it."""


class Which(models.TextChoices):
    """A machine's two screens: the desktop's own, and the hypervisor's, which shows what happens before a desktop.

    Beside them its web applications, its terminal and its files.
    """

    SCREEN = "screen", _("Desktop")
    CONSOLE = "console", _("Console")
    APP = "app", _("Web application")
    TERMINAL = "terminal", _("Terminal")
    FILES = "files", _("Files")


class ConnectionQuerySet(models.QuerySet["Connection"]):
    def open_at(self, now: datetime) -> ConnectionQuerySet:
        """Those that are looking at `now`."""
        return self.filter(closed_at=None, seen_at__gt=now - FRESH)

    def present_at(self, now: datetime, grace: timedelta) -> ConnectionQuerySet:
        """Those that are looking at `now`, or were until less than `grace` ago."""
        return self.open_at(now) | self.filter(closed_at__gt=now - grace)


class Connection(models.Model):
    """One person at one screen, from `opened_at` to `closed_at`; `code` and `reason` say how it ended.

    Where `closed_at` is missing and `seen_at` is old, the process that carried it was killed.
    """

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="connections")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="connections", verbose_name=_("person"))
    which = models.CharField(_("screen"), max_length=10, choices=Which.choices)
    role = models.CharField(_("may"), max_length=10, choices=[(role.value, role.value) for role in Role])
    opened_at = models.DateTimeField(_("from"), default=timezone.now)
    seen_at = models.DateTimeField(_("last seen"), default=timezone.now)
    closed_at = models.DateTimeField(_("to"), null=True, blank=True)
    last_input_at = models.DateTimeField(_("last input"), null=True, blank=True)
    bytes_down = models.BigIntegerField(_("bytes to the viewer"), default=0)
    bytes_up = models.BigIntegerField(_("bytes to the machine"), default=0)
    code = models.PositiveSmallIntegerField(_("ended with"), null=True, blank=True)
    reason = models.CharField(_("because"), max_length=200, blank=True)

    objects = ConnectionQuerySet.as_manager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        ordering = ["-opened_at"]
        indexes = [
            models.Index(fields=["instance", "-opened_at"], name="connections_of_machine"),
            models.Index(fields=["seen_at"], name="open_connections", condition=Q(closed_at=None)),
        ]

    def __str__(self) -> str:
        return f"{self.user} {self.opened_at:%Y-%m-%d %H:%M}"
