"""Images on hosts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from instances.models.catalogue import Image
from instances.models.hosts import Host

PAUSE = timedelta(seconds=30)
"""Between a copy that failed for the moment and the next try."""


class Carriage(models.Model):
    """An image and a host to which it is carried: one row for each pair, and one worker at a time, who holds its lease.

    `sha256` names the bytes of which `state` speaks; an image whose file has changed since is to be carried anew.
    """

    class State(models.TextChoices):
        WAITING = "waiting", _("waits for a worker")
        COPYING = "copying", _("is being copied")
        THERE = "there", _("is there")
        FAILED = "failed", _("could not be copied")

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="carriages", verbose_name=_("host"))
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="carriages", verbose_name=_("image"))
    sha256 = models.CharField(max_length=64)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.WAITING)
    since = models.DateTimeField(_("since"), default=timezone.now)
    done_bytes = models.PositiveBigIntegerField(_("copied"), default=0)
    all_bytes = models.PositiveBigIntegerField(_("size"), default=0)
    problem = models.TextField(_("problem"), blank=True)
    lease_until = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)

    class Meta:
        verbose_name = _("image on a host")
        verbose_name_plural = _("images on hosts")
        constraints = [models.UniqueConstraint(fields=["host", "image"], name="image_once_on_a_host")]

    def __str__(self) -> str:
        return f"{self.image} → {self.host}"

    @classmethod
    def of(cls, host: Host, image: Image) -> Carriage:
        """The row of this pair, made where there is none."""
        return cls.objects.get_or_create(host=host, image=image, defaults={"sha256": image.sha256})[0]

    @property
    def is_there(self) -> bool:
        return self.state == self.State.THERE and self.sha256 == self.image.sha256

    @property
    def is_moving(self) -> bool:
        return self.state in {self.State.WAITING, self.State.COPYING}

    @property
    def percent(self) -> int:
        """How much of it is copied; 0 before its size is known."""
        return self.done_bytes * 100 // self.all_bytes if self.all_bytes else 0

    def become(self, state: Carriage.State, **facts: Any) -> None:
        """Write another state and what goes with it, unless somebody else did since this object was read."""
        changes = {"state": state, "since": timezone.now(), "problem": "", "sha256": self.image.sha256} | facts
        if Carriage.objects.filter(pk=self.pk, since=self.since).update(**changes):
            for name, value in changes.items():
                setattr(self, name, value)

    def wants_a_worker(self) -> bool:
        """Whether it has to be copied, nobody is at it, and it did not fail a moment ago."""
        now = timezone.now()
        held = self.lease_until is not None and self.lease_until > now
        return self.is_moving and not held and not (self.problem and now - self.since < PAUSE)
