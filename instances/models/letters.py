"""Mail on its way: the row is the queue, so that a mail server that is away costs a delay and no letter."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances.models.instance import Instance


class MailGroup(models.TextChoices):
    """What a person may choose to hear of by mail, too; the bell in the pages tells everything."""

    LIFE = "life", _("My machines fall asleep, come to their end, are deleted or out of reach")
    TIME = "time", _("Answers when I ask for more time")
    PEOPLE = "people", _("Machines shared with me or handed over to me")
    STAFF = "staff", _("Others ask for more time, a sweep waits for my word, or a host is silent (staff)")


class Letter(models.Model):
    """One mail to one person. `kind` names its templates (templates/mail), `facts` fill them."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="letters", verbose_name=_("person"))
    instance = models.ForeignKey(
        Instance, on_delete=models.CASCADE, null=True, related_name="+", verbose_name=_("machine")
    )
    kind = models.CharField(_("kind"), max_length=40)
    facts = models.JSONField(default=dict)
    written_at = models.DateTimeField(_("written"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent"), null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    next_at = models.DateTimeField(_("next attempt"), null=True, default=timezone.now)
    problem = models.CharField(_("problem"), max_length=300, blank=True)

    class Meta:
        verbose_name = _("letter")
        verbose_name_plural = _("letters")
        ordering = ["-written_at"]
        indexes = [models.Index(fields=["next_at"], name="letters_to_send", condition=Q(next_at__isnull=False))]

    def __str__(self) -> str:
        return f"{self.user} {self.kind}"


class NoMail(models.Model):
    """The person does not want this group by mail."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="no_mail")
    group = models.CharField(max_length=10, choices=MailGroup.choices)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "group"], name="no_mail_once")]

    def __str__(self) -> str:
        return f"{self.user} {self.group}"
