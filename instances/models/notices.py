"""What a person was told, for the bell in the pages."""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances.models.instance import Instance


class Notice(models.Model):
    """One thing told to one person. `kind` names the sentence in `instances.notices`, `facts` fill it."""

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notices", verbose_name=_("person"))
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, null=True, related_name="+")
    kind = models.CharField(max_length=40)
    facts = models.JSONField(default=dict)
    at = models.DateTimeField(_("when"), default=timezone.now)
    read_at = models.DateTimeField(_("read"), null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["user"], name="unread_notices", condition=Q(read_at=None))]

    def __str__(self) -> str:
        return f"{self.user} {self.kind}"
