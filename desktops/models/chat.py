"""What people write to each other beside a machine's screen. It lives as long as the machine."""

from __future__ import annotations

from uuid import uuid4

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances.models import Instance

MAX_TEXT = 2000


class ChatMessage(models.Model):
    """One message. `key` is made by the sender's page, so that a message sent twice is kept once."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="chat")
    author = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("author"))
    key = models.UUIDField(default=uuid4, editable=False)
    text = models.CharField(_("text"), max_length=MAX_TEXT)
    at = models.DateTimeField(_("when"), default=timezone.now)

    class Meta:
        verbose_name = _("chat message")
        verbose_name_plural = _("chat messages")
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["instance", "author", "key"], name="message_once")]
        indexes = [
            models.Index(fields=["instance", "id"], name="chat_of_machine"),
            models.Index(fields=["author", "at"], name="chat_of_author"),
        ]

    def __str__(self) -> str:
        return self.text[:40]


class ChatRead(models.Model):
    """Up to which message, by its row number, somebody has read."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    upto = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "user"], name="read_mark_once")]

    def __str__(self) -> str:
        return f"{self.user} {self.upto}"
